package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// witnessed lays a scenario that appends its task to a file, waits for a gate
// where there is one, and appends again at its end.
func (b *bed) witnessed(more string) string {
	return b.script(fmt.Sprintf("echo \"began $RESTARTILKA_TASK\" >>%[1]s\n%s\necho \"ended $RESTARTILKA_TASK\" >>%[1]s", b.path("witness"), more))
}

// witness counts the lines of the file for a task.
func (b *bed) witness(what, id string) int {
	b.t.Helper()
	text, err := os.ReadFile(b.path("witness"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return strings.Count(string(text), what+" "+id+"\n")
}

// gate is a FIFO: a script that reads from it waits until it is opened.
func (b *bed) gate() (script string, open func()) {
	b.t.Helper()
	path := b.path("gate")
	b.must(unix.Mkfifo(path, 0o600))
	return "echo waiting\nread line <" + path, func() {
		b.t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		b.must(err)
		defer f.Close()
		fmt.Fprintln(f, "go")
	}
}

// printed waits until the task has printed that.
func (r *running) printed(id, what string) {
	r.t.Helper()
	resp, err := r.client.Get(r.url + "/v1/tasks/" + id + "/output")
	r.must(err)
	defer resp.Body.Close()
	var seen string
	for dec := json.NewDecoder(resp.Body); !strings.Contains(seen, what); {
		var o protocol.Output
		r.must(dec.Decode(&o))
		seen += string(o.Data)
		if o.EOF {
			r.t.Fatalf("the output ended without %q: %q", what, seen)
		}
	}
}

func TestAHundredPutsAreOneExecution(t *testing.T) {
	b := newBed(t)
	digest := b.witnessed("")
	r := b.start()
	e := b.envelope(digest)
	s := b.seal(e)
	var all sync.WaitGroup
	errs := make(chan error, 100)
	for range 100 {
		all.Go(func() {
			_, err := r.put(s, e.Task)
			errs <- err
		})
	}
	all.Wait()
	for range 100 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	r.until(e.Task, done)
	again, err := r.put(s, e.Task)
	b.must(err)
	if !done(again) || again.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("sent again, the answer is %+v", again)
	}
	if n := b.witness("began", e.Task); n != 1 {
		t.Errorf("executed %d times", n)
	}
	other := b.envelope(digest)
	other.Task = e.Task
	_, err = r.put(b.seal(other), e.Task)
	wantCode(t, err, restart.CodeConflict)

	// Forgotten, the same bytes are refused for ever, also by the next agent.
	_, err = r.forget(e, 1)
	b.must(err)
	_, err = r.put(s, e.Task)
	wantCode(t, err, restart.CodeTombstone)
	_, err = r.get(e.Task)
	wantCode(t, err, restart.CodeTombstone)
	r.kill()
	r = b.start()
	_, err = r.put(s, e.Task)
	wantCode(t, err, restart.CodeTombstone)
	stone, err := r.forget(e, 1)
	b.must(err)
	if stone.Stage != restart.StageDone || stone.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("forgotten twice, the answer is %+v", stone)
	}
	if n := b.witness("began", e.Task); n != 1 {
		t.Errorf("executed %d times", n)
	}
	if left := b.entries(); len(left) > 0 {
		t.Errorf("the spool holds %v", left)
	}
}

func TestOneTaskAServiceAndAnOldEpoch(t *testing.T) {
	b := newBed(t)
	wait, open := b.gate()
	digest := b.witnessed(wait)
	r := b.start()
	e := b.envelope(digest)
	r.submit(e)
	if _, err := os.Stat(filepath.Join(b.spoolDir, "shop.task")); err != nil {
		t.Error(err)
	}
	second := b.envelope(digest)
	_, err := r.put(b.seal(second), second.Task)
	wantCode(t, err, restart.CodeBusy)
	if !strings.Contains(err.Error(), e.Task) {
		t.Errorf("the refusal does not name the holder: %v", err)
	}
	r.printed(e.Task, "waiting")
	_, err = r.forget(e, 1)
	wantCode(t, err, restart.CodeConflict)

	// A newer server asks: from then on the old one is refused, also by the next agent.
	_, err = r.forget(e, 7)
	wantCode(t, err, restart.CodeConflict)
	r.kill()
	r = b.start()
	_, err = r.cancel(e, 6)
	wantCode(t, err, restart.CodeStaleEpoch)
	third := b.envelope(digest)
	third.Run = e.Run
	_, err = r.put(b.seal(third), third.Task)
	wantCode(t, err, restart.CodeStaleEpoch)

	open()
	r.until(e.Task, done)
	if _, err := os.Stat(filepath.Join(b.spoolDir, "shop.task")); err == nil {
		t.Error("the service is still held")
	}
}

