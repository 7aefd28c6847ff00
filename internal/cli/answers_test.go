package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// against runs a command line against a server that h makes up.
func against(t *testing.T, h http.HandlerFunc, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("RESTARTILKA_URL", s.URL)
	t.Setenv("RESTARTILKA_CA", "")
	t.Setenv("RESTARTILKA_TOKEN", "rtk_00000000000000000000000000000000")
	var out, talk bytes.Buffer
	code = cli.Main(t.Context(), args, strings.NewReader(""), &out, &talk)
	return code, out.String(), talk.String()
}

// TestEmptyListsSayWhatToDo: no failure, and a word to the person only.
func TestEmptyListsSayWhatToDo(t *testing.T) {
	empty := func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/hosts") {
			fmt.Fprint(w, `{"items":[]}`)
			return
		}
		w.Header().Set("Content-Type", wire.ProblemType)
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"code":"invalid","detail":"the host expression leaves no host"}`)
	}
	for line, want := range map[string]string{
		"freeze list": "nothing is frozen", "break-glass": "nothing waits", "break-glass list": "nothing waits", "locks": "nothing is held", "notify list": "nobody is told",
		"hosts": "inventory has none", "services": "inventory has none", "groups": "inventory has none",
		"runs": "restartilka restart SERVICE", "runs --service shop": "no run fits",
	} {
		code, _, talk := against(t, empty, strings.Fields(line)...)
		if code != cli.ExitDone || strings.Count(talk, "\n") != 1 || !strings.Contains(talk, want) {
			t.Errorf("%s: %d %q", line, code, talk)
		}
		code, out, talk := against(t, empty, strings.Fields(line+" --json")...)
		if code != cli.ExitDone || talk != "" || !strings.Contains(out, `"items": []`) {
			t.Errorf("%s --json: %d %q %q", line, code, out, talk)
		}
	}
	if code, _, _ := against(t, empty, "hosts", "%all"); code != cli.ExitUsage {
		t.Errorf("an expression that leaves no host: exit code %d", code)
	}
}

// TestSilencesWithoutAPlan: what monitoring was told is shown without the plan
// that has the alerts' names, too.
func TestSilencesWithoutAPlan(t *testing.T) {
	const id = "01m81mtqf0qv5v0v89h9ffrra9"
	run := restart.Run{
		ID: id, State: restart.RunRunning, Tasks: []restart.Task{{ID: id, RunID: id, Host: "web1", State: restart.TaskRunning}},
		Silenced: []restart.Silence{{Host: "web1", State: restart.SilencePlaced}, {Host: "web2", State: restart.SilenceRefused, Failure: "no such matcher"}},
	}
	code, out, talk := against(t, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(run) }, "show", id)
	if code != cli.ExitDone || !strings.Contains(out, "silent: hosts: 1, still: 1\n") || !strings.Contains(out, "monitoring: web2: no such matcher") {
		t.Errorf("exit code %d: %s%s", code, out, talk)
	}
}

// TestWatchSaysThatTheServerIsAway: once, and that it is back.
func TestWatchSaysThatTheServerIsAway(t *testing.T) {
	asked := 0
	h := func(w http.ResponseWriter, _ *http.Request) {
		switch asked++; asked {
		case 1: // it begins, and goes away
			fmt.Fprint(w, "event: run\ndata: {\"id\":\"r\",\"version\":1,\"state\":\"running\"}\n\n")
		case 2:
			http.Error(w, "a proxy", http.StatusBadGateway)
		default:
			fmt.Fprint(w, "event: run\ndata: {\"id\":\"r\",\"version\":2,\"state\":\"completed\"}\n\nevent: end\ndata: {}\n\n")
		}
	}
	code, out, talk := against(t, h, "watch", "00000000000000000000000000")
	if code != cli.ExitDone || talk != "the server does not answer; asking again\nthe server answers again\n" {
		t.Errorf("%d %q %q", code, out, talk)
	}
}
