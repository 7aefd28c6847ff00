package browser

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// tuned is a scenario with a parameter of each kind.
const tuned = `format: 1
name: tuned
serial: 1
author: test@restartilka.invalid
kind: restart
services: [hello]
description: Restarts with settings
params:
  mode: {type: enum, values: [gentle, quick], description: How workers end}
  warm: {type: bool, default: "true"}
  workers: {type: int, min: 1, max: 8, default: "4"}
  wait: {type: duration, default: 1s}
  label: {type: string, default: blue}
steps:
  run: {script: "echo #host# $PARAM_MODE $PARAM_WARM $PARAM_WORKERS $PARAM_WAIT $PARAM_LABEL"}
`

// inventory of the server, which reads it again when it changes.
func inventoryOf(c *company.Company) string { return filepath.Join(c.ServerDir(), "inventory.yaml") }

// twoEnvironments adds a group in production with the same hosts, and tuned.
func twoEnvironments(t *testing.T) func(c *company.Company) {
	return func(c *company.Company) {
		var names []string
		for _, h := range c.Hosts {
			names = append(names, h.Name)
			change(t, filepath.Join(h.Dir, "agent.yaml"), "groups: [", "groups: [shop_hello-production, ", "environments: [", "environments: [production, ")
			must(t, os.WriteFile(filepath.Join(h.Dir, "scenarios.d", "tuned.yaml"), []byte(tuned), 0o600))
		}
		must(t, os.WriteFile(filepath.Join(c.ServerDir(), "scenarios", "tuned.yaml"), []byte(tuned), 0o600))
		change(t, inventoryOf(c), "\nhosts:\n", "\n  - {name: shop_hello-production, project: shop, environment: production, services: [hello], hosts: ["+strings.Join(names, ", ")+"]}\nhosts:\n")
	}
}

func change(t *testing.T, file string, replacements ...string) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	text := strings.NewReplacer(replacements...).Replace(string(b))
	if text == string(b) {
		t.Fatalf("nothing to change in %s", file)
	}
	must(t, os.WriteFile(file, []byte(text), 0o600))
}

// prefilled is an address as an alert would have it.
func prefilled(environment, reason string) string {
	return "/start?" + url.Values{
		"service": {demo.ServiceName}, "env": {environment}, "scenario": {"tuned"}, "ticket": {"WEB-17"}, "reason": {reason}, "param.workers": {"3"}, "param.mode": {"quick"},
	}.Encode()
}

// onRun is whether the page is that of a run, and not one of a step to it.
const onRun = `/^\/runs\/[^/]+$/.test(location.pathname) && document.readyState === 'complete'`

// run gives the run that the page is of.
func (b *tab) run() string {
	b.t.Helper()
	path := eval[string](b, "location.pathname")
	id, ok := strings.CutPrefix(path, "/runs/")
	if !ok || strings.Contains(id, "/") {
		b.t.Fatalf("%s is not the page of a run", path)
	}
	return id
}

// retype types over what is in a field, and choose chooses an option.
func (b *tab) retype(field, text string) {
	b.t.Helper()
	eval[bool](b, "(document.querySelector('"+field+"').select(), true)")
	b.fill(field, text)
}

func (b *tab) choose(field, value string) {
	b.t.Helper()
	eval[bool](b, "(e => { e.value = '"+value+"'; return e.dispatchEvent(new Event('change', {bubbles: true})) })(document.querySelector('"+field+"'))")
}

