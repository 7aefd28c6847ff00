package web

import (
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// TestThePlanInNumbers: the page says what the strategy means for these hosts.
func TestThePlanInNumbers(t *testing.T) {
	f := newFixture(t)
	cookie := f.signIn()
	show := func(language string, change func(p *restart.Plan)) string {
		run := f.newRun("shop", 1, 2)
		run.State, run.Tasks = restart.RunDraft, nil
		run.Plan.Deadline = restart.Duration(2 * time.Minute)
		run.Plan.Resolved = &restart.Resolved{Healthy: 3, Keep: 2, Longest: restart.Duration(90 * time.Minute)}
		change(run.Plan)
		f.create(run)
		return f.do("GET", "/runs/"+run.ID, "", "Cookie", cookie, "Accept-Language", language).body
	}
	full := func(p *restart.Plan) {
		p.Strategy.MinAvailable = "N-1"
		p.Resolved.WhenDown = restart.WhenDownSomeHealthy
		p.Warnings = []string{"the inventory is old"}
		p.Resolved.Warnings = []string{"batch 2 is <wide>"}
	}
	wants(t, show("en", full), "The inventory is old", "Batch 2 is &lt;wide&gt;", "at least 2 of 3 healthy (min_available N-1)", "when_down is not used: a host was healthy",
		"each host healthy within 2\u00a0min; at most 1\u00a0h 30\u00a0min in all")
	wants(t, show("ru", full), "не меньше 2 из 3 здоровых (min_available N-1)", "when_down не используется: был здоровый хост",
		"каждый хост здоров не позже чем через 2\u00a0мин; всего не больше 1\u00a0ч 30\u00a0мин")
	down := show("en", func(p *restart.Plan) {
		p.Strategy.MinAvailable, p.Deadline = "3", 0
		p.Resolved = &restart.Resolved{Keep: 3, WhenDown: restart.WhenDownUsed, Longest: restart.Duration(time.Hour)}
	})
	wants(t, down, "no host was healthy: min_available 3 has nothing to keep", "the batches of when_down are used", "<dd>at most 1\u00a0h in all")
	lacks(t, down, "each host healthy within")
	older := show("en", func(p *restart.Plan) { p.Resolved = nil })
	lacks(t, older, "min_available", "at most 1 h", "when_down")
}
