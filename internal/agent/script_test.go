package agent_test

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// do runs one task to its end.
func (r *running) do(digest string) protocol.TaskStatus {
	r.t.Helper()
	e := r.envelope(digest)
	r.submit(e)
	return r.until(e.Task, done)
}

func TestAScriptSeesExactlyWhatItShould(t *testing.T) {
	b := newBed(t)
	b.t.Setenv("SECRET_OF_THE_AGENT", "x")
	digest := b.scenario(`params: {mode: {type: string, default: "slow"}}
steps:
  run:
    script: |
      echo "cwd $(pwd)"
      echo "umask $(umask)"
      echo "zero $0"
      echo "flags $-"
      echo "stdin $(readlink /proc/$$/fd/0)"
      echo "fds" $(ls /proc/self/fd)
      if [ /proc/$$/fd/1 -ef /proc/$$/fd/2 ]; then echo same; fi
      echo "args $#"
      tr '\0' '\n' </proc/$$/environ
      if echo changed 2>/dev/null >>/proc/self/fd/3; then echo "the script can be changed"; fi
`)
	r := b.start()
	e := b.envelope(digest)
	r.submit(e)
	s := r.until(e.Task, done)
	out := text(r.output(e.Task))
	if s.Outcome != protocol.OutcomeSucceeded {
		t.Fatalf("%+v\n%s", s, out)
	}
	me, err := user.Current()
	b.must(err)
	// The fourth is that of ls on the folder it lists.
	for _, want := range []string{"cwd /\n", "fds 0 1 2 3 4\n", "umask 0077\n", "zero /proc/self/fd/3\n", "stdin /dev/null\n", "same\n", "args 0\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "can be changed") {
		t.Error("the script can change itself")
	}
	var env []string
	for line := range strings.Lines(out) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			env = append(env, name)
		}
	}
	slices.Sort(env)
	want := []string{"HOME", "LANG", "LOGNAME", "PARAM_MODE", "PATH", "RESTARTILKA_ENVIRONMENT", "RESTARTILKA_GROUP", "RESTARTILKA_HOST",
		"RESTARTILKA_PROJECT", "RESTARTILKA_RUN", "RESTARTILKA_SERVICE", "RESTARTILKA_TASK", "SHELL", "USER"}
	if !slices.Equal(env, want) {
		t.Errorf("environment %v\nwant %v", env, want)
	}
	if !strings.Contains(out, "USER="+me.Username+"\n") || !strings.Contains(out, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n") {
		t.Errorf("environment:\n%s", out)
	}
}

func TestExitStatusAndErrors(t *testing.T) {
	b := newBed(t)
	r := b.start()
	for script, want := range map[string]int{"exit 7": 7, "kill -9 $$": 128 + 9, "false; echo not reached": 1, "echo $undefined": 2} {
		s := r.do(b.script(script))
		if s.Outcome != protocol.OutcomeFailed || s.FailedPhase != protocol.PhaseRun || s.ExitCode == nil || *s.ExitCode != want {
			t.Errorf("%q: %+v", script, s)
		}
	}
}

func TestAHostThatFailedStaysDrained(t *testing.T) {
	t.Parallel()
	const drain = "steps:\n  drain: {script: \"echo drain\"}\n  run: {script: \"exit 3\"}\n"
	b := newBed(t)
	r := b.start()

	s := r.do(b.scenario(drain + "  undrain: {script: \"echo undrain\"}\n"))
	if s.Outcome != protocol.OutcomeFailed || !s.Drained {
		t.Errorf("healthy: %+v", s)
	}
	s = r.do(b.scenario(drain + "  undrain: {script: \"echo undrain\", when: always}\n"))
	if s.Outcome != protocol.OutcomeFailed || s.Drained || s.FailedPhase != protocol.PhaseRun {
		t.Errorf("always: %+v", s)
	}
	s = r.do(b.scenario("steps:\n  drain: {script: \"true\"}\n  run: {script: \"true\"}\n  undrain: {script: \"true\"}\n" +
		"health:\n  command: {script: \"exit 1\"}\n  deadline: 1s\n  interval: 100ms\n"))
	if s.Outcome != protocol.OutcomeFailed || s.FailedPhase != protocol.PhaseHealth || !s.Drained || len(s.Health) == 0 {
		t.Errorf("unhealthy: %+v", s)
	}
}

