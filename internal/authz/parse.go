package authz

import (
	"crypto/sha256"
	_ "embed" // of the shipped rules
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// Shipped is the file of rules that `restartilka server init` writes.
//
//go:embed rules.yaml
var Shipped []byte

var shipped = sync.OnceValue(func() *Rules {
	r, err := Parse("", Shipped)
	if err != nil {
		return &Rules{} // which allow nothing; a test holds that it never comes to that
	}
	return r
})

// Default gives the shipped rules.
func Default() *Rules { return shipped() }

// Parse reads a file of rules; its name, of which the folder is left out, is
// for people. Errors are CodeInvalid or CodeTooLarge, with the line.
func Parse(file string, b []byte) (*Rules, error) {
	d, err := read(b)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Format == 0:
		return nil, restart.Errorf(restart.CodeInvalid, "format is missing").WithHint("the file begins with: format: 1")
	case d.Format != 1:
		return nil, restart.Errorf(restart.CodeInvalid, "format %d is not known", d.Format).WithHint("this version reads format: 1")
	case len(d.Rules) == 0:
		return nil, restart.Errorf(restart.CodeInvalid, "there are no rules: nobody could do anything").WithHint("begin with the shipped ones: docs/reference/rules.md")
	}
	sum := sha256.Sum256(b)
	r := &Rules{digest: hex.EncodeToString(sum[:]), roles: map[restart.Role][]subject{}, upper: d.upperTeams()}
	if file != "" {
		r.file = filepath.Base(file)
	}
	for _, e := range d.Roles.entries {
		if err := r.addRole(e); err != nil {
			return nil, err
		}
	}
	for i, e := range d.Rules {
		if err := r.addRule(i+1, e); err != nil {
			return nil, err
		}
	}
	for _, e := range d.Approval {
		if err := r.addApproval(e); err != nil {
			return nil, err
		}
	}
	for _, e := range d.Tickets.Required {
		if err := r.addTicket(e); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *Rules) addRole(e roleEntry) error {
	if err := checkRole(e.role.text); err != nil {
		return strict.AtLine(e.role.line, err)
	}
	for _, w := range e.to {
		s, err := parseSubject(w)
		if err != nil {
			return err
		}
		if s.kind == owners || s.kind == role {
			return strict.LineError(w.line, "a role is given to people and teams, not to %s", restart.Quote(w.text)).WithHint("such as anna, team:web or everybody")
		}
		r.roles[restart.Role(e.role.text)] = append(r.roles[restart.Role(e.role.text)], s)
	}
	return nil
}

func checkRole(name string) error {
	if slices.Contains(restart.Roles(), restart.Role(name)) {
		return nil
	}
	unknown := restart.Errorf(restart.CodeInvalid, "there is no role %s", restart.Quote(name))
	if near := restart.Similar(name, words(restart.Roles())); len(near) > 0 {
		return unknown.WithHint("did you mean %s?", strings.Join(near, " or "))
	}
	return unknown.WithHint("one of: %s", strings.Join(words(restart.Roles()), ", "))
}

func (r *Rules) addRule(number int, e ruleEntry) error {
	x := rule{name: fmt.Sprintf("%s, line %d", r.file, e.line), effect: allow}
	if r.file == "" {
		x.name = fmt.Sprintf("rule %d of the shipped rules", number)
	}
	actions := e.Allow
	switch {
	case e.given["allow"] == e.given["deny"]:
		return strict.LineError(e.line, "a rule either allows or denies").WithHint("such as: {allow: [restart], to: [owners]}")
	case e.given["deny"]:
		x.effect, actions = deny, e.Deny
	}
	var err error
	if x.actions, err = parseActions(e.line, string(x.effect), actions); err != nil {
		return err
	}
	if x.to, err = parseSubjects(e.line, "to", e.To); err != nil {
		return err
	}
	if x.scope, err = parseScope(e.given, e.line, e.Services, e.Environments, e.Groups); err != nil {
		return err
	}
	if err := x.check(e.line); err != nil {
		return err
	}
	r.rules = append(r.rules, x)
	return nil
}

// check refuses what would not mean what it seems to.
func (x rule) check(line int) error {
	for _, a := range x.actions {
		switch {
		case !x.scope.everywhere() && (a == All || !a.Narrow()):
			return strict.LineError(line, "%s is about the product as a whole: it can't be narrowed to services, environments or groups", a).
				WithHint("a rule of its own for it; actions that can be narrowed: %s", strings.Join(words(narrow()), ", "))
		case a == Freeze && len(x.scope.groups) > 0:
			return strict.LineError(line, "a freeze is of environments and services, not of groups").WithHint("leave groups out, or freeze in a rule of its own")
		}
		if x.effect == deny || a != All && a.Needs() != restart.RoleAuditor && a.Needs() != restart.RoleReviewer && a.Needs() != restart.RoleAdmin {
			continue
		}
		if i := slices.IndexFunc(x.to, func(s subject) bool { return s.kind != role }); i >= 0 {
			return strict.LineError(line, "%s is allowed to roles only, not to %s", a, restart.Quote(x.to[i].String())).
				WithHint("give the role to people and teams under roles: and allow it to \"role:%s\"", a.Needs())
		}
	}
	return nil
}

// narrow lists the actions that a rule can narrow.
func narrow() []Action {
	return slices.DeleteFunc(Actions(), func(a Action) bool { return !a.Narrow() })
}

func parseActions(line int, key string, list []word) ([]Action, error) {
	if len(list) == 0 {
		return nil, strict.LineError(line, "%s names no action", key).WithHint("one of: %s, or %s for each", strings.Join(words(Actions()), ", "), All)
	}
	var out []Action
	for _, w := range list {
		a := Action(w.text)
		if a != All {
			var err error
			if a, err = ParseAction(w.text); err != nil {
				return nil, strict.AtLine(w.line, err)
			}
		}
		out = append(out, a)
	}
	return out, nil
}

// Names of groups come from other systems: one line that can be printed, which
// begins and ends with no space, is a name.
const maxName = 256

func parseSubjects(line int, key string, list []word) ([]subject, error) {
	if len(list) == 0 {
		return nil, strict.LineError(line, "%s names nobody", key).WithHint("owners, everybody, a name, team:NAME or role:NAME")
	}
	var out []subject
	for _, w := range list {
		s, err := parseSubject(w)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func parseSubject(w word) (subject, error) {
	if name, ok := strings.CutPrefix(w.text, rolePrefix); ok {
		if err := checkRole(name); err != nil {
			return subject{}, strict.AtLine(w.line, err)
		}
		return subject{role, name}, nil
	}
	if name, ok := strings.CutPrefix(w.text, teamPrefix); ok {
		if name == "" || len(name) > maxName || strings.TrimSpace(name) != name || restart.Escape(name) != name {
			return subject{}, strict.LineError(w.line, "%s is not a team's name", restart.Quote(w.text)).WithHint("team: and the name of a group of LDAP or OIDC, such as team:web")
		}
		return subject{team, name}, nil
	}
	switch w.text {
	case string(everybody), string(owners):
		return subject{kind: kind(w.text)}, nil
	}
	bad := strict.LineError(w.line, "%s is nobody's name", restart.Quote(w.text))
	switch {
	case slices.Contains(restart.Roles(), restart.Role(w.text)):
		return subject{}, bad.WithHint("the role is written \"%s%s\"", rolePrefix, w.text)
	case slices.Contains([]string{"owner", "all", "everyone", "anybody", "*"}, w.text):
		return subject{}, bad.WithHint("the words are owners and everybody")
	case restart.CheckPerson(w.text) == nil:
		return subject{person, w.text}, nil
	case restart.CheckPerson(strings.ToLower(w.text)) == nil:
		return subject{}, bad.WithHint("names of people are in lower case: %s", strings.ToLower(w.text))
	}
	return subject{}, bad.WithHint("owners, everybody, a name, team:NAME or role:NAME")
}

var glob = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z0-9@._*?-]{1,64}$`) })

func parseScope(given map[string]bool, line int, services, environments, groups []word) (scope, error) {
	var out scope
	for _, list := range []struct {
		key   string
		words []word
		into  *[]string
	}{{"services", services, &out.services}, {"environments", environments, &out.environments}, {"groups", groups, &out.groups}} {
		if given[list.key] && len(list.words) == 0 {
			return out, strict.LineError(line, "%s is empty", list.key).WithHint("leave it out where it does not matter")
		}
		for _, w := range list.words {
			if !glob().MatchString(w.text) {
				return out, strict.LineError(w.line, "%s is not a name of %s, nor a glob", restart.Quote(w.text), list.key).WithHint("lower-case letters, digits and @ . _ -; * stands for any characters, ? for one")
			}
			*list.into = append(*list.into, w.text)
		}
	}
	return out, nil
}

func (r *Rules) addApproval(e approvalEntry) error {
	a := approval{name: fmt.Sprintf("%s, line %d", r.file, e.line), within: e.Within}
	var err error
	if a.scope, err = parseScope(e.given, e.line, e.Services, e.Environments, e.Groups); err != nil {
		return err
	}
	if a.actions, err = ofRuns(e.line, e.given, e.Actions); err != nil {
		return err
	}
	if e.given["approvers"] {
		if a.approvers, err = parseSubjects(e.line, "approvers", e.Approvers); err != nil {
			return err
		}
	}
	switch {
	case !e.given["within"]:
		a.within = DefaultWithin
	case a.within < MinWithin || a.within > MaxWithin:
		return strict.LineError(e.line, "within: %s is not from 1m to 24h", a.within)
	}
	r.approvals = append(r.approvals, a)
	return nil
}

// ofRuns reads the actions of an entry that is about runs; none given = restarts.
func ofRuns(line int, given map[string]bool, list []word) ([]Action, error) {
	if !given["actions"] {
		return []Action{Restart}, nil
	}
	actions, err := parseActions(line, "actions", list)
	for _, x := range actions {
		if x != Restart && x != Dump {
			return nil, strict.LineError(line, "%s is nothing that a run does", x).WithHint("actions: [restart], [dump] or both")
		}
	}
	return actions, err
}
