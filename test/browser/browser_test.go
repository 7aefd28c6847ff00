// Package browser looks at the pages with a real browser: Chromium, without a
// window, against a real server with real agents.
package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) {
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}

// reason is a reason that would break a page that took it for markup.
const reason = `<img src=x onerror=alert(1)> <b>502s</b> & "workers hang", see https://wiki.example.com/Runbooks/WorkersHangAfterADeployAndWhatToDoAboutItBeforeTheNextOne`

// fixture is a company and a browser.
type fixture struct {
	*company.Company
	t       testing.TB
	browser context.Context
	gates   string // a folder: a script waits for a file with its task's name
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return newFixtureWith(t, nil)
}

// newFixtureWith lays a last hand on the files before the start.
func newFixtureWith(t testing.TB, prepare func(c *company.Company)) *fixture {
	t.Helper()
	program := chromium(t)
	f := &fixture{t: t, gates: filepath.Join(t.TempDir(), "gates")}
	must(t, os.Mkdir(f.gates, 0o700))
	f.Company = company.New(t, company.Options{Scenario: f.scenario, Prepare: prepare, Server: "ssh: {listen: 127.0.0.1:0, host_keys: [ssh_host_ed25519_key]}\n" + withChat(t) + withReceivers(t)})
	t.Cleanup(func() { os.RemoveAll(f.gates) }) // scripts that still wait give up then
	f.browser = start(t, program, publicKey(t, f.URL, f.CA))
	return f
}

// scenario is one whose script prints what would harm a page, and then waits
// until the test lets it go on.
func (f *fixture) scenario(*company.Company) (name, content string) {
	return "gated", fmt.Sprintf(`format: 1
name: gated
serial: 1
author: test@restartilka.invalid
kind: restart
services: [%s]
description: Prints something nasty, and waits for its gate
strategy: {batches: [1], task_timeout: 60s}
steps:
  run:
    script: |
      echo '<script>alert(1)</script><img src=x onerror=alert(2)>'
      printf '\033[31mred\033[0m \033[2J\033]0;owned\007 \342\200\256gnp.exe %%0200d\n' 0
      while [ ! -e %[2]s/$RESTARTILKA_TASK ]; do
        [ -d %[2]s ] || exit 1
        sleep 0.05
      done
      echo "restarted #service# on #host#"
`, demo.ServiceName, f.gates)
}

// release lets the script of a task go on.
func (f *fixture) release(task restart.Task) {
	f.t.Helper()
	must(f.t, os.WriteFile(filepath.Join(f.gates, task.ID), nil, 0o600))
}

// signedIn opens a tab and signs the developer in.
func (f *fixture) signedIn() *tab {
	f.t.Helper()
	return f.signedInAs(demo.Developer, f.DevToken)
}

// signedInAs opens a tab with cookies of its own for somebody.
func (f *fixture) signedInAs(name, secret string) *tab {
	f.t.Helper()
	b := open(f.browser, f.t, f.URL)
	f.signIn(b, name, secret)
	return b
}

func (f *fixture) signIn(b *tab, name, secret string) {
	f.t.Helper()
	b.visit("/runs")
	b.fill("#name", name)
	b.fill("#secret", secret)
	b.press("button.main")
	b.until("location.pathname === '/runs' && document.readyState === 'complete'")
}

// tones gives the tones of the hosts of a run's page, as an expression.
const tones = "[...document.querySelectorAll('.hosts-list > .host')].map(e => e.classList[1]).join(' ')"

// live tells whether a run's page says that it is live.
const live = "document.querySelector('#summary .connection').checkVisibility() && document.querySelector('#summary .connection').textContent === 'Live'"

// badge is what a run's page says of the run.
const badge = "document.querySelector('#summary .badge').textContent"

