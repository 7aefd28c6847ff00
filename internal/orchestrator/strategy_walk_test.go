package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// plan stores a run under a strategy, over hosts that were healthy at the plan
// unless their name begins with "down".
func (b *bench) plan(strategy restart.Strategy, hosts ...string) restart.Run {
	b.t.Helper()
	now := time.Now().UTC()
	p := restart.Plan{Kind: restart.KindRestart, Strategy: strategy.Defaults()}
	for _, h := range hosts {
		health := restart.HealthHealthy
		if strings.HasPrefix(h, "down") {
			health = restart.HealthUnhealthy
		}
		p.Hosts = append(p.Hosts, restart.PlannedHost{Host: restart.Host{Name: h}, Health: health})
	}
	b.must(p.Settle(0))
	r := restart.Run{
		ID: restart.NewID(now), Scenario: "plain-restart", Digest: strings.Repeat("3e23e816", 8), Kind: restart.KindRestart,
		Service: "shop", Environment: "production", Actor: "anna", Reason: "workers hang since the deploy", State: restart.RunQueued, CreatedAt: now, Plan: &p,
	}
	for i, h := range hosts {
		r.Tasks = append(r.Tasks, restart.Task{ID: restart.NewID(now), RunID: r.ID, Host: h, Position: i, Batch: restart.BatchOf(p.Batches, i), Attempt: 1, State: restart.TaskPlanned})
	}
	_, err := b.store.CreateRun(b.t.Context(), r, "", nil, nil)
	b.must(err)
	return r
}

// resume lets a paused run go on, as control does.
func (b *bench) resume(run restart.Run) {
	b.t.Helper()
	_, err := b.store.Apply(b.t.Context(), store.Change{RunID: run.ID, NewTasks: run.Again(time.Now()), Hold: true, Run: &store.RunChange{
		From: []restart.RunState{restart.RunPaused}, To: restart.RunRunning, Control: new(restart.ControlNone), Acknowledged: new(run.Failures()), ReleaseLease: true,
	}})
	b.must(err)
}

// told shows how a run stands: its state, its cause, and that of each host.
func told(r restart.Run) string {
	out := string(r.State)
	if r.Cause != "" {
		out += " " + string(r.Cause)
	}
	for _, t := range restart.Latest(r.Tasks) {
		out += fmt.Sprintf(", %s %s", t.Host, t.State)
	}
	return out
}

