package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/cli"
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
