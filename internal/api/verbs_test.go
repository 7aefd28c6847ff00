package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// balanced takes a host out of the balancer, and puts it back.
const balanced = `format: 1
name: balanced-restart
serial: 1
author: review@example.com
kind: restart
services: [shop]
description: Restart out of the balancer
run_as: root
strategy: {batches: [1], min_available: "N-1", hold_after_first: true}
steps:
  drain: {script: "balancer out #host#"}
  run: {script: "systemctl restart #unit#"}
  undrain: {script: "balancer in #host#"}
`

const found = "it has a new pid since noon"

// verbs is a server with a run of anna's.
type verbs struct {
	*apitest.Server
	t           *testing.T
	anna, vera  string
	olga, admin string
}

func newVerbs(t *testing.T) *verbs {
	s := apitest.Start(t, nil)
	return &verbs{Server: s, t: t, anna: s.Token("anna", developer), vera: s.Token("vera", developer), olga: s.Token("olga", auditor), admin: s.Token("root", admin)}
}

func (v *verbs) ask(token, id, verb, body string) apitest.Answer {
	v.t.Helper()
	return v.Request("POST", "/api/v1/runs/"+id+"/"+verb, token, []byte(body), nil)
}

func (v *verbs) get(id string) restart.Run {
	v.t.Helper()
	return decode[restart.Run](v.t, v.Request("GET", "/api/v1/runs/"+id, v.anna, nil, nil), 200)
}

// until waits for something to be true of a run.
func (v *verbs) until(id, what string, holds func(restart.Run) bool) restart.Run {
	v.t.Helper()
	late := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if run := v.get(id); holds(run) {
			return run
		}
		select {
		case <-tick.C:
		case <-late:
			run := v.get(id)
			v.t.Fatalf("waited in vain for %s: %s, %s", what, run.Summary(), run.Explanation)
		}
	}
}

func (v *verbs) untilState(id string, state restart.RunState) restart.Run {
	v.t.Helper()
	return v.until(id, string(state), func(r restart.Run) bool { return r.State == state })
}

// unknown starts a run whose first host becomes unknown: its work is killed.
func (v *verbs) unknown() restart.Run {
	v.t.Helper()
	v.Agents.Set("web1", apitest.Hangs)
	run := start(v.t, v.Server, v.anna, draft(v.t, v.Server, v.anna, "").ID)
	run = v.until(run.ID, "the first host in hand", func(r restart.Run) bool { return r.Tasks[0].State == restart.TaskRunning })
	if err := v.Agents.Cancel(v.t.Context(), restart.Host{}, run.Tasks[0].ID, protocol.Cancel{}); err != nil {
		v.t.Fatal(err)
	}
	v.Agents.Set("web1", apitest.Succeeds)
	run = v.untilState(run.ID, restart.RunPaused)
	if run.Cause != restart.CauseUnknown || run.Tasks[0].State != restart.TaskUnknown {
		v.t.Fatalf("%s: %s", run.Summary(), run.Explanation)
	}
	return run
}

func (v *verbs) records(id string, action audit.Action) (out []audit.Record) {
	v.t.Helper()
	records, _, err := v.Store.AuditSearch(v.t.Context(), store.AuditFilter{Run: id, Action: action, Limit: 200})
	if err != nil {
		v.t.Fatal(err)
	}
	return records
}

func decision(host string, verdict restart.Verdict) string {
	return fmt.Sprintf(`{"host":%q,"verdict":%q,"reason":%q}`, host, verdict, found)
}

func states(run restart.Run) string {
	var out []string
	for _, t := range run.Tasks {
		out = append(out, string(t.State))
	}
	return strings.Join(out, " ")
}

