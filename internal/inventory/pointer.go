package inventory

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// pointer says where something is in a JSON document: a JSON pointer
// (RFC 6901), in which * stands for every element of a list or every value of an
// object; or one of
//
//	.     the element itself
//	@key  the name under which the element stands in its object
type pointer struct {
	text  string
	key   bool
	parts []string // "*" = each; "" only where the document has such a name
}

const deepestPointer = 16 // parts

func parsePointer(s string) (pointer, error) {
	p := pointer{text: s}
	switch {
	case s == ".":
		return p, nil
	case s == "@key":
		p.key = true
		return p, nil
	case !strings.HasPrefix(s, "/"):
		return p, bad("mapping", "%s does not begin with /", restart.Quote(s)).
			WithHint("/results/* is every element of results, . is the element itself, and @key is the name under which it stands")
	}
	p.parts = strings.Split(s[1:], "/")
	if len(p.parts) > deepestPointer {
		return p, bad("mapping", "%s has more than %d parts", restart.Quote(s), deepestPointer)
	}
	for i, part := range p.parts {
		if bare := strings.NewReplacer("~0", "", "~1", "").Replace(part); strings.Contains(bare, "~") {
			return p, bad("mapping", "%s is not a JSON pointer", restart.Quote(s)).WithHint("in a name, ~0 stands for ~ and ~1 for /")
		}
		p.parts[i] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	}
	return p, nil
}

// each calls f for each element of a document that a pointer means, with the
// name or number under which it stands. Only one element is in memory at a time.
// found tells whether there is a place for elements at all, be it an empty one.
func (p pointer) each(document []byte, f func(key string, element json.RawMessage) error) (found bool, err error) {
	w := pointerWalk{decoder: json.NewDecoder(bytes.NewReader(document)), each: f}
	err = w.walk("", p.parts)
	return w.found, err
}

type pointerWalk struct {
	decoder *json.Decoder
	each    func(key string, element json.RawMessage) error
	found   bool
}

// walk reads the value that comes next.
func (w *pointerWalk) walk(key string, parts []string) error {
	if len(parts) == 0 {
		var element json.RawMessage
		if err := w.decoder.Decode(&element); err != nil {
			return err
		}
		w.found = true
		return w.each(key, element)
	}
	start, err := w.decoder.Token()
	if err != nil {
		return err
	}
	if start != json.Delim('{') && start != json.Delim('[') {
		return nil // a word, where a list or object is wanted
	}
	w.found = w.found || parts[0] == "*"
	for i := 0; w.decoder.More(); i++ {
		name := strconv.Itoa(i)
		if start == json.Delim('{') {
			t, err := w.decoder.Token()
			if err != nil {
				return err
			}
			name, _ = t.(string)
		}
		if parts[0] == "*" || parts[0] == name {
			err = w.walk(name, parts[1:])
		} else {
			err = w.decoder.Decode(&json.RawMessage{})
		}
		if err != nil {
			return err
		}
	}
	_, err = w.decoder.Token()
	return err
}

// in gives the words that a pointer means within an element, in their order.
// ok is false where there is something else than words.
func (p pointer) in(key string, element any) (words []string, ok bool) {
	if p.key {
		return []string{key}, true
	}
	return wordsIn(element, p.parts)
}

func wordsIn(v any, parts []string) (words []string, ok bool) {
	if len(parts) == 0 {
		switch x := v.(type) {
		case nil:
			return nil, true
		case string:
			if x == "" {
				return nil, true
			}
			return []string{x}, true
		case json.Number:
			return []string{x.String()}, true
		case bool:
			return []string{strconv.FormatBool(x)}, true
		}
		return nil, false
	}
	ok = true
	into := func(v any) {
		inner, good := wordsIn(v, parts[1:])
		words, ok = append(words, inner...), ok && good
	}
	switch x := v.(type) {
	case map[string]any:
		if parts[0] == "*" {
			for _, name := range slices.Sorted(maps.Keys(x)) {
				into(x[name])
			}
		} else if inner, there := x[parts[0]]; there {
			into(inner)
		}
	case []any:
		for i, inner := range x {
			if parts[0] == "*" || parts[0] == strconv.Itoa(i) {
				into(inner)
			}
		}
	}
	return words, ok
}
