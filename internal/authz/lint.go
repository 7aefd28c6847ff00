package authz

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// Inventory is what there is that rules can be about.
type Inventory struct {
	Services, Environments, Groups []string
}

// Doubts says what is probably not meant, though it is no error: rules that
// never hold by the inventory (nil = not known), or that others undo. Each
// begins with where.
func (r *Rules) Doubts(inventory *Inventory) []string {
	var out []string
	for i, x := range r.rules {
		out = append(out, x.scope.doubts(x.name, inventory)...)
		for j, y := range r.rules {
			if i != j && x.effect == allow && y.undoes(x) {
				out = append(out, fmt.Sprintf("%s never allows anything: %s denies all of it to everybody", x.name, y.name))
				break
			}
		}
	}
	for i, a := range r.approvals {
		out = append(out, a.scope.doubts(a.name, inventory)...)
		for _, b := range r.approvals[:i] {
			if b.scope.everywhere() && !slices.ContainsFunc(a.actions, func(x Action) bool { return !slices.Contains(b.actions, x) }) {
				out = append(out, fmt.Sprintf("%s never counts: %s, above it, fits all of it", a.name, b.name))
				break
			}
		}
	}
	for _, t := range r.tickets {
		out = append(out, t.scope.doubts(t.Rule, inventory)...)
	}
	for _, a := range []Action{See, Administer} {
		if len(r.WhoCan(a, Object{})) == 0 {
			out = append(out, fmt.Sprintf("nobody may %s", a))
		}
	}
	return out
}

// CheckLowerTeams refuses a team whose name has upper-case letters, with its
// line, for where all teams come in lower case: groups of LDAP do, whose
// directory does not tell them apart. Such a rule would fit nobody, and deny
// nobody anything.
func (r *Rules) CheckLowerTeams() error {
	if len(r.upper) == 0 {
		return nil
	}
	w := r.upper[0]
	return strict.LineError(w.line, "%s fits no group of LDAP: their names are taken in lower case", restart.Quote(w.text)).
		WithHint("write %s", restart.Quote(strings.ToLower(w.text)))
}

func (s scope) doubts(name string, inventory *Inventory) []string {
	if inventory == nil {
		return nil
	}
	var out []string
	for _, list := range []struct {
		what         string
		globs, known []string
	}{{"service", s.services, inventory.Services}, {"environment", s.environments, inventory.Environments}, {"group", s.groups, inventory.Groups}} {
		for _, g := range list.globs {
			if slices.ContainsFunc(list.known, func(k string) bool { ok, err := path.Match(g, k); return ok && err == nil }) {
				continue
			}
			text := fmt.Sprintf("%s: the inventory has no %s %s", name, list.what, restart.Quote(g))
			if near := restart.Similar(g, list.known); len(near) > 0 {
				text += "; did you mean " + near[0] + "?"
			}
			out = append(out, text)
		}
	}
	return out
}

// undoes tells whether a rule denies to everybody, everywhere, all that another
// allows.
func (x rule) undoes(other rule) bool {
	if x.effect != deny || !x.scope.everywhere() || !slices.Contains(x.to, subject{kind: everybody}) {
		return false
	}
	return !slices.ContainsFunc(other.actions, func(a Action) bool { return !slices.Contains(x.actions, a) && !slices.Contains(x.actions, All) })
}
