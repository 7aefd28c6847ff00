package authz

import (
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// outsideScope tells whether the bounds of the token that is used forbid what
// the rules may allow. Looking is within every scope: it bounds what is done.
func outsideScope(actor restart.Actor, action Action, object Object) (Decision, bool) {
	if action == See || actor.Scope.Covers(string(action), object.Service.Name, object.Environment) {
		return Decision{}, false
	}
	return Decision{Why: fmt.Sprintf("the token is only for %s", restart.Escape(actor.Scope.String())), Who: "whoever has another token, or sign in"}, true
}

// ScopeActions lists the actions that a token's scope may name.
func ScopeActions() []Action {
	return slices.DeleteFunc(Actions(), func(a Action) bool { return a == See })
}

// CheckScope accepts a scope whose names are names, and whose actions exist.
func CheckScope(s *restart.Scope) error {
	if err := s.Check(); err != nil || s == nil {
		return err
	}
	for _, a := range s.Actions {
		if !slices.Contains(ScopeActions(), Action(a)) {
			var names []string
			for _, n := range ScopeActions() {
				names = append(names, string(n))
			}
			return restart.Errorf(restart.CodeInvalid, "there is no action %s", restart.Quote(a)).WithHint("one of: %s", strings.Join(names, " "))
		}
	}
	return nil
}
