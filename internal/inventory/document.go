package inventory

import (
	"bytes"

	"go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/strict"
)

// document is what an inventory file may hold, each part with its line. The
// file of kind yaml has all three sections, a services file the first two.
type document struct {
	Services []serviceEntry `yaml:"services"`
	Groups   []groupEntry   `yaml:"groups"`
	Hosts    []hostEntry    `yaml:"hosts"`
}

type serviceEntry struct {
	Name        string   `yaml:"name"`
	Description string   `yaml:"description"`
	Package     string   `yaml:"package"`
	Tag         string   `yaml:"tag"`
	Unit        string   `yaml:"unit"`
	Port        int      `yaml:"port"`
	Runtime     string   `yaml:"runtime"`
	Project     string   `yaml:"project"`
	Owners      []string `yaml:"owners"`
	line        int
}

type groupEntry struct {
	Name        string `yaml:"name"`
	Project     string `yaml:"project"`
	Environment string `yaml:"environment"`
	Services    []word `yaml:"services"`
	Hosts       []word `yaml:"hosts"`
	Children    []word `yaml:"children"`
	DataCentre  string `yaml:"data_centre"`
	line        int
}

type hostEntry struct {
	Name       string   `yaml:"name"`
	Address    string   `yaml:"address"`
	DataCentre string   `yaml:"data_centre"`
	Tags       []string `yaml:"tags"`
	line       int
}

// word is a name in a list, with its line.
type word struct {
	text string
	line int
}

// The strict decoding goes on inside of the entries.

func (e *serviceEntry) UnmarshalYAML(n *yaml.Node) error {
	type plain serviceEntry
	err := n.Load((*plain)(e), yaml.WithKnownFields())
	e.line = n.Line
	return err
}

func (e *groupEntry) UnmarshalYAML(n *yaml.Node) error {
	type plain groupEntry
	err := n.Load((*plain)(e), yaml.WithKnownFields())
	e.line = n.Line
	return err
}

func (e *hostEntry) UnmarshalYAML(n *yaml.Node) error {
	type plain hostEntry
	err := n.Load((*plain)(e), yaml.WithKnownFields())
	e.line = n.Line
	return err
}

func (w *word) UnmarshalYAML(n *yaml.Node) error {
	w.line = n.Line
	return n.Load(&w.text)
}

var keys = []string{
	"services", "groups", "hosts", "name", "description", "package", "tag", "unit", "port", "runtime",
	"project", "owners", "environment", "children", "data_centre", "address", "tags",
}

// parseDocument reads a file strictly: one document, known keys only, each
// once, and no aliases (which could multiply a small file without bound). An
// empty file is an empty document. Errors are *restart.Error with CodeInvalid
// that begin with the line.
func parseDocument(b []byte) (document, error) {
	var d document
	if len(bytes.TrimSpace(b)) == 0 {
		return d, nil
	}
	var tree yaml.Node
	if err := yaml.Load(b, &tree); err != nil {
		return d, yamlError(err)
	}
	if line := strict.AliasLine(&tree); line > 0 {
		return d, strict.LineError(line, "aliases are not allowed here").WithHint("write the list out")
	}
	if err := tree.Load(&d, yaml.WithKnownFields()); err != nil {
		return document{}, yamlError(err)
	}
	return d, nil
}

// yamlError says what the parser found, in our words where we have better ones.
func yamlError(err error) error {
	return strict.Explain(err, keys, "the keys are in docs/reference/inventory.md")
}
