package web

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

var verb = regexp.MustCompile(`%(\[[0-9]+\])?[a-z]`)

// Every way in by which a run is asked for has a word: see restart.Run.Via.
func TestWaysInHaveWords(t *testing.T) {
	for _, via := range []string{"web", "api", "cli", "chat", "ssh", "schedule", "local"} {
		for _, l := range said.Languages() {
			if l != said.English && viaOf(l, via) == via {
				t.Errorf("%s in %s is %q", via, l, viaOf(l, via))
			}
		}
		if _, ok := catalogue["via."+via]; !ok {
			t.Errorf("%s has no words", via)
		}
	}
}

func TestCatalogueHasBothLanguages(t *testing.T) {
	for key, text := range catalogue {
		forms := map[language]int{}
		var verbs [2][]string
		for i, l := range said.Languages() {
			s := text.in(l)
			if strings.TrimSpace(s) == "" {
				t.Errorf("%s: nothing in %s", key, l)
			}
			parts := strings.Split(s, "|")
			forms[l] = len(parts)
			for _, p := range parts {
				found := verb.FindAllString(p, -1)
				slices.Sort(found)
				if verbs[i] != nil && !slices.Equal(verbs[i], found) {
					t.Errorf("%s: the forms in %s have other values: %q", key, l, s)
				}
				verbs[i] = append([]string{}, found...)
			}
		}
		if !slices.Equal(verbs[0], verbs[1]) {
			t.Errorf("%s: values %v in English, %v in Russian", key, verbs[0], verbs[1])
		}
		if plural := forms[english] > 1 || forms[russian] > 1; plural && (forms[english] != 2 || forms[russian] != 3) {
			t.Errorf("%s: %d forms in English (2), %d in Russian (3)", key, forms[english], forms[russian])
		}
	}
}

// TestTextsHaveOneHome: a key in two files would be whichever comes last.
func TestTextsHaveOneHome(t *testing.T) {
	once := regexp.MustCompile(`(?m)^\t"([a-z0-9_.-]+)":`)
	home := map[string]string{}
	files, err := fs.Glob(os.DirFS("."), "texts*.go")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range once.FindAllStringSubmatch(string(b), -1) {
			if home[m[1]] != "" {
				t.Errorf("%s is in %s and in %s", m[1], home[m[1]], file)
			}
			home[m[1]] = file
		}
	}
	if len(home) != len(catalogue) {
		t.Errorf("%d texts in the files, %d in the catalogue: is a file not merged?", len(home), len(catalogue))
	}
}

// TestCatalogueKnowsEveryState: a state that is added to the domain needs its word.
func TestCatalogueKnowsEveryState(t *testing.T) {
	var keys []string
	for _, s := range restart.RunStates() {
		keys = append(keys, "runstate."+string(s))
	}
	for _, s := range restart.TaskStates() {
		keys = append(keys, "taskstate."+string(s))
	}
	for _, c := range restart.PauseCauses() {
		keys = append(keys, "cause."+string(c))
	}
	for _, s := range []restart.TicketState{restart.TicketOpen, restart.TicketClosed, restart.TicketMissing, restart.TicketUnchecked} {
		keys = append(keys, "ticketstate."+string(s))
	}
	for _, p := range protocol.Phases() {
		keys = append(keys, "phase."+string(p), "phasename."+string(p))
	}
	for _, key := range keys {
		if _, ok := catalogue[key]; !ok {
			t.Errorf("there is no text %s", key)
		}
	}
	for _, tn := range tones() {
		if shapes[tn].Outline == "" {
			t.Errorf("tone %s has no shape", tn)
		}
	}
}

// TestCatalogueIsUsed: every text that is asked for is there, and none is left over.
func TestCatalogueIsUsed(t *testing.T) {
	asked := regexp.MustCompile(`(?:\b[tn] |say\([^"]*|count\([^"]*|key := |known\([a-z.]+, |lockOf\([^"]*|key = )"([a-z]+\.[a-z_.]*)"`)
	used := map[string]bool{}
	read := func(fsys fs.FS, names ...string) {
		for _, name := range names {
			b, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range asked.FindAllStringSubmatch(string(b), -1) {
				used[m[1]] = true
				if _, ok := catalogue[m[1]]; !ok && !strings.HasSuffix(m[1], ".") {
					t.Errorf("%s asks for %q, which the catalogue does not have", name, m[1])
				}
			}
		}
	}
	parts, _ := fs.Glob(templates, "templates/*.html")
	pages, _ := fs.Glob(templates, "templates/pages/*.html")
	read(templates, append(parts, pages...)...)
	code, _ := fs.Glob(os.DirFS("."), "*.go")
	read(os.DirFS("."), slices.DeleteFunc(code, func(n string) bool { return strings.HasSuffix(n, "_test.go") })...)
	for key := range catalogue {
		family, _, _ := strings.Cut(key, ".")
		if !used[key] && !used[family+"."] {
			t.Errorf("nobody asks for %s", key)
		}
	}
}

// TestPartsHaveOneHome: of two parts of one name, every page would have whichever comes last.
func TestPartsHaveOneHome(t *testing.T) {
	define := regexp.MustCompile(`{{-? *define "([^"]+)"`)
	home := map[string]string{}
	files, _ := fs.Glob(templates, "templates/*.html")
	for _, file := range files {
		b, err := fs.ReadFile(templates, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range define.FindAllStringSubmatch(string(b), -1) {
			if home[m[1]] != "" {
				t.Errorf("%s is in %s and in %s", m[1], home[m[1]], file)
			}
			home[m[1]] = file
		}
	}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		l    language
		n    int
		want string
	}{
		{english, 1, "1 look at health"}, {english, 0, "0 looks at health"}, {english, 11, "11 looks at health"},
		{russian, 1, "1 проверка здоровья"}, {russian, 2, "2 проверки здоровья"}, {russian, 5, "5 проверок здоровья"}, {russian, 11, "11 проверок здоровья"},
		{russian, 14, "14 проверок здоровья"}, {russian, 21, "21 проверка здоровья"}, {russian, 104, "104 проверки здоровья"}, {russian, 112, "112 проверок здоровья"},
	} {
		if got := count(c.l, "host.samples", c.n); got != c.want {
			t.Errorf("%s %d: %q, want %q", c.l, c.n, got, c.want)
		}
	}
}

func TestPreferred(t *testing.T) {
	for header, want := range map[string]language{
		"": english, "ru": russian, "ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7": russian, "en-GB,ru;q=0.9": english, "de,ru;q=0.4": russian,
		"en;q=0.1, RU ; q=0.2": russian, "ru;q=0": english, "ru;q=x": english, "ru;q=NaN": english, "ru;q=-1": english, "*": english, ";;,,": english, "rum": english,
	} {
		if got := preferred(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func FuzzPreferred(f *testing.F) {
	f.Add("ru-RU,ru;q=0.9,en-US;q=0.8")
	f.Add(strings.Repeat("ru;q=0.1,", 1000))
	f.Fuzz(func(t *testing.T, header string) {
		if l := preferred(header); !slices.Contains(said.Languages(), l) {
			t.Errorf("%q gives %q", header, l)
		}
	})
}