// TestStrategiesWalk walks whole runs: each stop is where a run comes to rest,
// and is resumed until it is over.
func TestStrategiesWalk(t *testing.T) {
	type behaviours = map[string]apitest.Behaviour
	two := []restart.Amount{{Count: 2}}
	for name, c := range map[string]struct {
		strategy restart.Strategy
		hosts    string
		behave   behaviours
		between  func(a *agents) // before each resume
		stops    []string
	}{
		"one after the other": {restart.Strategy{}, "a b c", nil, nil, []string{"completed, a succeeded, b succeeded, c succeeded"}},
		"the first failure pauses, and what a person has seen does not count again": {restart.Strategy{}, "a b c", behaviours{"a": apitest.Fails, "b": apitest.Fails}, nil, []string{
			"paused failure, a failed, b planned, c planned", "paused failure, a failed, b failed, c planned", "failed failure, a failed, b failed, c succeeded",
		}},
		"max_failures is of the whole run": {restart.Strategy{MaxFailures: 1}, "a b c d", behaviours{"a": apitest.Fails, "c": apitest.Fails}, nil, []string{
			"paused failure, a failed, b succeeded, c failed, d planned", "failed failure, a failed, b succeeded, c failed, d succeeded",
		}},
		"an unreachable host counts": {restart.Strategy{MaxFailures: 1}, "a b c", behaviours{"a": apitest.Fails, "b": apitest.Away}, nil, []string{
			"paused failure, a failed, b unreachable, c planned", "failed failure, a failed, b unreachable, c succeeded",
		}},
		"as many as are allowed": {restart.Strategy{MaxFailures: 2}, "a b c", behaviours{"a": apitest.Fails, "c": apitest.Fails}, nil, []string{"failed failure, a failed, b succeeded, c failed"}},
		"abort on failure":       {restart.Strategy{OnFailure: "abort"}, "a b c", behaviours{"b": apitest.Fails}, nil, []string{"failed failure, a succeeded, b failed, c not_started"}},
		"abort over the limit": {restart.Strategy{OnFailure: "abort", MaxFailures: 1}, "a b c", behaviours{"a": apitest.Fails, "b": apitest.Fails}, nil,
			[]string{"failed failure, a failed, b failed, c not_started"}},
		"continue": {restart.Strategy{OnFailure: "continue"}, "a b c", behaviours{"a": apitest.Fails, "b": apitest.Away}, nil, []string{"failed failure, a failed, b unreachable, c succeeded"}},
		"a whole batch ends before the pause": {restart.Strategy{Batches: two}, "a b c d", behaviours{"a": apitest.Fails}, nil, []string{
			"paused failure, a failed, b succeeded, c planned, d planned", "failed failure, a failed, b succeeded, c succeeded, d succeeded",
		}},
		"hold after the first batch, once": {restart.Strategy{HoldAfterFirst: true, Batches: two}, "a b c d e", nil, nil, []string{
			"paused hold, a succeeded, b succeeded, c planned, d planned, e planned", "completed, a succeeded, b succeeded, c succeeded, d succeeded, e succeeded",
		}},
		"a failed first batch is a failure, not a hold, and held still": {restart.Strategy{HoldAfterFirst: true}, "a b", behaviours{"a": apitest.Fails}, nil, []string{
			"paused failure, a failed, b planned", "paused hold, a failed, b planned", "failed failure, a failed, b succeeded",
		}},
		"nothing to hold": {restart.Strategy{HoldAfterFirst: true, Batches: []restart.Amount{{Percent: 100}}}, "a b", nil, nil, []string{"completed, a succeeded, b succeeded"}},
		"min_available": {restart.Strategy{MinAvailable: "N-1"}, "a b c", behaviours{"c": apitest.Sick}, func(a *agents) { a.Set("c", apitest.Succeeds) }, []string{
			"paused gate, a planned, b planned, c planned", "completed, a succeeded, b succeeded, c succeeded",
		}},
		"min_available does not mind the broken": {restart.Strategy{MinAvailable: "N-1"}, "down1 down2 a b", behaviours{"down1": apitest.Sick, "down2": apitest.Sick}, nil,
			[]string{"completed, down1 succeeded, down2 succeeded, a succeeded, b succeeded"}},
		"min_available, broken since the plan": {restart.Strategy{MinAvailable: "N-1"}, "c a b", behaviours{"c": apitest.Sick}, func(a *agents) { a.Set("c", apitest.Succeeds) }, []string{
			"paused gate, c succeeded, a planned, b planned", "completed, c succeeded, a succeeded, b succeeded",
		}},
		"when_down": {restart.Strategy{WhenDown: two, MinAvailable: "3"}, "down1 down2 down3", behaviours{"down1": apitest.Sick, "down2": apitest.Sick, "down3": apitest.Sick}, nil,
			[]string{"completed, down1 succeeded, down2 succeeded, down3 succeeded"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for host, how := range c.behave {
				b.agents.Set(host, how)
			}
			run := b.plan(c.strategy, strings.Fields(c.hosts)...)
			b.run(func(cfg *orchestrator.Config) { cfg.DialRetry = time.Millisecond })
			for i, want := range c.stops {
				got := b.wait(run.ID, want, func(r restart.Run) bool { return r.State.Final() || r.State == restart.RunPaused })
				if told(got) != want {
					t.Fatalf("stop %d:\ngot  %s (%s)\nwant %s", i+1, told(got), got.Explanation, want)
				}
				if got.State == restart.RunPaused && got.Explanation == "" {
					t.Errorf("stop %d is not explained", i+1)
				}
				inOrder(t, got)
				if i+1 < len(c.stops) {
					if c.between != nil {
						c.between(b.agents)
					}
					b.resume(got)
				}
			}
		})
	}
}

// inOrder fails where a host began before all of the batch before had ended.
func inOrder(t *testing.T, r restart.Run) {
	t.Helper()
	for _, later := range restart.Latest(r.Tasks) {
		for _, earlier := range restart.Latest(r.Tasks) {
			if earlier.Batch < later.Batch && later.StartedAt != nil && (earlier.FinishedAt == nil || earlier.FinishedAt.After(*later.StartedAt)) {
				t.Errorf("%s of batch %d began before %s of batch %d had ended", later.Host, later.Batch, earlier.Host, earlier.Batch)
			}
		}
	}
}

func TestPauseBetweenBatches(t *testing.T) {
	const pause = 300 * time.Millisecond
	b := newBench(t)
	run := b.plan(restart.Strategy{Batches: []restart.Amount{{Count: 2}}, PauseBetween: restart.Duration(pause)}, "a", "b", "c", "d", "e")
	b.run(nil)
	got := b.until(run.ID, restart.RunCompleted)
	for i, later := range got.Tasks {
		for _, earlier := range got.Tasks[:i] {
			gap := later.StartedAt.Sub(*earlier.FinishedAt)
			switch apart := later.Batch - earlier.Batch; {
			case apart > 0 && gap < time.Duration(apart)*pause:
				t.Errorf("%s began %s after %s had ended, %d batches before", later.Host, gap, earlier.Host, apart)
			case apart == 0 && gap >= pause:
				t.Errorf("%s and %s are of one batch, and %s apart", earlier.Host, later.Host, gap)
			}
		}
	}
}