func TestSignIn(t *testing.T) {
	f := newFixture(t)
	b := open(f.browser, t, f.URL)
	b.visit("/runs?service=" + demo.ServiceName)
	if at := eval[string](b, "location.pathname"); at != "/sign-in" {
		t.Fatalf("nobody is signed in, and sees %s", at)
	}
	b.fill("#name", demo.Developer)
	b.fill("#secret", "not the token")
	b.press("button.main")
	b.until("document.querySelector('#password-secret-wrong') !== null && document.readyState === 'complete'")
	why := eval[string](b, "[...document.querySelectorAll('.wrong')].map(e => e.innerText.trim()).filter(t => t).join('|')")
	if strings.Count(why, ".") != 1 || !strings.HasSuffix(why, ".") || strings.Contains(why, "|") {
		t.Errorf("a wrong password is answered with %q, want one sentence", why)
	}
	if name := eval[string](b, "document.querySelector('#name').value"); name != demo.Developer {
		t.Errorf("the name was typed, and %q is left of it", name)
	}
	if secret := eval[string](b, "document.querySelector('#secret').value"); secret != "" {
		t.Errorf("the secret came back: %q", secret)
	}
	b.fill("#secret", f.DevToken) // the name is still there
	b.press("button.main")
	b.until("location.pathname === '/runs' && document.querySelector('#runs') !== null && document.readyState === 'complete'")
	if at := eval[string](b, "location.search"); at != "?service="+demo.ServiceName {
		t.Errorf("after the sign-in, %q is left of what was asked for", at)
	}
	if who := eval[string](b, "document.querySelector('.who span').textContent"); who != demo.Developer {
		t.Errorf("signed in as %q", who)
	}
	b.quiet("status of 401") // of the wrong password
}

// A run that is started elsewhere appears by itself, and its page goes along
// with it; nothing that people or scripts have written is taken for markup.
func TestARunIsFollowedLive(t *testing.T) {
	f := newFixture(t)
	b := f.signedIn()
	if text := eval[string](b, "document.querySelector('#runs').innerText"); !strings.Contains(text, "Nothing has been restarted yet") {
		t.Errorf("the empty list says %q", text)
	}
	eval[bool](b, "window.sameDocument = true")
	run := f.Start(reason)
	b.until("document.querySelector('#run-" + run.ID + "') !== null")
	if !eval[bool](b, "window.sameDocument === true") {
		t.Error("the list was loaded again")
	}
	if shown := eval[string](b, "document.querySelector('#runs .reason .clamp').textContent"); shown != reason {
		t.Errorf("the list shows the reason %q", shown)
	}

	b.press("#run-" + run.ID + " a.go")
	b.until("location.pathname === '/runs/" + run.ID + "' && document.readyState === 'complete'")
	eval[bool](b, "window.sameDocument = true")
	if shown := eval[string](b, "document.querySelector('#summary .reason').textContent"); shown != reason {
		t.Errorf("the run's page shows the reason %q", shown)
	}
	b.until(live)
	for i, want := range []string{"now wait wait", "done now wait", "done done now"} {
		b.until(tones + " === '" + want + "'")
		if said := eval[string](b, badge); said != "Running" {
			t.Errorf("with the hosts %q the run is %q", want, said)
		}
		f.release(run.Tasks[i])
	}
	b.until(tones + " === 'done done done' && " + badge + " === 'Completed'")
	b.until("!document.querySelector('#summary .connection').checkVisibility()") // nothing more will come
	if !eval[bool](b, "window.sameDocument === true") {
		t.Error("the run's page was loaded again")
	}

	b.press("#host-0 summary")
	b.until("document.querySelector('#host-0 pre') !== null")
	b.harmless("document.querySelector('#host-0 pre').textContent")
	b.press(".timeline > summary")
	b.until("document.querySelectorAll('.timeline .bars line.run').length === 4") // three hosts and the legend
	b.visit("/runs/" + run.ID + "/hosts/" + run.Tasks[0].Host)
	b.until("!document.querySelector('.viewer').hidden")
	b.harmless("[...document.querySelectorAll('.window > div')].map(e => e.textContent + '\\n').join('')")
	b.quiet()
}

// harmless looks at the output of the scenario's script.
func (b *tab) harmless(expression string) {
	b.t.Helper()
	output := eval[string](b, expression)
	for _, want := range []string{"<script>alert(1)</script><img src=x onerror=alert(2)>\n", "red", "owned", "gnp.exe", "restarted " + demo.ServiceName} {
		if !strings.Contains(output, want) {
			b.t.Errorf("%q is missing in the output %q", want, output)
		}
	}
	for _, bad := range []string{"\x1b", "\x07", "\u202e"} {
		if strings.Contains(output, bad) {
			b.t.Errorf("%q is in the output %q", bad, output)
		}
	}
	if n := eval[int](b, "document.querySelectorAll('main img, main script, main b').length"); n != 0 {
		b.t.Errorf("%d elements of the page come from texts", n)
	}
}