func TestDecideEachWay(t *testing.T) {
	v := newVerbs(t)
	for verdict, want := range map[restart.Verdict]struct {
		state restart.RunState
		tasks string
	}{
		restart.VerdictHappened: {restart.RunCompleted, "unknown succeeded succeeded"},
		restart.VerdictDidNot:   {restart.RunFailed, "unknown succeeded succeeded"},
		restart.VerdictAgain:    {restart.RunCompleted, "unknown succeeded succeeded succeeded"},
	} {
		run := v.unknown()
		if p := problem(t, v.ask(v.anna, run.ID, "resume", ""), 409); !strings.Contains(p.Detail, "whether the script ran on web1 is not known") || !strings.Contains(p.Hint, "restartilka decide "+run.ID+" web1") {
			t.Errorf("resume: %+v", p)
		}
		got := decode[restart.Run](t, v.ask(v.anna, run.ID, "decide", decision("web1", verdict)), 200)
		d := got.Tasks[0].Decision
		if got.State != restart.RunPaused || got.Tasks[0].State != restart.TaskUnknown || d == nil || d.Verdict != verdict || d.By != "anna" || d.Reason != found {
			t.Errorf("%s: %s, %+v", verdict, got.Summary(), d)
		}
		decode[restart.Run](t, v.ask(v.anna, run.ID, "resume", ""), 200)
		got = v.until(run.ID, "the end", func(r restart.Run) bool { return r.State.Final() })
		if got.State != want.state || states(got) != want.tasks {
			t.Errorf("%s: %s (%s)", verdict, got.Summary(), states(got))
		}
		if verdict == restart.VerdictAgain && (got.Tasks[1].Attempt != 2 || got.Tasks[1].ID == got.Tasks[0].ID || got.Tasks[1].Host != "web1") {
			t.Errorf("again: %+v", got.Tasks[1])
		}
		if records := v.records(run.ID, audit.TaskDecided); len(records) != 1 || records[0].Outcome != string(verdict) || records[0].Reason != found || records[0].Actor != "anna" || records[0].Host != "web1" {
			t.Errorf("%s: records %+v", verdict, records)
		}
	}
}

// A double click, or ten, is one decision; another decision names the first.
func TestDecidedOnce(t *testing.T) {
	v := newVerbs(t)
	run := v.unknown()
	var clicks sync.WaitGroup
	answers := make(chan apitest.Answer, 10)
	for range cap(answers) {
		clicks.Go(func() { answers <- v.ask(v.anna, run.ID, "decide", decision("web1", restart.VerdictAgain)) })
	}
	clicks.Wait()
	for range cap(answers) {
		decode[restart.Run](t, <-answers, 200)
	}
	if got := v.get(run.ID); len(got.Tasks) != 4 || len(v.records(run.ID, audit.TaskDecided)) != 1 {
		t.Errorf("%d tasks, %d records", len(got.Tasks), len(v.records(run.ID, audit.TaskDecided)))
	}
	for token, verdict := range map[string]restart.Verdict{v.anna: restart.VerdictHappened, v.admin: restart.VerdictAgain} {
		if p := problem(t, v.ask(token, run.ID, "decide", decision("web1", verdict)), 409); !strings.Contains(p.Detail, "anna has decided about web1 already: again ("+found) {
			t.Errorf("%+v", p)
		}
	}
	decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200)
	got := v.untilState(run.ID, restart.RunAborted)
	if states(got) != "unknown not_started not_started not_started" {
		t.Errorf("after the abort: %s", states(got))
	}
}