func TestAnAgentKilledInMidRunAttachesAgain(t *testing.T) {
	b := newBed(t)
	wait, open := b.gate()
	digest := b.witnessed(wait)
	r := b.start()
	e := b.envelope(digest)
	r.submit(e)
	r.printed(e.Task, "waiting")
	r.kill()
	r = b.start()
	s, err := r.get(e.Task)
	b.must(err)
	if s.Stage != restart.StageStarted || s.Phase != protocol.PhaseRun {
		t.Errorf("after the crash the task is %+v", s)
	}
	open()
	s = r.until(e.Task, done)
	if s.Outcome != protocol.OutcomeSucceeded {
		t.Errorf("the task ended as %+v", s)
	}
	if began, ended := b.witness("began", e.Task), b.witness("ended", e.Task); began != 1 || ended != 1 {
		t.Errorf("began %d times, ended %d times", began, ended)
	}
}

func TestATaskThatEndsWhileNoAgentLivesIsFoundDone(t *testing.T) {
	b := newBed(t)
	wait, open := b.gate()
	digest := b.witnessed(wait)
	r := b.start()
	e := b.envelope(digest)
	r.submit(e)
	r.printed(e.Task, "waiting")
	watch := b.watchTask(e.Task)
	r.kill()
	open()
	watch()
	r = b.start()
	s, err := r.get(e.Task)
	b.must(err)
	if s.Outcome != protocol.OutcomeSucceeded || b.witness("ended", e.Task) != 1 {
		t.Errorf("the task is %+v", s)
	}
	if _, err := os.Stat(filepath.Join(b.spoolDir, "shop.task")); err == nil {
		t.Error("the service is still held")
	}
}

// watchTask gives a function that waits until the task's done file is there.
func (b *bed) watchTask(id string) (wait func()) {
	b.t.Helper()
	task, err := spool.OpenTask(b.spoolDir, id, nil)
	b.must(err)
	watch, err := spool.NewWatch()
	b.must(err)
	b.must(watch.AddTask(task))
	b.t.Cleanup(func() { watch.Close(); task.Close() })
	return func() {
		b.t.Helper()
		for {
			if _, err := os.Stat(filepath.Join(b.spoolDir, id, "done")); err == nil {
				return
			}
			_, err := watch.Next()
			b.must(err)
		}
	}
}

// supervisorOf gives the pid of a task's supervisor.
func (b *bed) supervisorOf(id string) int {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.spoolDir, id, "started"))
	b.must(err)
	_, after, ok := strings.Cut(string(text), `"pid":`)
	digits := strings.TrimRight(after, "}\n")
	pid, err := strconv.Atoi(digits)
	if !ok || err != nil {
		b.t.Fatalf("no pid in %s", text)
	}
	return pid
}

func TestASupervisorKilledIsUnknownAndNeverRunsAgain(t *testing.T) {
	t.Parallel()
	for _, both := range []bool{false, true} {
		t.Run(fmt.Sprintf("agent too: %t", both), func(t *testing.T) {
			b := newBed(t)
			wait, open := b.gate()
			digest := b.witnessed(wait)
			r := b.start()
			e := b.envelope(digest)
			s := b.seal(e)
			_, err := r.put(s, e.Task)
			b.must(err)
			r.printed(e.Task, "waiting")
			if both {
				r.kill()
			}
			b.must(unix.Kill(b.supervisorOf(e.Task), unix.SIGKILL))
			if both {
				r = b.start()
			}
			status := r.until(e.Task, done)
			if status.Outcome != protocol.OutcomeUnknown || !strings.Contains(status.Error, "killed") {
				t.Errorf("the task is %+v", status)
			}
			again, err := r.put(s, e.Task)
			b.must(err)
			if again.Outcome != protocol.OutcomeUnknown {
				t.Errorf("sent again, it is %+v", again)
			}
			open() // the script was left alone, and ends
			if n := b.witness("began", e.Task); n != 1 {
				t.Errorf("executed %d times", n)
			}
		})
	}
}

