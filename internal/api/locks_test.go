package api_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const twoGroups = `
services:
  - {name: shop, package: shop, unit: shop.service, owners: [anna]}
groups:
  - {name: shop-blue, environment: production, services: [shop], hosts: [web1]}
  - {name: shop-green, environment: production, services: [shop], hosts: [web2]}
hosts:
  - {name: web1, address: 192.0.2.1}
  - {name: web2, address: 192.0.2.2}
`

// A scenario that says so holds its group alone: another group goes beside it,
// and a run over the whole environment waits, and says for whom.
func TestAScenarioHoldsItsGroup(t *testing.T) {
	s := apitest.Start(t, nil)
	dir := filepath.Dir(s.CAFile)
	narrow := strings.Replace(strings.Replace(apitest.Scenario, "plain-restart", "narrow-restart", 1), "params:", "holds: group\nparams:", 1)
	for path, text := range map[string]string{filepath.Join(dir, "scenarios", "narrow-restart.yaml"): narrow, filepath.Join(dir, "inventory.yaml"): twoGroups} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	anna := s.Token("anna", developer)
	ask := func(scenario, group string) restart.Run {
		t.Helper()
		body := `{"service":"shop","scenario":"` + scenario + `","group":"` + group + `","reason":"workers hang since noon","start":true}`
		return decode[restart.Run](t, s.Request("POST", "/api/v1/runs", anna, []byte(body), nil), 201)
	}
	s.Agents.Set("web1", apitest.Hangs)
	blue := ask("narrow-restart", "shop-blue")
	until(t, s, anna, blue.ID, restart.RunRunning)
	until(t, s, anna, ask("narrow-restart", "shop-green").ID, restart.RunCompleted)

	locks := decode[wire.List[wire.Lock]](t, s.Request("GET", "/api/v1/locks", anna, nil, nil), 200)
	if len(locks.Items) != 1 || locks.Items[0].Group != "shop-blue" || locks.Items[0].Run != blue.ID || locks.Items[0].Actor != "anna" || locks.Items[0].State != restart.RunRunning || time.Since(locks.Items[0].Since).Abs() > time.Minute {
		t.Errorf("locks: %+v", locks.Items)
	}
	for scenario, warned := range map[string]bool{"narrow-restart": false, "plain-restart": true} {
		body := `{"service":"shop","scenario":"` + scenario + `","group":"shop-green","reason":"workers hang since noon"}`
		plan := decode[restart.Plan](t, s.Request("POST", "/api/v1/plans", anna, []byte(body), nil), 200)
		if got := strings.Contains(strings.Join(plan.Warnings, "\n"), "would wait for it"); got != warned {
			t.Errorf("%s of the other group warns: %v", scenario, plan.Warnings)
		}
	}
	whole := ask("plain-restart", "shop-green")
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(whole.Explanation, blue.ID) {
		whole = decode[restart.Run](t, s.Request("GET", "/api/v1/runs/"+whole.ID, anna, nil, nil), 200)
		if time.Now().After(deadline) || whole.State != restart.RunQueued {
			t.Fatalf("%s: %q", whole.State, whole.Explanation)
		}
	}
	if !strings.Contains(whole.Explanation, `by "anna"`) || !strings.Contains(whole.Explanation, "group shop-blue") {
		t.Errorf("it waits: %s", whole.Explanation)
	}
	s.Agents.Set("web1", apitest.Succeeds)
	until(t, s, anna, blue.ID, restart.RunCompleted)
	until(t, s, anna, whole.ID, restart.RunCompleted)
}
