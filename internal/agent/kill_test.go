package agent_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/protocol"
)

// killSupervisor kills the supervisor of a task, if one lives.
func killSupervisor(id string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.HasSuffix(line, []byte("\x00"+supervisor.Verb+"\x00"+id+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// The supervisor is killed at the first, second, … thing that it does in the
// spool; every other time the agent is, too. Whatever is said then must agree
// with what a witness saw.
func TestKilledAtEveryStepOfTheWay(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 12; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := newBed(t)
			e := b.envelope(b.scenario("steps:\n  drain: {script: \"true\"}\n  run:\n    script: |\n" +
				indent("echo \"began $RESTARTILKA_TASK\" >>"+b.path("witness")) + "  undrain: {script: \"true\"}\n"))
			b.plant(e, nil)
			task, err := spool.OpenTask(b.spoolDir, e.Task, nil)
			b.must(err)
			defer task.Close()
			watch, err := spool.NewWatch()
			b.must(err)
			b.must(watch.AddTask(task))
			killed := make(chan struct{})
			go func() {
				defer close(killed)
				for seen := 0; seen < n; {
					changes, err := watch.Next()
					if err != nil {
						return // it was done before
					}
					seen += len(changes)
				}
				killSupervisor(e.Task)
			}()
			r := b.start()
			if n%2 == 0 {
				r.kill()
				killSupervisor(e.Task)
				r = b.start()
			}
			s := r.until(e.Task, done)
			watch.Close()
			<-killed
			ran := b.witness("began", e.Task)
			switch s.Outcome {
			case protocol.OutcomeSucceeded:
				if ran != 1 {
					t.Errorf("succeeded, and ran %d times", ran)
				}
			case protocol.OutcomeUnknown:
				if ran > 1 {
					t.Errorf("ran %d times", ran)
				}
			case protocol.OutcomeNotStarted:
				if ran != 0 {
					t.Errorf("not started, and ran %d times", ran)
				}
			default:
				t.Errorf("%+v", s)
			}
			t.Logf("%s, ran %d times", s.Outcome, ran)
		})
	}
}
