package agent_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// smallSpool puts the spool on a tmpfs of that size.
func (b *bed) smallSpool(size string) {
	b.t.Helper()
	needRoot(b.t)
	b.must(os.Mkdir(b.spoolDir, 0o700))
	if err := unix.Mount("tmpfs", b.spoolDir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		missing(b.t, "the right to mount a tmpfs: "+err.Error())
	}
	b.t.Cleanup(func() { unix.Unmount(b.spoolDir, unix.MNT_DETACH) })
}

// fill takes all the room there is.
func (b *bed) fill() (release func()) {
	b.t.Helper()
	f, err := os.Create(filepath.Join(b.spoolDir, "filler"))
	b.must(err)
	defer f.Close()
	for size := 1 << 20; size >= 1; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
	return func() { b.must(os.Remove(f.Name())) }
}

func TestAFullDiskRefusesAndLeavesNothing(t *testing.T) {
	b := newBed(t)
	b.smallSpool("1m")
	digest := b.witnessed("")
	r := b.start()
	release := b.fill()
	e := b.envelope(digest)
	s := b.seal(e)
	_, err := r.put(s, e.Task)
	wantCode(t, err, restart.CodeDiskFull)
	if left := b.entries(); len(left) != 1 { // the filler
		t.Errorf("the spool holds %v", left)
	}
	_, err = r.get(e.Task)
	wantCode(t, err, restart.CodeNotFound)
	release()
	// What was refused stays refused, also to a copy of the request that comes
	// late: the server has told people that nothing was started.
	_, err = r.put(s, e.Task)
	wantCode(t, err, restart.CodeDiskFull)
	again := b.envelope(digest)
	_, err = r.put(b.seal(again), again.Task)
	b.must(err)
	r.until(again.Task, done)
	if first, second := b.witness("began", e.Task), b.witness("began", again.Task); first != 0 || second != 1 {
		t.Errorf("the refused task was executed %d times, the next one %d times", first, second)
	}
}

func TestADiskThatIsFilledInMidRunLosesOutputOnly(t *testing.T) {
	b := newBed(t)
	b.smallSpool("1m")
	wait, open := b.gate()
	digest := b.witnessed(wait + "\nhead -c 100000 /dev/zero")
	r := b.start()
	e := b.envelope(digest)
	r.submit(e)
	r.printed(e.Task, "waiting")
	release := b.fill()
	open()
	s := r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeSucceeded || s.OutputSize != 100000+int64(len("waiting\n")) {
		t.Errorf("%+v", s)
	}
	if len(s.Warnings) == 0 || !strings.Contains(s.Warnings[0], "were not kept") {
		t.Errorf("warnings %q", s.Warnings)
	}
	if n := b.witness("ended", e.Task); n != 1 {
		t.Errorf("ended %d times", n)
	}
	var at int64
	for _, o := range r.output(e.Task) {
		at += int64(len(o.Data)) + o.Truncated
	}
	if at != s.OutputSize {
		t.Errorf("the output is told as %d bytes", at)
	}
	r.kill() // what is known survives the next agent, on the full disk
	r = b.start()
	s, err := r.get(e.Task)
	b.must(err)
	if s.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("after the crash %+v", s)
	}
	release()
	_, err = r.forget(e, 1)
	b.must(err)
}

func TestSymlinksInTheSpoolAreNotFollowed(t *testing.T) {
	b := newBed(t)
	digest := b.witnessed("")
	target := b.path("target")
	b.must(os.Mkdir(target, 0o700))
	b.write("target/received", []byte("precious"), 0o600)
	b.write("precious", []byte("precious"), 0o600)
	b.must(os.Mkdir(b.spoolDir, 0o700))
	e := b.envelope(digest)
	b.must(os.Symlink(target, filepath.Join(b.spoolDir, e.Task)))
	b.must(os.Symlink(b.path("precious"), filepath.Join(b.spoolDir, "shop.task")))
	r := b.start() // it sweeps the dangling shop.task, which holds the service for nobody

	_, err := r.put(b.seal(e), e.Task)
	if err == nil {
		t.Error("a task was taken into a symlink")
	}
	// Not "not found": a server would take that as the promise that it never came.
	_, err = r.get(e.Task)
	wantCode(t, err, restart.CodeUnavailable)
	_, err = r.forget(e, 1)
	wantCode(t, err, restart.CodeUnavailable)
	second := b.envelope(digest)
	b.must(os.Symlink(b.path("precious"), filepath.Join(b.spoolDir, "shop.task")))
	_, err = r.put(b.seal(second), second.Task)
	wantCode(t, err, restart.CodeBusy)
	b.must(os.Remove(filepath.Join(b.spoolDir, "shop.task")))
	third := b.envelope(digest)
	r.submit(third)
	r.until(third.Task, done)
	for _, f := range []string{"precious", "target/received"} {
		if text, err := os.ReadFile(b.path(f)); err != nil || string(text) != "precious" {
			t.Errorf("%s: %q, %v", f, text, err)
		}
	}
	if n := b.witness("began", e.Task) + b.witness("began", second.Task); n != 0 {
		t.Errorf("executed %d times", n)
	}
}

