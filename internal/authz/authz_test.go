package authz_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestDecide(t *testing.T) {
	nginx := authz.Object{Service: restart.Service{Name: "nginx", Owners: []string{"anna", "team:web"}}}
	orphan := authz.Object{Service: restart.Service{Name: "orphan"}}
	dev := []restart.Role{restart.RoleDeveloper}
	for name, c := range map[string]struct {
		actor  restart.Actor
		action authz.Action
		object authz.Object
		want   bool
	}{
		"owner restarts":                  {restart.Actor{Name: "anna", Roles: dev}, authz.Restart, nginx, true},
		"owner dumps":                     {restart.Actor{Name: "anna", Roles: dev}, authz.Dump, nginx, true},
		"owner without the role":          {restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleViewer}}, authz.Restart, nginx, false},
		"team owns":                       {restart.Actor{Name: "boris", Roles: dev, Teams: []string{"web"}}, authz.Restart, nginx, true},
		"a person named like the team":    {restart.Actor{Name: "web", Roles: dev}, authz.Restart, nginx, false},
		"another developer":               {restart.Actor{Name: "vera", Roles: dev, Teams: []string{"db"}}, authz.Restart, nginx, false},
		"another developer sees":          {restart.Actor{Name: "vera", Roles: dev}, authz.See, nginx, true},
		"another developer can't abort":   {restart.Actor{Name: "vera", Roles: dev}, authz.Control, nginx, false},
		"nobody owns it":                  {restart.Actor{Name: "anna", Roles: dev}, authz.Restart, orphan, false},
		"admin restarts anything":         {restart.Actor{Name: "root", Roles: []restart.Role{restart.RoleAdmin}}, authz.Restart, orphan, true},
		"nobody":                          {restart.Actor{}, authz.See, nginx, false},
		"nobody with a role":              {restart.Actor{Roles: []restart.Role{restart.RoleAdmin}}, authz.See, nginx, false},
		"auditor reads the trail":         {restart.Actor{Name: "olga", Roles: []restart.Role{restart.RoleAuditor}}, authz.Audit, authz.Object{}, true},
		"developer does not":              {restart.Actor{Name: "anna", Roles: dev}, authz.Audit, authz.Object{}, false},
		"auditor does not administer":     {restart.Actor{Name: "olga", Roles: []restart.Role{restart.RoleAuditor}}, authz.Administer, authz.Object{}, false},
		"break-glass is a right":          {restart.Actor{Name: "anna", Roles: dev}, authz.BreakGlass, nginx, false},
		"with its role":                   {restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleBreakGlass}}, authz.BreakGlass, nginx, true},
		"the role alone restarts nothing": {restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleBreakGlass}}, authz.Restart, nginx, false},
		"an admin breaks glass":           {restart.Actor{Name: "root", Roles: []restart.Role{restart.RoleAdmin}}, authz.BreakGlass, nginx, true},
		"an auditor reviews":              {restart.Actor{Name: "olga", Roles: []restart.Role{restart.RoleAuditor}}, authz.ReviewGlass, nginx, true},
		"a developer does not":            {restart.Actor{Name: "anna", Roles: dev}, authz.ReviewGlass, nginx, false},
		"an auditor does not freeze":      {restart.Actor{Name: "olga", Roles: []restart.Role{restart.RoleAuditor}}, authz.Freeze, authz.Object{}, false},
		"a developer freezes nothing":     {restart.Actor{Name: "anna", Roles: dev}, authz.Freeze, authz.Object{}, false},
		"an unknown action is an admin's": {restart.Actor{Name: "anna", Roles: dev}, "launch", nginx, false},
	} {
		if got := authz.Default().Decide(c.actor, c.action, c.object); got.Allowed != c.want || got.Why == "" {
			t.Errorf("%s: %+v, want allowed=%v with a why", name, got, c.want)
		}
	}
}

func TestRefusalNamesWhoCan(t *testing.T) {
	nginx := authz.Object{Service: restart.Service{Name: "nginx", Owners: []string{"anna", "team:web"}}}
	err := authz.Default().Require(restart.Actor{Name: "vera", Roles: []restart.Role{restart.RoleDeveloper}}, authz.Restart, nginx)
	if restart.CodeOf(err) != restart.CodeForbidden || !strings.Contains(err.Error(), "ask anna, team web or an admin") {
		t.Errorf("refusal: %v", err)
	}
	if err := authz.Default().Require(restart.Actor{}, authz.See, nginx); restart.CodeOf(err) != restart.CodeUnauthorised {
		t.Errorf("nobody: %v", err)
	}
}

// Nobody who is neither admin nor among the owners may touch a service.
func TestOnlyOwnersAndAdminsTouch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SampledFrom([]string{"anna", "boris", "vera", "web", "db"})
		actor := restart.Actor{
			Name:  names.Draw(t, "name"),
			Roles: rapid.SliceOf(rapid.SampledFrom(restart.Roles())).Draw(t, "roles"),
			Teams: rapid.SliceOf(names).Draw(t, "teams"),
		}
		owners := rapid.SliceOf(rapid.SampledFrom([]string{"anna", "boris", "team:web", "team:db"})).Draw(t, "owners")
		action := rapid.SampledFrom([]authz.Action{authz.Restart, authz.Dump, authz.Control}).Draw(t, "action")
		owns := false
		for _, o := range owners {
			owns = owns || o == actor.Name
			for _, team := range actor.Teams {
				owns = owns || o == "team:"+team
			}
		}
		want := actor.Has(restart.RoleAdmin) || owns && actor.Has(restart.RoleDeveloper)
		if got := authz.Default().Decide(actor, action, authz.Object{Service: restart.Service{Name: "s", Owners: owners}}).Allowed; got != want {
			t.Fatalf("%+v on a service of %v: %v, want %v", actor, owners, got, want)
		}
	})
}

