package browser

import "testing"

func TestFrame(t *testing.T) {
	f := newFixture(t)
	f.times()
	f.dropped()
	f.unsent()
}

// Times are those of the reader's zone, by the day there, with UTC in their
// titles; one press shows UTC on every page. What htmx brings is treated alike.
func (f *fixture) times() {
	b := open(f.browser, f.t, f.URL)
	b.zone("Asia/Kathmandu")
	f.signIn(b, "dana", f.DevToken)
	run := f.Start("workers hang since the deploy")
	b.until("document.querySelector('#run-" + run.ID + " time') !== null")
	const shown, exact = "document.querySelector('#runs time').textContent", "document.querySelector('#runs time').title"
	local := run.CreatedAt.UTC().Add(5*3600e9 + 45*60e9)
	b.until(shown + " === '" + local.Format("15:04:05") + "'")
	if title := eval[string](b, exact); title != run.CreatedAt.UTC().Format("2006-01-02 15:04:05 UTC") {
		f.t.Errorf("the title of a time is %q", title)
	}
	if said := eval[string](b, "document.querySelector('#times').textContent"); said != "Times are in your zone, Asia/Kathmandu (UTC+5:45)." && said != "Times are in your zone, Asia/Katmandu (UTC+5:45)." {
		f.t.Errorf("the footer says %q", said)
	}
	b.press("#times-turn")
	b.until(shown + " === '" + run.CreatedAt.UTC().Format("15:04:05 UTC") + "' && document.querySelector('#times').textContent === 'All times are UTC.'")
	b.visit("/runs/" + run.ID)
	b.until(live + " && document.querySelector('#summary time').textContent === '" + run.CreatedAt.UTC().Format("15:04:05 UTC") + "'")
	b.press("#times-turn")
	for _, task := range run.Tasks {
		f.release(task)
	}
	b.until(badge + " === 'Completed' && document.querySelector('#summary time').textContent === '" + local.Format("15:04:05") + "'")
	b.quiet()
}

// What is pressed while the server is away is not sent, and says so; what was
// typed is still there, and goes out once the server is back.
func (f *fixture) unsent() {
	b := f.signedIn()
	b.visit("/profile")
	b.press("section[aria-labelledby=tokens] summary")
	b.fill("#token-name", "night shift")
	f.StopServer()
	b.press("form[action='/profile/token'] button.main")
	b.until("document.querySelector('#away').textContent.startsWith('Not sent') && document.querySelector('#away').checkVisibility()")
	if at, name := eval[string](b, "location.pathname"), eval[string](b, "document.querySelector('#token-name').value"); at != "/profile" || name != "night shift" {
		f.t.Errorf("on %s, %q is left of what was typed", at, name)
	}
	f.keep(b, "unsent")
	f.StartServer()
	b.until("document.querySelector('#away').textContent === ''") // it is asked for again
	b.press("form[action='/profile/token'] button.main")
	b.until("document.querySelector('#new-token') !== null && document.readyState === 'complete'")
	b.quiet("net::ERR_") // while there was no server
}