// A developer goes the whole way: a service, the form, the plan, the green
// button, the run; in production with a second step; and again when the plan has
// changed meanwhile.
func TestFromTheFirstPageToARun(t *testing.T) {
	f := newFixtureWith(t, twoEnvironments(t))
	b := f.signedIn()

	b.visit("/")
	f.fits(b, "home")
	b.fill("#q", "zzz")
	b.until("document.querySelector('#offers').innerText.includes('No service fits')")
	b.retype("#q", "hel")
	b.until("document.querySelectorAll('#offers a').length === 1 && document.querySelector('#offers a strong').textContent === 'hello'")
	b.press("#offers a")
	b.until("location.pathname === '/start' && document.readyState === 'complete'")
	f.fits(b, "start")
	shown := "[...document.querySelectorAll('.params')].filter(e => e.checkVisibility()).length"
	if n := eval[int](b, shown); n != 0 {
		t.Errorf("%d scenarios show parameters, though the first has none", n)
	}
	b.press("[name=scenario][value=tuned]")
	b.until(shown + " === 1")
	b.press("[name=env][value=testing]")
	b.press("#ask button.main")
	b.until("document.querySelectorAll('.wrong').length === 2 && document.readyState === 'complete'") // mode and reason
	if id := eval[string](b, "document.activeElement.id"); id != "tuned.param.mode" {
		t.Errorf("the focus is on %q, want the first field that is wrong", id)
	}
	f.fits(b, "start-wrong")

	b.visit(prefilled("testing", "too short"))
	b.press("#ask button.main")
	b.until("document.querySelector('#ask-reason-wrong') !== null && document.readyState === 'complete'")
	kept := eval[string](b, `['ticket', 'reason', 'tuned.param.workers', 'tuned.param.mode'].map(id => document.getElementById(id).value).join(' ') + ' ' + document.querySelector('[name=env]:checked').value + ' ' + document.activeElement.id`)
	if kept != "WEB-17 too short 3 quick testing reason" {
		t.Errorf("kept: %q", kept)
	}
	b.retype("#reason", reason)
	b.press("#ask button.main")
	b.until("document.querySelector('#plan') !== null && document.readyState === 'complete'")
	b.until("document.querySelector('#asked').innerText.includes('Asked again at')")
	f.fits(b, "plan")
	if said := eval[string](b, "document.querySelector('.summary .reason').textContent"); said != reason {
		t.Errorf("the reason is shown as %q", said)
	}
	b.press(`[name=hosts][value="` + f.Hosts[1].Name + `"]`)
	b.until("document.querySelector('button.green').textContent === 'Restart 2 hosts of hello in testing'")
	b.choose("#step-host", f.Hosts[2].Name)
	b.until("document.querySelector('#scripts-text').innerText.includes('echo " + f.Hosts[2].Name + "')")
	b.press("button.green")
	b.until(badge + " === 'Completed'")
	run, err := f.Dev.Run(t.Context(), b.run())
	must(t, err)
	if len(run.Tasks) != 2 || run.Ticket != "WEB-17" || run.Params["workers"] != "3" || run.Params["warm"] != "true" || run.Via != "web" {
		t.Errorf("%+v", run)
	}

	f.throughProduction(t, b)
	f.planChanges(t, b)
	f.homeFollows(t, b)
	b.quiet("status of 422", "status of 409")
}

// throughProduction takes the second step.
func (f *fixture) throughProduction(t *testing.T, b *tab) {
	b.visit(prefilled("production", "502s since the 14:00 deploy"))
	b.press("#ask button.main")
	b.until("document.querySelector('#plan') !== null && document.readyState === 'complete'")
	text := eval[string](b, "document.querySelector('main').innerText")
	for _, want := range []string{"not known yet", "Last restart", "2 of 3 stay untouched"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan does not say %q:\n%s", want, text)
		}
	}
	b.press(`[name=hosts][value="` + f.Hosts[0].Name + `"]`)
	b.press("button.green")
	b.until("document.querySelector('#typed') !== null && document.readyState === 'complete'")
	f.fits(b, "confirm")
	b.leave(func() { b.do(chromedp.Reload()) }) // as a phone does with a tab that it had put away: nothing is sent again
	b.until("document.querySelector('#typed') !== null && location.pathname.endsWith('/confirm') && document.readyState === 'complete'")
	b.fill("#typed", "world")
	b.press("button.green")
	b.until("document.querySelector('#confirm-typed-wrong') !== null && document.readyState === 'complete'")
	b.retype("#typed", demo.ServiceName)
	b.press("button.green")
	b.until(badge + " === 'Completed'")
	run, err := f.Dev.Run(t.Context(), b.run())
	must(t, err)
	if len(run.Tasks) != 2 || run.Environment != "production" {
		t.Errorf("%s over %d hosts", run.Environment, len(run.Tasks))
	}
}

