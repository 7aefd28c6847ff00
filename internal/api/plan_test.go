package api_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
)

// careful puts a scenario with that strategy on the server's shelf.
func careful(t *testing.T, s *apitest.Server, strategy string) {
	t.Helper()
	text := strings.Replace(apitest.Scenario, "strategy:\n  batches: [1]\n  on_failure: pause\n", "strategy:\n"+strategy, 1)
	text = strings.Replace(text, "name: plain-restart", "name: careful", 1)
	if err := os.WriteFile(filepath.Join(s.Shelf, "careful.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const carefully = `{"service":"shop","scenario":"careful","reason":"workers hang since noon"`

func TestAPlanSaysWhatItsStrategyMeans(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	careful(t, s, "  batches: [1, \"70%\"]\n  when_down: {batches: [\"100%\"]}\n  min_available: N-1\n  pause_between: 1m\n  task_timeout: 2m\n")
	p := decode[restart.Plan](t, s.Request("POST", "/api/v1/plans", anna, []byte(carefully+"}"), nil), 200)
	r := p.Resolved
	if r == nil || r.Healthy != 3 || r.Keep != 2 || r.WhenDown != restart.WhenDownSomeHealthy || r.Longest.String() != "5m20s" || p.Deadline.String() != "10s" {
		t.Fatalf("deadline %s, %+v", p.Deadline, r)
	}
	if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], "batch 2 touches 2 healthy hosts at once") {
		t.Errorf("warnings %q", r.Warnings)
	}
	// What is unticked changes the numbers: they are those that are frozen.
	run := decode[restart.Run](t, s.Request("POST", "/api/v1/runs", anna, []byte(carefully+"}"), nil), 201)
	run = decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+run.ID+"/start", anna, []byte(`{"hosts":["web1","web3"]}`), nil), 200)
	if r := run.Plan.Resolved; r.Healthy != 3 || r.Keep != 2 || len(r.Warnings) != 0 || len(run.Plan.Batches) != 2 {
		t.Errorf("batches %v, %+v", run.Plan.Batches, r)
	}
}

func TestAPlanThatCouldNeverStartIsRefused(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	ask := func(more string) apitest.Answer {
		t.Helper()
		return s.Request("POST", "/api/v1/plans", anna, []byte(carefully+more+"}"), nil)
	}
	careful(t, s, "  min_available: 3\n")
	p := problem(t, ask(""), 409)
	if p.Code != restart.CodeConflict || !strings.Contains(p.Detail, "min_available 3 keeps 3 healthy, and 3 are: no healthy host can be touched") || strings.Contains(p.Hint, "leave out") {
		t.Errorf("%+v", p)
	}
	problem(t, s.Request("POST", "/api/v1/runs", anna, []byte(carefully+"}"), nil), 409)

	// The broken hosts alone may be restarted, whatever it keeps.
	for _, host := range []string{"web1", "web2"} {
		s.Agents.Set(host, apitest.Sick)
	}
	got := decode[restart.Plan](t, ask(`,"except":"web3"`), 200)
	if got.Resolved.Healthy != 1 || got.Resolved.Keep != 3 || len(got.Batches) != 2 {
		t.Errorf("batches %v, %+v", got.Batches, got.Resolved)
	}
	if p := problem(t, ask(""), 409); !strings.Contains(p.Hint, "(web3)") {
		t.Errorf("%+v", p)
	}
}

// TestTheOrderIsThePlans: what a person has confirmed is what is done, also
// where chance made the order.
func TestTheOrderIsThePlans(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	careful(t, s, "  order: shuffle\n")
	order := func(hosts []restart.PlannedHost) (out []string) {
		for _, h := range hosts {
			out = append(out, h.Name)
		}
		return out
	}
	orders := map[string]bool{}
	for tries := 0; len(orders) < 2; tries++ {
		if tries == 100 { // of six orders, always the same
			t.Fatalf("no shuffle: %v", orders)
		}
		run := decode[restart.Run](t, s.Request("POST", "/api/v1/runs", anna, []byte(carefully+"}"), nil), 201)
		shown := order(run.Plan.Hosts)
		orders[strings.Join(shown, " ")] = true
		if len(orders) < 2 {
			continue
		}
		run = decode[restart.Run](t, s.Request("POST", "/api/v1/runs/"+run.ID+"/start", anna, []byte("{}"), nil), 200)
		var tasks []string
		for _, task := range run.Tasks {
			tasks = append(tasks, task.Host)
		}
		if got := order(run.Plan.Hosts); !slices.Equal(got, shown) || !slices.Equal(tasks, shown) {
			t.Errorf("shown %v, frozen %v, tasks %v", shown, got, tasks)
		}
	}
	careful(t, s, "  order: reverse\n")
	s.Agents.Set("web1", apitest.Sick)
	p := decode[restart.Plan](t, s.Request("POST", "/api/v1/plans", anna, []byte(carefully+"}"), nil), 200)
	if got := order(p.Hosts); !slices.Equal(got, []string{"web1", "web3", "web2"}) {
		t.Errorf("reverse, web1 broken: %v", got)
	}
}

