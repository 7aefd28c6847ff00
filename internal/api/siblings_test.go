package api_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

const roomAgain = `{"reason":"the disk has room again"}`

// failed makes a run of anna's that has failed on web2 and is aborted.
func (v *verbs) failed() restart.Run {
	v.t.Helper()
	v.Agents.Set("web2", apitest.Fails)
	run := start(v.t, v.Server, v.anna, draft(v.t, v.Server, v.anna, "").ID)
	v.untilState(run.ID, restart.RunPaused)
	decode[restart.Run](v.t, v.ask(v.anna, run.ID, "abort", ""), 200)
	run = v.untilState(run.ID, restart.RunAborted)
	v.Agents.Set("web2", apitest.Succeeds)
	return run
}

// Two people retry the same run: both have planned before either starts. What
// the first has done, the second does not do once more unasked.
func TestTwoRetriesOfOneRun(t *testing.T) {
	v := newVerbs(t)
	run := v.failed()
	retry := func(token string) restart.Run {
		t.Helper()
		return decode[restart.Run](t, v.ask(token, run.ID, "retry", roomAgain), 201)
	}
	one, two := retry(v.anna), retry(v.admin)
	start(t, v.Server, v.anna, one.ID)
	if again := start(t, v.Server, v.anna, one.ID); again.ID != one.ID { // a double click is no second run
		t.Errorf("%+v", again)
	}
	v.untilState(one.ID, restart.RunCompleted)
	p := problem(t, v.ask(v.admin, two.ID, "start", "{}"), 409)
	if p.Code != restart.CodePlanChanged || !strings.Contains(p.Detail, one.ID) || !strings.Contains(p.Hint, "plan again") {
		t.Errorf("start of the second: %+v", p)
	}
	if got := v.records(two.ID, audit.RunRefused); len(got) != 1 {
		t.Errorf("refusals on record: %+v", got)
	}
	// Who plans again is told, and may.
	three := retry(v.admin)
	if !strings.Contains(strings.Join(three.Plan.Warnings, "\n"), one.ID) || len(three.Plan.Siblings) != 1 {
		t.Errorf("the new plan knows %q and warns %q", three.Plan.Siblings, three.Plan.Warnings)
	}
	start(t, v.Server, v.admin, three.ID)
	v.untilState(three.ID, restart.RunCompleted)
}

func TestTwoRetriesStartAtOnce(t *testing.T) {
	v := newVerbs(t)
	run := v.failed()
	tokens := []string{v.anna, v.admin}
	var drafts []restart.Run
	for _, token := range tokens {
		drafts = append(drafts, decode[restart.Run](t, v.ask(token, run.ID, "retry", roomAgain), 201))
	}
	answers := make([]apitest.Answer, len(drafts))
	var wait sync.WaitGroup
	for i, d := range drafts {
		wait.Go(func() { answers[i] = v.ask(tokens[i], d.ID, "start", "{}") })
	}
	wait.Wait()
	if a, b := answers[0].StatusCode, answers[1].StatusCode; a+b != 200+409 {
		t.Fatalf("answers %d and %d", a, b)
	}
}
