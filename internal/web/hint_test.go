package web

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// A page says what to do in words; the commands of a hint are kept apart, whole.
func TestHintsOfPages(t *testing.T) {
	for hint, want := range map[string][]string{
		"": nil,
		"is the host up, and port 3131 open from the server?": {"is the host up, and port 3131 open from the server?"},
		"wait until then; or an admin lifts it: restartilka freeze remove 01m --reason TEXT\nwhere it can't wait: --break-glass, by root; others are told": {"wait until then; or an admin lifts it"},
		"ask an admin\nto take it back: restartilka abort 01m":                                                        {"ask an admin"},
		"look at it again, then decide: restartilka show 01m":                                                         {"look at it again, then decide"},
		"wait until it is over; where it can't wait: restartilka abort 01m, then restartilka retry 01m":               {"wait until it is over"},
		"the server's log says why; restartilka config check tries it":                                                {"the server's log says why"},
		"give it with --ticket KEY, or name it in the reason\nopen it again, or name another":                         {"open it again, or name another"},
		"try again when the tracker answers\nwhere it can't wait, who has the right starts without it: --break-glass": {"try again when the tracker answers", "where it can't wait, who has the right starts without it"},
		"see: restartilka groups": nil,
		"pause it first: restartilka pause 01m; or end it, which releases its hold: restartilka abort 01m": {"pause it first; or end it, which releases its hold"},
	} {
		words, shell := hintOf(english, hint)
		if !slices.Equal(words, want) {
			t.Errorf("%q is said as %q, want %q", hint, words, want)
		}
		for line := range strings.Lines(hint) {
			if line = strings.TrimSpace(line); strings.Contains(line, "restartilka ") != slices.ContainsFunc(shell, func(s string) bool { return s == line && strings.Contains(s, "restartilka ") }) {
				t.Errorf("the commands of %q are %q", hint, shell)
			}
		}
	}
	words, shell := hintOf(russian, "ask an admin\nto take it back: restartilka abort 01m848p0b7aaaaaaaaaaaaaaaa")
	if len(words) != 1 || strings.Contains(words[0], "restartilka") || len(shell) != 1 || !strings.Contains(shell[0], "restartilka abort") {
		t.Errorf("in Russian: %q and %q", words, shell)
	}
}

// What was refused is said without commands, which are behind a press.
func TestAProblemKeepsItsCommandsApart(t *testing.T) {
	f := newFixture(t)
	run := f.running(1, 1)
	f.task(run, 0, restart.TaskUnknown, store.TaskChange{}, nil)
	f.to(run, restart.RunPaused, restart.CauseUnknown, "web1: unknown")
	res := f.post("/runs/"+run.ID+"/resume", nil, "Cookie", f.signIn())
	if res.StatusCode != http.StatusConflict {
		t.Fatalf("%s\n%s", res.Status, res.body)
	}
	page, fold, _ := strings.Cut(res.body, "<details")
	lacks(t, page, "restartilka decide")
	wants(t, fold, "In the command line", "restartilka decide "+run.ID)
	lacks(t, fold[:strings.Index(fold, "<summary>")], " open")
}