// What a strategy keeps healthy is kept of the group: naming some of its hosts
// and leaving out all others is one plan, and so is a retry. The others are
// looked at, and touched by nobody, whatever is ticked.
func TestHostsThatWereNotAskedForAreCounted(t *testing.T) {
	s := apitest.Start(t, nil)
	anna := s.Token("anna", developer)
	careful(t, s, "  min_available: 2\n")
	plan := func(more string) restart.Plan {
		t.Helper()
		return decode[restart.Plan](t, s.Request("POST", "/api/v1/plans", anna, []byte(carefully+more+"}"), nil), 200)
	}
	named, except := plan(`,"hosts":"web2"`), plan(`,"except":"web1,web3"`)
	if r := named.Resolved; r.Healthy != 3 || r.Keep != 2 || r.Healthy != except.Resolved.Healthy || r.Keep != except.Resolved.Keep {
		t.Errorf("named %+v, except %+v", named.Resolved, except.Resolved)
	}
	if chosen := named.Chosen(); len(chosen) != 1 || chosen[0].Name != "web2" || len(named.Asked()) != 1 || len(except.Asked()) != 3 {
		t.Errorf("chosen %+v", chosen)
	}
	for _, h := range named.Hosts {
		if h.Health != restart.HealthHealthy || h.Agent != "ready" || h.Beside != (h.Name != "web2") || h.LeftOut != h.Beside {
			t.Errorf("%+v", h)
		}
	}
	s.Agents.Set("web1", apitest.Sick) // the rest of the group can stop it
	if p := problem(t, s.Request("POST", "/api/v1/plans", anna, []byte(carefully+`,"hosts":"web2"}`), nil), 409); !strings.Contains(p.Detail, "min_available 2 keeps 2 healthy, and 2 are") {
		t.Errorf("%+v", p)
	}
	if sick := plan(`,"hosts":"web1"`); sick.Resolved.Healthy != 2 { // and a broken host costs nothing
		t.Errorf("%+v", sick.Resolved)
	}
	s.Agents.Set("web1", apitest.Succeeds)

	draft := decode[restart.Run](t, s.Request("POST", "/api/v1/runs", anna, []byte(carefully+`,"hosts":"web2"}`), nil), 201)
	p := problem(t, s.Request("POST", "/api/v1/runs/"+draft.ID+"/start", anna, []byte(`{"hosts":["web2","web3"]}`), nil), 422)
	if !strings.Contains(p.Detail, "web3") || p.Hint != "the plan has: web2" {
		t.Errorf("%+v", p)
	}
	p = problem(t, s.Request("POST", "/api/v1/plans", anna, []byte(carefully+`,"hosts":"web2,web3","except":"web1"}`), nil), 422)
	if !strings.Contains(p.Detail, "web1 is to be left out, and is not in the plan") {
		t.Errorf("%+v", p)
	}
	// A host that leaves the group before the start changes what was confirmed.
	inventory := filepath.Join(filepath.Dir(s.CAFile), "inventory.yaml")
	less := strings.Replace(apitest.Inventory, "[web1, web2, web3]", "[web1, web2]", 1)
	if err := os.WriteFile(inventory, []byte(less), 0o644); err != nil {
		t.Fatal(err)
	}
	if p := problem(t, s.Request("POST", "/api/v1/runs/"+draft.ID+"/start", anna, []byte("{}"), nil), 409); !strings.Contains(p.Detail, "web3 is not in the group any more") {
		t.Errorf("%+v", p)
	}
	// What counts nothing asks nobody in vain.
	careful(t, s, "  batches: [1]\n")
	if p := plan(`,"hosts":"web2"`); len(p.Hosts) != 1 {
		t.Errorf("%+v", p.Hosts)
	}
}

// A retry counts the hosts that are done, and touches none of them.
func TestARetryCountsTheHostsThatAreDone(t *testing.T) {
	v := newVerbs(t)
	careful(t, v.Server, "  min_available: 60%\n  on_failure: pause\n")
	v.Agents.Set("web2", apitest.Fails)
	run := decode[restart.Run](t, v.Request("POST", "/api/v1/runs", v.anna, []byte(carefully+`,"start":true}`), nil), 201)
	v.untilState(run.ID, restart.RunPaused)
	decode[restart.Run](t, v.ask(v.anna, run.ID, "abort", ""), 200)
	v.untilState(run.ID, restart.RunAborted)
	v.Agents.Set("web2", apitest.Succeeds)
	again := decode[restart.Run](t, v.ask(v.anna, run.ID, "retry", `{"reason":"the disk has room again"}`), 201)
	if r := again.Plan.Resolved; r.Healthy != 3 || r.Keep != 2 || len(again.Plan.Asked()) != 2 {
		t.Errorf("%+v over %+v", r, again.Plan.Hosts)
	}
	problem(t, v.ask(v.anna, again.ID, "start", `{"hosts":["web1","web2"]}`), 422)
	start(t, v.Server, v.anna, again.ID)
	if got := v.untilState(again.ID, restart.RunCompleted); len(got.Tasks) != 2 || got.Tasks[0].Host != "web2" || got.Tasks[1].Host != "web3" {
		t.Errorf("%s", got.Summary())
	}
}
