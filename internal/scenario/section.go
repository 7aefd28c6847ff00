package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
)

// Codes of findings about keys and values.
const (
	codeUnknownKey   = "unknown-key"
	codeDuplicateKey = "duplicate-key"
	codeMissing      = "missing"
	codeType         = "type"
	codeValue        = "value"
)

// section is a mapping of the file while it is read: every key is known and
// stands once. A getter gives the zero value for a key that is absent or
// wrong; what is wrong has been said in found.
type section struct {
	found  *findings
	path   string // "" at the top, else "health" or "health.http"
	values map[string]*yaml.Node
}

// open reads the keys of a mapping. With keys empty, any name is accepted.
func open(found *findings, path string, n *yaml.Node, keys ...string) (section, []string) {
	s := section{found: found, path: path, values: map[string]*yaml.Node{}}
	if n.Kind != yaml.MappingNode {
		found.refuse(n.Line, codeType, fmt.Sprintf("%s must be a section of keys and values", s.say()), "")
		return s, nil
	}
	var order []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag != "!!str" || len(name) > 100 || restart.Escape(name) != name:
			found.refuse(key.Line, codeType, fmt.Sprintf("a key of %s is not a plain word", s.say()), "")
			continue
		case s.values[name] != nil:
			found.refuse(key.Line, codeDuplicateKey, fmt.Sprintf("%s stands twice; first on line %d", restart.Quote(name), found.lines[s.at(name)].key), "keep one of them")
			continue
		case len(keys) > 0 && !slices.Contains(keys, name):
			found.refuse(key.Line, codeUnknownKey, fmt.Sprintf("%s has no key %s", s.say(), restart.Quote(name)), hintKeys(name, keys))
			continue
		}
		found.lines[s.at(name)] = line{key: key.Line, value: value.Line, literal: value.Style&yaml.LiteralStyle != 0}
		s.values[name] = value
		order = append(order, name)
	}
	return s, order
}

// at gives the path of a key of the section.
func (s section) at(key string) string {
	if s.path == "" {
		return key
	}
	return s.path + "." + key
}

func (s section) say() string {
	if s.path == "" {
		return "the scenario"
	}
	return s.path
}

func (s section) refuse(key, code, hint, format string, args ...any) {
	s.found.refuse(s.found.at(s.at(key)), code, s.at(key)+" "+fmt.Sprintf(format, args...), hint)
}

// need refuses a section without the keys.
func (s section) need(keys ...string) {
	for _, key := range keys {
		if s.values[key] == nil {
			s.found.refuse(s.found.at(s.path), codeMissing, s.at(key)+" is missing", "")
		}
	}
}

// has tells whether the key stands in the section, whatever its value.
func (s section) has(key string) bool { return s.values[key] != nil }

// sub opens the section under a key; false where there is none.
func (s section) sub(key string, keys ...string) (section, bool) {
	n := s.values[key]
	if n == nil || s.null(key, n) {
		return section{}, false
	}
	inner, _ := open(s.found, s.at(key), n, keys...)
	return inner, n.Kind == yaml.MappingNode
}

// null refuses a key without a value.
func (s section) null(key string, n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!null" {
		return false
	}
	hint := "leave the key out, or give it a value"
	if n.Value == "" {
		hint += `; a value such as #unit# must stand in "quotes", because " #" begins a YAML comment`
	}
	s.refuse(key, codeValue, hint, "has no value")
	return true
}

// scalar gives the text of a value as it stands in the file, whatever YAML
// would make of it.
func (s section) scalar(key string) (*yaml.Node, bool) {
	n := s.values[key]
	if n == nil || s.null(key, n) {
		return nil, false
	}
	if n.Kind != yaml.ScalarNode {
		s.refuse(key, codeType, "", "must be one value")
		return nil, false
	}
	return n, true
}

// words gives a value that YAML takes for text, of at most most bytes; with
// several lines only where they are allowed.
func (s section) words(key string, most int, lines bool) string {
	n, ok := s.scalar(key)
	if !ok {
		return ""
	}
	bad := badText(n.Value)
	switch {
	case n.Tag != "!!str":
		s.refuse(key, codeType, "put it in \"quotes\"", "must be text, and %s is not, for YAML", restart.Quote(n.Value))
	case strings.TrimSpace(n.Value) == "":
		s.refuse(key, codeValue, "leave the key out, or give it a value", "is empty")
	case len(n.Value) > most:
		s.refuse(key, codeValue, "", "has %d bytes; at most %d are allowed", len(n.Value), most)
	case bad >= 0, !lines && strings.ContainsAny(n.Value, "\n\t"):
		s.refuse(key, codeText, "write plain text; escapes such as \\x1b make such characters too", "holds a character that can't be shown: %s", restart.Quote(n.Value))
	default:
		return n.Value
	}
	return ""
}

