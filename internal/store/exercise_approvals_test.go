package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// planOf is a plan that an approval can be of.
func planOf(hosts ...string) *restart.Plan {
	p := &restart.Plan{Scenario: "nginx-restart", Digest: digestOf(scenarioBody), Batches: []int{len(hosts)}, Params: map[string]string{"mode": "fast"}, MadeAt: epochStart, InventoryAt: epochStart}
	for _, h := range hosts {
		p.Hosts = append(p.Hosts, restart.PlannedHost{Host: restart.Host{Name: h}, Health: restart.HealthHealthy})
	}
	return p
}

// mustAwait makes a run that waits for an approval.
func mustAwait(t testing.TB, s *store.Store, run restart.Run, within time.Duration) restart.Run {
	t.Helper()
	run.State, run.Plan = restart.RunDraft, planOf("web0.example.com")
	mustCreate(t, s, run)
	mustApply(t, s, store.Change{
		RunID: run.ID, At: epochStart, Approval: &store.Approval{Digest: run.Plan.Frozen(), Rule: "production", Within: within},
		Run: &store.RunChange{From: []restart.RunState{restart.RunDraft}, To: restart.RunAwaitingApproval},
	})
	return mustRun(t, s, run.ID)
}

// verdict is the change by which somebody settles the wait of a run.
func verdict(run restart.Run, v restart.ApprovalVerdict, by string) store.Change {
	c := store.Change{
		RunID: run.ID, At: epochStart, Run: &store.RunChange{To: v.Leads()},
		Approval: &store.Approval{Verdict: v, Digest: run.Plan.Frozen(), By: by, Reason: "looked at the graphs"},
		Records:  []audit.Record{{Action: audit.RunApproved, Run: run.ID, Actor: by, Outcome: string(v)}},
	}
	if v == restart.ApprovalWaived {
		c.BreakGlass = &store.BreakGlass{By: by, Waived: "an approval"}
	}
	return c
}

// stepTo is a change of a run's state with what belongs to it, where anything does.
func stepTo(run restart.Run, to restart.RunState) store.Change {
	c := store.Change{RunID: run.ID, Run: &store.RunChange{To: to}}
	switch {
	case to == restart.RunAwaitingApproval && run.State == restart.RunDraft:
		c.Approval = &store.Approval{Digest: run.Plan.Frozen(), Within: time.Hour}
	case run.State == restart.RunAwaitingApproval:
		for _, v := range []restart.ApprovalVerdict{restart.ApprovalGiven, restart.ApprovalRefused, restart.ApprovalWithdrawn} {
			if v.Leads() == to {
				c.Approval = &store.Approval{Digest: run.Plan.Frozen(), Verdict: v, By: "bob"}
			}
		}
	}
	return c
}

