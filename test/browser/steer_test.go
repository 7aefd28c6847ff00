package browser

import (
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

// A run is steered from its page alone: paused, resumed, aborted by force; the
// host that is unknown then is decided about, and what is left is retried.
func TestARunIsSteeredFromItsPage(t *testing.T) {
	f := newFixture(t)
	b := f.signedIn()
	run := f.Start("workers hang since the deploy")
	b.visit("/runs/" + run.ID)
	b.until(tones + " === 'now wait wait' && " + live)
	form := func(verb string) string { return `#acts form[action$="/` + verb + `"]` }
	there := func(verb string) string { return "document.querySelector('" + form(verb) + "') !== null" }

	b.submit(form("pause") + " button")
	b.until("document.querySelector('.callout')?.textContent.includes('A pause was asked for') && " + live)
	f.keep(b, "steer-running")
	f.release(run.Tasks[0])
	b.until(badge + " === 'Paused' && " + there("resume")) // the buttons follow the run
	b.submit(form("resume") + " button")
	b.until(tones + " === 'done now wait' && document.querySelector('#host-1 .state').textContent.startsWith('Running') && " + there("force-abort") + " && " + live)

	unfold := func(verb string) { t.Helper(); b.press(`#acts details:has(form[action$="/` + verb + `"]) > summary`) }
	if tall := eval[float64](b, `Math.min(...[...document.querySelectorAll('#acts :is(button, summary)')].filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().height))`); tall < 44 {
		t.Errorf("a thumb has %.0f px to hit", tall)
	}
	if eval[bool](b, `document.querySelector('#acts form[action$="/abort"] button').checkVisibility()`) {
		t.Error("one press aborts a run")
	}
	unfold("force-abort")
	b.submit(form("force-abort") + " button")
	b.until(badge + " === 'Aborted' && " + tones + " === 'done unknown skip' && " + there("decide") + " && " + there("retry"))
	unfold("decide")
	f.keep(b, "steer-decide")
	b.press(form("decide") + " [value=happened]")
	b.fill(form("decide")+" [name=reason]", "it has a new pid since noon")
	b.submit(form("decide") + " button")
	b.until(tones + " === 'done done skip' && document.querySelector('#host-1 .state').textContent.includes('decided: it happened')")

	unfold("retry")
	b.fill(form("retry")+" [name=reason]", "the network is repaired")
	b.submit(form("retry") + " button")
	b.until(badge + " === 'Draft' && document.querySelector('button.green') !== null")
	f.keep(b, "steer-plan")
	b.submit("button.green")
	b.until(tones + " === 'now' && " + live)
	id := b.run()
	again, err := f.Dev.Run(t.Context(), id)
	must(t, err)
	f.release(again.Tasks[0])
	b.until(badge + " === 'Completed'")
	if got := f.Until(id, restart.RunCompleted); got.Parent != run.ID || got.Via != "web" {
		t.Errorf("%+v", got)
	}
	b.quiet()
}
