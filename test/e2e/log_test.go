package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/audit/audittest"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
)

// serverName is the source of a company's own server.
const serverName = "demo"

// R6: every request, start, outcome and refusal is at the remote log server, in
// order, and stored by our own receiver, although both were killed and away for a
// while, and the server too.
func TestEverythingReachesTheRemoteLog(t *testing.T) {
	t.Parallel()
	log := audittest.NewRsyslog(t, "RSYSLOG_FileFormat", "")
	log.Start()
	receiver := audittest.NewReceiver(t, []string{company.Build(t).Server, "audit", "receive"}, "", serverName)
	receiver.Start()
	cert, key := receiver.Certificate(serverName)
	c := company.New(t, company.Options{Audit: fmt.Sprintf("    - {kind: syslog, address: %q, ca: %s, server_name: %s}\n", log.Address, log.CAFile(), audittest.ServerName) +
		fmt.Sprintf("    - {kind: receiver, address: %q, ca: %s, server_name: %s, certificate: %s, key: %s}\n", receiver.Address, receiver.CAFile(), audittest.ServerName, cert, key)})
	c.Until(c.Start("while the log server listens").ID, restart.RunCompleted)
	log.Stop(unix.SIGKILL)
	receiver.Kill()
	c.Until(c.Start("while the log server is away").ID, restart.RunCompleted)
	if _, _, code := c.CLI("restart", "hello", "--reason", "..........", "--yes"); code != 3 {
		t.Errorf("a bad reason gives exit %d", code)
	}
	c.KillServer()
	c.StartServer()
	log.Start()
	receiver.Start()
	c.Until(c.Start("after the log server is back").ID, restart.RunCompleted)
	c.StopServer()

	local, err := os.ReadFile(c.AuditFile())
	must(t, err)
	want := bytes.Count(local, []byte("\n"))
	c.StartServer() // ships what the last stop may have left
	var report audit.Report
	c.Eventually("the log server to have everything", func() bool {
		out, _, code := c.CLI("audit", "verify", log.StoredFile(), "--json")
		return code == 0 && json.Unmarshal([]byte(out), &report) == nil && report.Sources[0].Stored >= int64(want)
	})
	if s := report.Sources[0]; s.Missing != 0 || s.Changed != 0 || s.Reordered != 0 {
		t.Errorf("%+v", s)
	}
	c.Eventually("the receiver to have everything, once", func() bool {
		out, _, code := c.CLI("audit", "verify", receiver.Folder(), "--json")
		return code == 0 && json.Unmarshal([]byte(out), &report) == nil && report.Sources[0].Stored >= int64(want)
	})
	if s := report.Sources[0]; s.Missing != 0 || s.Duplicates != 0 || s.Source != serverName {
		t.Errorf("%+v", s)
	}
	stored := log.Stored()
	for what, n := range map[string]int{
		`"action":"run.requested"`: 3, `"action":"task.intent"`: 9, `"action":"task.outcome"`: 9, `"outcome":"reason_refused"`: 1, `"action":"run.ended"`: 3,
	} {
		if got := distinct(stored, what); got != n {
			t.Errorf("%d different records with %s, want %d", got, what, n)
		}
	}
}

// distinct counts the different records that hold a text: what was sent again
// after a broken connection counts once.
func distinct(stored []byte, text string) int {
	seen := map[string]bool{}
	for line := range bytes.Lines(stored) {
		if i := bytes.IndexByte(line, '{'); i >= 0 && bytes.Contains(line, []byte(text)) {
			seen[string(line[i:])] = true
		}
	}
	return len(seen)
}