// planChanges takes a host out of the group under a plan that is open.
func (f *fixture) planChanges(t *testing.T, b *tab) {
	b.visit(prefilled("testing", "502s since the 14:00 deploy"))
	b.press("#ask button.main")
	b.until("document.querySelector('#plan') !== null && document.readyState === 'complete'")
	text := eval[string](b, "document.querySelector('.numbers').innerText")
	if !strings.Contains(text, "the median of the last times (2 hosts, 1 run)") {
		t.Errorf("the estimate is not of the run before: %s", text)
	}
	b.press(`[name=hosts][value="` + f.Hosts[1].Name + `"]`)
	shown := eval[string](b, "location.pathname")
	change(t, inventoryOf(f.Company), "services: [hello]\n    hosts: ["+f.Hosts[0].Name+", ", "services: [hello]\n    hosts: [")
	b.press("button.green")
	b.until("document.querySelector('#changed') !== null && document.readyState === 'complete'")
	f.fits(b, "plan-changed")
	said := eval[string](b, "document.querySelector('#changed').innerText")
	ticks := eval[string](b, "[...document.querySelectorAll('[name=hosts]')].map(e => e.value + ' ' + e.checked).join(' ')")
	if !strings.Contains(said, f.Hosts[0].Name+" is not in the group any more") || ticks != f.Hosts[1].Name+" false "+f.Hosts[2].Name+" true" {
		t.Errorf("%q with %q", said, ticks)
	}
	if at := eval[string](b, "location.pathname"); at == shown {
		t.Error("the old plan is shown again")
	}
	b.press("button.green")
	b.until(badge + " === 'Completed'")
	run, err := f.Dev.Run(t.Context(), b.run())
	must(t, err)
	if len(run.Tasks) != 1 || run.Tasks[0].Host != f.Hosts[2].Name {
		t.Errorf("%+v", run.Tasks)
	}
}

// homeFollows looks at the first page while a run goes on, and is paused, that
// was begun elsewhere. What somebody types there meanwhile stays, and nothing
// above what goes on moves: that something waits is announced.
func (f *fixture) homeFollows(t *testing.T, b *tab) {
	b.visit("/")
	b.fill("#q", "hel")
	b.until("document.querySelectorAll('#offers a').length === 1 && document.querySelector('#offers').innerText.includes('last used')")
	run, err := f.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Environment: demo.Environment, Scenario: "gated", Reason: "workers hang since the deploy"}, "")
	must(t, err)
	run, err = f.Dev.Start(t.Context(), run.ID, wire.StartRequest{})
	must(t, err)
	b.until("document.querySelector('#going #home-" + run.ID + "') !== null && document.querySelector('#waits section') === null")
	const places = "[...document.querySelectorAll('#q, #offers a, #now')].map(e => Math.round(e.getBoundingClientRect().top)).join(' ')"
	before := eval[string](b, places)
	if announced := eval[string](b, "document.querySelector('#news').innerText"); announced != "" {
		t.Errorf("announced before there is anything: %q", announced)
	}
	_, err = f.Dev.Pause(t.Context(), run.ID)
	must(t, err)
	f.release(run.Tasks[0])
	b.until("document.querySelector('#going #home-" + run.ID + "') === null && document.querySelector('#news a')?.checkVisibility() === true")
	if after := eval[string](b, places); after != before {
		t.Errorf("search, services and runs stood at %s, and stand at %s", before, after)
	}
	if typed := eval[string](b, "document.querySelector('#q').value + ' ' + document.activeElement.id"); typed != "hel q" {
		t.Errorf("of what was typed is left: %q", typed)
	}
	f.fits(b, "home-news")
	b.press("#news a")
	b.until("document.readyState === 'complete' && document.querySelector('#waits #home-" + run.ID + "')?.innerText.includes('Paused') && document.querySelector('#news a') === null")
	f.fits(b, "home-waits")
	_, err = f.Dev.Abort(t.Context(), run.ID)
	must(t, err)
	b.until("document.querySelector('#news a') !== null")
	b.visit("/")
	b.until("document.querySelector('#waits section') === null")
}