func TestASpoolThatIsNotOursAloneIsRefused(t *testing.T) {
	b := newBed(t)
	r := b.start()
	r.kill()
	for name, spoil := range map[string]func(){
		"open to others": func() { b.must(os.Chmod(b.spoolDir, 0o755)) },
		"a symlink": func() {
			b.must(os.Rename(b.spoolDir, b.path("elsewhere")))
			b.must(os.Symlink(b.path("elsewhere"), b.spoolDir))
		},
	} {
		spoil()
		out := b.mustNotStart()
		if !strings.Contains(out, "0700") && !strings.Contains(out, "symlink") {
			t.Errorf("%s: %s", name, out)
		}
		os.Remove(b.spoolDir)
		b.must(os.RemoveAll(b.spoolDir))
		b.must(os.Mkdir(b.spoolDir, 0o700))
	}
	b.start()
	if out := b.mustNotStart(); !strings.Contains(out, "another agent") {
		t.Errorf("a second agent: %s", out)
	}
}

func TestAScriptThatIsTakenAwayBeforeItStartsDoesNotRun(t *testing.T) {
	b := newBed(t)
	e := b.envelope(b.witnessed(""))
	b.plant(e, nil)
	b.must(os.Remove(b.path("scenarios.d/" + e.Digest[:12] + ".yaml")))
	r := b.start()
	s := r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeNotStarted || !strings.Contains(s.Error, "does not trust") {
		t.Errorf("%+v", s)
	}
	if n := b.witness("began", e.Task); n != 0 {
		t.Errorf("executed %d times", n)
	}
}

func TestRunAs(t *testing.T) {
	needRoot(t)
	b := newBed(t)
	b.must(os.Chmod(b.dir, 0o755))
	b.service("") // says root
	r := b.start()
	e := b.envelope(b.scenario("run_as: nobody\nsteps:\n  run:\n    script: |\n      id -un\n      id -Gn\n      grep NoNewPrivs /proc/self/status\n"))
	r.submit(e)
	s := r.until(e.Task, done)
	out := text(r.output(e.Task))
	if s.Outcome != protocol.OutcomeSucceeded || out != "nobody\nnogroup\nNoNewPrivs:\t1\n" {
		t.Errorf("%+v\n%s", s, out)
	}
	e = b.envelope(b.scenario("run_as: no-such-user\nsteps:\n  run: {script: \"id\"}\n"))
	_, err := r.put(b.seal(e), e.Task)
	wantCode(t, err, restart.CodeInvalid)
}

func TestCancelBeforeTheStart(t *testing.T) {
	// A supervisor that hangs before it takes the right to run: one that is stopped.
	b := newBed(t)
	e := b.envelope(b.witnessed(""))
	b.plant(e, nil)
	lock := b.holdAlive(e.Task)
	r := b.start()
	s, err := r.get(e.Task)
	b.must(err)
	if s.Stage != restart.StageReceived {
		t.Fatalf("%+v", s)
	}
	s, err = r.cancel(e, 1)
	b.must(err)
	if s.Outcome != protocol.OutcomeNotStarted {
		t.Errorf("%+v", s)
	}
	lock.Close()
	_, err = r.forget(e, 1)
	b.must(err)
	_, err = r.put(b.seal(e), e.Task)
	wantCode(t, err, restart.CodeTombstone)
	if n := b.witness("began", e.Task); n != 0 {
		t.Errorf("executed %d times", n)
	}
}

func TestCheckAndProbe(t *testing.T) {
	b := newBed(t)
	b.extra = "groups: [shop-testing]\n"
	digest := b.scenario("steps:\n  run: {script: \"true\"}\nhealth:\n  command: {script: \"echo $RESTARTILKA_SERVICE is fine >&2; exit 4\"}\n")
	b.write("scenarios.d/broken.yaml", []byte("format: 1\nnaem: x\n"), 0o644)
	r := b.start()
	var report protocol.CheckReport
	b.must(r.call("POST", "/v1/check", protocol.CheckRequest{Service: testService, Group: "shop-production", Digest: digest}, &report))
	if report.Host != testHost || report.Service == nil || len(report.Scenarios) != 1 || report.Scenarios[0].Digest != digest || report.Containment == "" ||
		time.Since(report.Clock) > time.Minute || report.BootID == "" || report.Review != "files" {
		t.Errorf("%+v", report)
	}
	var codes []restart.Code
	for _, p := range report.Problems {
		codes = append(codes, p.Code)
	}
	if len(codes) != 1 || codes[0] != restart.CodeWrongGroup { // a broken file is no problem of a task by another one
		t.Errorf("problems %+v", report.Problems)
	}
	if !slices.ContainsFunc(report.Weaker, func(s string) bool { return strings.Contains(s, "broken.yaml") }) {
		t.Errorf("the broken scenario is not told: %q", report.Weaker)
	}
	wantCode(t, r.call("POST", "/v1/check", protocol.CheckRequest{Service: "../x"}, &report), restart.CodeInvalid)

	var probe protocol.ProbeReport
	b.must(r.call("POST", "/v1/probe", protocol.ProbeRequest{Service: testService, Digest: digest}, &probe))
	if probe.Sample.Healthy || !strings.Contains(probe.Sample.Detail, "ended with 4") || !strings.Contains(probe.Sample.Detail, "shop is fine") {
		t.Errorf("%+v", probe.Sample)
	}
	wantCode(t, r.call("POST", "/v1/probe", protocol.ProbeRequest{Service: "nginx", Digest: digest}, &probe), restart.CodeUnknownService)
}
