package authz_test

import (
	"testing"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// FuzzParse: no bytes make it panic; what is accepted decides, explains itself,
// and lets nobody in who is nobody; what is refused is refused in words.
func FuzzParse(f *testing.F) {
	for _, text := range []string{company, string(authz.Shipped), "", "{", "format: 1\nroles: {admin: 1}", "format: 1\nroles: {? [a] : [b]}\nrules: [{}]", "a: &x [*x]", "format: 1\nrules: [[]]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		rules, err := authz.Parse("rules.yaml", b)
		if err != nil {
			if code := restart.CodeOf(err); code != restart.CodeInvalid && code != restart.CodeTooLarge {
				t.Errorf("%s: %v", code, err)
			}
			return
		}
		service := restart.Service{Name: "shop", Owners: []string{"anna", "team:web"}}
		for _, action := range authz.Actions() {
			for _, object := range []authz.Object{{}, {Service: service, Environment: "testing", Group: "g"}, authz.OfService(service), authz.Wherever()} {
				if rules.Decide(restart.Actor{Roles: restart.Roles()}, action, object).Allowed {
					t.Error("nobody may")
				}
				if d := rules.Decide(restart.Actor{Name: "anna", Roles: restart.Roles()}, action, object); d.Why == "" || d.Allowed == (d.Who != "") {
					t.Errorf("%s: %+v", action, d)
				}
				rules.WhoCan(action, object)
				rules.Approval(action, object)
			}
		}
		rules.Roles("anna", []string{"web"})
		rules.Doubts(&authz.Inventory{})
	})
}

// FuzzParseCases: no bytes make it panic, and what is accepted can be asked.
func FuzzParseCases(f *testing.F) {
	for _, text := range []string{"cases: [{who: a, action: see, want: allow}]", "cases: [1]", "cases:\n  - who: x\n    roles: [admin]\n    action: all\n", "{"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cases, err := authz.ParseCases(b)
		if err != nil {
			if code := restart.CodeOf(err); code != restart.CodeInvalid && code != restart.CodeTooLarge {
				t.Errorf("%s: %v", code, err)
			}
			return
		}
		authz.Default().Try(cases)
	})
}
