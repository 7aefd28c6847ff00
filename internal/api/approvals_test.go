package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const looked = `{"reason":"looked at the graphs, one by one is fine"}`

// waiting asks for a run that waits for an approval.
func waiting(t *testing.T, s *apitest.Server, token string) restart.Run {
	t.Helper()
	run := start(t, s, token, draft(t, s, token, "").ID)
	if run.State != restart.RunAwaitingApproval {
		t.Fatalf("it is %s, not waiting for an approval", run.State)
	}
	return run
}

// overdue makes a run that waits, and whose time is over: shorter than rules can say.
func overdue(t *testing.T, s *apitest.Server, token string) restart.Run {
	t.Helper()
	run := draft(t, s, token, "")
	change := store.Change{
		RunID: run.ID, Approval: &store.Approval{Digest: run.Plan.Frozen(), Rule: "test", Within: time.Microsecond}, Run: &store.RunChange{To: restart.RunAwaitingApproval},
	}
	for i, h := range run.Plan.Chosen() {
		change.NewTasks = append(change.NewTasks, restart.Task{ID: restart.NewID(time.Now()), Host: h.Name, Position: i, Attempt: 1})
	}
	if _, err := s.Store.Apply(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	return until(t, s, token, run.ID, restart.RunAwaitingApproval)
}

func decided(t *testing.T, s *apitest.Server, token, id, verb, body string) restart.Run {
	t.Helper()
	return decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+id+"/"+verb, token, []byte(body), nil), 200)
}

func actions(t *testing.T, s *apitest.Server, run string) (out []string) {
	t.Helper()
	for _, r := range recorded(t, s, store.AuditFilter{Run: run}) {
		text := string(r.Action) + " " + r.Actor
		if r.Outcome != "" {
			text += " " + r.Outcome
		}
		out = append(out, text)
	}
	return out
}

