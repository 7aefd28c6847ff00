package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// TestCtrlCDetaches: the person leaves, is told how to come back, and the run
// goes on.
func TestCtrlCDetaches(t *testing.T) {
	s := apitest.Start(t, nil)
	s.Agents.Set("web1", apitest.Hangs)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("RESTARTILKA_URL", s.URL)
	t.Setenv("RESTARTILKA_CA", s.CAFile)
	t.Setenv("RESTARTILKA_TOKEN", s.Token("anna", restart.RoleDeveloper))

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	progress, stdout := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		args := []string{"restart", "shop", "--yes", "--reason", "workers hang since noon"}
		code <- cli.Main(ctx, args, strings.NewReader(""), stdout, &stderr)
		stdout.Close()
	}()
	lines := bufio.NewScanner(progress)
	for lines.Scan() && !strings.Contains(lines.Text(), "web1: running") { // until the host is in hand
	}
	interrupt()
	for lines.Scan() { // to the end
	}
	if got := <-code; got != cli.ExitInterrupted {
		t.Errorf("exit code %d: %s", got, stderr.String())
	}
	runs, _, err := s.Store.Runs(t.Context(), store.RunFilter{})
	if err != nil || len(runs) != 1 || runs[0].State != restart.RunRunning {
		t.Fatalf("%+v %v", runs, err)
	}
	if want := "detached: the run goes on; come back with: restartilka watch " + runs[0].ID; !strings.Contains(stderr.String(), want) {
		t.Errorf("stderr: %s", stderr.String())
	}

	s.Agents.Set("web1", apitest.Succeeds)
	var out bytes.Buffer
	if got := cli.Main(t.Context(), []string{"watch", runs[0].ID}, strings.NewReader(""), &out, &stderr); got != cli.ExitDone || !strings.Contains(out.String(), "completed, 3 succeeded") {
		t.Errorf("back again: %d %s", got, out.String())
	}
}

// TestCtrlCAtTheEnd: who leaves as the run ends is told how it has come off, and
// not that it goes on.
func TestCtrlCAtTheEnd(t *testing.T) {
	const id = "01m81mtqf0qv5v0v89h9ffrra9"
	for state, want := range map[restart.RunState]struct {
		code int
		says string
	}{
		restart.RunCompleted: {cli.ExitDone, "completed"},
		restart.RunFailed:    {cli.ExitFailed, "failed"},
		restart.RunPaused:    {cli.ExitPerson, "paused"},
		restart.RunRunning:   {cli.ExitInterrupted, "detached: the run goes on"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			run := restart.Run{ID: id, Service: "shop", Version: 2, State: state, Tasks: []restart.Task{}}
			if strings.HasSuffix(r.URL.Path, "/events") { // the news come too late
				w.Header().Set("Content-Type", "text/event-stream")
				run.Version, run.State = 1, restart.RunRunning
				b, _ := json.Marshal(run)
				fmt.Fprintf(w, "event: run\ndata: %s\n\n", b)
				http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			json.NewEncoder(w).Encode(run)
		}))
		c, err := client.New(client.Config{URL: s.URL, Token: "rtk_00000000000000000000000000000000"})
		if err != nil {
			t.Fatal(err)
		}
		var out, talk bytes.Buffer
		leaving := writerFunc(func(b []byte) (int, error) {
			defer interrupt()
			return out.Write(b)
		})
		code, err := cli.Watch(ctx, c, id, cli.WatchOptions{Out: leaving, Talk: &talk})
		s.Close()
		if said := out.String() + talk.String(); err != nil || code != want.code || !strings.Contains(said, want.says) || strings.Contains(said, "goes on") != (state == restart.RunRunning) {
			t.Errorf("%s: exit code %d, %v: %s", state, code, err, said)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
