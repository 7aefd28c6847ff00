package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// keys presses keys one after another, where the focus is.
func (b *tab) keys(keys string) { b.t.Helper(); b.do(chromedp.KeyEvent(keys)) }

// focused describes what has the focus, and whether one can see that.
const focused = `(() => {
	const e = document.activeElement;
	const seen = getComputedStyle(e).outlineStyle !== 'none' && getComputedStyle(e).outlineWidth !== '0px';
	return (seen ? '' : 'UNSEEN ') + e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + (e.name ? '[' + e.name + ']' : '') + ' ' + (e.innerText ?? '').trim().replaceAll(/\s+/g, ' ').slice(0, 60);
})()`

// tabTo presses Tab until what has the focus fits the words; all that it comes
// by shows that it has the focus.
func (b *tab) tabTo(words string) {
	b.t.Helper()
	var way []string
	for range 60 {
		b.keys(kb.Tab)
		at := eval[string](b, focused)
		if strings.HasPrefix(at, "UNSEEN") && !strings.Contains(at, " body") {
			b.t.Errorf("the focus can't be seen: %s", at)
		}
		if strings.Contains(at, words) {
			return
		}
		way = append(way, at)
	}
	b.t.Fatalf("60 times Tab have not led to %q, but to %q", words, way)
}

// A person without a mouse signs in, finds a service, says why, looks at the
// plan, starts it, pauses and resumes the run, opens a host, and signs out.
func TestKeyboard(t *testing.T) {
	f := newFixture(t)
	b := open(f.browser, t, f.URL)
	b.visit("/runs")
	b.until("document.activeElement.id === 'name'")
	b.keys(demo.Developer)
	b.tabTo("input#secret")
	b.keys(f.DevToken + kb.Enter)
	b.until("location.pathname === '/runs' && document.readyState === 'complete'")

	b.tabTo("a Skip to content")
	b.keys(kb.Enter)
	b.until("document.activeElement.id === 'main'")

	b.show(390, "light") // on a phone the menu opens and leads on without a finger, too
	b.visit("/runs")
	b.tabTo("summary Menu")
	b.keys(kb.Enter)
	b.tabTo("a Services")
	b.keys(kb.Enter)
	b.until("location.pathname === '/services' && document.readyState === 'complete'")
	b.show(1280, "light")

	b.visit("/")
	b.tabTo("input#q")
	b.keys("hel")
	b.until("document.querySelectorAll('#offers a').length === 1")
	b.tabTo("a " + demo.ServiceName)
	b.keys(kb.Enter)
	b.until("location.pathname === '/start' && document.readyState === 'complete'")
	b.tabTo("textarea#reason")
	b.keys("workers hang since the deploy")
	b.tabTo("button Show the plan")
	b.keys(kb.Enter)
	b.until(onRun)
	run, err := f.Dev.Run(t.Context(), b.run())
	must(t, err)
	b.tabTo("button Restart 3 hosts")
	b.keys(kb.Enter)
	b.until(tones + " === 'now wait wait' && " + live)

	b.tabTo("button Pause")
	b.leave(func() { b.keys(" ") })
	b.until("document.querySelector('.callout')?.textContent.includes('A pause was asked for') && " + live)
	started, err := f.Dev.Run(t.Context(), run.ID)
	must(t, err)
	f.release(started.Tasks[0])
	b.until(badge + " === 'Paused' && document.querySelector('#acts form[action$=\"/resume\"]') !== null")
	b.tabTo("button Resume")
	b.leave(func() { b.keys(kb.Enter) })
	b.until(tones + " === 'done now wait' && " + live)
	b.tabTo("summary host1")
	b.keys(kb.Enter)
	b.until("document.querySelector('#host-0 pre') !== null")
	for _, task := range started.Tasks {
		f.release(task)
	}
	b.until(badge + " === 'Completed'")
	b.visit("/runs")
	b.tabTo("a " + demo.ServiceName)
	b.keys(kb.Enter)
	b.until("location.pathname === '/runs/" + run.ID + "' && document.readyState === 'complete'")

	eval[bool](b, "history.back(); true")
	b.until("location.pathname === '/runs' && document.readyState === 'complete' && document.querySelector('#run-" + run.ID + "') !== null")

	b.visit("/profile")
	b.tabTo("button Sign out")
	b.keys(kb.Enter)
	b.until("location.pathname === '/sign-in' && document.readyState === 'complete'")
	b.quiet()
}

// A person without a mouse takes the second step, another one approves, and the
// first decides about a host of which nothing is known.
func TestKeyboardSecondStepApprovalAndDecision(t *testing.T) {
	f := newFixtureWith(t, askApproval)
	token, err := f.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "approver", Owner: "lead", Roles: []restart.Role{restart.RoleAdmin}})
	must(t, err)
	dev, lead := f.signedIn(), f.signedInAs("lead", token.Secret)
	run, err := f.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: "workers hang since the deploy"}, "")
	must(t, err)

	dev.visit("/runs/" + run.ID)
	dev.tabTo("button Ask for approval to restart 3 hosts")
	dev.keys(kb.Enter)
	dev.until("document.activeElement.id === 'typed' && document.readyState === 'complete'") // nothing to look for
	dev.keys(demo.ServiceName)
	dev.tabTo("button Ask for approval to restart 3 hosts")
	dev.keys(kb.Enter)
	dev.until("document.readyState === 'complete' && " + badge + " === 'Awaiting approval' && " + live)

	lead.visit("/approvals")
	lead.until("document.querySelector('#run-" + run.ID + "') !== null")
	lead.tabTo("a Look at the plan and decide")
	lead.keys(kb.Enter)
	lead.until("document.readyState === 'complete' && document.querySelector('#acts form[action$=\"/approve\"]') !== null && " + live)
	lead.tabTo("[reason]")
	lead.keys("looked at the graphs")
	lead.tabTo("button Approve")
	lead.leave(func() { lead.keys(kb.Enter) })
	lead.until("document.readyState === 'complete' && document.querySelector('#summary').innerText.includes('Approved by lead')")

	dev.until(tones + " === 'now wait wait' && " + live)
	_, err = f.Dev.ForceAbort(t.Context(), run.ID)
	must(t, err)
	dev.until(badge + " === 'Aborted' && " + tones + " === 'unknown skip skip' && document.querySelector('#acts form[action$=\"/decide\"]') !== null")
	dev.tabTo("summary " + eval[string](dev, "document.querySelector('#acts .act:nth-of-type(1) summary').innerText"))
	dev.keys(kb.Enter)
	dev.tabTo("[verdict]")
	dev.keys(" ")
	dev.tabTo("[reason]")
	dev.keys("it has a new pid since noon")
	dev.tabTo("button " + eval[string](dev, "document.querySelector('#acts form[action$=\"/decide\"] button').innerText"))
	dev.leave(func() { dev.keys(kb.Enter) })
	dev.until("document.querySelector('#host-0 .state').textContent.includes('decided') && document.querySelector('#acts form[action$=\"/decide\"]') === null")
	dev.quiet()
	lead.quiet()
}
