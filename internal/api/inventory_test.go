package api_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/foreign/conductor"
)

// knownBy makes a server that knows shop by a Conductor, and what is optional
// by a file that is not there.
func knownBy(t *testing.T, d conductor.Data) (*apitest.Server, *conductor.Server) {
	t.Helper()
	fake := conductor.New(t)
	fake.Set(d)
	described := filepath.Join(t.TempDir(), "services.yaml")
	if err := os.WriteFile(described, []byte("services: [{name: shop, package: shop, unit: shop.service, project: web, owners: [anna]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.New(inventory.Config{Kind: "merged", Sources: []inventory.Config{
		{Name: "conductor", Kind: "conductor", URL: fake.URL + "/api", ServicesFile: described, Packages: true, GroupNames: []string{"#project#-#environment#"}, Environments: []string{"production"}},
		{Name: "lab", Kind: "yaml", Path: filepath.Join(filepath.Dir(described), "none.yaml"), Optional: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return apitest.StartReviewed(t, control.Review{}, func(c *control.Config) { c.Inventory = inv }), fake
}

// A plan says of each host whether the package belongs there by the inventory,
// and whether its version there is the inventory's (R33); the group follows by
// itself (R15).
func TestPlanByPackages(t *testing.T) {
	s, _ := knownBy(t, conductor.Data{
		Groups: map[string][]conductor.Host{"web-production": {{Name: "web1"}, {Name: "web2"}, {Name: "web3"}, {Name: "web4"}}},
		Packages: map[string][]conductor.Package{
			"web1": {{Name: "shop", Version: "1.2.3"}}, "web2": {{Name: "other", Version: "1"}}, "web3": {{Name: "shop", Version: "1.3"}}, "web4": {{Name: "shop"}},
		},
	})
	token := s.Token("anna", restart.RoleDeveloper)
	plan := decode[restart.Plan](t, s.Request("POST", "/api/v1/plans", token, []byte(`{"service":"shop","reason":"it hangs since noon"}`), nil), http.StatusOK)
	if plan.Group != "web-production" || plan.Environment != "production" || plan.Project != "web" {
		t.Errorf("group %q, environment %q, project %q", plan.Group, plan.Environment, plan.Project)
	}
	why := map[string]string{}
	for _, h := range plan.Hosts {
		why[h.Name] = h.Why
		if h.LeftOut && h.Code != restart.CodeNotInstalled {
			t.Errorf("%s: %s", h.Name, h.Code)
		}
	}
	for host, want := range map[string]string{"web1": "", "web2": "by the inventory, package shop does not belong on this host", "web3": "version 1.2.3-1 here, which does not carry the tag 1.3", "web4": ""} {
		if !strings.Contains(why[host], want) || (want == "") != (why[host] == "") {
			t.Errorf("%s: %q, want %q", host, why[host], want)
		}
	}
	if all := strings.Join(plan.Warnings, "\n"); !strings.Contains(all, "source lab gives nothing") {
		t.Errorf("warnings: %s", all)
	}
}

func TestInventoryState(t *testing.T) {
	s, fake := knownBy(t, conductor.Data{Groups: map[string][]conductor.Host{"web-production": {{Name: "web1"}}}, Packages: map[string][]conductor.Package{"web1": {{Name: "shop"}}}})
	token := s.Token("anna", restart.RoleViewer)
	now := decode[wire.InventoryState](t, s.Request("GET", "/api/v1/inventory", token, nil, nil), http.StatusOK)
	if len(now.Sources) != 2 || strings.Join(now.Missing, " ") != "lab" || now.Hosts != 1 || now.FetchedAt == nil {
		t.Fatalf("%+v", now)
	}
	if first, lab := now.Sources[0], now.Sources[1]; first.Missing || first.Name != "conductor" || !lab.Missing || !lab.Optional || lab.FetchedAt != nil || !strings.Contains(lab.Problem, "does not exist") {
		t.Errorf("%+v", now.Sources)
	}
	fake.Answer(http.NotFound)
	if now := decode[wire.InventoryState](t, s.Request("GET", "/api/v1/inventory", token, nil, nil), http.StatusOK); now.Hosts != 1 {
		t.Errorf("within cache_for: %+v", now)
	}
	problem(t, s.Request("GET", "/api/v1/inventory", "", nil, nil), http.StatusUnauthorized)
}
