package authz_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// company is what a company of some size writes.
const company = `format: 1
roles:
  developer: ["team:dev", anna]
  auditor: [olga]
  admin: ["team:Domain Admins"]
rules:
  - {allow: [see], to: [everybody]}
  - {allow: [restart, dump, control], to: [owners], environments: [testing, "pre*"]}
  - {allow: [restart], to: ["team:on-call"], services: ["shop-*"]}
  - {allow: [dump], to: [everybody]}
  - {allow: [approve], to: [owners, "role:admin"]}
  - {allow: [freeze], to: ["team:leads"], environments: [production]}
  - {deny: [restart, dump], to: [boris, "team:interns"], groups: ["shop-*-live"]}
  - {allow: [audit, review-break-glass], to: ["role:auditor"]}
  - {allow: [all], to: ["role:admin"]}
  - {deny: [restart], to: [everybody], services: [ledger]}
approval:
  - {environments: [production], services: [bank], approvers: ["team:leads"], within: 30m}
  - {environments: [production], actions: [restart, dump]}
`

func parse(t *testing.T, text string) *authz.Rules {
	t.Helper()
	r, err := authz.Parse("/etc/restartilka/rules.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRulesOfAFile(t *testing.T) {
	t.Parallel()
	rules := parse(t, company)
	dev, admin := []restart.Role{restart.RoleDeveloper}, []restart.Role{restart.RoleAdmin}
	anna := restart.Actor{Name: "anna", Roles: dev, Teams: []string{"dev"}}
	boris := restart.Actor{Name: "boris", Roles: dev, Teams: []string{"on-call", "leads"}}
	viewer := restart.Actor{Name: "anna", Roles: []restart.Role{restart.RoleViewer}, Teams: []string{"dev", "on-call"}}
	root := restart.Actor{Name: "root", Roles: admin}
	shop := func(environment, group string) authz.Object {
		return authz.Object{Service: restart.Service{Name: "shop-web", Owners: []string{"anna"}}, Environment: environment, Group: group}
	}
	ledger := authz.Object{Service: restart.Service{Name: "ledger", Owners: []string{"anna"}}, Environment: "testing"}
	for name, c := range map[string]struct {
		actor  restart.Actor
		action authz.Action
		object authz.Object
		want   bool
		why    string
	}{
		"an owner where the rule holds":             {anna, authz.Restart, shop("testing", "g"), true, "anna owns shop-web (rules.yaml, line 8)"},
		"by a glob":                                 {anna, authz.Restart, shop("prestable", "g"), true, "line 8"},
		"where it does not hold":                    {anna, authz.Restart, shop("production", "g"), false, "no rule names anna"},
		"a group without an environment":            {anna, authz.Control, shop("", "g"), false, "no rule but the admins' allows it"},
		"anywhere":                                  {anna, authz.Restart, shop(authz.Anywhere, authz.Anywhere), true, "line 8"},
		"a team on its services":                    {boris, authz.Restart, shop("production", "g"), true, "boris is in team on-call (rules.yaml, line 9)"},
		"a team on others":                          {boris, authz.Restart, authz.Object{Service: restart.Service{Name: "mail"}, Environment: "production"}, false, "no rule but the admins' allows it in production"},
		"denied by name in a group":                 {boris, authz.Restart, shop("production", "shop-web-live"), false, "rules.yaml, line 13 denies it to boris"},
		"perhaps denied in a group is not anywhere": {boris, authz.Restart, shop("production", authz.Anywhere), true, "line 9"},
		"everybody, who is a developer":             {boris, authz.Dump, shop("production", "g"), true, "line 10"},
		"everybody, who is not":                     {viewer, authz.Dump, shop("production", "g"), false, "has not the role developer"},
		"an owner by a viewer's token":              {viewer, authz.Restart, shop("testing", "g"), false, "has not the role developer"},
		"deny wins over an owner":                   {anna, authz.Restart, ledger, false, "line 16 denies it to everybody"},
		"deny wins over an admin":                   {root, authz.Restart, ledger, false, "line 16 denies it to everybody"},
		"what is not denied":                        {root, authz.Control, ledger, true, "root is an admin"},
		"a freeze where it holds":                   {boris, authz.Freeze, authz.Object{Environment: "production"}, true, "team leads"},
		"a freeze elsewhere":                        {boris, authz.Freeze, authz.Object{Environment: "testing"}, false, "but the admins' allows it in testing"},
		"an owner approves":                         {anna, authz.Approve, shop("production", "g"), true, "anna owns"},
		"only approvers, where they are named":      {anna, authz.Approve, authz.Object{Service: restart.Service{Name: "bank", Owners: []string{"anna"}}, Environment: "production"}, false, "no rule names anna"},
		"who is one of them":                        {boris, authz.Approve, authz.Object{Service: restart.Service{Name: "bank"}, Environment: "production"}, true, "rules.yaml, line 18"},
		"and not the admin then":                    {root, authz.Approve, authz.Object{Service: restart.Service{Name: "bank"}, Environment: "production"}, false, ""},
		"the role allows, not the name":             {restart.Actor{Name: "olga", Roles: dev}, authz.Audit, authz.Object{}, false, "olga is not an auditor"},
		"nobody":                                    {restart.Actor{Roles: admin}, authz.See, authz.Object{}, false, "nobody is signed in"},
	} {
		if got := rules.Decide(c.actor, c.action, c.object); got.Allowed != c.want || !strings.Contains(got.Why, c.why) || got.Why == "" {
			t.Errorf("%s: %+v, want allowed=%v, %q", name, got, c.want, c.why)
		}
	}
}

func TestRolesOfAFile(t *testing.T) {
	t.Parallel()
	rules := parse(t, company)
	for _, c := range []struct {
		name  string
		teams []string
		want  string
	}{
		{"anna", nil, "developer"}, {"boris", []string{"dev"}, "developer"}, {"olga", nil, "auditor"}, {"vera", nil, ""}, {"dev", nil, ""},
		{"kate", []string{"Domain Admins", "dev"}, "developer admin"}, {"", []string{"dev"}, ""},
	} {
		var got []string
		for _, r := range rules.Roles(c.name, c.teams) {
			got = append(got, string(r))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s of %v: %v, want %s", c.name, c.teams, got, c.want)
		}
	}
	if got := authz.Default().Roles("vera", nil); len(got) != 1 || got[0] != restart.RoleDeveloper {
		t.Errorf("by the shipped rules: %v", got)
	}
}

func TestApproval(t *testing.T) {
	t.Parallel()
	rules := parse(t, company)
	in := func(service, environment string) authz.Object {
		return authz.Object{Service: restart.Service{Name: service}, Environment: environment}
	}
	for _, c := range []struct {
		action authz.Action
		object authz.Object
		within time.Duration
		rule   string
	}{
		{authz.Restart, in("bank", "production"), 30 * time.Minute, "rules.yaml, line 18"},
		{authz.Dump, in("bank", "production"), time.Hour, "rules.yaml, line 19"},
		{authz.Restart, in("mail", "production"), time.Hour, "rules.yaml, line 19"},
		{authz.Restart, in("mail", "testing"), 0, ""},
		{authz.Restart, in("mail", ""), 0, ""},
	} {
		a, ok := rules.Approval(c.action, c.object)
		if ok != (c.rule != "") || a.Within != c.within || a.Rule != c.rule {
			t.Errorf("%s %+v: %+v %v", c.action, c.object, a, ok)
		}
	}
	if _, ok := authz.Default().Approval(authz.Restart, in("bank", "production")); ok {
		t.Error("the shipped rules ask for an approval")
	}
}

func TestTickets(t *testing.T) {
	t.Parallel()
	rules := parse(t, `format: 1
rules: [{allow: [see], to: [everybody]}]
tickets:
  required:
    - {services: [bank], environments: [production], actions: [restart, dump], closed: refuse}
    - {environments: [production]}
    - {environments: [testing], services: [bonk]}
`)
	in := func(service, environment string) authz.Object {
		return authz.Object{Service: restart.Service{Name: service}, Environment: environment}
	}
	for _, c := range []struct {
		action authz.Action
		object authz.Object
		open   bool
		rule   string
	}{
		{authz.Restart, in("bank", "production"), true, "rules.yaml, line 5"},
		{authz.Dump, in("bank", "production"), true, "rules.yaml, line 5"},
		{authz.Restart, in("mail", "production"), false, "rules.yaml, line 6"},
		{authz.Dump, in("mail", "production"), false, ""},
		{authz.Restart, in("mail", "testing"), false, ""},
		{authz.Restart, in("mail", ""), false, ""},
	} {
		got, ok := rules.Ticket(c.action, c.object)
		if ok != (c.rule != "") || got.Open != c.open || got.Rule != c.rule {
			t.Errorf("%s %+v: %+v %v", c.action, c.object, got, ok)
		}
	}
	if _, ok := authz.Default().Ticket(authz.Restart, in("bank", "production")); ok {
		t.Error("the shipped rules demand a ticket")
	}
	doubts := strings.Join(rules.Doubts(&authz.Inventory{Services: []string{"bank", "mail"}, Environments: []string{"production", "testing"}}), "\n")
	if !strings.Contains(doubts, `line 7: the inventory has no service "bonk"; did you mean bank?`) {
		t.Error(doubts)
	}
}

func TestWhatIsWrongIsToldWithItsLine(t *testing.T) {
	t.Parallel()
	const head = "format: 1\nrules:\n"
	for text, want := range map[string][]string{
		"":                            {"format is missing", "format: 1"},
		"format: 2\n":                 {"format 2 is not known"},
		"format: 1\n":                 {"there are no rules"},
		"format: 1\nruls: []\n":       {"line 2", "unknown key \"ruls\"", "did you mean rules"},
		"format: 1\n---\nformat: 1\n": {"more than one document"},
		head + "  - {allow: [restrat], to: [owners]}\n":                                           {"line 3", `no action "restrat"`, "did you mean restart?"},
		head + "  - {allow: [fly], to: [owners]}\n":                                               {"line 3", "one of: see, restart"},
		head + "  - {allow: [restart], to: [owner]}\n":                                            {"line 3", `"owner" is nobody's name`, "owners and everybody"},
		head + "  - {allow: [restart], to: [developer]}\n":                                        {"line 3", `written "role:developer"`},
		head + "  - {allow: [restart], to: [\"role:boss\"]}\n":                                    {"line 3", `no role "boss"`, "viewer, developer"},
		head + "  - {allow: [restart], to: [\"team:\"]}\n":                                        {"line 3", "not a team's name"},
		head + "  - {allow: [restart], to: [\"a b\"]}\n":                                          {"line 3", "nobody's name"},
		head + "  - {allow: [restart], to: [Anna]}\n":                                             {"line 3", `"Anna" is nobody's name`, "in lower case: anna"},
		head + "  - {allow: [restart], to: [rtk_0123]}\n":                                         {"line 3", "nobody's name"},
		head + "  - {allow: [restart], to: [9anna]}\n":                                            {"line 3", "nobody's name"},
		"format: 1\nroles: {admin: [anna, Olga]}\nrules: [{allow: [see], to: [everybody]}]\n":     {"line 2", "in lower case: olga"},
		head + "  - {allow: [see], to: [everybody]}\napproval: [{approvers: [Anna]}]\n":           {"line 4", "in lower case: anna"},
		head + "  - {allow: [restart], to: [-x]}\n":                                               {"line 3", "nobody's name"},
		head + "  - {allow: [restart], to: []}\n":                                                 {"line 3", "to names nobody"},
		head + "  - {allow: [restart]}\n":                                                         {"line 3", "to names nobody"},
		head + "  - {allow: [], to: [owners]}\n":                                                  {"line 3", "allow names no action"},
		head + "  - {to: [owners]}\n":                                                             {"line 3", "either allows or denies"},
		head + "  - {allow: [see], deny: [see], to: [owners]}\n":                                  {"line 3", "either allows or denies"},
		head + "  - {allow: [restart], to: [owners], enviroments: [x]}\n":                         {"line 3", `unknown key "enviroments"`},
		head + "  - {allow: [restart], to: [owners], environments: []}\n":                         {"line 3", "environments is empty"},
		head + "  - {allow: [restart], to: [owners], services: [\"[a-\"]}\n":                      {"line 3", "nor a glob"},
		head + "  - {allow: [restart], to: owners}\n":                                             {"line 3", "a list"},
		head + "  - {allow: [see], to: [everybody], environments: [testing]}\n":                   {"line 3", "see is about the product as a whole"},
		head + "  - {allow: [all], to: [\"role:admin\"], environments: [testing]}\n":              {"line 3", "all is about the product as a whole"},
		head + "  - {allow: [administer], to: [\"role:admin\"], services: [x]}\n":                 {"line 3", "administer is about the product"},
		head + "  - {allow: [freeze], to: [\"role:admin\"], groups: [x]}\n":                       {"line 3", "a freeze is of environments"},
		head + "  - {allow: [audit], to: [\"team:security\"]}\n":                                  {"line 3", "audit is allowed to roles only", `"role:auditor"`},
		head + "  - {allow: [all], to: [anna]}\n":                                                 {"line 3", "all is allowed to roles only", `"role:admin"`},
		head + "  - &x {allow: [see], to: [everybody]}\n  - *x\n":                                 {"line 4", "aliases are not allowed"},
		"format: 1\nroles: {boss: [anna]}\nrules: [{allow: [see], to: [everybody]}]\n":            {"line 2", `no role "boss"`},
		"format: 1\nroles: {admn: [anna]}\nrules: [{allow: [see], to: [everybody]}]\n":            {"line 2", "did you mean admin?"},
		"format: 1\nroles: {admin: [owners]}\nrules: [{allow: [see], to: [everybody]}]\n":         {"line 2", "to people and teams"},
		"format: 1\nroles: {admin: [anna], admin: [x]}\nrules: []\n":                              {"line 2"},
		"format: 1\nroles: [admin]\nrules: [{allow: [see], to: [everybody]}]\n":                   {"line 2"},
		head + "  - {allow: [see], to: [everybody]}\napproval: [{within: 30s}]\n":                 {"line 4", "30s is not from 1m to 24h"},
		head + "  - {allow: [see], to: [everybody]}\napproval: [{within: soon}]\n":                {"line 4", "duration"},
		head + "  - {allow: [see], to: [everybody]}\napproval: [{actions: [see]}]\n":              {"line 4", "see is nothing that a run does"},
		head + "  - {allow: [see], to: [everybody]}\napproval: [{approvers: []}]\n":               {"line 4", "approvers names nobody"},
		head + "  - {allow: [see], to: [everybody]}\napproval: [{approvers: [\"role:x\"]}]\n":     {"line 4", `no role "x"`},
		head + "  - {allow: [see], to: [everybody]}\ntickets: {required: [{closed: no}]}\n":       {"line 4", "\"no\" is neither warn nor refuse"},
		head + "  - {allow: [see], to: [everybody]}\ntickets: {required: [{actions: [see]}]}\n":   {"line 4", "see is nothing that a run does"},
		head + "  - {allow: [see], to: [everybody]}\ntickets: {required: [{environments: []}]}\n": {"line 4", "environments is empty"},
		head + "  - {allow: [see], to: [everybody]}\ntickets: {required: [{enviroments: [x]}]}\n": {"line 4", `unknown key "enviroments"`},
		head + "  - {allow: [see], to: [everybody]}\ntickets: {needed: []}\n":                     {"line 4", `unknown key "needed"`},
		"format: 1\n# " + strings.Repeat("x", authz.MaxFile):                                      {"more than"},
	} {
		_, err := authz.Parse("rules.yaml", []byte(text))
		if err == nil {
			t.Errorf("%q is accepted", text[:min(len(text), 200)])
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v, want %q", text[:min(len(text), 200)], err, w)
			}
		}
	}
}