func exerciseApprovals(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	before, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := mustAwait(t, s, newRun(2), time.Hour)
	a := run.Approval
	if a == nil || a.Digest != run.Plan.Frozen() || a.Rule != "production" || a.Verdict != "" || a.At != nil || !a.AskedAt.Equal(epochStart) {
		t.Fatalf("%+v", a)
	}
	if d := a.Until.Sub(before); d < time.Hour || d > time.Hour+time.Minute {
		t.Errorf("it waits until %s, which is in %s", a.Until, d)
	}
	if claims, err := s.Claim(t.Context(), "a", time.Hour, 10); err != nil || len(claims) != 0 {
		t.Errorf("a run that waits was claimed: %v %v", claims, err)
	}
	if locks, err := s.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("a run that waits holds: %v %v", locks, err)
	}
	list, err := s.Awaiting(t.Context(), 0)
	if err != nil || len(list) != 1 || list[0].ID != run.ID || list[0].Hosts != 2 || !cmp.Equal(list[0].Approval, run.Approval) {
		t.Errorf("%+v %v", list, err)
	}
	if ids, err := s.Overdue(t.Context(), 0); err != nil || len(ids) != 0 {
		t.Errorf("overdue: %v %v", ids, err)
	}
	for name, c := range map[string]struct {
		spoil func(*store.Change)
		code  restart.Code
	}{
		"nobody's":            {func(c *store.Change) { c.Approval = nil }, restart.CodeConflict},
		"one's own":           {func(c *store.Change) { c.Approval.By = "anna" }, restart.CodeForbidden},
		"one's own, in caps":  {func(c *store.Change) { c.Approval.By = "ANNA" }, restart.CodeForbidden},
		"of another plan":     {func(c *store.Change) { c.Approval.Digest = planOf("web1").Frozen() }, restart.CodePlanChanged},
		"of a plan not seen":  {func(c *store.Change) { c.Approval.Digest = "" }, restart.CodePlanChanged},
		"of an older version": {func(c *store.Change) { c.Seen = 1 }, restart.CodeConflict},
		"expired too soon": {func(c *store.Change) {
			c.Approval.Verdict, c.Run.To = restart.ApprovalExpired, restart.RunAborted
		}, restart.CodeConflict},
		"rejected, and queued": {func(c *store.Change) { c.Approval.Verdict = restart.ApprovalRefused }, restart.CodeConflict},
		"approved, and ended":  {func(c *store.Change) { c.Run.To = restart.RunAborted }, restart.CodeConflict},
		"waived without glass": {func(c *store.Change) { c.Approval.Verdict = restart.ApprovalWaived }, restart.CodeConflict},
		"approved, with glass": {func(c *store.Change) { c.BreakGlass = &store.BreakGlass{By: "bob"} }, restart.CodeConflict},
		"a verdict alone":      {func(c *store.Change) { c.Run = nil }, restart.CodeConflict},
		"another plan":         {func(c *store.Change) { c.Run.Plan = planOf("web1") }, restart.CodeConflict},
	} {
		change := verdict(run, restart.ApprovalGiven, "bob")
		c.spoil(&change)
		if _, err := s.Apply(t.Context(), change); restart.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if diff := cmp.Diff(run, mustRun(t, s, run.ID)); diff != "" {
		t.Fatalf("refused changes have left something (-want +got):\n%s", diff)
	}
	for _, v := range restart.ApprovalVerdicts() {
		if v == restart.ApprovalExpired {
			continue
		}
		run := mustAwait(t, s, newRun(1), time.Hour)
		by := map[bool]string{true: "anna", false: "bob"}[v == restart.ApprovalWithdrawn || v == restart.ApprovalWaived]
		change := verdict(run, v, by)
		change.Seen = run.Version
		mustApply(t, s, change)
		got := mustRun(t, s, run.ID)
		a := got.Approval
		if got.State != v.Leads() || got.BreakGlass != (v == restart.ApprovalWaived) || a.Verdict != v || a.By != by || a.Reason != "looked at the graphs" || a.At == nil || !a.At.Equal(epochStart) {
			t.Errorf("%s: %s, %+v", v, got.State, a)
		}
		if got.Approval.Good(*got.Plan) != (v.Leads() == restart.RunQueued) || got.Approval.Good(*planOf("web1")) {
			t.Errorf("%s: good for this plan: %v, for another: %v", v, got.Approval.Good(*got.Plan), got.Approval.Good(*planOf("web1")))
		}
		for _, again := range restart.ApprovalVerdicts() {
			_, err := s.Apply(t.Context(), verdict(run, again, "carol"))
			wantCode(t, err, restart.CodeConflict)
		}
	}
}

// exerciseQuestions: what is asked for is the plan that the run is to have, or
// whoever approves it approves another.
func exerciseQuestions(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	other := planOf("web1")
	for name, c := range map[string]struct {
		edited *restart.Plan
		digest string
		code   restart.Code
	}{
		"its own plan":                    {nil, planOf("web0").Frozen(), ""},
		"the edited plan":                 {other, other.Frozen(), ""},
		"another plan":                    {nil, other.Frozen(), restart.CodePlanChanged},
		"the plan as it was before edits": {other, planOf("web0").Frozen(), restart.CodePlanChanged},
		"no plan":                         {nil, "", restart.CodeInvalid},
	} {
		run := newRun(1)
		run.State, run.Plan = restart.RunDraft, planOf("web0")
		mustCreate(t, s, run)
		_, err := s.Apply(t.Context(), store.Change{
			RunID: run.ID, At: epochStart, Approval: &store.Approval{Digest: c.digest, Rule: "production", Within: time.Hour},
			Run: &store.RunChange{To: restart.RunAwaitingApproval, Plan: c.edited},
		})
		if restart.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
		if got := mustRun(t, s, run.ID); (got.Approval != nil) != (err == nil) || (got.State == restart.RunDraft) != (err != nil) {
			t.Errorf("%s: it is %s, %+v", name, got.State, got.Approval)
		}
	}
}

