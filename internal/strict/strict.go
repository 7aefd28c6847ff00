// Package strict reads files of settings: one YAML document, known keys only,
// and every error with its line, in words for who wrote the file.
package strict

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
)

// Load reads b into v, a pointer to a struct with yaml tags. Keys that are not
// in the file keep what v holds; an empty file is none. Its errors are
// CodeInvalid, with the line; hint is for an unknown key that resembles none.
func Load(b []byte, v any, hint string) error {
	loader, err := yaml.NewLoader(bytes.NewReader(b), yaml.WithKnownFields())
	if err != nil {
		return err
	}
	if err := loader.Load(v); err != nil && !errors.Is(err, io.EOF) {
		return Explain(err, keysOf(reflect.TypeOf(v)), hint)
	}
	var second yaml.Node
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		return restart.Errorf(restart.CodeInvalid, "the file holds more than one document").WithHint("take out the line ---, or what follows it")
	}
	return nil
}

// The parser knows Go's types; who writes the file does not.
var (
	unknownField = regexp.MustCompile(`^field (.+) not found in type .+$`)
	wrongType    = regexp.MustCompile("^cannot (?:construct|unmarshal) (\\S+) (?:`(.*)` )?into (\\S+)$")
)

// Explain says what the parser found, in our words where we have better ones.
// keys are those that an unknown one may have been meant to be. What is no
// error of the parser comes back as invalid YAML.
func Explain(err error, keys []string, hint string) error {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return restart.Errorf(restart.CodeInvalid, "not valid YAML: %s", restart.Escape(err.Error()))
	}
	line := max(e.Mark.Line, 1)
	if m := unknownField.FindStringSubmatch(e.Message); m != nil {
		unknown := restart.Errorf(restart.CodeInvalid, "line %d: unknown key %s", line, restart.Quote(m[1]))
		if near := restart.Similar(m[1], keys); len(near) > 0 {
			return unknown.WithHint("did you mean %s?", strings.Join(near, " or "))
		}
		return unknown.WithHint("%s", hint)
	}
	if m := wrongType.FindStringSubmatch(e.Message); m != nil {
		wrong := restart.Errorf(restart.CodeInvalid, "line %d: %s is not what belongs here", line, restart.Quote(m[2]))
		if m[2] == "" {
			wrong = restart.Errorf(restart.CodeInvalid, "line %d: this is not what belongs here", line)
		}
		return wrong.WithHint("%s", expected(m[3]))
	}
	return restart.Errorf(restart.CodeInvalid, "line %d: %s", line, restart.Escape(e.Message))
}

func expected(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"):
		return "a whole number"
	case goType == "string":
		return "text"
	case goType == "bool":
		return "true or false"
	case goType == "time.Duration":
		return "a duration with its unit, such as 10s or 5m"
	}
	return "a section with keys"
}

// keysOf lists the yaml keys of a struct, and of those within it.
func keysOf(t reflect.Type) []string {
	var out []string
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		for field := range t.Fields() {
			if name, _, _ := strings.Cut(field.Tag.Get("yaml"), ","); name != "" && name != "-" {
				out = append(out, name)
				walk(field.Type)
			}
		}
	}
	walk(t)
	slices.Sort(out)
	return slices.Compact(out)
}
