package health_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func observe(t *testing.T, ref restart.ProcessRef) health.Process {
	t.Helper()
	p, err := health.Observe(t.Context(), ref)
	if err != nil {
		t.Fatalf("%+v: %v", ref, err)
	}
	if p.BootID == "" {
		t.Errorf("%+v: no boot id", ref)
	}
	return p
}

// A real service is seen by its pid file and by its port, is missed once it is
// dead, even as a zombie, and is another one after a restart.
func TestRestartOfARealProcess(t *testing.T) {
	address, pidFile := freeAddress(t), filepath.Join(t.TempDir(), "service.pid")
	refs := []restart.ProcessRef{{PIDFile: pidFile}, {Port: address}, {Port: address[strings.LastIndex(address, ":")+1:]}}
	first := start(t, "serve", address, pidFile)
	var baselines []health.Process
	for _, ref := range refs {
		p := observe(t, ref)
		if p.PID != first.pid() || p.StartTime == 0 {
			t.Errorf("%+v: %+v, want pid %d", ref, p, first.pid())
		}
		if again := observe(t, ref); !again.SameAs(p) || again.NewSince(p) {
			t.Errorf("%+v: %+v became %+v by itself", ref, p, again)
		}
		baselines = append(baselines, p)
	}
	if ok, err := (health.System{}).Runs(baselines[0]); err != nil || !ok {
		t.Errorf("runs: %v, %v", ok, err)
	}

	first.kill(t)
	// until it is waited for it stays in /proc; the kernel needs a moment to end it
	if err := health.Wait(t.Context(), restart.Health{Command: &restart.CommandProbe{Script: "gone"}, Interval: restart.Duration(time.Millisecond)}, nil,
		func(context.Context, string) (int, string, error) {
			if observe(t, refs[0]).Exists() {
				return 1, "", nil
			}
			return 0, "", nil
		}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(first.pid())); err != nil {
		t.Fatalf("no zombie: %v", err)
	}
	for _, ref := range refs {
		if p := observe(t, ref); p.Exists() {
			t.Errorf("%+v: %+v, but it is dead", ref, p)
		}
	}
	if ok, err := (health.System{}).Runs(baselines[0]); err != nil || ok {
		t.Errorf("runs, though dead: %v, %v", ok, err)
	}
	first.stop()

	second := start(t, "serve", address, pidFile)
	for i, ref := range refs {
		p := observe(t, ref)
		if p.PID != second.pid() || !p.NewSince(baselines[i]) || p.SameAs(baselines[i]) {
			t.Errorf("%+v: %+v after %+v, want pid %d", ref, p, baselines[i], second.pid())
		}
	}

	sample := func(baseline *health.Process, path string) protocol.HealthSample {
		h := restart.Health{NewProcess: &restart.ProcessRef{PIDFile: pidFile}, TCP: &restart.TCPProbe{Address: address},
			HTTP: &restart.HTTPProbe{URL: "http://" + address + path}}
		return health.New(health.Config{Health: h, Baseline: baseline}).Sample(t.Context())
	}
	now := observe(t, refs[0])
	if s := sample(&baselines[0], "/"); !s.Healthy || !strings.Contains(s.Detail, "is new; "+address+" takes connections; http://"+address+"/ answered 200") {
		t.Errorf("after the restart: %+v", s)
	}
	if s := sample(&now, "/"); s.Healthy || !strings.Contains(s.Detail, "still the one from before the restart") {
		t.Errorf("without a restart: %+v", s)
	}
	if s := sample(nil, "/"); !s.Healthy || strings.Contains(s.Detail, "new") || !strings.Contains(s.Detail, now.String()+" runs") {
		t.Errorf("a probe alone: %+v", s)
	}
	if s := sample(&baselines[0], "/broken"); s.Healthy || !strings.HasSuffix(s.Detail, "/broken answered 502, not 200") {
		t.Errorf("broken: %+v", s)
	}
}

func TestWorkersShareThePort(t *testing.T) {
	address := freeAddress(t)
	nginx := start(t, "parent", address)
	if p := observe(t, restart.ProcessRef{Port: address}); p.PID != nginx.pid() {
		t.Errorf("%+v, want the parent %d", p, nginx.pid())
	}
}

