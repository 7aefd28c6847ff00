package capture_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestRun(t *testing.T) {
	t.Parallel()
	j := jvm17(t)
	var got []capture.Captured
	job := capture.Job{
		Target: j.target(), Host: "web1.example.com", Service: "shop", Redact: []string{`worker-1\d\d`},
		Request: capture.Request{Count: 3, Interval: 20 * time.Millisecond},
	}
	if err := capture.Run(t.Context(), job, func(c capture.Captured) error { got = append(got, c); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("%d dumps", len(got))
	}
	for i, c := range got {
		h := c.Header
		if h.Host != "web1.example.com" || h.Service != "shop" || h.Number != i+1 || h.Of != 3 || h.Runtime != dump.JVM || h.Method != "attach" {
			t.Errorf("%+v", h)
		}
		if i > 0 && h.Taken.Sub(got[i-1].Header.Taken) < 15*time.Millisecond {
			t.Errorf("dump %d came %s after the one before", i+1, h.Taken.Sub(got[i-1].Header.Taken))
		}
		wants(t, c, "Full thread dump", `"worker-99" #`, `"***" #`)
		for _, secret := range []string{"worker-100", "hunter2", "s3cr3t", "hunter3"} {
			if text, _ := c.Text(); strings.Contains(string(text), secret) {
				t.Errorf("%s has left the child", secret)
			}
		}
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	never := func(capture.Captured) error { t.Error("a dump"); return nil }
	for _, c := range []struct {
		job   capture.Job
		code  restart.Code
		words string
	}{
		{capture.Job{}, restart.CodeInvalid, "exactly one of"},
		{capture.Job{Target: capture.Target{PID: 1 << 22}}, restart.CodeNotFound, "there is no process"},
		{capture.Job{Process: capture.Ref{PIDFile: "/nonexistent"}}, restart.CodeNotFound, "there is no pid file"},
		{capture.Job{Target: capture.Target{PID: 1}, Redact: []string{"("}}, restart.CodeInvalid, "not a regular expression"},
		{capture.Job{Target: capture.Target{PID: 1}, Request: capture.Request{Count: 99}}, restart.CodeInvalid, "1 to 20"},
	} {
		refused(t, capture.Run(t.Context(), c.job, never), c.code, c.words)
	}
}

// The child ends with its caller's context, and takes nothing with it.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	j := jvm17(t)
	ctx, cancel := context.WithCancel(t.Context())
	begun := time.Now()
	var child *exec.Cmd
	runner := capture.Runner{Prepare: func(cmd *exec.Cmd) { child = cmd }}
	err := runner.Run(ctx, capture.Job{Target: j.target(), Request: capture.Request{Count: 20, Interval: time.Minute}}, func(capture.Captured) error {
		cancel()
		return nil
	})
	refused(t, err, restart.CodeUnavailable, "not taken in time")
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it came back after %s", took)
	}
	if err := unix.Kill(child.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the child %d lives on: %v", child.Process.Pid, err)
	}
	enough := errors.New("enough")
	err = capture.Run(t.Context(), capture.Job{Target: j.target(), Request: capture.Request{Count: 20, Interval: time.Minute}}, func(capture.Captured) error { return enough })
	if !errors.Is(err, enough) {
		t.Error(err)
	}
}