// plant puts a task into the spool as an agent would that died right after.
func (b *bed) plant(e protocol.Envelope, started *spool.Started) {
	b.t.Helper()
	store, err := spool.Open(spool.Config{Dir: b.spoolDir})
	b.must(err)
	defer store.Close()
	b.must(store.Receive(e, spool.Received{Sealed: b.seal(e).Sealed, Epoch: 1, ReceivedAt: time.Now(), BootID: host.BootID()}))
	if started != nil {
		task, err := spool.OpenTask(b.spoolDir, e.Task, nil)
		b.must(err)
		defer task.Close()
		b.must(task.Start(*started))
	}
}

func TestRecovery(t *testing.T) {
	long := 40 * time.Second
	for name, c := range map[string]struct {
		age     time.Duration
		started *spool.Started
		outcome protocol.Outcome
		ran     int
		says    string
	}{
		"received, still good":      {0, nil, protocol.OutcomeSucceeded, 1, ""},
		"received, over":            {long, nil, protocol.OutcomeNotStarted, 0, "over before it could start"},
		"started by another boot":   {0, &spool.Started{BootID: "another"}, protocol.OutcomeUnknown, 0, "host was restarted"},
		"started by this boot":      {0, &spool.Started{BootID: host.BootID()}, protocol.OutcomeUnknown, 0, "killed"},
		"ended before it could run": {0, &spool.Started{Void: true}, protocol.OutcomeNotStarted, 0, "before it started"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			e := b.envelope(b.witnessed(""))
			e.NotBefore, e.Expiry = e.NotBefore.Add(-c.age), e.Expiry.Add(-c.age)
			b.plant(e, c.started)
			r := b.start()
			s := r.until(e.Task, done)
			if s.Outcome != c.outcome || !strings.Contains(s.Error, c.says) {
				t.Errorf("the task is %+v", s)
			}
			if n := b.witness("began", e.Task); n != c.ran {
				t.Errorf("executed %d times", n)
			}
			second := b.envelope(e.Digest) // the service is free
			r.submit(second)
			r.until(second.Task, done)
		})
	}
}

func TestAForgottenIdNeverRuns(t *testing.T) {
	b := newBed(t)
	digest := b.witnessed("")
	e := b.envelope(digest)
	r := b.start()
	_, err := r.get(e.Task)
	wantCode(t, err, restart.CodeNotFound)
	stone, err := r.forget(e, 1)
	b.must(err)
	if stone.Stage != "" || stone.Outcome != "" {
		t.Errorf("tombstone %+v", stone)
	}
	_, err = r.put(b.seal(e), e.Task)
	wantCode(t, err, restart.CodeTombstone)
	_, err = r.forget(e, 0)
	wantCode(t, err, restart.CodeInvalid)
	if n := b.witness("began", e.Task); n != 0 {
		t.Errorf("executed %d times", n)
	}
}

func TestTheHourlyLimitOfAService(t *testing.T) {
	b := newBed(t)
	b.extra = "task_rate_per_hour: 2\n"
	digest := b.witnessed("")
	r := b.start()
	for range 2 {
		e := b.envelope(digest)
		r.submit(e)
		r.until(e.Task, done)
		_, err := r.forget(e, 1)
		b.must(err)
	}
	r.kill() // the next agent remembers
	r = b.start()
	e := b.envelope(digest)
	_, err := r.put(b.seal(e), e.Task)
	wantCode(t, err, restart.CodeBusy)
}
