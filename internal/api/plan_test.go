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
	if p.Code != restart.CodeConflict || !strings.Contains(p.Detail, "min_available 3 keeps 3 healthy, and 3 are: no healthy host can be touched") || !strings.Contains(p.Hint, "leave out the healthy hosts (web1)") {
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
