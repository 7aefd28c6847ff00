package receive_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/audit/audittest"
	"github.com/restartilka/restartilka/internal/restart"
)

// inject has strace make the next of a running receiver's system calls fail, or
// kill it; it gives what takes strace away. A path narrows them to those on it.
func inject(t *testing.T, r *audittest.Receiver, fault, path string) (over func()) {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test needs strace (scripts/packages.txt)")
		}
		t.Skip("NOT TESTED: strace is not installed (scripts/packages.txt)")
	}
	args := []string{"-f", "-p", strconv.Itoa(r.Pid()), "-o", os.DevNull, "-e", "trace=fsync,pwrite64", "-e", "inject=" + fault}
	if path != "" {
		args = append(args, "-P", path)
	}
	strace := exec.CommandContext(t.Context(), "strace", args...)
	said, err := strace.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := strace.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	for attached := false; !attached; attached = strings.Contains(lines.Text(), "attached") {
		if !lines.Scan() {
			t.Fatalf("strace has ended: %v", strace.Wait())
		}
	}
	return func() {
		strace.Process.Kill() // it would wait for what is dead already
		strace.Wait()
	}
}

// A sync that fails, of the file or of the folder in which it is new, is never
// answered with success; what was written is taken back, and written anew.
func TestAFailedSyncIsNoAnswer(t *testing.T) {
	t.Parallel()
	records := first(20)
	for name, c := range map[string]struct {
		before int // records that are stored already
		of     string
	}{
		"a new file": {0, "000001-000000000001.jsonl"}, "its folder": {0, ""}, "a file": {10, "000001-000000000001.jsonl"},
	} {
		r := process(t, "", source)
		r.Start()
		sink := sinkTo(t, r, source)
		if err := sink.Send(t.Context(), records[:c.before]); err != nil {
			t.Fatal(err)
		}
		over := inject(t, r, "fsync:error=EIO", filepath.Join(r.Folder(), source, c.of))
		for range 2 {
			if err := sink.Send(t.Context(), records[c.before:]); restart.CodeOf(err) != restart.CodeUnavailable {
				t.Errorf("%s: %v", name, err)
			}
			if seq, err := sink.Settled(); seq != int64(c.before) || err != nil {
				t.Errorf("%s: settled %d, %v", name, seq, err)
			}
		}
		if _, h := health(t, r.Status); h.OK || h.Sources[0].Head.Seq != int64(c.before) {
			t.Errorf("%s: %+v", name, h)
		}
		over()
		if err := sink.Send(t.Context(), records[c.before:]); err != nil {
			t.Errorf("%s: once more: %v", name, err)
		}
		r.Kill()
		whole(t, r.Folder(), headOf(records))
	}
}

// Killed at each of the calls that write and sync: what was answered for is
// there at the next start, and the chain goes on.
func TestKilledAtEachCall(t *testing.T) {
	t.Parallel()
	records := first(20)
	for _, c := range []struct {
		before    int
		fault, of string
	}{
		{0, "pwrite64:signal=KILL", "000001-000000000001.jsonl"}, {0, "fsync:signal=KILL", "000001-000000000001.jsonl"}, {0, "fsync:signal=KILL", ""},
		{10, "pwrite64:signal=KILL", "000001-000000000001.jsonl"}, {10, "fsync:signal=KILL", "000001-000000000001.jsonl"},
	} {
		r := process(t, "", source)
		r.Start()
		sink := sinkTo(t, r, source)
		if err := sink.Send(t.Context(), records[:c.before]); err != nil {
			t.Fatal(err)
		}
		over := inject(t, r, c.fault, filepath.Join(r.Folder(), source, c.of))
		if err := sink.Send(t.Context(), records[c.before:]); err == nil {
			t.Fatalf("%+v: it lives on", c)
		}
		over()
		r.Kill()
		r.Start()
		if _, h := health(t, r.Status); !h.OK || h.Sources[0].Head.Seq < int64(c.before) {
			t.Errorf("%+v: %+v", c, h)
		}
		if err := sink.Send(t.Context(), records[c.before:]); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		r.Kill()
		whole(t, r.Folder(), headOf(records))
	}
}