// What an address names and is not there is said, and nothing is chosen; an empty
// form is answered by the page, in its language, and never by the browser.
func TestFormsAnswerByThemselves(t *testing.T) {
	f := newFixtureWith(t, twoEnvironments(t))
	b := open(f.browser, t, f.URL)
	b.visit("/sign-in")
	b.press("button.main")
	b.until("document.querySelector('#password-name-wrong') !== null && document.activeElement.id === 'name'")
	b.fill("#name", demo.Developer)
	b.press("button.main")
	b.until("document.querySelector('#password-secret-wrong') !== null && document.activeElement.id === 'secret' && document.querySelector('#name').value === '" + demo.Developer + "'")
	f.signIn(b, demo.Developer, f.DevToken)

	b.visit("/start?service=" + demo.ServiceName + "&env=staging&group=nowhere&param.speed=9")
	if chosen := eval[int](b, "document.querySelectorAll('[name=env]:checked').length"); chosen != 0 {
		t.Error("an environment is chosen in place of the one that is not there")
	}
	if group := eval[string](b, "document.querySelector('#group').value"); group != "" {
		t.Errorf("group %q is chosen", group)
	}
	f.fits(b, "start-not-there")

	b.visit(prefilled("testing", "workers hang since noon"))
	one := eval[float64](b, "document.querySelector('#reason').offsetHeight")
	b.retype("#reason", strings.Repeat("the same as yesterday and the day before it. ", 10))
	if several := eval[float64](b, "document.querySelector('#reason').offsetHeight"); several <= one {
		t.Errorf("the field of the reason is %v px high with one line, and %v with many", one, several)
	}
	b.retype("#reason", "workers hang since noon")
	b.do(chromedp.SendKeys("#reason", "\r")) // a line is all that it holds
	b.until("document.querySelector('#plan') !== null && document.readyState === 'complete'")
	b.until("document.querySelector('#asked').innerText.includes('Asked again at')")

	// On a phone the button is there at once, and a host takes two or three lines.
	b.show(360, "dark")
	for _, at := range []string{"0", "document.body.scrollHeight"} {
		eval[bool](b, "(scrollTo(0, "+at+"), true)")
		if seen := eval[bool](b, "(r => r.top >= 0 && r.bottom <= innerHeight)(document.querySelector('button.green').getBoundingClientRect())"); !seen {
			t.Errorf("scrolled to %s the button is not to be seen", at)
		}
	}
	eval[bool](b, "(scrollTo(0, 0), true)")
	const height = "document.querySelector('.planned tbody tr').offsetHeight"
	short := eval[float64](b, height)
	if short > 100 {
		t.Errorf("a host takes %v px", short)
	}
	b.press(".planned .tap summary")
	if all := eval[float64](b, height); all <= short {
		t.Errorf("with its details a host takes %v px, without them %v", all, short)
	}
	f.fits(b, "plan-phone")
	b.show(1280, "light")

	// Ticks, all at once; what is narrowed away stays as it is.
	const ticks = "[...document.querySelectorAll('[name=hosts]')].map(e => e.checked ? 'x' : '-').join('')"
	b.press("[data-tick=none]")
	if got := eval[string](b, ticks+" + document.querySelector('button.green').disabled"); got != "---true" {
		t.Errorf("with no tick: %s", got)
	}
	b.press("#narrow-refused")
	if n := eval[int](b, "document.querySelectorAll('.planned tbody tr:not([hidden])').length"); n != 0 {
		t.Errorf("%d hosts would refuse", n)
	}
	b.press("[data-tick=all]")
	b.press("#narrow-refused")
	if got := eval[string](b, ticks); got != "---" {
		t.Errorf("hosts that were not shown are ticked: %s", got)
	}
	b.press("[data-tick=all]")
	b.until(ticks + " === 'xxx' && document.querySelector('button.green').textContent.startsWith('Restart 3 hosts')")
	b.press("button.green")
	b.until(badge + " === 'Completed'")

	// The reasons of before fill the field.
	b.visit("/start?service=" + demo.ServiceName)
	b.press("form .field summary")
	b.press("#reasons button")
	if got := eval[string](b, "document.querySelector('#reason').value"); got != "workers hang since noon" {
		t.Errorf("the reason is %q", got)
	}
	f.fits(b, "start-reasons")

	// Days of the history are the reader's.
	b.zone("America/New_York")
	b.visit("/runs")
	b.press(".fold > summary")
	eval[bool](b, "(document.querySelector('#f-since').value = '2026-01-31', true)")
	f.fits(b, "runs-days")
	b.press(".filter .row button")
	b.until("location.search.includes('zone=America%2FNew_York') && document.readyState === 'complete'")
	if got := eval[string](b, "document.querySelector('#f-since').value + document.querySelector('.zone').textContent"); got != "2026-01-31(America/New_York)" {
		t.Errorf("the day is %s", got)
	}
	b.quiet("status of 422")
}

