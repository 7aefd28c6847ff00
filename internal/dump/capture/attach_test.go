package capture_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/dump/parse"
	"github.com/restartilka/restartilka/internal/restart"
)

// one takes one dump.
func one(t testing.TB, r capture.Request, target capture.Target) (capture.Captured, error) {
	t.Helper()
	var out capture.Captured
	err := capture.Take(t.Context(), r, target, func(c capture.Captured) error { out = c; return nil })
	return out, err
}

func mustOne(t testing.TB, r capture.Request, target capture.Target) capture.Captured {
	t.Helper()
	c, err := one(t, r, target)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wants(t testing.TB, c capture.Captured, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(string(c.Raw), w) {
			t.Errorf("no %q in the dump (%s, notes %q):\n%.3000s", w, c.Header.Method, c.Header.Notes, c.Raw)
		}
	}
}

// parsed reads a capture as the server does.
func parsed(t testing.TB, c capture.Captured, format dump.Format) *dump.Dump {
	t.Helper()
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse.Bytes(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Format == format && d.Header != nil && d.Header.PID == c.Header.PID {
			return d
		}
	}
	t.Fatalf("no %s among %d dumps that were read of:\n%.2000s", format, len(all), text)
	return nil
}

// refused checks an error made for people.
func refused(t testing.TB, err error, code restart.Code, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %s", code)
	}
	if restart.CodeOf(err) != code {
		t.Errorf("code %s, want %s: %v", restart.CodeOf(err), code, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in: %v", w, err)
		}
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	j := jvm17(t)
	c := mustOne(t, capture.Request{Histogram: true, Virtual: true}, j.target())
	wants(t, c, "Full thread dump OpenJDK", `"worker-199" #`, "Found one Java-level deadlock", "Locked ownable synchronizers", "<b>", "#instances", "java.lang.String")
	h := c.Header
	if h.Method != "attach" || h.Runtime != dump.JVM || h.PID != j.pid || h.Number != 1 || h.Of != 1 || h.Took <= 0 || len(h.Notes) != 0 {
		t.Errorf("%+v", h)
	}
	if len(h.CPU) < 200 {
		t.Errorf("processor time of %d threads", len(h.CPU))
	}
	missing := 0
	natives := regexp.MustCompile(` nid=0x([0-9a-f]+) `).FindAllStringSubmatch(string(c.Raw), -1)
	for _, n := range natives {
		var id int64
		fmt.Sscanf(n[1], "%x", &id)
		if _, ok := h.CPU[id]; !ok {
			missing++
		}
	}
	if missing > 1 { // the thread that answers us may have been born meanwhile
		t.Errorf("no processor time of %d threads", missing)
	}
	if !strings.Contains(h.Command, "-Ddb.password=***") || strings.Contains(string(c.Raw), "hunter2") || !strings.Contains(string(c.Raw), `"job password=*** for bob" #`) {
		t.Errorf("not redacted: %s", h.Command)
	}
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if _, ok, err := dump.ReadHeader([]byte(line)); !ok || err != nil {
		t.Errorf("the header can't be read back: %v", err)
	}
	if d := parsed(t, c, dump.HotSpot); len(d.Threads) < 206 || len(d.Deadlocks) != 1 || len(d.Classes) < 10 || d.Cut != "" {
		t.Errorf("%d threads, %d deadlocks, %d classes, cut %q", len(d.Threads), len(d.Deadlocks), len(d.Classes), d.Cut)
	}
	leftovers(t, "/tmp", j.pid)
}

// leftovers looks for what must be gone after a dump.
func leftovers(t *testing.T, tmp string, pid int) {
	t.Helper()
	for _, pattern := range []string{fmt.Sprintf(".attach_pid%d", pid), fmt.Sprintf(".restartilka-%d-*", pid)} {
		if found, _ := filepath.Glob(filepath.Join(tmp, pattern)); len(found) > 0 {
			t.Errorf("left behind: %q", found)
		}
	}
}

func TestVirtualThreads(t *testing.T) {
	t.Parallel()
	j := jvm25(t)
	c := mustOne(t, capture.Request{Virtual: true}, j.target())
	wants(t, c, "Full thread dump OpenJDK 64-Bit Server VM (25", `"worker-9" #`, "Found one Java-level deadlock", `"virtual-29"`, `"threadContainers"`)
	if len(c.Header.Notes) != 0 || c.Header.Method != "attach" {
		t.Errorf("%+v", c.Header)
	}
	parsed(t, c, dump.HotSpot)
	virtual := 0
	for _, thread := range parsed(t, c, dump.HotSpotJSON).Threads {
		if thread.Virtual && strings.HasPrefix(thread.Name, "virtual-") {
			virtual++
		}
	}
	if virtual != 30 {
		t.Errorf("%d virtual threads", virtual)
	}
}

