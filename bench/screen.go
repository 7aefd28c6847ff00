package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"os/exec"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/test/company"
)

// painted notes when a row of the page first says something, after the frame
// in which the browser has painted it.
const painted = `window.seen = {};
const look = () => requestAnimationFrame(() => setTimeout(() => {
	for (const row of document.querySelectorAll('.hosts-list > .host'))
		for (const word of ['undraining', 'Done'])
			if (row.textContent.includes(word)) window.seen[row.querySelector('.name').textContent.trim() + ' ' + word] ??= Date.now();
}));
new MutationObserver(look).observe(document.querySelector('.hosts-list'), { subtree: true, childList: true, characterData: true });
true`

// screen opens a run's page in a real browser. What it gives tells, once the
// run is over, what was painted when; nil where there is no browser.
func (s *session) screen(b *bed, c *company.Company, client *http.Client, run string) func() []shown {
	program, err := exec.LookPath("chromium")
	if err != nil {
		s.detail("event_to_screen_ms", "not measured: Chromium is not installed")
		return nil
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("ignore-certificate-errors-spki-list", publicKey(b, client, c.URL)), chromedp.Flag("accept-lang", "en"), chromedp.Flag("disable-dev-shm-usage", true),
	}
	ctx, late := context.WithTimeout(b.ctx, 3*time.Minute)
	b.Cleanup(late)
	ctx, stopped := chromedp.NewExecAllocator(ctx, options...)
	b.Cleanup(stopped)
	ctx, closed := chromedp.NewContext(ctx)
	b.Cleanup(closed)
	b.must(chromedp.Do(ctx,
		chromedp.Navigate(c.URL+"/sign-in?next=/runs/"+run),
		chromedp.SendKeys("#name", demo.Developer), chromedp.SendKeys("#secret", c.DevToken), chromedp.Click("button.main"),
		chromedp.WaitVisible(".hosts-list"), chromedp.WaitVisible(".connection:not(.lost)"),
	))
	_, err = chromedp.Run(ctx, chromedp.Evaluate[bool](painted))
	b.must(err)
	return func() []shown { return seenIn(ctx, b) }
}

// seenIn waits until the page shows the end, and gives what it has noted.
func seenIn(ctx context.Context, b *bed) (out []shown) {
	b.must(chromedp.Do(ctx, chromedp.WaitVisible("#summary.done")))
	b.pause(200 * time.Millisecond)
	seen, err := chromedp.Run(ctx, chromedp.Evaluate[map[string]float64]("window.seen"))
	b.must(err)
	for key, at := range seen {
		host, look := hostName(key), "Done"
		if key != host+" Done" {
			look = "undraining"
		}
		out = append(out, shown{host, look, time.UnixMicro(int64(at * 1000))})
	}
	return out
}

// publicKey gives the hash by which Chromium knows the server's certificate,
// which a client has checked before.
func publicKey(b *bed, client *http.Client, address string) string {
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, address+"/ping", nil)
	b.must(err)
	resp, err := client.Do(req)
	b.must(err)
	resp.Body.Close()
	sum := sha256.Sum256(resp.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
