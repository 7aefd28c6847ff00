package downtime

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/fleet"
)

// wrk has no rate of its own: its four connections wait 40 ms before each
// request, which makes at most a hundred a second. At its end it says what became
// of them, in words of wrk's own.
const wrkScript = `
function delay() return 40 end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {"requests": %d, "errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
    summary.requests, e.connect, e.read, e.write, e.status, e.timeout))
end
`

// seconds is how wrk writes a duration.
func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }

type wrk struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func startWrk(t *testing.T, f *fleet.Fleet, url string) *wrk {
	t.Helper()
	script := filepath.Join(t.TempDir(), "wrk.lua")
	if err := os.WriteFile(script, []byte(wrkScript), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &wrk{cmd: f.Command(t.Context(), "wrk", "--threads", "1", "--connections", "4", "--timeout", seconds(patience), "--duration", seconds(limit), "--script", script, url)}
	w.cmd.Stdout, w.cmd.Stderr, w.cmd.WaitDelay = &w.out, &w.out, time.Second
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return w
}

// stop ends wrk and gives its requests, and its errors by kind.
func (w *wrk) stop(t *testing.T) (requests int, errors map[string]int) {
	t.Helper()
	if err := w.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Fatalf("wrk: %v\n%s", err, w.out.String())
	}
	var result struct {
		Requests int
		Errors   map[string]int
	}
	_, line, _ := strings.Cut(w.out.String(), "RESULT ")
	if err := json.Unmarshal([]byte(line), &result); err != nil || len(result.Errors) != 5 {
		t.Fatalf("wrk wrote: %v\n%s", err, w.out.String())
	}
	// Who reads wrk's own text has to come to the same.
	for word, n := range map[string]int{"Socket errors": result.Errors["connect"] + result.Errors["read"] + result.Errors["write"] + result.Errors["timeout"], "Non-2xx": result.Errors["status"]} {
		if strings.Contains(w.out.String(), word) != (n > 0) {
			t.Errorf("%d by the script, and wrk wrote:\n%s", n, w.out.String())
		}
	}
	return result.Requests, result.Errors
}
