package evidence_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/restartilka/restartilka/internal/evidence"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/restart"
	"go.uber.org/goleak"
)

// The test binary is also the process that is looked at: with this variable
// set it listens, holds a file open, says so, and lives until its standard
// input is closed.
const victimVariable = "EVIDENCE_TEST_SECRET"

func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.38:0")
	if err != nil {
		os.Exit(1)
	}
	defer listener.Close()
	os.Stdout.WriteString("ready\n")
	io.Copy(io.Discard, os.Stdin)
}

// victim starts such a process with these arguments and observes it.
func victim(t *testing.T, args ...string) *health.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = []string{victimVariable + "=hunter2", "GORACE=atexit_sleep_ms=0"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := health.Observe(t.Context(), restart.ProcessRef{PIDFile: pidFile})
	if err != nil || !p.Exists() {
		t.Fatalf("%+v, %v", p, err)
	}
	return &p
}

// journalctl is played by a script that prints what the real one does.
func journalctl(t *testing.T, script string) evidence.System {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journalctl")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return evidence.System{Journalctl: path}
}

func TestProcess(t *testing.T) {
	process := victim(t, "--config", "a b\x1b[31m\n", "last")
	items := evidence.Take(t.Context(), []restart.Evidence{{Kind: "process"}}, evidence.Target{Process: process})
	if len(items) != 1 || items[0].Error != "" || items[0].Truncated != 0 || items[0].Kind != "process" {
		t.Fatalf("%+v", items)
	}
	text := items[0].Text
	for _, want := range []string{
		"== status\nName:", "Pid:    " + strconv.Itoa(process.PID) + "\n", "== limits\nLimit ", "Max open files", "== cgroup\n", "== threads\n", " threads: ",
		"== descriptors and sockets\n", " descriptors: ", " pipe", "1 sockets: 1 tcp LISTEN", "== statm\n", "== command line\n",
		"\n--config\na b\\x1b[31m\\n\nlast\n", "== smaps_rollup\n", "Pss:",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for _, never := range []string{"hunter2", victimVariable, "\x1b", "environ"} {
		if strings.Contains(text, never) {
			t.Errorf("%q in:\n%s", never, text)
		}
	}
}

// What looks like a secret does not leave the host, in a journal as in a dump.
func TestSecrets(t *testing.T) {
	process := victim(t, "-Ddb.password=swordfish", "--api-token", "swordfish", "https://bob:swordfish@db/")
	system := journalctl(t, "echo '2026-11-23T05:00:00+0000 web1 shop[7]: login with password=swordfish, Authorization: Bearer swordfish'")
	items := system.Take(t.Context(), []restart.Evidence{{Kind: "process"}, {Kind: "journal"}}, evidence.Target{Process: process, Unit: "shop.service"})
	for i, want := range []string{"\n-Ddb.password=***\n--api-token\n***\nhttps://bob:***@db/\n", "web1 shop[7]: login with password=***"} {
		if !strings.Contains(items[i].Text, want) || strings.Contains(items[i].Text, "swordfish") || items[i].Error != "" {
			t.Errorf("%s: %s\n%s", items[i].Kind, items[i].Error, items[i].Text)
		}
	}
}

func TestNoProcess(t *testing.T) {
	other := *victim(t)
	other.StartTime++ // the number was given to another process since
	for name, target := range map[string]evidence.Target{
		"none":    {},
		"a unit":  {Process: &health.Process{InvocationID: "0123456789abcdef0123456789abcdef"}},
		"ended":   {Process: &health.Process{PID: 1 << 22, StartTime: 1}},
		"another": {Process: &other},
	} {
		items := evidence.Take(t.Context(), []restart.Evidence{{Kind: "process"}, {Kind: "journal"}, {Kind: "core\n"}}, target)
		for i, want := range []string{"process", "has no unit", `of the kind "core\n"`} {
			if items[i].Text != "" || !strings.Contains(items[i].Error, want) {
				t.Errorf("%s: %+v", name, items[i])
			}
		}
	}
}

func TestJournal(t *testing.T) {
	long := strings.Repeat("0123456789", 9) + "012345678" // 100 bytes with its end of line
	for name, c := range map[string]struct {
		script    string
		lines     int
		wantText  string
		truncated int64
		wantError string
	}{
		"lines":      {`[ "$*" = "-u nginx.service -n 50 --no-pager -o short-iso" ] && printf 'one\ntwo \033[31mred\n'`, 50, "one\ntwo \\x1b[31mred\n", 0, ""},
		"default":    {`[ "$4" = 200 ] && echo ok`, 0, "ok\n", 0, ""},
		"at most":    {`[ "$4" = 10000 ] && echo ok`, math.MaxInt, "ok\n", 0, ""},
		"no right":   {`echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1`, 0, "", 0, `"No journal files were opened due to insufficient permissions.": exit status 1`},
		"much":       {`yes ` + long + ` | head -n 100000; echo last`, 0, "last\n", 100*100000 + 5 - (evidence.MaxText/100*100 + 5), ""},
		"much bytes": {`head -c 1000000 /dev/zero | tr '\0' a`, 0, "aaaa", 1000000 + 1 - evidence.MaxText, ""},
	} {
		t.Run(name, func(t *testing.T) {
			items := journalctl(t, c.script).Take(t.Context(), []restart.Evidence{{Kind: "journal", Lines: c.lines}}, evidence.Target{Unit: "nginx.service"})
			item := items[0]
			if !strings.Contains(item.Text, c.wantText) || len(item.Text) > evidence.MaxText || (c.wantText == "") != (item.Text == "") {
				t.Errorf("%d bytes: %.200q, want %q", len(item.Text), item.Text, c.wantText)
			}
			if item.Truncated != c.truncated || !strings.Contains(item.Error, c.wantError) || (c.wantError == "") != (item.Error == "") {
				t.Errorf("truncated %d, error %q; want %d, %q", item.Truncated, item.Error, c.truncated, c.wantError)
			}
		})
	}
	items := evidence.System{Journalctl: "/nonexistent/journalctl"}.Take(t.Context(), []restart.Evidence{{Kind: "journal"}}, evidence.Target{Unit: "nginx.service"})
	if items[0].Error != "this host has no journal: there is no /nonexistent/journalctl" {
		t.Errorf("without a journal: %+v", items[0])
	}
	items = evidence.Take(t.Context(), []restart.Evidence{{Kind: "journal"}}, evidence.Target{Unit: "--vacuum-size=1"})
	if !strings.Contains(items[0].Error, "not a valid name") {
		t.Errorf("an option as a unit: %+v", items[0])
	}
}

// An item that hangs takes nothing from the others, and ends with the context.
func TestHangingJournal(t *testing.T) {
	dir := t.TempDir()
	called, never := filepath.Join(dir, "called"), filepath.Join(dir, "never")
	if err := errors.Join(syscall.Mkfifo(called, 0o600), syscall.Mkfifo(never, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		os.ReadFile(called) // until the script has printed and goes on to hang
		cancel()
	}()
	items := journalctl(t, "echo first; echo > "+called+"; exec cat "+never).
		Take(ctx, []restart.Evidence{{Kind: "journal"}}, evidence.Target{Unit: "nginx.service"})
	<-done
	if items[0].Text != "first\n" || items[0].Error != "the journal was not read in time" {
		t.Errorf("%+v", items[0])
	}
	items = evidence.Take(ctx, []restart.Evidence{{Kind: "process"}}, evidence.Target{Process: victim(t)})
	if !strings.Contains(items[0].Error, "was not read in time") {
		t.Errorf("a process, when the time is over: %+v", items[0])
	}
}
