package scenario

import (
	"regexp"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// placeholder is one #word#: where its value comes from and what it may be.
type placeholder struct {
	word  string
	value func(Facts) string
	check func(string) error // the safe alphabet of its type
	code  restart.Code       // of the error where the value is empty
	hint  string             // where to set it
}

// placeholders is the one list of what may be filled in.
var placeholders = []placeholder{
	{"package", func(f Facts) string { return f.Package }, restart.CheckPackage, restart.CodeUnknownService,
		"set package: in /etc/restartilka/services.d/SERVICE.yaml on the host, or in the reviewed scenario"},
	{"unit", func(f Facts) string { return f.Unit }, restart.CheckUnit, restart.CodeUnknownService,
		"set unit: in /etc/restartilka/services.d/SERVICE.yaml on the host, or in the reviewed scenario"},
	{"service", func(f Facts) string { return f.Service }, restart.CheckServiceName, restart.CodeInvalid, "name the service"},
	{"host", func(f Facts) string { return f.Host }, restart.CheckHost, restart.CodeInvalid, "set host: in /etc/restartilka/agent.yaml on the host"},
	{"group", func(f Facts) string { return f.Group }, restart.CheckGroupName, restart.CodeInvalid, "ask with --group; a run over --hosts has no group"},
	{"environment", func(f Facts) string { return f.Environment }, restart.CheckEnvironment, restart.CodeInvalid, "ask with --env"},
	{"project", func(f Facts) string { return f.Project }, restart.CheckProject, restart.CodeInvalid, "give the group a project in the inventory"},
}

// fill replaces each placeholder of text by what value says.
func fill(text string, value func(placeholder) (string, error)) (string, error) {
	var b strings.Builder
	done := 0
	for _, m := range marks(text) {
		known, err := m.known()
		if err != nil {
			return "", err
		}
		v, err := value(known)
		if err != nil {
			return "", err
		}
		b.WriteString(text[done:m.from])
		b.WriteString(v)
		done = m.to
	}
	b.WriteString(text[done:])
	return b.String(), nil
}

// mark is a #word# in a text; shared where its "#" also belongs to another.
type mark struct {
	word     string
	from, to int
	shared   bool
}

var placeholderWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// marks finds every "#", word, "#" in text, those that share a "#" included.
func marks(text string) []mark {
	var out []mark
	last := -1 // the "#" before this one
	for i := range len(text) {
		if text[i] != '#' {
			continue
		}
		if last >= 0 && placeholderWord.MatchString(text[last+1:i]) {
			m := mark{word: text[last+1 : i], from: last, to: i + 1}
			m.shared = (last > 0 && text[last-1] == '#') || strings.HasPrefix(text[i+1:], "#")
			if n := len(out); n > 0 && out[n-1].to == last+1 {
				out[n-1].shared, m.shared = true, true
			}
			out = append(out, m)
		}
		last = i
	}
	return out
}

// known gives the placeholder that a mark stands for.
func (m mark) known() (placeholder, error) {
	var words []string
	for _, p := range placeholders {
		words = append(words, p.word)
		if p.word == m.word && !m.shared {
			return p, nil
		}
	}
	if m.shared {
		return placeholder{}, restart.Errorf(restart.CodeInvalid, "#%s# shares a \"#\" with what stands beside it", short(m.word)).
			WithHint(`put another character between them; for a sed expression, another separator such as s|a|b|`)
	}
	return placeholder{}, restart.Errorf(restart.CodeInvalid, "#%s# is not a placeholder", short(m.word)).
		WithHint("%s; if no placeholder is meant, as in s#a#b#, use another separator such as s|a|b|", hintKeys(m.word, words))
}
