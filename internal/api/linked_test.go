package api_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// A freeze keeps a retry from starting, as it does any run. It keeps nobody from
// saying what became of a host, nor from putting a drained one back.
func TestFreezesBindRetriesAndNoUndrain(t *testing.T) {
	v := newVerbs(t)
	v.shelf("balanced.yaml", balanced)
	undecided := v.unknown()
	decode[restart.Run](t, v.ask(v.anna, undecided.ID, "abort", ""), 200)
	v.untilState(undecided.ID, restart.RunAborted)
	v.Agents.Set("web1", apitest.Fails)
	run := decode[restart.Run](t, v.Request("POST", "/api/v1/runs", v.anna, []byte(strings.TrimSuffix(shopRestart, "}")+`,"scenario":"balanced-restart","start":true}`), nil), 201)
	run = v.untilState(run.ID, restart.RunPaused)
	decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200)
	v.untilState(run.ID, restart.RunAborted)
	drained := store.TaskChange{ID: run.Tasks[0].ID, Drained: new(true), FinishedAt: new(time.Now().Add(-time.Minute))}
	if _, err := v.Store.Apply(t.Context(), store.Change{RunID: run.ID, Tasks: []store.TaskChange{drained}}); err != nil {
		t.Fatal(err)
	}
	v.Agents.Set("web1", apitest.Succeeds)
	f := freeze(t, v.Server, v.admin, "")

	if got := decode[restart.Run](t, v.ask(v.admin, undecided.ID, "decide", decision("web1", restart.VerdictHappened)), 200); got.Tasks[0].Decision == nil {
		t.Error("no decision in a freeze")
	}
	again := decode[restart.Run](t, v.ask(v.anna, run.ID, "retry", `{"reason":"the disk has room again"}`), 201)
	if !strings.Contains(strings.Join(again.Plan.Warnings, "\n"), "production is frozen until") {
		t.Errorf("a retry in a freeze warns: %v", again.Plan.Warnings)
	}
	p := problem(t, v.ask(v.anna, again.ID, "start", "{}"), 409)
	if p.Code != restart.CodeFrozen || !strings.Contains(p.Hint, f.ID) {
		t.Errorf("start of a retry: %+v", p)
	}
	if p := problem(t, v.ask(v.anna, run.ID, "retry", `{"reason":"the disk has room again","start":true}`), 409); p.Code != restart.CodeFrozen {
		t.Errorf("retry at once: %+v", p)
	}
	back := decode[restart.Run](t, v.ask(v.anna, run.ID, "undrain", `{"reason":"repaired by hand, it answers"}`), 201)
	if strings.Contains(strings.Join(back.Plan.Warnings, "\n"), "frozen") {
		t.Errorf("an undrain in a freeze warns: %v", back.Plan.Warnings)
	}
	start(t, v.Server, v.anna, back.ID)
	if got := v.untilState(back.ID, restart.RunCompleted); got.BreakGlass || v.get(run.ID).Tasks[0].Drained {
		t.Errorf("undrain: %s", got.Summary())
	}
	// The glass is broken for a retry as for any run.
	sure := v.Token("anna", developer, restart.RoleBreakGlass)
	if got := decode[restart.Run](t, v.ask(sure, again.ID, "start", `{"break_glass":true}`), 200); !got.BreakGlass || got.Parent != run.ID {
		t.Errorf("past the freeze: %+v", got)
	}
	if n := len(v.records(again.ID, audit.RunBreakGlass)); n != 1 {
		t.Errorf("%d records of broken glass", n)
	}
}

