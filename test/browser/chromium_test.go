package browser

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for a page, and browserLife how long it may
// have its browser.
const (
	patience    = 20 * time.Second
	browserLife = 5 * time.Minute
)

// chromium finds the browser. Where it is missing the test fails if CI is set,
// else it is skipped and says so.
func chromium(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err == nil {
		return path
	}
	const what = "Chromium is not installed, so the pages were not looked at (Debian: apt-get install chromium)"
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip("SKIPPED: " + what)
	return ""
}

// start starts a browser with an empty profile that takes one certificate more
// than others do: the one with this public key.
func start(t testing.TB, program, publicKey string) context.Context {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("ignore-certificate-errors-spki-list", publicKey), chromedp.Flag("accept-lang", "en"),
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), browserLife)
	t.Cleanup(cancel)
	ctx, stopped := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stopped)
	ctx, closed := chromedp.NewContext(ctx)
	t.Cleanup(closed)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	return ctx
}

// publicKey gives the hash by which Chromium knows the key of a server's
// certificate. Before, the certificate is checked as any client does.
func publicKey(t testing.TB, address, caFile string) string {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	pem, err := os.ReadFile(caFile)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext(t.Context(), "tcp", u.Host)
	must(t, err)
	defer conn.Close()
	sum := sha256.Sum256(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// tab is one page with cookies of its own. Whatever goes wrong in it is kept.
type tab struct {
	t    testing.TB
	ctx  context.Context
	base string

	mu       sync.Mutex
	troubles []string
}

// The words that troubles begin with.
const (
	violation = "content security policy: "
	console   = "console: "
)

// watch is injected before the scripts of each document. A dialogue, of which
// the pages have none, would stand in the way of the test.
const watch = `
document.addEventListener('securitypolicyviolation', e => tell('content security policy: ' + e.violatedDirective + ' ' + e.blockedURI + ' at ' + e.target?.id + ' ' + e.sourceFile + ':' + e.lineNumber));
for (const name of ['alert', 'confirm', 'prompt']) window[name] = text => tell(name + ': ' + text);`

// open opens a tab in which nobody is signed in.
func open(browser context.Context, t testing.TB, base string) *tab {
	t.Helper()
	b := &tab{t: t, base: base}
	var closed context.CancelFunc
	b.ctx, closed = chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.hear))
	t.Cleanup(closed)
	must(t, chromedp.Do(b.ctx)) // the tab ends with the context of its first step
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		if _, err := cdp.Call(ctx, target, runtime.AddBinding, runtime.AddBindingParams{Name: "tell"}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watch})
		return err
	}), chromedp.EmulateViewport(1280, 800))
	return b
}

// hear is called with every event of the tab, in their order.
func (b *tab) hear(event any) {
	var trouble string
	switch e := event.(type) {
	case *runtime.EventBindingCalled:
		trouble = e.Payload
	case *runtime.EventExceptionThrown:
		trouble = console + "exception: " + e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			trouble += " " + x.Description
		}
	case *runtime.EventConsoleAPICalled:
		trouble = console + string(e.Type)
		for _, a := range e.Args {
			trouble += " " + string(a.Value) + a.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError && e.Entry.Level != log.EntryLevelWarning {
			return
		}
		trouble = fmt.Sprintf("%s%s: %s %s", console, e.Entry.Level, e.Entry.Text, e.Entry.URL)
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.troubles = append(b.troubles, trouble)
}

// heard gives the troubles so far in which all the words are.
func (b *tab) heard(words ...string) (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, trouble := range b.troubles {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(trouble, w) }) {
			out = append(out, trouble)
		}
	}
	return out
}

// quiet is the last that is asked of a tab: was there any trouble, other than
// what is expected? That the tab hears is not believed: its page, at last, is
// made to break the policy, and both the page's listener and the browser's log
// must tell. What came earlier has been told by then: events keep their order.
func (b *tab) quiet(expected ...string) {
	b.t.Helper()
	eval[bool](b, `const e = document.createElement('i'); e.id = 'control'; document.body.append(e); e.setAttribute('style', 'color: red'); true`)
	const listener, logged = violation + "style-src-attr inline at control", "Content Security Policy"
	b.wait("the deliberate violation to be told twice", func() bool {
		return len(b.heard(listener)) == 1 && len(b.heard(console, logged)) > 0
	})
	if n := len(b.heard(console, logged)); n != 1 {
		b.t.Errorf("the browser's log has %d violations of the content security policy, want the deliberate one: %q", n, b.heard(console, logged))
	}
	for _, trouble := range b.heard() {
		if !slices.ContainsFunc(append(expected, listener, logged), func(e string) bool { return strings.Contains(trouble, e) }) {
			b.t.Errorf("unexpected: %s", trouble)
		}
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// visit goes to a path, and waits until its page is loaded.
func (b *tab) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

// fill types into an empty field, and press presses what is there.
func (b *tab) fill(field, text string) { b.t.Helper(); b.do(chromedp.SendKeys(field, text)) }
func (b *tab) press(what string)       { b.t.Helper(); b.do(chromedp.Click(what)) }

// eval gives the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits until an expression is true in the page. The page may be another
// one meanwhile.
func (b *tab) until(expression string) {
	b.t.Helper()
	b.wait(expression, func() bool {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		return err == nil && is
	})
}

// leave does what leads to another page, and waits until that is there. A press
// returns before the browser has left, and a page that follows its run may say
// by then what the next one will: only a wait such as this tells them apart.
func (b *tab) leave(how func()) {
	b.t.Helper()
	eval[bool](b, "window.leaving = true")
	how()
	b.until("window.leaving === undefined && document.readyState === 'complete'")
}

// submit presses what leads to another page.
func (b *tab) submit(what string) {
	b.t.Helper()
	b.leave(func() { b.press(what) })
}

func (b *tab) wait(what string, ok func() bool) {
	b.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-late.C:
			b.t.Fatalf("waited in vain for %s\ntroubles: %q\nthe page:\n%s", what, b.heard(), eval[string](b, "location.href + '\\n' + document.body.innerText"))
		}
	}
}

// show sets the width of the window and what the system says of dark and light.
func (b *tab) show(width int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 844), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
	b.until(fmt.Sprintf("innerWidth === %d && matchMedia('(prefers-color-scheme: %s)').matches", width, scheme))
}

// zone sets the time zone that the tab is in.
func (b *tab) zone(name string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
		return err
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
