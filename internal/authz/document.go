package authz

import (
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/strict"
)

// document is rules.yaml as it is written, each part with its line.
type document struct {
	Format   int             `yaml:"format"`
	Rules    []ruleEntry     `yaml:"rules"`
	Approval []approvalEntry `yaml:"approval"`
	Tickets  struct {
		Required []ticketEntry `yaml:"required"`
	} `yaml:"tickets"`
	Roles roleSection `yaml:"roles"`
}

type roleSection struct{ entries []roleEntry }

type roleEntry struct {
	role word
	to   []word
}

type ruleEntry struct {
	Allow        []word `yaml:"allow"`
	Deny         []word `yaml:"deny"`
	To           []word `yaml:"to"`
	Services     []word `yaml:"services"`
	Environments []word `yaml:"environments"`
	Groups       []word `yaml:"groups"`
	line         int
	given        map[string]bool // keys that are there
}

type approvalEntry struct {
	Services     []word        `yaml:"services"`
	Environments []word        `yaml:"environments"`
	Groups       []word        `yaml:"groups"`
	Actions      []word        `yaml:"actions"`
	Approvers    []word        `yaml:"approvers"`
	Within       time.Duration `yaml:"within"`
	line         int
	given        map[string]bool
}

type ticketEntry struct {
	Services     []word `yaml:"services"`
	Environments []word `yaml:"environments"`
	Groups       []word `yaml:"groups"`
	Actions      []word `yaml:"actions"`
	Closed       string `yaml:"closed"`
	line         int
	given        map[string]bool
}

// word is a name in a list, with its line.
type word struct {
	text string
	line int
}

// The strict decoding goes on inside of the entries.

func (e *ruleEntry) UnmarshalYAML(n *yaml.Node) error {
	type plain ruleEntry
	err := n.Load((*plain)(e), yaml.WithKnownFields())
	e.line, e.given = n.Line, keysOf(n)
	return err
}

func (e *approvalEntry) UnmarshalYAML(n *yaml.Node) error {
	type plain approvalEntry
	err := n.Load((*plain)(e), yaml.WithKnownFields())
	e.line, e.given = n.Line, keysOf(n)
	return err
}

func (e *ticketEntry) UnmarshalYAML(n *yaml.Node) error {
	type plain ticketEntry
	err := n.Load((*plain)(e), yaml.WithKnownFields())
	e.line, e.given = n.Line, keysOf(n)
	return err
}

func (s *roleSection) UnmarshalYAML(n *yaml.Node) error {
	var twice map[string][]word // the parser finds a key that is there twice
	if err := n.Load(&twice); err != nil {
		return err
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		e := roleEntry{role: word{n.Content[i].Value, n.Content[i].Line}}
		if err := n.Content[i+1].Load(&e.to); err != nil {
			return err
		}
		s.entries = append(s.entries, e)
	}
	return nil
}

func (w *word) UnmarshalYAML(n *yaml.Node) error {
	w.line = n.Line
	return n.Load(&w.text)
}

// upperTeams gives the teams whose names have upper-case letters.
func (d document) upperTeams() []word {
	var lists [][]word
	for _, e := range d.Roles.entries {
		lists = append(lists, e.to)
	}
	for _, e := range d.Rules {
		lists = append(lists, e.To)
	}
	for _, e := range d.Approval {
		lists = append(lists, e.Approvers)
	}
	return slices.DeleteFunc(slices.Concat(lists...), func(w word) bool {
		return !strings.HasPrefix(w.text, teamPrefix) || strings.ToLower(w.text) == w.text
	})
}

func keysOf(n *yaml.Node) map[string]bool {
	out := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = true
	}
	return out
}

// MaxFile bounds a file of rules, in bytes.
const MaxFile = 1 << 20

// read reads the file strictly: known keys only, and no aliases, which could
// make a small file large.
func read(b []byte) (document, error) {
	var d document
	if len(b) > MaxFile {
		return d, restart.Errorf(restart.CodeTooLarge, "the file has more than %d bytes", MaxFile)
	}
	var tree yaml.Node
	if err := strict.Load(b, &tree, ""); err != nil {
		return d, err
	}
	if line := strict.AliasLine(&tree); line > 0 {
		return d, strict.LineError(line, "aliases are not allowed here").WithHint("write the list out")
	}
	err := strict.Load(b, &d, "every key: docs/reference/rules.md")
	return d, err
}
