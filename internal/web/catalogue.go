package web

import (
	"fmt"
	"strings"
)

// text is one entry of the catalogue, in both languages. Values go where %s,
// %d or %[1]s stand, as in package fmt. An entry that depends on a number has a
// form for each plural of its language, with "|" between them: one|other in
// English, one|few|many in Russian.
type text struct{ en, ru string }

func (t text) in(l language) string {
	if l == russian {
		return t.ru
	}
	return t.en
}

// say gives an entry in a language, with its values. An entry that is not
// there is shown by its key: a test sees to it that none is missing.
func say(l language, key string, values ...any) string {
	t, ok := catalogue[key]
	if !ok {
		return "{" + key + "}"
	}
	s := t.in(l)
	if len(values) == 0 {
		return s
	}
	return fmt.Sprintf(s, values...)
}

// count gives the form of an entry that fits a number.
func count(l language, key string, n int) string {
	t, ok := catalogue[key]
	if !ok {
		return "{" + key + "}"
	}
	forms := strings.Split(t.in(l), "|")
	return fmt.Sprintf(forms[min(l.Plural(n), len(forms)-1)], n)
}
