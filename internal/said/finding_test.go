package said

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

// Every finding has a Russian sentence with the names and numbers of the English one.
func TestFindingsInRussian(t *testing.T) {
	cyrillic := regexp.MustCompile(`[а-яё]`)
	for _, kind := range analyse.FindingKinds() {
		for _, n := range []int{1, 2, 5, 21} {
			f := analyse.Finding{
				Kind: kind, Severity: analyse.Alarm, Threads: n, Of: 640, Subject: "sub.ject", Holder: "holder-1", Lock: "a.b.Lock$FairSync", Frame: "x.y.Frame.call", Does: analyse.Doing{Kind: analyse.SocketRead, Peer: analyse.Database, Own: "o.w.n.Code"},
				At: n, Depth: n, Behind: n, Grown: n, Names: []string{"one", "two"}, Percent: 98, Span: 12 * time.Second, Dumps: 3, Text: "words of the runtime", Looked: analyse.Aspects(), Missed: analyse.Aspects()[:1],
				Deviation: &analyse.Deviation{Kind: analyse.ByState, State: dump.Blocked, Threads: n, Median: 1.5},
			}
			english, text := f.String(), Finding(Russian, f)
			if !cyrillic.MatchString(text) || strings.Contains(text, "{") || strings.Contains(text, "%!") || text == english {
				t.Errorf("%s: %s", kind, text)
			}
			for _, name := range regexp.MustCompile("`[^`]*`").FindAllString(english, -1) {
				if !strings.Contains(text, name) {
					t.Errorf("%s has %s in English:\n%s\n%s", kind, name, english, text)
				}
			}
			t.Log(text)
		}
	}
	for n, want := range map[int]string{1: "1 поток ждёт", 2: "2 потока ждут", 5: "5 потоков ждут", 11: "11 потоков ждут", 21: "21 поток ждёт", 104: "104 потока ждут"} {
		if got := ruOfAll(analyse.Finding{Threads: n}, "ждёт", "ждут", "ждут"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for _, k := range analyse.FindingKinds() {
		if findingNames[k] == "" {
			t.Errorf("there is no name of the finding %s", k)
		}
	}
	for _, s := range dump.States() {
		if threadStates[s] == (pair{}) {
			t.Errorf("there is no word for the state %s", s)
		}
	}
	for _, a := range analyse.Aspects() {
		if aspects[a] == "" {
			t.Errorf("there is no word for the aspect %s", a)
		}
	}
	for _, table := range []map[analyse.Peer]pair{answers, sends, connects} {
		for peer, words := range table {
			if words[0] == "" || !cyrillic.MatchString(words[1]) {
				t.Errorf("%s: %q", peer, words)
			}
		}
	}
	for kind, words := range doings {
		if words[0] == "" || !cyrillic.MatchString(words[1]) {
			t.Errorf("%s: %q", kind, words)
		}
	}
}