// On a telephone and on a desk, by day and by night, no page is wider than its
// window.
func TestPagesFit(t *testing.T) {
	f := newFixture(t)
	b := open(f.browser, t, f.URL)
	b.visit("/sign-in")
	f.fits(b, "sign-in")
	b.quiet()
	b = f.signedIn()
	f.fits(b, "empty")
	run := f.Start(reason)
	f.release(run.Tasks[0])
	b.visit("/runs/" + run.ID)
	b.until(tones + " === 'done now wait'")
	f.fits(b, "run")
	b.press("#host-0 summary")
	b.until("document.querySelector('#host-0 pre') !== null")
	f.fits(b, "run-open")
	b.visit("/runs")
	f.fits(b, "list")
	b.visit("/runs/" + run.ID + "/hosts/" + run.Tasks[0].Host)
	f.fits(b, "host")
	b.visit("/runs/" + strings.Repeat("0", len(run.ID)))
	f.fits(b, "problem")
	b.quiet("status of 404")
}

// wide gives what sticks out of a page, as an expression.
const wide = `(() => {
	const root = document.documentElement;
	if (root.scrollWidth <= root.clientWidth && document.body.scrollWidth <= root.clientWidth) return '';
	const out = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > root.clientWidth + .1);
	return root.scrollWidth + ' px of ' + root.clientWidth + ': ' + out.slice(0, 5).map(e => e.tagName + '.' + e.getAttribute('class')).join(' ');
})()`

func (f *fixture) fits(b *tab, name string) {
	f.t.Helper()
	for _, width := range []int64{1280, 390} {
		grounds := map[string]string{}
		for _, scheme := range []string{"light", "dark"} {
			b.show(width, scheme)
			if out := eval[string](b, wide); out != "" {
				f.t.Errorf("page %s, %s, sticks out: %s", name, scheme, out)
			}
			grounds[scheme] = eval[string](b, "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor + getComputedStyle(document.body).color")
			f.keep(b, fmt.Sprintf("%s-%s-%d", name, scheme, width))
		}
		if grounds["light"] == grounds["dark"] {
			f.t.Errorf("page %s at %d px is the same by day and by night: %s", name, width, grounds["dark"])
		}
	}
}

// keep saves a picture of a page in the folder that RESTARTILKA_SCREENSHOTS
// names, for people to look at.
func (f *fixture) keep(b *tab, name string) {
	f.t.Helper()
	dir := os.Getenv("RESTARTILKA_SCREENSHOTS")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	must(f.t, err)
	must(f.t, os.MkdirAll(dir, 0o755))
	must(f.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644))
}

// The server goes away and comes back under an open page: the page says so,
// finds it again by itself, and shows how the run ended.
func TestTheServerRestartsUnderAnOpenPage(t *testing.T) {
	f := newFixture(t)
	b := f.signedIn()
	run := f.Start(reason)
	b.visit("/runs/" + run.ID)
	eval[bool](b, "window.sameDocument = true")
	b.until(tones + " === 'now wait wait'")
	f.release(run.Tasks[0])
	b.until(tones + " === 'done now wait' && document.querySelector('#host-1 .state').textContent.startsWith('Running')") // so the stream is there
	f.StopServer()
	b.until("document.querySelector('#summary .connection.lost')?.checkVisibility() === true")
	f.release(run.Tasks[1]) // ends while there is no server
	f.StartServer()
	// A run that was interrupted waits for a person, who sees it on the page.
	b.until(tones + " === 'done done wait' && " + badge + " === 'Paused'")
	f.release(run.Tasks[2])
	_, err := f.Dev.Resume(t.Context(), run.ID)
	must(t, err)
	b.until(tones + " === 'done done done' && " + badge + " === 'Completed'")
	if !eval[bool](b, "window.sameDocument === true") {
		t.Error("the page was loaded again")
	}
	if rows := eval[string](b, "[...document.querySelectorAll('.hosts-list > .host, .cell, #summary, #acts, #said')].map(e => e.id).sort().join(' ')"); rows != "acts cell-0 cell-1 cell-2 host-0 host-1 host-2 said summary" {
		t.Errorf("after the server was away the page has %q", rows)
	}
	if lost := eval[bool](b, "document.querySelector('.connection.lost')?.checkVisibility() === true"); lost {
		t.Error("the page still says that the connection is lost")
	}
	b.quiet("net::ERR_", "htmx:sse:error: Failed to fetch") // while there was no server
}