// The undrain step alone: nothing else of the scenario is done.
func TestUndrainAlone(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	r := b.start()
	const before = "evidence:\n  - process\nsteps:\n  drain: {script: \"echo drain\"}\n  run: {script: \"echo run\"}\n"
	const unhealthy = "health:\n  command: {script: \"exit 1\"}\n  deadline: 1s\n  interval: 100ms\n"
	alone := func(digest, only string) (protocol.Envelope, error) {
		e := b.envelope(digest)
		e.Only = only
		_, err := r.put(b.seal(e), e.Task)
		return e, err
	}
	for script, outcome := range map[string]protocol.Outcome{"echo undrain": protocol.OutcomeSucceeded, "echo undrain; exit 4": protocol.OutcomeFailed} {
		e, err := alone(b.scenario(before+"  undrain: {script: \""+script+"\"}\n"+unhealthy), "undrain")
		b.must(err)
		s := r.until(e.Task, done)
		if s.Outcome != outcome || s.Drained != (outcome != protocol.OutcomeSucceeded) || len(s.Phases) != 1 || s.Phases[0].Phase != protocol.PhaseUndrain || len(s.Evidence) > 0 || len(s.Health) > 0 {
			t.Errorf("%s: %+v", script, s)
		}
		if out := text(r.output(e.Task)); out != "undrain\n" {
			t.Errorf("%s printed %q", script, out)
		}
	}
	_, err := alone(b.scenario("steps:\n  drain: {script: \"echo drain\"}\n  run: {script: \"echo run\"}\n"), "undrain")
	wantCode(t, err, restart.CodeInvalid)
	if !strings.Contains(err.Error(), "has no undrain step") {
		t.Error(err)
	}
	_, err = alone(b.scenario(before+"  undrain: {script: \"true\"}\n"), "drain")
	wantCode(t, err, restart.CodeInvalid)
}

// stubborn is a script that leaves a daemon in a session of its own, which
// ignores TERM as the script does, and tells both pids.
func (b *bed) stubborn(then string) string {
	return fmt.Sprintf(`trap "" TERM
setsid sh -c 'trap "" TERM; echo $$ >%[1]s; while :; do sleep 1; done' >/dev/null 2>&1 &
while [ ! -s %[1]s ]; do sleep 0.01; done
echo $$ >%[2]s
echo ready
%[3]s`, b.path("daemon"), b.path("main"), then)
}

// pid reads one that a script has told.
func (b *bed) pid(name string) int {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	b.must(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	b.must(err)
	return pid
}

// alive tells whether a process runs; one that is only not yet counted does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// containments runs a test in each way of keeping a script's processes together.
func containments(t *testing.T, test func(t *testing.T, b *bed)) {
	t.Run("process group", func(t *testing.T) {
		b := newBed(t)
		b.extra = "cgroup: off\n"
		test(t, b)
	})
	t.Run("cgroup", func(t *testing.T) {
		base := cgroupForTest(t)
		b := newBed(t)
		b.extra = "cgroup: " + base + "\n"
		test(t, b)
	})
}

// cgroupForTest makes a cgroup v2 to work in.
func cgroupForTest(t *testing.T) string {
	t.Helper()
	needRoot(t)
	for _, mount := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(mount + "/cgroup.procs"); err != nil {
			continue
		}
		if _, err := os.Stat(mount + "/tasks"); err == nil {
			continue // version 1
		}
		base, err := os.MkdirTemp(mount, "restartilka-test-") //nolint:usetesting // a cgroup, not a folder
		if err != nil {
			missing(t, "a cgroup v2 that can be written to: "+err.Error())
		}
		t.Cleanup(func() {
			left, _ := filepath.Glob(base + "/*")
			for _, l := range left {
				os.WriteFile(l+"/cgroup.kill", []byte("1"), 0)
				removeCgroup(l)
			}
			removeCgroup(base)
		})
		return base
	}
	missing(t, "cgroup v2")
	return ""
}

