package restart

import (
	"path"
	"slices"
	"strings"
)

// Scope bounds what a token may do, beyond its roles. An empty list bounds
// nothing. A scope never gives a right, and never hides anything.
type Scope struct {
	Services     []string `json:"services,omitempty" doc:"names or globs; empty: every service" maxItems:"50"`
	Environments []string `json:"environments,omitempty" doc:"names or globs; empty: every environment" maxItems:"50"`
	Actions      []string `json:"actions,omitempty" doc:"such as restart, dump, control; empty: every action" maxItems:"20"`
}

// IsZero tells whether the scope bounds nothing.
func (s *Scope) IsZero() bool {
	return s == nil || len(s.Services) == 0 && len(s.Environments) == 0 && len(s.Actions) == 0
}

// Check accepts names and globs of services and environments; actions are
// checked by who knows them.
func (s *Scope) Check() error {
	if s == nil {
		return nil
	}
	for _, globs := range [][]string{s.Services, s.Environments} {
		if len(globs) > 50 {
			return Errorf(CodeInvalid, "the scope has more than 50 of one kind")
		}
		for _, g := range globs {
			if _, err := path.Match(g, "name"); err != nil || g == "" || len(g) > 64 || strings.Trim(g, "abcdefghijklmnopqrstuvwxyz0123456789@._-*?[]") != "" {
				return Errorf(CodeInvalid, "%s is neither a name nor a glob of names", Quote(g)).WithHint("such as nginx, shop-* or production")
			}
		}
	}
	return nil
}

// Covers tells whether an action on a service in an environment is within the
// scope. An object that is no service ("") is within none that names services;
// "*" asks whether any is, which must be asked again once it is known which.
func (s *Scope) Covers(action, service, environment string) bool {
	if s == nil {
		return true
	}
	return (len(s.Actions) == 0 || slices.Contains(s.Actions, action)) && matchesAny(s.Services, service) && matchesAny(s.Environments, environment)
}

func matchesAny(globs []string, name string) bool {
	return len(globs) == 0 || name == "*" || name != "" && Fits(globs, name)
}

// String names the bounds for people, in one line; "" = none.
func (s *Scope) String() string {
	if s.IsZero() {
		return ""
	}
	var parts []string
	for _, p := range []struct {
		what string
		of   []string
	}{{"actions", s.Actions}, {"services", s.Services}, {"environments", s.Environments}} {
		if len(p.of) > 0 {
			parts = append(parts, p.what+" "+strings.Join(p.of, ", "))
		}
	}
	return strings.Join(parts, "; ")
}