// Who asked for the run must still have the right, and who decides too.
func TestDecideNeedsBothRights(t *testing.T) {
	v := newVerbs(t)
	run := v.unknown()
	for _, token := range []string{v.vera, v.olga} {
		problem(t, v.ask(token, run.ID, "decide", decision("web1", restart.VerdictHappened)), 403)
	}
	tokens, err := v.Store.Tokens(t.Context(), "anna")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Control.RevokeToken(t.Context(), restart.Actor{Name: "root", Roles: []restart.Role{admin}}, tokens[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"decide", "resume"} {
		body := ""
		if verb == "decide" {
			body = decision("web1", restart.VerdictHappened)
		}
		if p := problem(t, v.ask(v.admin, run.ID, verb, body), 403); !strings.Contains(p.Detail, "in the name of anna") || !strings.Contains(p.Hint, "retry "+run.ID) {
			t.Errorf("%s: %+v", verb, p)
		}
	}
	// What is left can still be done, in one's own name.
	decode[restart.Run](t, v.ask(v.admin, run.ID, "abort", ""), 200)
	v.anna = v.admin
	v.untilState(run.ID, restart.RunAborted)
	again := decode[restart.Run](t, v.ask(v.admin, run.ID, "retry", `{"reason":"web1 was looked at and is well","start":true}`), 201)
	if v.untilState(again.ID, restart.RunCompleted); again.Actor != "root" || again.Parent != run.ID {
		t.Errorf("retry: %+v", again)
	}
}

func (v *verbs) shelf(name, content string) {
	v.t.Helper()
	if err := os.WriteFile(filepath.Join(filepath.Dir(v.CAFile), "scenarios", name), []byte(content), 0o644); err != nil {
		v.t.Fatal(err)
	}
}

func TestRetry(t *testing.T) {
	v := newVerbs(t)
	v.Agents.Set("web2", apitest.Fails)
	body := strings.TrimSuffix(shopRestart, "}") + `,"params":{"grace":"7s"}}`
	run := decode[restart.Run](t, v.Request("POST", "/api/v1/runs", v.anna, []byte(body), nil), 201)
	start(t, v.Server, v.anna, run.ID)
	v.untilState(run.ID, restart.RunPaused)
	if p := problem(t, v.ask(v.anna, run.ID, "retry", `{"reason":"the disk has room again"}`), 409); !strings.Contains(p.Hint, "resume or abort it first") {
		t.Errorf("%+v", p)
	}
	decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200)
	run = v.untilState(run.ID, restart.RunAborted)
	v.Agents.Set("web2", apitest.Succeeds)
	v.shelf("plain-restart-2.yaml", strings.Replace(apitest.Scenario, "serial: 1", "serial: 2", 1)) // a newer one; the old is kept with the run
	if err := os.Remove(filepath.Join(filepath.Dir(v.CAFile), "scenarios", "plain-restart.yaml")); err != nil {
		t.Fatal(err)
	}

	problem(t, v.ask(v.vera, run.ID, "retry", `{"reason":"the disk has room again"}`), 403)
	if p := problem(t, v.ask(v.anna, run.ID, "retry", `{"reason":"again"}`), 422); p.Code != restart.CodeReason {
		t.Errorf("%+v", p)
	}
	retry := func(key string) restart.Run {
		t.Helper()
		return decode[restart.Run](t, v.Request("POST", "/api/v1/runs/"+run.ID+"/retry", v.anna, []byte(`{"reason":"the disk has room again"}`), http.Header{"Idempotency-Key": {key}}), 201)
	}
	again := retry("click")
	if again.State != restart.RunDraft || again.Parent != run.ID || again.Plan.Parent != run.ID || again.Digest != run.Digest || again.Params["grace"] != "7s" || again.Reason != "the disk has room again" || again.Group != run.Group {
		t.Errorf("draft: %+v", again)
	}
	if names := planned(again); !slices.Equal(names, []string{"web2", "web3"}) || !slices.Equal(again.Plan.Batches, []int{1, 1}) {
		t.Errorf("hosts: %v, batches %v", names, again.Plan.Batches)
	}
	if twice := retry("click"); twice.ID != again.ID {
		t.Error("the same key gave another run")
	}
	if len(v.get(run.ID).Children) != 0 {
		t.Error("a draft is shown as a retry")
	}
	start(t, v.Server, v.anna, again.ID)
	if got := v.untilState(again.ID, restart.RunCompleted); states(got) != "succeeded succeeded" {
		t.Errorf("retry: %s", got.Summary())
	}
	if c := v.get(run.ID).Children; len(c) != 1 || c[0].ID != again.ID || c[0].State != restart.RunCompleted {
		t.Errorf("children: %+v", c)
	}
	if records := v.records(again.ID, audit.RunRequested); len(records) != 1 || !strings.Contains(records[0].Detail, "a retry of run "+run.ID) {
		t.Errorf("records: %+v", records)
	}
	if p := problem(t, v.ask(v.anna, again.ID, "retry", `{"reason":"the disk has room again"}`), 409); !strings.Contains(p.Detail, "left nothing to do") {
		t.Errorf("%+v", p)
	}

	// A host that has left the group is not touched; a group that has gone has none.
	inventory := filepath.Join(filepath.Dir(v.CAFile), "inventory.yaml")
	rewrite := func(old, text string) {
		t.Helper()
		if err := os.WriteFile(inventory, []byte(strings.Replace(apitest.Inventory, old, text, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stale := retry("stale")
	rewrite("[web1, web2, web3]", "[web1, web3]")
	if p := problem(t, v.ask(v.anna, stale.ID, "start", "{}"), 409); p.Code != restart.CodePlanChanged || !strings.Contains(p.Detail, "web2 is not left to do any more, or not in the group") {
		t.Errorf("%+v", p)
	}
	less := retry("less")
	if names := planned(less); !slices.Equal(names, []string{"web3"}) || !strings.Contains(strings.Join(less.Plan.Warnings, "\n"), "web2 is not in group shop-production any more") ||
		!strings.Contains(strings.Join(less.Plan.Warnings, "\n"), "run "+again.ID+" by anna was made from the same run already") {
		t.Errorf("hosts %v, warnings %v", names, less.Plan.Warnings)
	}
	rewrite("[web1, web2, web3]", "[web1]")
	if p := problem(t, v.ask(v.anna, run.ID, "retry", `{"reason":"the disk has room again"}`), 409); !strings.Contains(p.Detail, "none of the hosts that are left is in group") {
		t.Errorf("%+v", p)
	}
	rewrite("name: shop-production,", "name: other-production,")
	problem(t, v.ask(v.anna, run.ID, "retry", `{"reason":"the disk has room again"}`), 404)
}

func planned(run restart.Run) (out []string) {
	for _, h := range run.Plan.Hosts {
		out = append(out, h.Name)
	}
	return out
}

// An unknown host that nobody has decided about is retried with a warning, and
// one of which it is known that it happened is not.
func TestRetryOfUnknownHosts(t *testing.T) {
	v := newVerbs(t)
	for verdict, want := range map[restart.Verdict]int{"": 3, restart.VerdictDidNot: 3, restart.VerdictHappened: 2} {
		run := v.unknown()
		decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200)
		v.untilState(run.ID, restart.RunAborted)
		if verdict != "" { // also of a run that is over
			decode[restart.Run](t, v.ask(v.anna, run.ID, "decide", decision("web1", verdict)), 200)
		}
		again := decode[restart.Run](t, v.ask(v.anna, run.ID, "retry", `{"reason":"the disk has room again"}`), 201)
		warned := strings.Contains(strings.Join(again.Plan.Warnings, "\n"), "whether the script ran on web1 is not known")
		if len(again.Plan.Hosts) != want || warned != (verdict == "") {
			t.Errorf("%q: %v, warnings %v", verdict, planned(again), again.Plan.Warnings)
		}
	}
}

func TestUndrainAlone(t *testing.T) {
	v := newVerbs(t)
	v.shelf("balanced.yaml", balanced)
	v.Agents.Set("web1", apitest.Fails)
	run := decode[restart.Run](t, v.Request("POST", "/api/v1/runs", v.anna, []byte(strings.TrimSuffix(shopRestart, "}")+`,"scenario":"balanced-restart","start":true}`), nil), 201)
	run = v.untilState(run.ID, restart.RunPaused)
	problem(t, v.ask(v.anna, run.ID, "undrain", `{"reason":"repaired by hand, it answers"}`), 409)
	decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200)
	v.untilState(run.ID, restart.RunAborted)
	if p := problem(t, v.ask(v.anna, run.ID, "undrain", `{"reason":"repaired by hand, it answers"}`), 409); !strings.Contains(p.Detail, "has left no host drained") {
		t.Errorf("%+v", p)
	}
	var changes []store.TaskChange // as the agents of three hosts would have said
	for _, task := range run.Tasks {
		changes = append(changes, store.TaskChange{ID: task.ID, Drained: new(true), FinishedAt: new(time.Now().Add(-time.Minute))})
	}
	if _, err := v.Store.Apply(t.Context(), store.Change{RunID: run.ID, Tasks: changes}); err != nil {
		t.Fatal(err)
	}
	problem(t, v.ask(v.vera, run.ID, "undrain", `{"reason":"repaired by hand, it answers"}`), 403)
	if p := problem(t, v.ask(v.anna, run.ID, "undrain", `{"hosts":["web9"],"reason":"repaired by hand, it answers"}`), 422); !strings.Contains(p.Hint, "web1, web2, web3") {
		t.Errorf("%+v", p)
	}
	one := decode[restart.Run](t, v.ask(v.anna, run.ID, "undrain", `{"hosts":["web3"],"reason":"repaired by hand, it answers"}`), 201)
	if one.Work != restart.WorkUndrain || one.Plan.Work != restart.WorkUndrain || one.Parent != run.ID || !slices.Equal(planned(one), []string{"web3"}) {
		t.Errorf("of one host: %+v", one)
	}
	start(t, v.Server, v.anna, one.ID)
	v.untilState(one.ID, restart.RunCompleted)

	// One that fails keeps no other from being put back.
	rest := decode[restart.Run](t, v.ask(v.anna, run.ID, "undrain", `{"reason":"repaired by hand, it answers","start":true}`), 201)
	got := v.until(rest.ID, "the end", func(r restart.Run) bool { return r.State.Final() })
	if got.State != restart.RunFailed || states(got) != "failed succeeded" || got.Plan.Strategy.MinAvailable != "" || got.Plan.Strategy.HoldAfterFirst {
		t.Errorf("undrain: %s %+v", got.Summary(), got.Plan.Strategy)
	}
	for i, want := range []bool{true, false, false} {
		if task := v.get(run.ID).Tasks[i]; task.Drained != want {
			t.Errorf("%s is drained: %v", task.Host, task.Drained)
		}
	}
	v.Agents.Set("web1", apitest.Succeeds)
	last := decode[restart.Run](t, v.ask(v.anna, rest.ID, "retry", `{"reason":"the balancer answers again","start":true}`), 201)
	v.untilState(last.ID, restart.RunCompleted)
	if last.Work != restart.WorkUndrain || v.get(run.ID).Tasks[0].Drained {
		t.Errorf("its retry: %+v; web1 drained: %v", last.Work, v.get(run.ID).Tasks[0].Drained)
	}
	if p := problem(t, v.ask(v.anna, run.ID, "undrain", `{"reason":"repaired by hand, it answers"}`), 409); !strings.Contains(p.Detail, "has left no host drained") {
		t.Errorf("%+v", p)
	}
}

// Every verb upon an old version is refused, and says what has changed.
func TestStaleVersions(t *testing.T) {
	v := newVerbs(t)
	run := v.unknown()
	for verb, body := range map[string]string{
		"resume": `{"version":1}`, "abort": `{"version":1}`, "force-abort": `{"version":1}`,
		"decide": `{"version":1,` + decision("web1", restart.VerdictHappened)[1:],
	} {
		if verb == "resume" { // which asks for a decision first
			continue
		}
		p := problem(t, v.ask(v.anna, run.ID, verb, body), 409)
		if !strings.Contains(p.Detail, "has changed since you looked at it (version 1): it is paused now; web1 is unknown") {
			t.Errorf("%s: %+v", verb, p)
		}
	}
	now := fmt.Sprintf(`{"version":%d`, v.get(run.ID).Version)
	decode[restart.Run](t, v.ask(v.anna, run.ID, "decide", now+","+decision("web1", restart.VerdictHappened)[1:]), 200)
	problem(t, v.ask(v.anna, run.ID, "resume", now+"}"), 409) // the decision came since
	problem(t, v.ask(v.anna, run.ID, "pause", `{"version":-1}`), 422)
	decode[restart.Run](t, v.ask(v.anna, run.ID, "resume", fmt.Sprintf(`{"version":%d}`, v.get(run.ID).Version)), 200)
	v.untilState(run.ID, restart.RunCompleted)
	problem(t, v.ask(v.anna, run.ID, "retry", `{"version":1,"reason":"the disk has room again"}`), 409)
	problem(t, v.ask(v.anna, run.ID, "undrain", `{"version":1,"reason":"the disk has room again"}`), 409)
	plan := draft(t, v.Server, v.anna, "")
	problem(t, v.ask(v.anna, plan.ID, "start", `{"version":99}`), 409)
	decode[restart.Run](t, v.ask(v.anna, plan.ID, "start", fmt.Sprintf(`{"version":%d}`, v.get(plan.ID).Version)), 200)
}

// Whatever is pressed on a run that is over, not there, not started or not
// one's own: a sentence, and nothing has changed.
func TestVerbsThatAreRefused(t *testing.T) {
	v := newVerbs(t)
	over := start(t, v.Server, v.anna, draft(t, v.Server, v.anna, "").ID)
	v.untilState(over.ID, restart.RunCompleted)
	plan := draft(t, v.Server, v.anna, "")
	paused := v.unknown()
	bodies := map[string]string{
		"pause": "", "resume": "", "abort": "", "force-abort": "", "decide": decision("web1", restart.VerdictHappened),
		"retry": `{"reason":"the disk has room again"}`, "undrain": `{"reason":"the disk has room again"}`,
	}
	before, _ := json.Marshal([]restart.Run{v.get(over.ID), v.get(plan.ID), v.get(paused.ID)})
	for verb, body := range bodies {
		refused := func(what, token, id string, status ...int) {
			t.Helper()
			answer := v.ask(token, id, verb, body)
			if !slices.Contains(status, answer.StatusCode) {
				t.Errorf("%s %s: %d %s", verb, what, answer.StatusCode, read(t, answer))
				return
			}
			problem(t, answer, answer.StatusCode)
		}
		refused("without a token", "", paused.ID, 401)
		refused("of another's run", v.vera, paused.ID, 403)
		refused("as an auditor", v.olga, paused.ID, 403)
		refused("of another's run that is over", v.vera, over.ID, 403, 409)
		refused("of no run", v.anna, "00000000000000000000000000", 404)
		refused("of what is no id", v.anna, "..%2fruns", 422)
		refused("of a run that is over", v.anna, over.ID, 409)
		refused("of a plan", v.anna, plan.ID, 404, 409)
	}
	after, _ := json.Marshal([]restart.Run{v.get(over.ID), v.get(plan.ID), v.get(paused.ID)})
	if string(before) != string(after) {
		t.Errorf("something has changed:\n%s\n%s", before, after)
	}
}