// removeCgroup waits until the last process is gone.
func removeCgroup(path string) {
	for range 1000 {
		if err := unix.Rmdir(path); !errors.Is(err, unix.EBUSY) {
			return
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
	}
}

func TestOverItsTimeTheWholeTreeIsEnded(t *testing.T) {
	t.Parallel()
	containments(t, func(t *testing.T, b *bed) {
		r := b.start()
		digest := b.scenario("strategy: {task_timeout: 1s}\nsteps:\n  run:\n    script: |\n" + indent(b.stubborn("while :; do sleep 1; done")))
		s := r.do(digest)
		if s.Outcome != protocol.OutcomeTimedOut || s.FailedPhase != protocol.PhaseRun {
			t.Errorf("%+v", s)
		}
		for _, name := range []string{"main", "daemon"} {
			if alive(b.pid(name)) {
				t.Errorf("the %s process lives", name)
			}
		}
	})
}

func TestCancelEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	containments(t, func(t *testing.T, b *bed) {
		r := b.start()
		e := b.envelope(b.script(b.stubborn("while :; do sleep 1; done")))
		r.submit(e)
		r.printed(e.Task, "ready")
		_, err := r.cancel(e, 1)
		b.must(err)
		s := r.until(e.Task, done)
		if s.Outcome != protocol.OutcomeCancelled {
			t.Errorf("%+v", s)
		}
		for _, name := range []string{"main", "daemon"} {
			if alive(b.pid(name)) {
				t.Errorf("the %s process lives", name)
			}
		}
		_, err = r.cancel(e, 1) // a second time changes nothing
		b.must(err)
	})
}

func TestWhatASuccessfulScriptLeavesLivesOn(t *testing.T) {
	t.Parallel()
	containments(t, func(t *testing.T, b *bed) {
		r := b.start()
		digest := b.scenario("steps:\n  run:\n    script: |\n" + indent(b.stubborn("")) +
			"  undrain: {script: \"sleep 60\"}\nstrategy: {task_timeout: 1s}\n")
		s := r.do(digest)
		// The undrain step is over its time: its tree is ended, and not what run has left.
		if s.Outcome != protocol.OutcomeTimedOut || s.FailedPhase != protocol.PhaseUndrain {
			t.Errorf("%+v", s)
		}
		daemon := b.pid("daemon")
		if !alive(daemon) {
			t.Error("the daemon was ended")
		}
		unix.Kill(daemon, unix.SIGKILL)
	})
}

func TestLeftoversThatHoldTheOutputDelayTheEndByASecondAtMost(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	r := b.start()
	begin := time.Now()
	s := r.do(b.script("sleep 30 & echo $! >" + b.path("daemon")))
	if s.Outcome != protocol.OutcomeSucceeded || time.Since(begin) > 10*time.Second {
		t.Errorf("after %s: %+v", time.Since(begin), s)
	}
	if !alive(b.pid("daemon")) {
		t.Error("the leftover was ended")
	}
	unix.Kill(b.pid("daemon"), unix.SIGKILL)
}

func TestOutputOfAnyKind(t *testing.T) {
	b := newBed(t)
	r := b.start()
	for name, c := range map[string]struct{ script, want string }{
		"none":            {"exec >/dev/null 2>&1; echo x", ""},
		"closed":          {"exec >&- 2>&-; true", ""},
		"no newline":      {"printf abc", "abc"},
		"not text":        {`printf '\377\376\000\033[2J'`, "\xff\xfe\x00\x1b[2J"},
		"from a forked":   {"(sleep 0.1; echo late) &", "late\n"},
		"both intermixed": {"echo a; echo b >&2; echo c", "a\nb\nc\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			e := b.envelope(b.script(c.script))
			r.submit(e)
			s := r.until(e.Task, done)
			if got := text(r.output(e.Task)); got != c.want || s.OutputSize != int64(len(c.want)) {
				t.Errorf("output %q of size %d", got, s.OutputSize)
			}
		})
	}
	r.t = t
}