// Where every group comes in lower case, a team in upper case fits nobody.
func TestLowerTeams(t *testing.T) {
	t.Parallel()
	const end = "rules:\n  - {allow: [see], to: [everybody]}\n"
	for text, want := range map[string]string{
		"roles: {admin: [\"team:Domain Admins\"]}\n" + end:             `line 2: "team:Domain Admins" fits no group of LDAP: their names are taken in lower case (write "team:domain admins")`,
		end + "  - {deny: [dump], to: [anna, \"team:Contractors\"]}\n": `line 4: "team:Contractors" fits`,
		end + "approval:\n  - {approvers: [\"team:WEB\"]}\n":           `line 5: "team:WEB" fits`,
		end + "  - {allow: [dump], to: [\"team:web\"]}\n":              "",
	} {
		err := parse(t, "format: 1\n"+text).CheckLowerTeams()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestDoubts(t *testing.T) {
	t.Parallel()
	rules := parse(t, `format: 1
rules:
  - {allow: [restart], to: [owners], environments: [prodction]}
  - {allow: [dump], to: [owners], services: ["shop-*", mail], groups: [g1]}
  - {deny: [dump], to: [everybody]}
approval:
  - {actions: [restart, dump]}
  - {environments: [production]}
`)
	got := strings.Join(rules.Doubts(&authz.Inventory{Services: []string{"shop-web"}, Environments: []string{"production"}, Groups: []string{"g2"}}), "\n")
	for _, want := range []string{
		`line 3: the inventory has no environment "prodction"; did you mean production?`, `line 4: the inventory has no service "mail"`, `line 4: the inventory has no group "g1"`,
		"line 4 never allows anything: rules.yaml, line 5", "line 8 never counts: rules.yaml, line 7", "nobody may see", "nobody may administer",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "shop-*") {
		t.Errorf("a glob that fits is doubted:\n%s", got)
	}
	for _, r := range []*authz.Rules{authz.Default(), parse(t, company)} {
		if doubts := r.Doubts(nil); len(doubts) > 0 {
			t.Errorf("%v", doubts)
		}
	}
}

func TestCases(t *testing.T) {
	t.Parallel()
	cases, err := authz.ParseCases([]byte(`cases:
  - {who: vera, teams: [dev], action: restart, service: shop-web, owners: [vera], environment: testing, want: allow}
  - {who: vera, teams: [dev], roles: [viewer], action: restart, service: shop-web, owners: [vera], environment: testing, want: deny}
  - who: vera
    action: restart
    service: shop-web
    environment: production
    want: allow
`))
	if err != nil {
		t.Fatal(err)
	}
	failed := parse(t, company).Try(cases)
	if len(failed) != 1 || failed[0].Line != 4 || failed[0].Decision.Allowed || failed[0].Case != "vera restart shop-web in production" {
		t.Errorf("%+v", failed)
	}
	for text, want := range map[string]string{
		"":                                    "no cases",
		"cases: {}":                           "line 1",
		"cases: [{action: see, want: allow}]": "does not say who",
		"cases: [{who: a, action: se, want: allow}]":                 "line 1: there is no action",
		"cases: [{who: a, action: see, want: yes please}]":           "neither allow nor deny",
		"cases: [{who: a, action: see, want: allow, roles: [boss]}]": "line 1: there is no role",
		"cases: [{who: a, action: see, want: allow, enviroment: x}]": "unknown key",
		"cases:\n# " + strings.Repeat("x", authz.MaxFile):            "more than",
	} {
		if _, err := authz.ParseCases([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text[:min(len(text), 100)], err, want)
		}
	}
}

func TestWhoCan(t *testing.T) {
	t.Parallel()
	rules := parse(t, company)
	said := func(action authz.Action, object authz.Object) string {
		var out []string
		for _, g := range rules.WhoCan(action, object) {
			out = append(out, g.Say())
		}
		return strings.Join(out, ", ")
	}
	shop := restart.Service{Name: "shop-web", Owners: []string{"team:web", "anna", "boris"}}
	for _, c := range []struct {
		action authz.Action
		object authz.Object
		want   string
	}{
		{authz.Restart, authz.Object{Service: shop, Environment: "testing"}, "anna, boris, team web, team on-call, an admin"},
		{authz.Restart, authz.Object{Service: shop, Environment: "testing", Group: "shop-a-live"}, "anna, team web, team on-call, an admin"},
		{authz.Restart, authz.Object{Service: shop, Environment: "production"}, "team on-call, an admin"},
		{authz.Dump, authz.Object{Service: shop, Environment: "production"}, "everybody, an admin"},
		{authz.Restart, authz.Object{Service: restart.Service{Name: "ledger", Owners: []string{"anna"}}, Environment: "testing"}, ""},
		{authz.Audit, authz.Object{}, "an auditor, an admin"},
	} {
		if got := said(c.action, c.object); got != c.want {
			t.Errorf("%s %s in %s: %s, want %s", c.action, c.object.Service.Name, c.object.Environment, got, c.want)
		}
	}
	err := rules.Require(restart.Actor{Name: "vera"}, authz.Restart, authz.Object{Service: restart.Service{Name: "ledger"}, Environment: "testing"})
	if err == nil || !strings.Contains(err.Error(), "nobody may, as they are") {
		t.Errorf("%v", err)
	}
}

// TestDocumentedRulesAreRead reads every example of the reference and the guide,
// and asks the cases of the reference.
func TestDocumentedRulesAreRead(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/reference/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	var rules *authz.Rules
	asked := 0
	for _, block := range strings.Split(string(b), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		if strings.HasPrefix(text, "format:") {
			rules = parse(t, text)
			continue
		}
		cases, err := authz.ParseCases([]byte(text))
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		if failed := rules.Try(cases); len(failed) > 0 {
			t.Errorf("%+v", failed)
		}
		asked += len(cases)
	}
	if asked == 0 {
		t.Error("the reference has no cases")
	}
	for _, a := range authz.Actions() {
		if !strings.Contains(string(b), "| `"+string(a)+"` |") {
			t.Errorf("the reference does not tell of the action %s", a)
		}
	}
}