// text gives one line of text of at most 1000 bytes.
func (s section) text(key string) string { return s.words(key, 1000, false) }

// script gives a script: text of any number of lines.
func (s section) script(key string) string { return s.words(key, MaxSize, true) }

// named gives a text that check accepts.
func (s section) named(key string, check func(string) error) string {
	v := s.text(key)
	if v == "" {
		return ""
	}
	if err := check(v); err != nil {
		s.refuseErr(key, err)
		return ""
	}
	return v
}

// refuseErr passes an error for people on as a finding about a key.
func (s section) refuseErr(key string, err error) {
	refuseErr(s.found, s.found.at(s.at(key)), codeValue, within(s.at(key), err))
}

// oneOf gives a text out of a closed list.
func (s section) oneOf(key string, values ...string) string {
	v := s.text(key)
	if v == "" || slices.Contains(values, v) {
		return v
	}
	s.refuse(key, codeValue, hintValues(v, values), "is %s, which is not known", restart.Quote(v))
	return ""
}

var decimal = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,17})$`)

// whole gives a decimal number in a range; false where there is none.
func (s section) whole(key string, least, most int64) (int64, bool) {
	n, ok := s.scalar(key)
	if !ok {
		return 0, false
	}
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Tag != "!!int" || err != nil || !decimal.MatchString(n.Value) {
		s.refuse(key, codeType, "", "must be a whole number, and %s is not one", restart.Quote(n.Value))
		return 0, false
	}
	if v < least || v > most {
		s.refuse(key, codeValue, "", "is %d; it must be from %d to %d", v, least, most)
		return 0, false
	}
	return v, true
}

// count gives a number in a range that fits an int; 0 where there is none.
func (s section) count(key string, least, most int64) int {
	v, _ := s.whole(key, least, most)
	return int(v)
}

// yes gives a boolean.
func (s section) yes(key string) bool {
	n, ok := s.scalar(key)
	if !ok {
		return false
	}
	if n.Tag != "!!bool" || (n.Value != "true" && n.Value != "false") {
		s.refuse(key, codeType, "", "must be true or false, and %s is neither", restart.Quote(n.Value))
	}
	return n.Value == "true"
}

// duration gives a length of time in a range, such as 10s or 1m30s.
func (s section) duration(key string, least, most time.Duration) restart.Duration {
	n, ok := s.scalar(key)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil {
		s.refuse(key, codeType, "a number with its unit, such as 500ms, 10s, 2m or 1h", "must be a duration, and %s is not one", restart.Quote(n.Value))
		return 0
	}
	if d < least || d > most {
		s.refuse(key, codeValue, "", "is %s; it must be from %s to %s", d, least, most)
		return 0
	}
	return restart.Duration(d)
}

// list gives the items of a list of 1 to most, each as a section of one key,
// so that the getters read it and messages name it and its own line.
func (s section) list(key string, most int) []item {
	n := s.values[key]
	if n == nil || s.null(key, n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		s.refuse(key, codeType, "write it in brackets, such as [one, two]", "must be a list")
		return nil
	}
	if len(n.Content) == 0 || len(n.Content) > most {
		s.refuse(key, codeValue, "", "has %d items; it must have from 1 to %d", len(n.Content), most)
		return nil
	}
	var out []item
	for i, value := range n.Content {
		name := fmt.Sprintf("%s item %d", key, i+1)
		s.found.lines[s.at(name)] = line{key: value.Line, value: value.Line}
		out = append(out, item{section{found: s.found, path: s.path, values: map[string]*yaml.Node{name: value}}, name, value})
	}
	return out
}

// item is one value of a list.
type item struct {
	section
	key  string
	node *yaml.Node
}

// names gives a list of different texts that check accepts.
func (s section) names(key string, most int, check func(string) error) []string {
	var out []string
	for _, it := range s.list(key, most) {
		v := it.named(it.key, check)
		if v != "" && slices.Contains(out, v) {
			it.refuse(it.key, codeValue, "keep one of them", "repeats %s", restart.Quote(v))
			continue
		}
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}