// exerciseExpiry: when the time is over nobody can approve any more, and the run
// is ended once, whoever finds it.
func exerciseExpiry(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run := mustAwait(t, s, newRun(1), time.Microsecond)
	later := mustAwait(t, s, newRun(1), time.Hour)
	for _, v := range []restart.ApprovalVerdict{restart.ApprovalGiven, restart.ApprovalRefused, restart.ApprovalWaived} {
		_, err := s.Apply(t.Context(), verdict(run, v, "bob"))
		wantCode(t, err, restart.CodeConflict)
		if !strings.Contains(err.Error(), "is over") {
			t.Errorf("%s: %v", v, err)
		}
	}
	ids, err := s.Overdue(t.Context(), 10)
	if err != nil || !cmp.Equal(ids, []string{run.ID}) {
		t.Fatalf("overdue: %v %v, not %s and never %s", ids, err, run.ID, later.ID)
	}
	var wait sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wait.Go(func() { _, errs[i] = s.Apply(t.Context(), verdict(run, restart.ApprovalExpired, "")) })
	}
	wait.Wait()
	winners := 0
	for _, err := range errs {
		if err == nil {
			winners++
		} else {
			wantCode(t, err, restart.CodeConflict)
		}
	}
	if got := mustRun(t, s, run.ID); winners != 1 || got.State != restart.RunAborted || got.Approval.Verdict != restart.ApprovalExpired || got.Approval.By != "" {
		t.Errorf("%d have ended it, and it is %s, %+v", winners, got.State, got.Approval)
	}
	if n := countRecords(t, s, audit.RunApproved); n != 1 {
		t.Errorf("%d records of one end", n)
	}
	if ids, err := s.Overdue(t.Context(), 10); err != nil || len(ids) != 0 {
		t.Errorf("overdue still: %v %v", ids, err)
	}
}

// exerciseApprovalRace lets people decide at once, over connections of their
// own: exactly one wins, with one record.
func exerciseApprovalRace(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	stores := []*store.Store{storetest.Open(t, dsn)}
	if other, err := store.Open(t.Context(), store.Config{DSN: dsn}); err == nil {
		t.Cleanup(func() { other.Close() })
		stores = append(stores, other)
	}
	s := stores[0]
	for range 12 {
		run := mustAwait(t, s, newRun(1), time.Hour)
		changes := []store.Change{
			verdict(run, restart.ApprovalGiven, "bob"), verdict(run, restart.ApprovalGiven, "carol"), verdict(run, restart.ApprovalRefused, "dave"),
			verdict(run, restart.ApprovalWithdrawn, "anna"), verdict(run, restart.ApprovalWaived, "anna"), verdict(run, restart.ApprovalGiven, "anna"),
		}
		errs := make([]error, len(changes))
		var wait sync.WaitGroup
		for i := range changes {
			wait.Go(func() { _, errs[i] = stores[i%len(stores)].Apply(t.Context(), changes[i]) })
		}
		wait.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("both %+v and %+v", changes[winner].Approval, changes[i].Approval)
			case err == nil:
				winner = i
			case i == 5 && restart.CodeOf(err) == restart.CodeForbidden: // his own, before anybody had won
			default:
				wantCode(t, err, restart.CodeConflict)
			}
		}
		got := mustRun(t, s, run.ID)
		if winner < 0 || winner == 5 || got.Approval.Verdict != changes[winner].Approval.Verdict || got.Approval.By != changes[winner].Approval.By || got.State != changes[winner].Run.To {
			t.Fatalf("winner %d; the run is %s, %+v", winner, got.State, got.Approval)
		}
		records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Run: run.ID})
		if err != nil || len(records) != 1 || records[0].Actor != got.Approval.By {
			t.Fatalf("records %+v, %v", records, err)
		}
	}
}

// exerciseRandomApprovals: whatever is tried in whatever order, a run that was
// asked about starts only by an approval of exactly its plan, in time, by
// somebody else, or past it by broken glass.
func exerciseRandomApprovals(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	rapid.Check(t, func(rt *rapid.T) {
		run := newRun(1)
		run.State, run.Plan, run.CreatedAt = restart.RunDraft, planOf("web0", "web1"), time.Now().UTC()
		mustCreate(t, s, run)
		asked := false
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			now := mustRun(t, s, run.ID)
			c := drawApprovalStep(rt, now)
			_, err := s.Apply(t.Context(), c)
			if err != nil && restart.CodeOf(err) == restart.CodeInternal {
				rt.Fatal(err)
			}
			asked = asked || err == nil && c.Approval != nil
			checkStart(rt, mustRun(t, s, run.ID), asked)
		}
	})
}