// JDK 25 can't write the name of every thread: what it wrote is kept, and told.
func TestBrokenVirtualThreads(t *testing.T) {
	t.Parallel()
	j := start(t, java25(t), nil, []string{"-Descapes=true"}, "2", "3")
	defer j.stop()
	c := mustOne(t, capture.Request{Virtual: true}, j.target())
	wants(t, c, "Full thread dump", `"threadContainers"`)
	if len(c.Header.Notes) != 1 || !strings.Contains(c.Header.Notes[0], "virtual threads are missing: the JVM") {
		t.Errorf("%q", c.Header.Notes)
	}
	leftovers(t, "/tmp", j.pid)
}

func TestAnotherUser(t *testing.T) {
	t.Parallel()
	asRoot(t)
	j := start(t, java17(t), []string{"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, nil, "3")
	defer j.stop()
	wants(t, mustOne(t, capture.Request{Method: "attach"}, j.target()), "Full thread dump", `"worker-2"`)
}

// In a container of its own: another root, another /tmp, and itself as number 1.
func TestAnotherNamespace(t *testing.T) {
	t.Parallel()
	asRoot(t)
	script := `mount -t tmpfs -o size=65m,mode=1777 none /tmp && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"`
	jdk, version := home("25"), 25
	if jdk == "" {
		jdk, version = java17(t), 17
	}
	j := start(t, jdk, []string{"/usr/bin/unshare", "--mount", "--pid", "--fork", "--mount-proc", "/bin/sh", "-ec", script, "sh"}, nil, "3", "5")
	defer j.stop()
	j.pid = child(t, j.cmd.Process.Pid)
	c := mustOne(t, capture.Request{Virtual: true}, j.target())
	wants(t, c, "Full thread dump", `"worker-2"`)
	if c.Header.Method != "attach" {
		t.Errorf("%+v", c.Header)
	}
	if version == 25 {
		wants(t, c, `"virtual-4"`)
	}
	if found, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root/tmp/.restartilka-*", j.pid)); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
	if version == 25 { // fill the disk
		fill := fmt.Sprintf("/proc/%d/root/tmp/fill", j.pid)
		f, err := os.Create(fill)
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, 1<<20)
		for {
			if _, err := f.Write(block); err != nil {
				break
			}
		}
		f.Close()
		c := mustOne(t, capture.Request{Virtual: true}, j.target())
		wants(t, c, "Full thread dump", `"worker-2"`)
		if len(c.Header.Notes) != 1 || !strings.Contains(c.Header.Notes[0], "virtual threads are missing: less than 64 MiB are free") {
			t.Errorf("%q", c.Header.Notes)
		}
	}
}

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs root")
	}
	t.Skip("this test needs root")
}

func TestStoppedJVM(t *testing.T) {
	t.Parallel()
	j := start(t, java17(t), nil, nil, "3")
	defer j.stop()
	syscall.Kill(j.pid, syscall.SIGSTOP)
	awaitState(t, j.pid, 'T')
	_, err := one(t, capture.Request{Method: "attach"}, j.target())
	refused(t, err, restart.CodeConflict, "is stopped", "kill -CONT")
	_, err = one(t, capture.Request{Method: "signal"}, j.target())
	refused(t, err, restart.CodeConflict, "is stopped")
	c := mustOne(t, capture.Request{}, j.target())
	wants(t, c, capture.KernelMark, `"worker-2" T (stopped)`)
	if c.Header.Method != "proc" || c.Header.Runtime != dump.JVM || len(c.Header.Notes) != 2 || !strings.Contains(c.Header.Notes[0], "attach: process") {
		t.Errorf("%+v", c.Header)
	}
	syscall.Kill(j.pid, syscall.SIGCONT)
	// It was sent nothing: no dump comes once it goes on, and it answers.
	wants(t, mustOne(t, capture.Request{}, j.target()), "Full thread dump")
	if said, _ := os.ReadFile(j.stdout); strings.Contains(string(said), "Full thread dump") {
		t.Error("a stopped JVM was sent a signal")
	}
}

func awaitState(t *testing.T, pid int, state byte) {
	t.Helper()
	for range 2000 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && strings.Contains(string(b), fmt.Sprintf(") %c ", state)) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("process %d does not get into the state %c", pid, state)
}

func TestForbiddenAttach(t *testing.T) {
	t.Parallel()
	j := start(t, java17(t), nil, []string{"-XX:+DisableAttachMechanism"}, "3")
	defer j.stop()
	_, err := one(t, capture.Request{Method: "attach"}, j.target())
	refused(t, err, restart.CodeConflict, "-XX:+DisableAttachMechanism", "forbids")
	c := mustOne(t, capture.Request{}, j.target())
	wants(t, c, "Full thread dump", `"worker-2"`, "JNI global ref", "Found one Java-level deadlock")
	if c.Header.Method != "signal" || len(c.Header.Notes) != 2 || !strings.Contains(c.Header.Notes[0], "DisableAttachMechanism") || !strings.Contains(c.Header.Notes[1], "asked for by the signal QUIT") {
		t.Errorf("%+v", c.Header)
	}
	if strings.HasPrefix(string(c.Raw), "ready") {
		t.Error("it begins before the signal")
	}
}

