package dumps

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump/analyse"
)

const guide = "../../docs/guide"

// verdicts are sentences in which the guide's words must be found.
func verdicts() string {
	var b strings.Builder
	for _, f := range []analyse.Finding{
		{Kind: analyse.Deadlocked, Names: []string{"a", "b"}},
		{Kind: analyse.Connections, Threads: 7, Of: 9, Subject: "HikariCP", Frame: "a.B.c", Does: analyse.Doing{Kind: analyse.Borrows, Peer: analyse.Database}},
		{Kind: analyse.LockHeld, Threads: 7, Of: 9, Holder: "a", Does: analyse.Doing{Kind: analyse.Sleeps}},
		{Kind: analyse.PoolBusy, Threads: 9, Subject: "exec", Frame: "a.B.c", At: 8, Does: analyse.Doing{Kind: analyse.Sleeps}},
		{Kind: analyse.HotThread, Subject: "exec-1", Percent: 98, Span: time.Second, Frame: "a.B.c"},
		{Kind: analyse.StuckThreads, Threads: 2, Of: 9, Dumps: 3, Span: time.Second, Frame: "a.B.c", Does: analyse.Doing{Kind: analyse.Sleeps}},
		{Kind: analyse.CollectorHot, Percent: 98},
		{Kind: analyse.AllStopped, Threads: 9, Of: 9},
		{Kind: analyse.SameFrame, Hosts: []string{"a", "b"}, OfHosts: 3, Threads: 9, Frame: "a.B.c", Does: analyse.Doing{Kind: analyse.WaitsLock}},
		{Kind: analyse.Nothing, Threads: 9, Dumps: 1},
	} {
		b.WriteString(f.String() + "\n")
	}
	return strings.ToLower(b.String()) // behind "On HOST:" a sentence begins small
}

// TestGuide holds the guide for a service that hangs to what the product says,
// and its two languages to one another.
func TestGuide(t *testing.T) {
	t.Parallel()
	english, russian := read(t, "hanging.md"), read(t, "hanging.ru.md")
	said := verdicts()
	for name, text := range map[string]string{"hanging.md": english, "hanging.ru.md": russian} {
		rows := between(t, text, "| --- | --- | --- |\n", "\n\n")
		if n := strings.Count(rows, "\n") + 1; n != 10 {
			t.Errorf("%s tells of %d verdicts", name, n)
		}
		for row := range strings.Lines(rows) {
			for _, words := range regexp.MustCompile(`\*\*([^*]+)\*\*`).FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
				if !strings.Contains(said, strings.ToLower(words[1])) {
					t.Errorf("%s: no verdict says %q:\n%s", name, words[1], said)
				}
			}
		}
		for _, link := range regexp.MustCompile(`[^!]\[[^]]*\]\(([^)#]+)`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(guide, link[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	parts := regexp.MustCompile("(?s)```.*?```|(?m)^## \\d?|^\\| |\\(\\.\\./[^)]*\\)|^- \\*\\*").FindAllString
	if e, r := parts(english, -1), parts(russian, -1); !slices.Equal(e, r) {
		t.Errorf("the two languages differ in their parts:\n%q\n%q", e, r)
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(guide, name))
	must(t, err)
	return string(b)
}

// between gives what stands between two texts, the first time.
func between(t testing.TB, text, from, to string) string {
	t.Helper()
	_, text, ok := strings.Cut(text, from)
	text, _, also := strings.Cut(text, to)
	if !ok || !also {
		t.Fatalf("nothing stands between %q and %q", from, to)
	}
	return text
}