func drawApprovalStep(rt *rapid.T, run restart.Run) store.Change {
	other := planOf("web1", "web0")
	c := store.Change{RunID: run.ID, Run: &store.RunChange{To: rapid.SampledFrom(restart.RunStates()).Draw(rt, "to")}}
	if rapid.IntRange(0, 3).Draw(rt, "edit") == 0 {
		c.Run.Plan = rapid.SampledFrom([]*restart.Plan{run.Plan, other}).Draw(rt, "plan")
	}
	if rapid.IntRange(0, 5).Draw(rt, "glass") == 0 {
		c.BreakGlass = &store.BreakGlass{By: "anna", Waived: "drawn"}
	}
	if rapid.IntRange(0, 3).Draw(rt, "approval") > 0 {
		v := rapid.SampledFrom(append(restart.ApprovalVerdicts(), restart.ApprovalPending)).Draw(rt, "verdict")
		plan := run.Plan
		if c.Run.Plan != nil {
			plan = c.Run.Plan
		}
		c.Approval = &store.Approval{
			Verdict: v, Digest: rapid.SampledFrom([]string{plan.Frozen(), plan.Frozen(), other.Frozen()}).Draw(rt, "digest"), Rule: "drawn",
			Within: rapid.SampledFrom([]time.Duration{time.Hour, time.Hour, time.Microsecond}).Draw(rt, "within"),
			By:     rapid.SampledFrom([]string{"anna", "Anna", "bob", ""}).Draw(rt, "by"), Reason: "drawn",
		}
		switch {
		case rapid.IntRange(0, 3).Draw(rt, "fits") == 0:
		case v == restart.ApprovalPending:
			c.Run.To = restart.RunAwaitingApproval
		default:
			c.Run.To = v.Leads()
		}
	}
	return c
}

func checkStart(rt *rapid.T, run restart.Run, asked bool) {
	a := run.Approval
	started := run.State != restart.RunDraft && run.State != restart.RunAwaitingApproval && run.State != restart.RunRejected && run.State != restart.RunAborted
	switch {
	case asked != (a != nil):
		rt.Fatalf("asked %v, and the run has %+v", asked, a)
	case !started || a == nil:
	case a.Verdict == restart.ApprovalWaived && run.BreakGlass:
	case a.Verdict != restart.ApprovalGiven || a.By == "" || strings.EqualFold(a.By, run.Actor):
		rt.Fatalf("it is %s by %+v", run.State, a)
	case a.Digest != run.Plan.Frozen() || !a.Good(*run.Plan):
		rt.Fatalf("it is %s, and what was approved is another plan", run.State)
	case !a.At.Before(a.Until):
		rt.Fatalf("it is %s, approved when the time was over: %+v", run.State, a)
	}
}

// exerciseRestoredApprovals: who waited when the backup was made may have been
// approved since, so that nobody can approve it any more.
func exerciseRestoredApprovals(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	s := storetest.Open(t, dsn)
	run := mustAwait(t, s, newRun(1), time.Hour)
	var b bytes.Buffer
	if _, _, err := store.Backup(context.Background(), store.Config{DSN: dsn}, &b, store.BackupOptions{Server: "main"}); err != nil {
		t.Fatal(err)
	}
	restored, _ := restoreTo(t, newDSN(t), b.Bytes())
	got := mustRun(t, restored, run.ID)
	if got.State != restart.RunAwaitingApproval || got.Approval.Digest != run.Approval.Digest || !strings.Contains(got.Explanation, "restored") {
		t.Errorf("%s, %+v: %s", got.State, got.Approval, got.Explanation)
	}
	_, err := restored.Apply(t.Context(), verdict(got, restart.ApprovalGiven, "bob"))
	if e, ok := errors.AsType[*restart.Error](err); !ok || e.Code != restart.CodeConflict {
		t.Errorf("approved after a restore: %v", err)
	}
	if ids, err := restored.Overdue(t.Context(), 10); err != nil || fmt.Sprint(ids) != fmt.Sprint([]string{run.ID}) {
		t.Errorf("overdue: %v %v", ids, err)
	}
}