// A token's bounds take something away from what the rules allow, whoever has
// it, and never give or hide anything.
func TestScopesBoundWhatIsDone(t *testing.T) {
	nginx := authz.Object{Service: restart.Service{Name: "nginx", Owners: []string{"anna"}}, Environment: "production"}
	rapid.Check(t, func(t *rapid.T) {
		actor := restart.Actor{Name: "anna", Roles: rapid.SliceOf(rapid.SampledFrom(restart.Roles())).Draw(t, "roles")}
		action := rapid.SampledFrom(append(authz.ScopeActions(), authz.See)).Draw(t, "action")
		object := rapid.SampledFrom([]authz.Object{nginx, {}}).Draw(t, "object")
		free := authz.Default().Decide(actor, action, object)
		actor.Scope = &restart.Scope{
			Services: rapid.SampledFrom([][]string{nil, {"nginx"}, {"ng*"}, {"other"}}).Draw(t, "services"), Actions: rapid.SampledFrom([][]string{nil, {"restart"}, {"dump"}}).Draw(t, "actions"),
		}
		bound := authz.Default().Decide(actor, action, object)
		covers := func(a authz.Action) bool {
			return actor.Scope.Covers(string(a), object.Service.Name, object.Environment)
		}
		want := free.Allowed && (action == authz.See || covers(action))
		if action == authz.ViewDump && covers(authz.Dump) { // whoever may dump may look at dumps
			want = want || authz.Default().Decide(restart.Actor{Name: actor.Name, Roles: actor.Roles}, authz.Dump, object).Allowed
		}
		if bound.Allowed != want || bound.Why == "" {
			t.Fatalf("%+v, %s on %+v: %+v, want %t", actor, action, object, bound, want)
		}
	})
}

// A team of which nobody can say any more whether somebody is in it allows
// nothing, and denies what it denied.
func TestTeamsOfOnce(t *testing.T) {
	rules, err := authz.Parse("rules.yaml", []byte(`format: 1
rules:
  - {allow: [restart], to: [owners, "team:web"]}
  - {deny: [restart], to: ["team:contractors"], environments: [production]}
`))
	if err != nil {
		t.Fatal(err)
	}
	shop := restart.Service{Name: "shop", Owners: []string{"vera", "team:db"}}
	dev := []restart.Role{restart.RoleDeveloper}
	for name, c := range map[string]struct {
		actor       restart.Actor
		environment string
		want        bool
	}{
		"an owner":                             {restart.Actor{Name: "vera", Roles: dev}, "production", true},
		"denied to his team":                   {restart.Actor{Name: "vera", Roles: dev, Teams: []string{"contractors"}}, "production", false},
		"denied to his team of once":           {restart.Actor{Name: "vera", Roles: dev, Former: []string{"contractors"}}, "production", false},
		"not denied elsewhere":                 {restart.Actor{Name: "vera", Roles: dev, Former: []string{"contractors"}}, "testing", true},
		"a team of once allows nothing":        {restart.Actor{Name: "anna", Roles: dev, Former: []string{"web"}}, "testing", false},
		"a team of once owns nothing":          {restart.Actor{Name: "anna", Roles: dev, Former: []string{"db"}}, "testing", false},
		"a team that is called like the owner": {restart.Actor{Name: "anna", Roles: dev, Teams: []string{"vera"}}, "testing", false},
	} {
		if d := rules.Decide(c.actor, authz.Restart, authz.Object{Service: shop, Environment: c.environment}); d.Allowed != c.want {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// Who may approve is said by the entry that asks for the approval, and by no
// other that holds there for something else.
func TestApproversAreOfTheEntryThatAsks(t *testing.T) {
	rules, err := authz.Parse("rules.yaml", []byte(`format: 1
rules: [{allow: [approve], to: [owners]}]
approval:
  - {environments: [production], actions: [dump], approvers: [everybody]}
  - {environments: [production], approvers: ["team:leads"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	dev := []restart.Role{restart.RoleDeveloper}
	of := func(action authz.Action) authz.Object {
		return authz.Object{Service: restart.Service{Name: "shop", Owners: []string{"vera"}}, Environment: "production", For: action}
	}
	vera, lead := restart.Actor{Name: "vera", Roles: dev}, restart.Actor{Name: "lena", Roles: dev, Teams: []string{"leads"}}
	if rules.Decide(vera, authz.Approve, of(authz.Restart)).Allowed || !rules.Decide(lead, authz.Approve, of(authz.Restart)).Allowed {
		t.Error("a restart is approved by others than the leads")
	}
	if !rules.Decide(vera, authz.Approve, of(authz.Dump)).Allowed {
		t.Error("a dump is not approved by everybody")
	}
}