func TestAHundredMegabytesInOneLine(t *testing.T) {
	b := newBed(t)
	r := b.start()
	const size = 100 << 20
	e := b.envelope(b.script(fmt.Sprintf("printf begin; head -c %d /dev/zero; printf end", size-8)))
	r.submit(e)
	s := r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeSucceeded || s.OutputSize != size {
		t.Fatalf("%+v", s)
	}
	var at, kept, lost int64
	lines := r.output(e.Task)
	for _, o := range lines {
		if o.Offset != at {
			t.Fatalf("a line begins at %d, and %d comes next", o.Offset, at)
		}
		at += int64(len(o.Data)) + o.Truncated
		kept += int64(len(o.Data))
		lost += o.Truncated
	}
	if at != size || lost == 0 || kept < protocol.Head+protocol.Tail || kept > protocol.Head+protocol.Tail+(8<<20) {
		t.Errorf("%d bytes in all, %d kept, %d lost", at, kept, lost)
	}
	if got := text(lines); !strings.HasPrefix(got, "begin\x00") || !strings.HasSuffix(got, "\x00end") {
		t.Error("the begin or the end is missing")
	}
}

func TestOutputIsFollowedWhileItGrows(t *testing.T) {
	b := newBed(t)
	wait, open := b.gate()
	r := b.start()
	e := b.envelope(b.script(wait + "\necho after"))
	r.submit(e)
	r.printed(e.Task, "waiting")
	lines := make(chan string)
	go func() { lines <- text(r.output(e.Task)) }()
	open()
	if got := <-lines; got != "waiting\nafter\n" {
		t.Errorf("followed output %q", got)
	}
}

// A rehearsal does everything but the scripts: it is judged, holds the service,
// becomes the user, probes, and says what it would have run.
func TestARehearsalRunsNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	r := b.start()
	rehearse := func(digest string) (protocol.Envelope, error) {
		e := b.envelope(digest)
		e.Only = protocol.OnlyRehearse
		_, err := r.put(b.seal(e), e.Task)
		return e, err
	}
	steps := func(health string) string {
		return "evidence:\n  - process\nsteps:\n  drain: {script: \"touch " + b.path("ran") + "; echo drained\"}\n  run: {script: \"touch " + b.path("ran") + "; echo #host#\"}\n" +
			"  undrain: {script: \"touch " + b.path("ran") + "\", when: always}\n" + health
	}
	probed := "health:\n  command: {script: \"echo $RESTARTILKA_TASK >>" + b.path("probed") + "\"}\n"
	e, err := rehearse(b.scenario(steps(probed)))
	b.must(err)
	s := r.until(e.Task, done)
	out := text(r.output(e.Task))
	if s.Outcome != protocol.OutcomeSucceeded || s.Drained || s.ExitCode != nil || len(s.Evidence) > 0 || len(s.Phases) != 1 || s.Phases[0].Phase != protocol.PhaseHealth || len(s.Health) != 1 {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{"nothing below was run", "== drain, as ", "; echo drained\n", "== run, as ", "; echo " + testHost + "\n", "== undrain, when always, as ", ", by /bin/sh:\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in:\n%s", want, out)
		}
	}
	if got, err := os.ReadFile(b.path("probed")); err != nil || string(got) != e.Task+"\n" {
		t.Errorf("the probe was made %q, %v", got, err)
	}
	e, err = rehearse(b.scenario(steps("health:\n  command: {script: \"echo sick; exit 4\"}\n")))
	b.must(err)
	if s := r.until(e.Task, done); s.Outcome != protocol.OutcomeFailed || s.FailedPhase != protocol.PhaseHealth || !strings.Contains(s.Error, "not healthy now") || !strings.Contains(s.Error, "sick") || s.Drained {
		t.Errorf("a sick service: %+v", s)
	}
	e, err = rehearse(b.scenario("shell: /bin/no-such-shell\n" + steps("")))
	b.must(err)
	if s := r.until(e.Task, done); s.Outcome != protocol.OutcomeFailed || !strings.Contains(s.Error, "no script could be run") {
		t.Errorf("a shell that is not there: %+v", s)
	}
	_, err = rehearse(strings.Repeat("ab", 32))
	wantCode(t, err, restart.CodeNotReviewed)
	// It holds the service, and waits for nobody who does.
	wait, open := b.gate()
	held := b.envelope(b.script(wait))
	r.submit(held)
	r.printed(held.Task, "waiting")
	_, err = rehearse(b.scenario(steps(probed)))
	wantCode(t, err, restart.CodeBusy)
	open()
	r.until(held.Task, done)
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("a script was run")
	}
}
