package chat

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

var verb = regexp.MustCompile(`%[a-z]`)

// Every text is there in both languages, with the same values in the same order in
// each of its forms.
func TestTextsAreComplete(t *testing.T) {
	t.Parallel()
	for key, text := range texts {
		forms := [2][]string{strings.Split(text[0], "|"), strings.Split(text[1], "|")}
		if n := [2]int{len(forms[0]), len(forms[1])}; n != [2]int{1, 1} && n != [2]int{2, 3} {
			t.Errorf("%s: %d forms in English, %d in Russian", key, n[0], n[1])
		}
		for _, form := range slices.Concat(forms[0], forms[1]) {
			if strings.TrimSpace(form) == "" || !slices.Equal(verb.FindAllString(form, -1), verb.FindAllString(forms[0][0], -1)) {
				t.Errorf("%s: %q", key, text)
			}
		}
		if !strings.ContainsFunc(text[1], func(r rune) bool { return unicode.Is(unicode.Cyrillic, r) }) {
			t.Errorf("%s is not Russian: %q", key, text[1])
		}
	}
	if a, b := regexp.MustCompile(`(?m)^/[a-z]+`), texts["help"]; !slices.Equal(a.FindAllString(b[0], -1), a.FindAllString(b[1], -1)) {
		t.Errorf("the commands of the help are not the same: %q", b)
	}
}

// Every name of a family has its word: in English it is the name itself.
func TestEveryNameHasItsWord(t *testing.T) {
	t.Parallel()
	families := map[string][]string{"title": {string(restart.WorkUndrain), string(restart.WorkRehearse)}, "health": {restart.HealthHealthy, restart.HealthUnhealthy}}
	add := func(family string, names ...string) { families[family] = append(families[family], names...) }
	for _, s := range restart.RunStates() {
		add("state", string(s))
	}
	for _, c := range append(restart.PauseCauses(), restart.CauseExpired) {
		add("cause", string(c))
	}
	for _, c := range []restart.Control{restart.ControlPause, restart.ControlAbort, restart.ControlForceAbort} {
		add("asked", string(c))
	}
	for _, s := range restart.TaskStates() {
		add("task", string(s))
	}
	for _, p := range protocol.Phases() {
		add("phase", string(p))
	}
	for _, v := range restart.Verdicts() {
		add("verdict", string(v))
	}
	for _, k := range restart.Kinds() {
		add("title", string(k))
	}
	for family, names := range families {
		for _, name := range names {
			text, ok := texts[family+"."+name]
			if !ok {
				t.Errorf("no word for %s %s", family, name)
			}
			if plain := strings.ReplaceAll(name, "_", " "); family != "title" && text[0] != plain && text[0] != plain+" asked for" {
				t.Errorf("%s %s is %q in English", family, name, text[0])
			}
		}
	}
	if got := word(said.Russian, "state", "half_\u202edone%"); got != `half \u{202e}done%` {
		t.Errorf("a state of a later version: %q", got)
	}
}

// Every text that is asked for is there, and none is left over.
func TestTextsAreUsed(t *testing.T) {
	t.Parallel()
	asked := regexp.MustCompile(`(?:say|count|write|word)\([^"\n]*"([a-z]+[a-z_.]*)"`)
	used := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asked.FindAllStringSubmatch(string(b), -1) {
			used[strings.TrimSuffix(m[1], ".")] = true
		}
	}
	families := map[string]bool{}
	for key := range texts {
		family, _, _ := strings.Cut(key, ".")
		families[family] = true
		if !used[key] && !used[family] {
			t.Errorf("nobody asks for %s", key)
		}
	}
	for key := range used {
		if _, ok := texts[key]; !ok && !families[key] {
			t.Errorf("there is no text %s", key)
		}
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		l    said.Language
		n    int
		want string
	}{
		{said.English, 1, "1 host"}, {said.English, 0, "0 hosts"}, {said.English, 21, "21 hosts"},
		{said.Russian, 1, "1 хост"}, {said.Russian, 3, "3 хоста"}, {said.Russian, 12, "12 хостов"}, {said.Russian, 21, "21 хост"},
	} {
		if got := count(c.l, c.n, "approvals.one", c.n); got != c.want {
			t.Errorf("%s %d: %q", c.l, c.n, got)
		}
	}
}