func TestObserveWithoutAProcess(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, ref := range []restart.ProcessRef{
		{PIDFile: filepath.Join(dir, "none")}, {PIDFile: write("empty", "")}, {PIDFile: write("text", "root:secret")}, {PIDFile: write("zero", "0\n")},
		{PIDFile: write("negative", "-1")}, {PIDFile: write("huge", "4194305")}, {Port: freeAddress(t)},
	} {
		if p := observe(t, ref); p.Exists() {
			t.Errorf("%+v: %+v", ref, p)
		}
		s := health.New(health.Config{Health: restart.Health{NewProcess: &ref}}).Sample(t.Context())
		if s.Healthy || s.Detail == "" || strings.Contains(s.Detail, "secret") {
			t.Errorf("%+v: %+v", ref, s)
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []restart.ProcessRef{{PIDFile: fifo}, {PIDFile: dir}} {
		if p, err := health.Observe(t.Context(), ref); restart.CodeOf(err) != restart.CodeUnavailable {
			t.Errorf("%+v: %+v, %v", ref, p, err)
		}
	}
	for _, ref := range []restart.ProcessRef{
		{}, {Unit: "a.service", Port: "80"}, {Unit: "-a.service"}, {Unit: "a"}, {PIDFile: "run/a.pid"}, {PIDFile: "/run/../etc/a"}, {PIDFile: "/run/a\n"}, {Port: "http"},
	} {
		if p, err := health.Observe(t.Context(), ref); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%+v: %+v, %v", ref, p, err)
		}
	}
}

// systemctl is played by a script that prints what the real one does.
func TestUnit(t *testing.T) {
	const before, after = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	service := start(t, "serve", freeAddress(t), "")
	pid := strconv.Itoa(service.pid())
	answer := func(script string) health.System {
		path := filepath.Join(t.TempDir(), "systemctl")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
		return health.System{Systemctl: path}
	}
	says := func(active, sub, invocation, pid string) health.System {
		return answer(`[ "$*" = "show --property=LoadState,ActiveState,SubState,InvocationID,MainPID -- nginx.service" ] || { echo "called as $*" >&2; exit 9; }
[ "$PATH" = /usr/sbin:/usr/bin:/sbin:/bin ] || exit 8
echo LoadState=loaded; echo ActiveState=` + active + `; echo SubState=` + sub + `; echo InvocationID=` + invocation + `; echo MainPID=` + pid + "\n")
	}
	ref := restart.ProcessRef{Unit: "nginx.service"}
	look := func(system health.System, baseline *health.Process) protocol.HealthSample {
		return health.New(health.Config{Health: restart.Health{NewProcess: &ref}, Baseline: baseline, System: system}).Sample(t.Context())
	}
	baseline, err := says("active", "running", before, pid).Observe(t.Context(), ref)
	if err != nil || baseline.PID != service.pid() || baseline.StartTime == 0 || baseline.InvocationID != before {
		t.Fatalf("%+v, %v", baseline, err)
	}
	if starting, err := says("activating", "start", before, pid).Observe(t.Context(), ref); err != nil || starting.Exists() || starting.PID != service.pid() || baseline.NewSince(starting) {
		t.Errorf("a start that went on became a new process after %+v, %v", starting, err)
	}
	for name, c := range map[string]struct {
		system  health.System
		healthy bool
		detail  string
	}{
		"restarted":            {says("active", "running", after, pid), true, "process " + pid + " is new"},
		"not restarted":        {says("active", "running", before, pid), false, "still the one from before"},
		"reloading":            {says("reloading", "reload", after, pid), true, "is new"},
		"without a process":    {says("active", "exited", after, "0"), true, "invocation " + after + " is new"},
		"starting":             {says("activating", "start-pre", after, pid), false, "unit nginx.service is activating (start-pre)"},
		"waits for a restart":  {says("activating", "auto-restart", after, "0"), false, "activating (auto-restart)"},
		"failed":               {says("failed", "failed", after, "0"), false, "unit nginx.service is failed (failed)"},
		"main process is gone": {says("active", "running", after, "4194305"), false, "has just ended"},
		"unknown unit":         {answer("echo LoadState=not-found; echo ActiveState=inactive; echo SubState=dead; echo MainPID=0"), false, "there is no unit nginx.service"},
		"no systemd":           {answer("echo 'System has not been booted with systemd' >&2; exit 1"), false, `systemd does not answer about nginx.service: "System has not been booted with systemd": exit status 1`},
		"nonsense":             {answer("echo hello"), false, "can't be read: it names no state"},
		"endless answer":       {answer("echo ActiveState=active; echo SubState=running; echo InvocationID=" + after + "; echo MainPID=" + pid + "; exec head -c 10000000 /dev/zero"), true, "is new"},
		"not there":            {health.System{Systemctl: "/nonexistent/systemctl"}, false, "systemd does not answer about nginx.service: this host has no /nonexistent/systemctl"},
	} {
		t.Run(name, func(t *testing.T) {
			if s := look(c.system, &baseline); s.Healthy != c.healthy || !strings.Contains(s.Detail, c.detail) || restart.Escape(s.Detail) != s.Detail {
				t.Errorf("%+v, want %v with %q", s, c.healthy, c.detail)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		dir := t.TempDir()
		called, never := filepath.Join(dir, "called"), filepath.Join(dir, "never")
		if err := errors.Join(syscall.Mkfifo(called, 0o600), syscall.Mkfifo(never, 0o600)); err != nil {
			t.Fatal(err)
		}
		system := answer("echo > " + called + "; exec cat " + never)
		done := make(chan struct{})
		go func() {
			defer close(done)
			os.ReadFile(called) // until the script has been called
			cancel()
		}()
		defer func() { <-done }()
		if p, err := system.Observe(ctx, ref); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v, %v", p, err)
		}
	})
}
