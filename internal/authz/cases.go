package authz

import (
	"fmt"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// Case is one question to rules, with the answer that is wanted.
type Case struct {
	Who         string         `yaml:"who"`
	Teams       []string       `yaml:"teams"`
	Roles       []restart.Role `yaml:"roles"` // he comes with, such as those of a token; absent = those that the rules give
	Action      string         `yaml:"action"`
	Service     string         `yaml:"service"`
	Owners      []string       `yaml:"owners"`
	Environment string         `yaml:"environment"`
	Group       string         `yaml:"group"`
	Want        string         `yaml:"want"` // allow | deny
	line        int
	roles       bool
}

// UnmarshalYAML goes on strictly, and keeps the line.
func (c *Case) UnmarshalYAML(n *yaml.Node) error {
	type plain Case
	err := n.Load((*plain)(c), yaml.WithKnownFields())
	c.line, c.roles = n.Line, keysOf(n)["roles"]
	return err
}

// ParseCases reads a file of cases: a list under the key cases.
func ParseCases(b []byte) ([]Case, error) {
	if len(b) > MaxFile {
		return nil, restart.Errorf(restart.CodeTooLarge, "the file has more than %d bytes", MaxFile)
	}
	var d struct {
		Cases []Case `yaml:"cases"`
	}
	if err := strict.Load(b, &d, "every key: docs/reference/rules.md"); err != nil {
		return nil, err
	}
	if len(d.Cases) == 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "there are no cases").WithHint("cases: [{who: anna, action: restart, service: shop, owners: [anna], want: allow}]")
	}
	for _, c := range d.Cases {
		if err := c.check(); err != nil {
			return nil, strict.AtLine(c.line, err)
		}
	}
	return d.Cases, nil
}

func (c Case) check() error {
	if c.Who == "" {
		return restart.Errorf(restart.CodeInvalid, "the case does not say who").WithHint("who: anna")
	}
	if _, err := ParseAction(c.Action); err != nil {
		return err
	}
	for _, r := range c.Roles {
		if err := checkRole(string(r)); err != nil {
			return err
		}
	}
	if c.Want != string(allow) && c.Want != string(deny) {
		return restart.Errorf(restart.CodeInvalid, "want: %s is neither allow nor deny", restart.Quote(c.Want))
	}
	return nil
}

// Failed is a case whose answer is not the one that was wanted.
type Failed struct {
	Line     int      `json:"line"`
	Case     string   `json:"case"`
	Want     string   `json:"want"`
	Decision Decision `json:"decision"`
}

// Try asks the rules every case, and gives those that fail.
func (r *Rules) Try(cases []Case) []Failed {
	var out []Failed
	for _, c := range cases {
		actor := restart.Actor{Name: c.Who, Teams: c.Teams, Roles: c.Roles}
		if !c.roles {
			actor.Roles = r.Roles(c.Who, c.Teams)
		}
		object := Object{Service: restart.Service{Name: c.Service, Owners: c.Owners}, Environment: c.Environment, Group: c.Group}
		d := r.Decide(actor, Action(c.Action), object)
		if d.Allowed != (c.Want == string(allow)) {
			what := fmt.Sprintf("%s %s %s%s", c.Who, c.Action, c.Service, where(object))
			out = append(out, Failed{Line: c.line, Case: what, Want: c.Want, Decision: d})
		}
	}
	return out
}
