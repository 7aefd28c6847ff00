package inventory

import (
	"regexp"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// template makes group names: "#project#_#service#-#environment#".
type template struct{ text string }

var (
	templateWord  = regexp.MustCompile(`#[^#]*#`)
	templateWords = []string{"service", "package", "project", "environment"}
)

func parseTemplate(text string) (template, error) {
	for _, w := range templateWord.FindAllString(text, -1) {
		if !slices.Contains(templateWords, strings.Trim(w, "#")) {
			return template{}, bad("group_names", "%s holds an unknown %s", restart.Quote(text), restart.Quote(w)).
				WithHint("known are #%s#", strings.Join(templateWords, "# #"))
		}
	}
	t := template{text}
	if !t.uses("service") && !t.uses("package") && !t.uses("project") {
		return t, bad("group_names", "%s gives the same group for every service", restart.Quote(text)).
			WithHint("use #service#, #package# or #project#")
	}
	return t, nil
}

func parseTemplates(texts []string) ([]template, error) {
	var out []template
	for _, text := range texts {
		t, err := parseTemplate(text)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (t template) uses(word string) bool { return strings.Contains(t.text, "#"+word+"#") }

// fill gives the name for a service in an environment; ok is false when the
// service lacks a value that the template needs.
func (t template) fill(s restart.Service, environment string) (name string, ok bool) {
	values := map[string]string{"service": s.Name, "package": s.Package, "project": s.Project, "environment": environment}
	ok = true
	name = templateWord.ReplaceAllStringFunc(t.text, func(w string) string {
		v := values[strings.Trim(w, "#")]
		ok = ok && v != ""
		return v
	})
	return name, ok
}
