package tracker

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// key is a ticket's place in its tracker. Both parts are safe in an address.
type key struct {
	project string
	number  int
}

// shape is how a kind of tracker writes its keys.
type shape string

const (
	dashed  shape = "WEB-17"
	slashed shape = "acme/shop#17"
)

// String writes a key as people do.
func (s shape) String(k key) string {
	if s == slashed {
		return k.project + "#" + strconv.Itoa(k.number)
	}
	return k.project + "-" + strconv.Itoa(k.number)
}

var (
	dashedProject  = lazy(`^[A-Z][A-Z0-9_]{0,31}$`)
	slashedProject = lazy(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,9}$`)
	dashedKey      = lazy(`([A-Z][A-Z0-9_]{0,31})-([1-9][0-9]{0,8})`)
	slashedKey     = lazy(`([A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){1,9})(?:#|/-/issues/|/issues/)([1-9][0-9]{0,8})`)
	projectGlob    = lazy(`^[A-Za-z0-9_*?][A-Za-z0-9_.*?/-]{0,199}$`)
)

func lazy(rule string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(rule) })
}

// whole reads a text that is nothing but a key, in upper or lower case; only is
// the project of #17, where there is just one.
func (s shape) whole(text, only string) (key, bool) {
	if number, short := strings.CutPrefix(text, "#"); short && only != "" {
		text = only + "#" + number
	}
	form := slashedKey()
	if s == dashed {
		form, text = dashedKey(), strings.ToUpper(text)
	}
	m := form.FindStringSubmatch(text)
	if m == nil || m[0] != text {
		return key{}, false
	}
	return s.key(m[1], m[2])
}

// within finds the keys that a sentence names, in its order.
func (s shape) within(text string) []key {
	form := slashedKey()
	if s == dashed {
		form = dashedKey()
	}
	var out []key
	for at := 0; at < len(text); {
		m := form.FindStringSubmatchIndex(text[at:])
		if m == nil {
			break
		}
		begin, end := at+m[0], at+m[1]
		if k, ok := s.key(text[at+m[2]:at+m[3]], text[at+m[4]:at+m[5]]); ok && alone(text, begin, end) && !slices.Contains(out, k) {
			out = append(out, k)
		}
		at = end
	}
	return out
}

// alone tells whether what lies between begin and end is no part of a longer
// word, such as WEB-17 in WEB-17-rc1 or in WEB-17.example.com.
func alone(text string, begin, end int) bool {
	if begin > 0 && (inWord(text[begin-1]) || text[begin-1] == '.' || text[begin-1] == '-') {
		return false
	}
	if end == len(text) {
		return true
	}
	dot := text[end] == '.' && end+1 < len(text) && inWord(text[end+1])
	return !inWord(text[end]) && text[end] != '-' && !dot
}

// inWord: any byte beyond ASCII is part of a letter.
func inWord(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

func (s shape) key(project, number string) (key, bool) {
	n, err := strconv.Atoi(number)
	if err != nil || n <= 0 || !s.valid(project) {
		return key{}, false
	}
	return key{project, n}, true
}

// valid accepts the name of a project: what it lets pass can't lead out of its
// place in an address.
func (s shape) valid(project string) bool {
	if strings.Contains(project, "..") || strings.Contains(project, "./") {
		return false
	}
	if s == dashed {
		return dashedProject().MatchString(project)
	}
	return slashedProject().MatchString(project)
}

// projects are those whose tickets a tracker is asked about, by name or glob.
type projects struct {
	names, globs []string
	fold         bool // upper and lower case are the same
}

func projectsOf(s shape, list []string) (p projects, wrong string) {
	p.fold = s == slashed
	for _, x := range list {
		switch {
		case s.valid(x):
			p.names = append(p.names, p.folded(x))
		case strings.ContainsAny(x, "*?") && projectGlob().MatchString(x):
			p.globs = append(p.globs, p.folded(x))
		default:
			return p, x
		}
	}
	return p, ""
}

func (p projects) folded(name string) string {
	if p.fold {
		return strings.ToLower(name)
	}
	return name
}

// has tells whether a project is among them, and whether by its own name.
func (p projects) has(name string) (has, named bool) {
	name = p.folded(name)
	if slices.Contains(p.names, name) {
		return true, true
	}
	return slices.ContainsFunc(p.globs, func(glob string) bool { ok, err := path.Match(glob, name); return ok && err == nil }), false
}

// only is the one project where there is one; "" = there are several.
func (p projects) only() string {
	if len(p.names) == 1 && len(p.globs) == 0 {
		return p.names[0]
	}
	return ""
}
