package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// room is a receiver of webhooks that takes nothing until it is opened.
type room struct {
	t      *testing.T
	server *httptest.Server
	secret string

	mu    sync.Mutex
	open  bool
	tries int
	taken []wire.Notification
}

func newRoom(t *testing.T) *room {
	r := &room{t: t, secret: "a secret of more than sixteen bytes"}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

// settings are the lines of server.yaml that name it.
func (r *room) settings() string {
	file := filepath.Join(r.t.TempDir(), "secret")
	must(r.t, os.WriteFile(file, []byte(r.secret), 0o600))
	return fmt.Sprintf("notify:\n  webhooks:\n    - {url: %s/hook, secret_file: %s, events: [break-glass]}\n", r.server.URL, file)
}

func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	signed := "sha256=" + wire.Sign([]byte(r.secret), req.Header.Get(wire.HeaderTimestamp), body)
	var n wire.Notification
	if err != nil || req.Header.Get(wire.HeaderSignature) != signed || json.Unmarshal(body, &n) != nil || n.ID != req.Header.Get(wire.HeaderID) {
		r.t.Errorf("a message that is not the server's: %v %v %s", err, req.Header, body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	if !r.open {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.taken = append(r.taken, n)
}

func (r *room) tried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

func (r *room) got() []wire.Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = true
	return append([]wire.Notification{}, r.taken...)
}

// A freeze that begins in mid-run lets the host in hand finish and touches no
// other; past it there is break-glass, for those with the right, and others are
// told of it although the server was killed meanwhile.
func TestAFreezeBeginsInMidRun(t *testing.T) {
	t.Parallel()
	told := newRoom(t)
	c := company.New(t, company.Options{Work: 700 * time.Millisecond, Server: told.settings()})
	run := c.Start(reason)
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
	freeze, err := c.Admin.AddFreeze(t.Context(), wire.FreezeRequest{
		Environments: []string{run.Environment}, To: time.Now().Add(time.Hour).UTC().Format(time.RFC3339), Reason: "the big sale is on",
	})
	must(t, err)
	run = c.Until(run.ID, restart.RunPaused)
	if s := states(run); run.Cause != restart.CauseFreeze || s != "succeeded planned planned" || !strings.Contains(run.Explanation, "the big sale is on") {
		t.Errorf("paused (%s) %s: %s", run.Cause, run.Explanation, s)
	}
	if n := len(c.WitnessLines()); n != 2 {
		t.Errorf("the witness saw %d lines, want 2: %v", n, c.WitnessLines())
	}
	refused := func(says string, args ...string) {
		t.Helper()
		if out, talk, code := c.CLI(args...); code != 3 || !strings.Contains(talk, says) {
			t.Errorf("%v: exit %d, want 3 with %q\n%s\n%s", args, code, says, out, talk)
		}
	}
	again := []string{"restart", demo.ServiceName, "--reason", reason, "--yes", "--detach"}
	refused("the big sale is on", "resume", run.ID)
	refused(freeze.ID, again...)
	refused("break-glass", append(again, "--break-glass")...)
	refused("ask an admin", "freeze", "remove", freeze.ID, "--reason", "I want to restart it now")
	if n := len(c.WitnessLines()); n != 2 {
		t.Errorf("a refused run was executed: %v", c.WitnessLines())
	}
	if _, talk, code := c.CLI("abort", run.ID); code != 0 { // half-way, it holds the service
		t.Fatalf("abort: exit %d %s", code, talk)
	}
	c.Until(run.ID, restart.RunAborted)

	right, err := c.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "on call", Owner: demo.Developer, Roles: []restart.Role{restart.RoleDeveloper, restart.RoleBreakGlass}})
	must(t, err)
	plain := c.Dev
	c.DevToken, c.Dev = right.Secret, c.Client(right.Secret)
	out, talk, code := c.CLI(append(again, "--break-glass")...)
	if code != 0 {
		t.Fatalf("break-glass: exit %d\n%s\n%s", code, out, talk)
	}
	broken := strings.TrimSpace(out)
	c.Eventually("a first try to tell", func() bool { return told.tried() >= 1 })
	c.KillServer()
	c.StartServer()
	c.Eventually("the message", func() bool { return len(told.got()) >= 1 })
	if n := told.got()[0]; n.Run != broken || n.Actor != demo.Developer || n.Service != demo.ServiceName || !strings.Contains(n.Waived, "the big sale is on") || n.HostCount != 3 || !strings.HasSuffix(n.URL, "/runs/"+broken) {
		t.Errorf("told: %+v", n)
	}
	// The server was killed in mid-run: to go on in spite of the freeze is for
	// those with the right, too.
	c.Until(broken, restart.RunPaused, restart.RunCompleted)
	if run, err = c.Dev.Run(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	if run.State == restart.RunPaused {
		if _, err := plain.Resume(t.Context(), broken); restart.CodeOf(err) != restart.CodeForbidden {
			t.Errorf("resumed without the right: %v", err)
		}
	}
	run = settle(t, c, broken)
	account(t, c, run)
	if run.State != restart.RunCompleted || !run.BreakGlass {
		t.Errorf("run is %s, its glass broken: %v", run.State, run.BreakGlass)
	}

	if out, talk, code := c.CLI("break-glass"); code != 0 || !strings.Contains(out, broken) || !strings.Contains(out, "completed, 3 succeeded") {
		t.Errorf("break-glass: exit %d\n%s\n%s", code, out, talk)
	}
	refused("auditor", "break-glass", "review", broken, "--note", "it was needed, and it has helped")
	_, err = c.Admin.ReviewGlass(t.Context(), broken, "it was needed, and it has helped")
	must(t, err)
	if out, talk, code := c.CLI("break-glass"); code != 0 || strings.Contains(out, broken) || !strings.Contains(talk, "nothing waits for review") {
		t.Errorf("after the review: exit %d\n%s\n%s", code, out, talk)
	}
	c.StopServer()
	if out, talk, code := c.CLI("audit", "verify", c.AuditFile()); code != 0 {
		t.Errorf("audit verify: exit %d\n%s\n%s", code, out, talk)
	}
	b, err := os.ReadFile(c.AuditFile())
	must(t, err)
	for action, n := range map[string]int{"freeze.added": 1, "run.break_glass": 1, "run.requested": 2} {
		if got := strings.Count(string(b), `"action":"`+action+`"`); got != n {
			t.Errorf("%d records of %s, want %d", got, action, n)
		}
	}
	for _, n := range told.got()[1:] { // perhaps once more: always the same
		if n.ID != told.got()[0].ID {
			t.Errorf("another message: %+v", n)
		}
	}
}