// TestApproval: developer, approver, done; and everything that is said of it.
func TestApproval(t *testing.T) {
	s := apitest.Start(t, nil)
	s.AskApproval()
	anna, root, vera := s.Token("anna", developer), s.Token("root", admin), s.Token("vera", developer)
	plan := decode[restart.Plan](t, s.Request("POST", "/api/v1/plans", anna, []byte(shopRestart), nil), 200)
	if text := strings.Join(plan.Warnings, "\n"); !strings.Contains(text, "waits for an approval before it starts, for 1 hour at most, by an admin, other than who asks") {
		t.Errorf("the plan does not say so: %s", text)
	}
	run := waiting(t, s, anna)
	a := run.Approval
	if a == nil || a.Rule != "rules.yaml, line 10" || a.Digest != run.Plan.Frozen() || a.Verdict != "" || !strings.Contains(run.Explanation, "by an admin, other than anna") {
		t.Fatalf("%+v: %s", a, run.Explanation)
	}
	if locks := decode[wire.List[wire.Lock]](t, s.Request("GET", "/api/v1/locks", anna, nil, nil), 200); len(locks.Items) != 0 {
		t.Errorf("it holds %+v", locks.Items)
	}
	steps := decode[wire.Steps](t, s.Request("GET", "/api/v1/runs/"+run.ID+"/steps", root, nil, nil), 200)
	if steps.Host != "web1" || steps.RunAs != "root" || len(steps.Steps) != 1 || steps.Steps[0].Script != "systemctl restart shop.service" || steps.Variables["PARAM_GRACE"] != "1s" || steps.Note != "" {
		t.Errorf("%+v", steps)
	}
	problem(t, s.Request("GET", "/api/v1/runs/"+run.ID+"/steps?host=web9", root, nil, nil), 404)
	for who, want := range map[string]bool{anna: false, root: true, vera: false} {
		list := decode[wire.List[wire.AwaitingRun]](t, s.Request("GET", "/api/v1/approvals", who, nil, nil), 200)
		if len(list.Items) != 1 || list.Items[0].Run != run.ID || list.Items[0].Hosts != 3 || list.Items[0].MayDecide != want || !list.Items[0].Until.Equal(a.Until) {
			t.Errorf("%+v", list.Items)
		}
	}
	version := fmt.Sprintf(`{"reason":"looked at the graphs, one by one is fine","version":%d}`, run.Version)
	got := decided(t, s, root, run.ID, "approve", version)
	again := decided(t, s, root, run.ID, "approve", version) // a double click
	if got.Approval.Verdict != restart.ApprovalGiven || got.Approval.By != "root" || again.Approval.By != "root" {
		t.Errorf("%+v, again %+v", got.Approval, again.Approval)
	}
	run = until(t, s, anna, run.ID, restart.RunCompleted)
	if a := run.Approval; a.By != "root" || a.Reason != "looked at the graphs, one by one is fine" || a.At == nil {
		t.Errorf("%+v", a)
	}
	text := strings.Join(actions(t, s, run.ID), "\n")
	for _, want := range []string{"run.requested anna\nrun.approval_requested anna\nrun.approved root\nrun.started anna", "run.ended anna completed"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for _, action := range []audit.Action{audit.TaskIntent, audit.RunStarted} {
		for _, r := range recorded(t, s, store.AuditFilter{Run: run.ID, Action: action}) {
			if r.Actor != "anna" || !strings.HasPrefix(r.Detail, "approved by root: looked at the graphs") {
				t.Errorf("%s: %+v", action, r)
			}
		}
	}
	for _, want := range []struct {
		event string
		state restart.RunState
		by    string
	}{{wire.EventApprovalRequested, restart.RunAwaitingApproval, ""}, {wire.EventApprovalDecided, restart.RunQueued, "root"}} { // one after the other
		due, err := s.Store.DueMessages(t.Context(), []string{"test"}, time.Hour, 10)
		var n wire.Notification
		if err != nil || len(due) != 1 || json.Unmarshal(due[0].Body, &n) != nil || n.Event != want.event || n.State != want.state || n.By != want.by {
			t.Fatalf("%+v: %+v %v", want, n, err)
		}
		if err := s.Store.MessageDelivered(t.Context(), due[0]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhyNotEverywhere: who may in one group and not in another is told so.
func TestWhyNotEverywhere(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	ask := func(query string) wire.Why {
		t.Helper()
		return decode[wire.Why](t, s.Request("GET", "/api/v1/rights/why?action=restart&service=shop"+query, anna, nil, nil), 200)
	}
	if why := ask(""); !why.Allowed || len(why.NotIn) != 0 {
		t.Errorf("%+v", why)
	}
	s.Rights(strings.Replace(apitest.ApprovalRules, "approval:", "  - {deny: [restart], to: [anna], environments: [production]}\napproval:", 1))
	if why := ask("&environment=production"); why.Allowed || len(why.NotIn) != 0 {
		t.Errorf("%+v", why)
	}
	if why := ask(""); !why.Allowed || len(why.NotIn) != 1 || why.NotIn[0] != "shop-production" {
		t.Errorf("%+v", why)
	}
	mistyped := problem(t, s.Request("GET", "/api/v1/rights/why?action=restart&service=shop&environment=prodction", anna, nil, nil), 404)
	if !strings.Contains(mistyped.Hint, "production") {
		t.Errorf("%+v", mistyped)
	}
}

// TestWhoMayNotApprove: the one who asked, with whichever token, who has no
// right to, and who does not say why.
func TestWhoMayNotApprove(t *testing.T) {
	s := apitest.Start(t, nil)
	s.AskApproval()
	anna, root := s.Token("anna", developer), s.Token("root", admin)
	run := waiting(t, s, anna)
	path := "/api/v1/runs/" + run.ID + "/"
	for _, verb := range []string{"approve", "reject"} {
		for name, c := range map[string]struct {
			token, body string
			status      int
			says        string
		}{
			"who asked":                  {anna, looked, 403, "another person"},
			"who asked, another token":   {s.Token("anna", developer, admin), looked, 403, "another person"},
			"who asked, in caps":         {s.Token("Anna", admin), looked, 403, "another person"},
			"no owner":                   {s.Token("vera", developer), looked, 403, "does not own"},
			"a viewer":                   {s.Token("anna", restart.RoleViewer), looked, 403, ""},
			"no sentence":                {root, `{"reason":"ok"}`, 422, "too short"},
			"no reason":                  {root, `{"reason":""}`, 422, ""},
			"a version that is not":      {root, `{"reason":"looked at the graphs","version":99}`, 409, "no version 99"},
			"an older version":           {root, `{"reason":"looked at the graphs","version":1}`, 409, "has changed since"},
			"what is not known, as ever": {root, `{"reason":"looked at the graphs","force":true}`, 422, ""},
		} {
			p := problem(t, s.Request("POST", path+verb, c.token, []byte(c.body), nil), c.status)
			if !strings.Contains(p.Detail, c.says) {
				t.Errorf("%s %s: %s", verb, name, p.Detail)
			}
		}
	}
	admins := waiting(t, s, root) // an admin alone proposes, and can't approve
	problem(t, s.Request("POST", "/api/v1/runs/"+admins.ID+"/approve", root, []byte(looked), nil), 403)
	if run := until(t, s, anna, run.ID, restart.RunAwaitingApproval); run.Approval.Verdict != "" {
		t.Errorf("%+v", run.Approval)
	}
	refusals := 0
	for _, text := range actions(t, s, run.ID) {
		if strings.HasPrefix(text, "run.approved ") || strings.HasPrefix(text, "run.rejected ") {
			refusals++
		}
	}
	if refusals != 18 { // all but those that were not understood
		t.Errorf("%d refusals are recorded: %q", refusals, actions(t, s, run.ID))
	}
	// Where nothing is asked nothing waits, and nothing can be approved.
	s.Rights(strings.Replace(apitest.ApprovalRules, "[production]", "[testing]", 1))
	free := start(t, s, anna, draft(t, s, anna, "").ID)
	if free.Approval != nil {
		t.Errorf("%+v", free.Approval)
	}
	until(t, s, anna, free.ID, restart.RunCompleted)
	problem(t, s.Request("POST", "/api/v1/runs/"+free.ID+"/approve", root, []byte(looked), nil), 409)
}

func TestRejectedWithdrawnExpired(t *testing.T) {
	s := apitest.Start(t, nil)
	s.AskApproval()
	anna, root, vera := s.Token("anna", developer), s.Token("root", admin), s.Token("vera", developer)
	over := func(run restart.Run, state restart.RunState, cause restart.Cause, says string) {
		t.Helper()
		if run.State != state || run.Cause != cause || run.FinishedAt == nil || run.StartedAt != nil || !strings.Contains(run.Explanation, says) {
			t.Errorf("%s (%s): %s", run.State, run.Cause, run.Explanation)
		}
		for _, task := range run.Tasks {
			if task.State != restart.TaskNotStarted {
				t.Errorf("%s is %s", task.Host, task.State)
			}
		}
		for _, verb := range []string{"approve", "reject"} {
			problem(t, s.Request("POST", "/api/v1/runs/"+run.ID+"/"+verb, root, []byte(looked), nil), 409)
		}
	}
	rejected := decided(t, s, root, waiting(t, s, anna).ID, "reject", `{"reason":"not during the sale, wait until five"}`)
	over(rejected, restart.RunRejected, "", "rejected by root: not during the sale")

	run := waiting(t, s, anna)
	problem(t, s.Request("POST", "/api/v1/runs/"+run.ID+"/abort", vera, nil, nil), 403)
	problem(t, s.Request("POST", "/api/v1/runs/"+run.ID+"/pause", anna, nil, nil), 409)
	over(decided(t, s, anna, run.ID, "abort", `{}`), restart.RunAborted, restart.CauseOperator, "taken back by anna")

	late := overdue(t, s, anna)
	p := problem(t, s.Request("POST", "/api/v1/runs/"+late.ID+"/approve", root, []byte(looked), nil), 409)
	if !strings.Contains(p.Detail, "is over") {
		t.Errorf("%+v", p)
	}
	var wait sync.WaitGroup
	for range 4 { // as several servers find it
		wait.Go(func() {
			if err := s.Control.ExpireApprovals(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	over(until(t, s, anna, late.ID, restart.RunAborted), restart.RunAborted, restart.CauseExpired, "nobody approved or rejected it until")
	if rec := recorded(t, s, store.AuditFilter{Run: late.ID, Action: audit.RunApprovalExpired}); len(rec) != 1 || rec[0].Outcome != "aborted" {
		t.Errorf("%+v", rec)
	}
	// What came of it can be tried again, with an approval of its own.
	retry := decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+rejected.ID+"/retry", anna, []byte(`{"reason":"the sale is over now","start":true}`), nil), 201)
	if retry.State != restart.RunAwaitingApproval || retry.Parent != rejected.ID {
		t.Errorf("the retry is %s", retry.State)
	}
}

// TestAnApprovalIsOfThisPlan: what has changed since it was asked for is not
// approved, and neither is what may not start by itself.
func TestAnApprovalIsOfThisPlan(t *testing.T) {
	s := apitest.Start(t, nil)
	s.AskApproval()
	anna, root := s.Token("anna", developer), s.Token("root", admin)
	refused := func(run restart.Run, code restart.Code, says string) {
		t.Helper()
		p := problem(t, s.Request("POST", "/api/v1/runs/"+run.ID+"/approve", root, []byte(looked), nil), map[restart.Code]int{restart.CodeForbidden: 403}[code]+map[bool]int{true: 409}[code != restart.CodeForbidden])
		if p.Code != code || !strings.Contains(p.Detail, says) {
			t.Errorf("%s: %s", p.Code, p.Detail)
		}
	}
	run := waiting(t, s, anna)
	inventory := filepath.Join(s.Dir, "inventory.yaml")
	rewrite(t, inventory, strings.Replace(apitest.Inventory, "hosts: [web1, web2, web3]", "hosts: [web1, web2]", 1))
	refused(run, restart.CodePlanChanged, "web3")
	over := until(t, s, anna, run.ID, restart.RunAborted) // nobody could approve it any more
	if !strings.Contains(over.Explanation, "web3") || over.Approval.Verdict != restart.ApprovalWithdrawn {
		t.Errorf("%s: %+v", over.Explanation, over.Approval)
	}
	if rec := recorded(t, s, store.AuditFilter{Run: run.ID, Action: audit.RunApprovalWithdrawn}); len(rec) != 1 || rec[0].Actor != "root" || !strings.Contains(rec[0].Detail, "web3") {
		t.Errorf("%+v", rec)
	}
	rewrite(t, inventory, apitest.Inventory)
	run = waiting(t, s, anna)

	scenario := filepath.Join(s.Shelf, "plain-restart.yaml")
	rewrite(t, scenario, strings.Replace(strings.Replace(apitest.Scenario, "serial: 1", "serial: 2", 1), "systemctl restart", "reboot #", 1))
	refused(run, restart.CodePlanChanged, "another version")
	rewrite(t, scenario, apitest.Scenario)
	run = waiting(t, s, anna)

	f := freeze(t, s, root, "")
	refused(run, restart.CodeFrozen, "the big sale is on")
	thaw(t, s, root, f.ID)

	tokens, err := s.Store.Tokens(t.Context(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		if err := s.Store.RevokeToken(t.Context(), token.ID); err != nil {
			t.Fatal(err)
		}
	}
	refused(run, restart.CodeForbidden, "anna, who has lost the right")
	s.Token("anna", developer)
	decided(t, s, root, run.ID, "approve", looked) // all is as it was
	until(t, s, root, run.ID, restart.RunCompleted)
}

// rewrite writes a file anew, with times by which that is seen.
func rewrite(t testing.TB, path, text string) {
	t.Helper()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path+".new", time.Now(), before.ModTime().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestGlassWaivesApproval: from the plan on, and of a run that waits already.
func TestGlassWaivesApproval(t *testing.T) {
	s := apitest.Start(t, nil)
	s.AskApproval()
	anna, sure, root := s.Token("anna", developer), s.Token("anna", developer, restart.RoleBreakGlass), s.Token("root", admin)
	glass := []byte(`{"break_glass":true}`)
	atOnce, later := draft(t, s, sure, ""), waiting(t, s, anna)
	problem(t, s.Request("POST", "/api/v1/runs/"+later.ID+"/start", anna, glass, nil), 403)
	problem(t, s.Request("POST", "/api/v1/runs/"+later.ID+"/start", root, glass, nil), 409) // only his own
	problem(t, s.Request("POST", "/api/v1/runs/"+later.ID+"/start", sure, []byte(`{"break_glass":true,"hosts":["web1"]}`), nil), 409)
	for _, id := range []string{atOnce.ID, later.ID} {
		decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+id+"/start", sure, glass, nil), 200)
		run := until(t, s, anna, id, restart.RunCompleted)
		if a := run.Approval; !run.BreakGlass || a == nil || a.Verdict != restart.ApprovalWaived || a.By != "anna" {
			t.Errorf("%+v", run.Approval)
		}
		rec := recorded(t, s, store.AuditFilter{Run: id, Action: audit.RunBreakGlass})
		if len(rec) != 1 || !strings.Contains(rec[0].Detail, `waived: an approval, which the rule "rules.yaml, line 10" asks for`) {
			t.Errorf("%+v", rec)
		}
		decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+id+"/start", sure, glass, nil), 200) // a double click
	}
	list := decode[wire.List[wire.BrokenGlass]](t, s.Request("GET", "/api/v1/break-glass", root, nil, nil), 200)
	if len(list.Items) != 2 || !strings.Contains(list.Items[0].Waived, "an approval") {
		t.Errorf("%+v", list.Items)
	}
}

// TestUndrainAloneNeedsNoApproval: it ends a change that was let through before.
func TestUndrainAloneNeedsNoApproval(t *testing.T) {
	if restart.ApprovalBinds(restart.WorkUndrain) || !restart.ApprovalBinds(restart.WorkWhole) {
		t.Error("what approvals bind is another thing now")
	}
}

// TestNoStartWithoutApproval: whatever people try in whatever order, also while
// inventory and scenario change, nothing begins without a good approval of
// exactly its plan by another person, or broken glass.
func TestNoStartWithoutApproval(t *testing.T) {
	s := apitest.Start(t, nil)
	s.AskApproval()
	ctx := t.Context()
	people := map[string]restart.Actor{
		"anna": {Name: "anna", Roles: []restart.Role{developer, restart.RoleBreakGlass}}, "Anna": {Name: "Anna", Roles: []restart.Role{admin}},
		"root": {Name: "root", Roles: []restart.Role{admin}}, "vera": {Name: "vera", Roles: []restart.Role{developer}},
	}
	s.Token("anna", developer)
	s.Token("root", admin)
	for _, host := range []string{"web1", "web2", "web3"} {
		s.Agents.Set(host, apitest.Fails) // so that a run that has begun comes to rest
	}
	rapid.Check(t, func(rt *rapid.T) {
		requester := people[rapid.SampledFrom([]string{"anna", "root"}).Draw(rt, "requester")]
		run, err := s.Control.Draft(ctx, requester, restart.Request{Service: "shop", Reason: "workers hang since noon"}, "")
		if err != nil {
			rt.Fatal(err)
		}
		began := ""
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			who := people[rapid.SampledFrom([]string{"anna", "Anna", "root", "vera"}).Draw(rt, "who")]
			req := wire.ApprovalRequest{Reason: "looked at the graphs", Seen: wire.Seen{Version: int64(rapid.IntRange(0, 3).Draw(rt, "version"))}}
			before, err := s.Store.Run(ctx, run.ID)
			if err != nil {
				rt.Fatal(err)
			}
			step := rapid.SampledFrom([]string{"start", "start", "glass", "approve", "approve", "reject", "withdraw", "expire", "resume", "edit", "restore"}).Draw(rt, "step")
			switch step {
			case "start":
				_, err = s.Control.Start(ctx, who, run.ID, wire.StartRequest{})
			case "glass":
				_, err = s.Control.Start(ctx, who, run.ID, wire.StartRequest{BreakGlass: true})
			case "approve":
				_, err = s.Control.Approve(ctx, who, run.ID, req)
			case "reject":
				_, err = s.Control.Reject(ctx, who, run.ID, req)
			case "withdraw":
				_, err = s.Control.Abort(ctx, who, run.ID, 0)
			case "expire":
				err = s.Control.ExpireApprovals(ctx)
			case "resume":
				_, err = s.Control.Resume(ctx, who, run.ID, 0)
			case "edit":
				rewrite(t, filepath.Join(s.Dir, "inventory.yaml"), strings.Replace(apitest.Inventory, "hosts: [web1, web2, web3]", "hosts: [web2, web1]", 1))
			case "restore":
				rewrite(t, filepath.Join(s.Dir, "inventory.yaml"), apitest.Inventory)
			}
			if err != nil && restart.CodeOf(err) == restart.CodeInternal {
				rt.Fatal(step, err)
			}
			after, lookup := s.Store.Run(ctx, run.ID)
			if lookup != nil {
				rt.Fatal(lookup)
			}
			waits := map[restart.RunState]bool{restart.RunDraft: true, restart.RunAwaitingApproval: true, restart.RunRejected: true}
			if waits[before.State] && !waits[after.State] && (after.State != restart.RunAborted || after.StartedAt != nil) && began == "" {
				began = step
				checkBegun(rt, after, who.Name, step)
			}
			if waits[after.State] || after.State == restart.RunAborted && began == "" {
				for _, task := range after.Tasks {
					if task.State != restart.TaskPlanned && task.State != restart.TaskNotStarted {
						rt.Fatalf("it is %s, and %s is %s", after.State, task.Host, task.State)
					}
				}
			}
		}
		if now, err := s.Store.Run(ctx, run.ID); err == nil && now.State != restart.RunDraft {
			s.Control.Abort(ctx, people["root"], run.ID, 0) // where it is over it is
		}
		rewrite(t, filepath.Join(s.Dir, "inventory.yaml"), apitest.Inventory)
	})
}

func checkBegun(rt *rapid.T, run restart.Run, who, step string) {
	a := run.Approval
	switch {
	case a == nil || !a.Good(*run.Plan):
		rt.Fatalf("%s by %s began it (%s) with %+v", step, who, run.State, a)
	case step == "glass" && a.Verdict == restart.ApprovalWaived && run.BreakGlass && who == run.Actor:
	case step == "approve" && a.Verdict == restart.ApprovalGiven && a.By == who && !strings.EqualFold(who, run.Actor) && who == "root":
	case step == "approve" && a.Verdict == restart.ApprovalGiven && a.By == who && who == "Anna" && run.Actor == "root":
	case step == "approve" && a.Verdict == restart.ApprovalGiven && a.By == who && who == "anna" && run.Actor == "root":
	default:
		rt.Fatalf("%s by %s began it (%s) with %+v", step, who, run.State, a)
	}
}