// Another who resumes a run of somebody's past a freeze needs the right to break
// the glass himself, and the one whose run it is needs it still.
func TestResumeOfBrokenGlassNeedsBothRights(t *testing.T) {
	v := newVerbs(t)
	sure := v.Token("anna", developer, restart.RoleBreakGlass)
	freeze(t, v.Server, v.admin, "")
	v.Agents.Set("web1", apitest.Hangs)
	run := decode[restart.Run](t, v.Request("POST", "/api/v1/runs", sure, []byte(strings.TrimSuffix(shopRestart, "}")+`,"start":true,"break_glass":true}`), nil), 201)
	v.untilState(run.ID, restart.RunRunning)
	decode[restart.Run](t, v.ask(v.anna, run.ID, "pause", ""), 200)
	v.Agents.Set("web1", apitest.Succeeds)
	v.untilState(run.ID, restart.RunPaused)
	if p := problem(t, v.ask(v.anna, run.ID, "resume", ""), 403); p.Code != restart.CodeForbidden {
		t.Errorf("without the right: %+v", p)
	}
	tokens, err := v.Store.Tokens(t.Context(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		if len(token.Roles) == 2 {
			if err := v.Store.RevokeToken(t.Context(), token.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if p := problem(t, v.ask(v.admin, run.ID, "resume", ""), 403); !strings.Contains(p.Detail, "in the name of anna") {
		t.Errorf("in the name of who has lost it: %+v", p)
	}
	v.Token("anna", developer, restart.RoleBreakGlass)
	decode[restart.Run](t, v.ask(v.admin, run.ID, "resume", ""), 200)
	v.untilState(run.ID, restart.RunCompleted)
}

// A key belongs to one request, whatever makes the run: for a retry and an
// undrain it is the run that they are made from, too.
func TestIdempotencyKeysOfLinkedRuns(t *testing.T) {
	v := newVerbs(t)
	aborted := func() restart.Run {
		t.Helper()
		v.Agents.Set("web1", apitest.Fails)
		run := start(t, v.Server, v.anna, draft(t, v.Server, v.anna, "").ID)
		v.untilState(run.ID, restart.RunPaused)
		decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200)
		return v.untilState(run.ID, restart.RunAborted)
	}
	one, other := aborted(), aborted()
	ask := func(id, verb, key, body string, status int) (run restart.Run) {
		t.Helper()
		path := "/api/v1/runs"
		if id != "" {
			path += "/" + id + "/" + verb
		}
		resp := v.Request("POST", path, v.anna, []byte(body), http.Header{"Idempotency-Key": {key}})
		if status != 201 {
			if p := problem(t, resp, status); !strings.Contains(p.Detail, "has made another run") {
				t.Errorf("%s %s: %+v", verb, body, p)
			}
			return run
		}
		return decode[restart.Run](t, resp, 201)
	}
	const why = `{"reason":"the disk has room again"}`
	first := ask(one.ID, "retry", "k", why, 201)
	if again := ask(one.ID, "retry", "k", `{"reason":" the disk has room again "}`, 201); again.ID != first.ID {
		t.Error("the same key made another run")
	}
	ask(one.ID, "retry", "k", `{"reason":"the network is repaired"}`, 409)
	ask(one.ID, "retry", "k", `{"reason":"the disk has room again","ticket":"WEB-1"}`, 409)
	ask(other.ID, "retry", "k", why, 409)
	ask(one.ID, "undrain", "k", why, 409)
	ask("", "", "k", shopRestart, 409)
	// It is the same run once nothing of it could be planned any more.
	inventory := filepath.Join(filepath.Dir(v.CAFile), "inventory.yaml")
	if err := os.WriteFile(inventory, []byte(strings.Replace(apitest.Inventory, "name: shop-production,", "name: other-production,", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := ask(one.ID, "retry", "k", why, 201); again.ID != first.ID {
		t.Error("another run once the group has gone")
	}
}

// A retry is in the scope of its scenario, which is its parent's.
func TestARetryHoldsItsGroup(t *testing.T) {
	v := newVerbs(t)
	narrow := strings.Replace(strings.Replace(apitest.Scenario, "plain-restart", "narrow-restart", 1), "params:", "holds: group\nparams:", 1)
	v.shelf("narrow-restart.yaml", narrow)
	if err := os.WriteFile(filepath.Join(filepath.Dir(v.CAFile), "inventory.yaml"), []byte(twoGroups), 0o644); err != nil {
		t.Fatal(err)
	}
	v.Agents.Set("web1", apitest.Fails)
	run := decode[restart.Run](t, v.Request("POST", "/api/v1/runs", v.anna,
		[]byte(`{"service":"shop","scenario":"narrow-restart","group":"shop-blue","reason":"workers hang since noon","start":true}`), nil), 201)
	v.until(run.ID, "its end", func(r restart.Run) bool { return r.State == restart.RunPaused || r.State.Final() })
	v.ask(v.anna, run.ID, "abort", "")
	v.until(run.ID, "its end", func(r restart.Run) bool { return r.State.Final() })
	v.Agents.Set("web1", apitest.Hangs)
	again := decode[restart.Run](t, v.ask(v.anna, run.ID, "retry", `{"reason":"the disk has room again","start":true}`), 201)
	v.untilState(again.ID, restart.RunRunning)
	locks := decode[wire.List[wire.Lock]](t, v.Request("GET", "/api/v1/locks", v.anna, nil, nil), 200)
	if len(locks.Items) != 1 || locks.Items[0].Group != "shop-blue" || locks.Items[0].Run != again.ID || again.Plan.Holds != restart.HoldsGroup {
		t.Errorf("locks: %+v", locks.Items)
	}
	v.Agents.Set("web1", apitest.Succeeds)
	v.untilState(again.ID, restart.RunCompleted)
}

// What was done on a host itself can be decided about and retried by who may
// restart the service, although whoever did it is nobody here.
func TestWorkOfAHostIsDecidedAndRetried(t *testing.T) {
	v := newVerbs(t)
	like := draft(t, v.Server, v.anna, "")
	now := time.Now().UTC().Truncate(time.Microsecond)
	run := restart.Run{
		ID: restart.NewID(now), Scenario: like.Scenario, Digest: like.Digest, Kind: like.Kind, Service: like.Service, Environment: like.Environment, Project: like.Project, Group: like.Group,
		Actor: "boris@web1", Via: restart.ViaHost, Reason: "502s, and the server does not answer", State: restart.RunFailed, Cause: restart.CauseUnknown,
		CreatedAt: now, FinishedAt: &now, Plan: like.Plan,
	}
	run.Tasks = []restart.Task{{ID: restart.NewID(now), RunID: run.ID, Host: "web1", Attempt: 1, State: restart.TaskUnknown, FinishedAt: &now}}
	if taken, err := v.Store.ImportRun(t.Context(), store.Import{Run: run, At: now}); err != nil || !taken {
		t.Fatal(taken, err)
	}
	problem(t, v.ask(v.vera, run.ID, "decide", decision("web1", restart.VerdictDidNot)), 403)
	got := decode[restart.Run](t, v.ask(v.anna, run.ID, "decide", decision("web1", restart.VerdictDidNot)), 200)
	if d := got.Tasks[0].Decision; d == nil || d.By != "anna" || d.Verdict != restart.VerdictDidNot {
		t.Errorf("%+v", d)
	}
	again := decode[restart.Run](t, v.ask(v.anna, run.ID, "retry", `{"reason":"the server answers again","start":true}`), 201)
	if done := v.untilState(again.ID, restart.RunCompleted); done.Parent != run.ID || done.Actor != "anna" || states(done) != "succeeded" {
		t.Errorf("%+v", done.Summary())
	}
}