func TestReducedSignals(t *testing.T) {
	t.Parallel()
	j := start(t, java17(t), nil, []string{"-Xrs"}, "3")
	defer j.stop()
	_, err := one(t, capture.Request{Method: "signal"}, j.target())
	refused(t, err, restart.CodeConflict, "-Xrs", "would die")
	// Such a JVM listens from its start, and needs no signal.
	if c := mustOne(t, capture.Request{}, j.target()); c.Header.Method != "attach" || len(c.Header.Notes) != 0 {
		t.Errorf("%+v", c.Header)
	}
	// A cleaner has taken its socket away: now the signal would kill it.
	if err := os.Remove(fmt.Sprintf("/tmp/.java_pid%d", j.pid)); err != nil {
		t.Fatal(err)
	}
	_, err = one(t, capture.Request{Method: "attach"}, j.target())
	refused(t, err, restart.CodeConflict, "-Xrs", "would die")
	c := mustOne(t, capture.Request{}, j.target())
	wants(t, c, capture.KernelMark, "worker-2")
	if c.Header.Method != "proc" {
		t.Errorf("%+v", c.Header)
	}
}

func TestEndsMeanwhile(t *testing.T) {
	t.Parallel()
	j := start(t, java17(t), nil, nil, "3")
	defer j.stop()
	taken := 0
	err := capture.Take(t.Context(), capture.Request{Count: 3, Interval: time.Millisecond}, j.target(), func(capture.Captured) error {
		taken++
		j.stop()
		return nil
	})
	refused(t, err, restart.CodeNotFound, "has ended meanwhile")
	if taken != 1 {
		t.Errorf("%d dumps", taken)
	}
	_, err = one(t, capture.Request{}, j.target())
	refused(t, err, restart.CodeNotFound, "there is no process")
}

// A JVM whose attach listener does not answer is asked by the signal, in the
// time that is left.
func TestHungListener(t *testing.T) {
	t.Parallel()
	j := start(t, java17(t), nil, nil, "3")
	defer j.stop()
	mustOne(t, capture.Request{}, j.target()) // so that it listens
	// It reads one question after another; this one never comes to its end.
	silent, err := net.Dial("unix", fmt.Sprintf("/tmp/.java_pid%d", j.pid))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := mustOne(t, capture.Request{Timeout: 4 * time.Second}, j.target())
	wants(t, c, "Full thread dump", `"worker-2"`)
	if c.Header.Method != "signal" || len(c.Header.Notes) != 2 || !strings.Contains(c.Header.Notes[0], "does not answer") {
		t.Errorf("%+v", c.Header)
	}
	for { // until the line before it is full, in which nobody gets a place without waiting
		more, err := net.Dial("unix", fmt.Sprintf("/tmp/.java_pid%d", j.pid))
		if err != nil {
			break
		}
		defer more.Close()
	}
	_, err = one(t, capture.Request{Method: "attach", Timeout: 300 * time.Millisecond}, j.target())
	refused(t, err, restart.CodeUnavailable, "others wait in line")
}

// Somebody else's socket under the JVM's name is not believed.
func TestForgedSocket(t *testing.T) {
	t.Parallel()
	j := start(t, java17(t), nil, nil, "3")
	defer j.stop()
	path := fmt.Sprintf("/tmp/.java_pid%d", j.pid)
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, err = one(t, capture.Request{Method: "attach"}, j.target())
	refused(t, err, restart.CodeForbidden, fmt.Sprintf("process %d listens on the socket of the JVM %d", os.Getpid(), j.pid))
}

func TestAttachInTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := capture.Take(ctx, capture.Request{}, jvm17(t).target(), func(capture.Captured) error { return nil })
	if err == nil {
		t.Fatal("taken after the end of its context")
	}
}

// BenchmarkAttach measures one dump of a JVM with 200 threads.
func BenchmarkAttach(b *testing.B) {
	j := jvm17(b)
	mustOne(b, capture.Request{}, j.target())
	b.Run("attach", func(b *testing.B) {
		for b.Loop() {
			mustOne(b, capture.Request{Method: "attach"}, j.target())
		}
	})
	b.Run("child", func(b *testing.B) {
		for b.Loop() {
			if err := capture.Run(b.Context(), capture.Job{Target: j.target(), Request: capture.Request{Method: "attach"}}, func(capture.Captured) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("jcmd", func(b *testing.B) {
		for b.Loop() {
			if out, err := exec.Command(java17(b)+"/bin/jcmd", fmt.Sprint(j.pid), "Thread.print", "-l").CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}