// The same way without JavaScript.
func TestTheWholeWayWithoutJavaScript(t *testing.T) {
	f := newFixtureWith(t, twoEnvironments(t))
	b := f.signedIn()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	b.visit("/")
	if eval[bool](b, "window.htmx !== undefined") {
		t.Fatal("scripts are run")
	}
	b.fill("#q", "hel")
	b.press(".chooser button")
	b.until("location.search === '?q=hel' && document.readyState === 'complete'")
	b.press("#offers a")
	b.until("document.querySelector('#ask') !== null && document.readyState === 'complete'")
	b.press("[name=env][value=production]")
	b.press("[name=scenario][value=tuned]")
	b.choose(`[name="tuned.param.mode"]`, "gentle")
	b.press(`[name="tuned.param.warm"]`)
	b.fill("#reason", "workers hang since noon")
	b.press("#ask button.main")
	b.until("document.querySelector('#plan') !== null && document.readyState === 'complete'")
	b.press(`[name=hosts][value="` + f.Hosts[1].Name + `"]`)
	b.press(".asked button") // ask the hosts again: what was unticked stays so
	b.until("document.querySelector('#asked').innerText.includes('Asked again at') && document.readyState === 'complete'")
	if on := eval[bool](b, `document.querySelector('[name=hosts][value="`+f.Hosts[1].Name+`"]').checked`); on {
		t.Error("the host that was unticked is ticked again")
	}
	b.press("#narrow-refused") // none does; what is ticked stays so
	b.submit(".narrow button")
	if n := eval[int](b, "[...document.querySelectorAll('.planned tbody tr')].filter(e => e.checkVisibility()).length"); n != 0 {
		t.Errorf("%d hosts would refuse", n)
	}
	b.press("button.green")
	b.until("document.querySelector('#typed') !== null && document.readyState === 'complete'")
	b.fill("#typed", demo.ServiceName)
	b.press("button.green")
	b.until(onRun)
	run := f.Until(b.run(), restart.RunCompleted)
	if len(run.Tasks) != 2 || run.Params["warm"] != "false" || run.Params["mode"] != "gentle" {
		t.Errorf("%d hosts, %v", len(run.Tasks), run.Params)
	}
	for _, trouble := range b.heard() {
		t.Errorf("unexpected: %s", trouble)
	}
}
