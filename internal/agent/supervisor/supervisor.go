package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// errCancelled is why a context ends when somebody wishes the task ended.
var errCancelled = errors.New("cancelled")

// Main is a supervisor's whole life: job on stdin, lock on LockFD, own messages
// on stderr. It gives the process's exit status, which nobody needs: how the
// task went is in the spool.
func Main() int {
	KeepDescriptors() // no script may have them, the lock least of all
	unix.Umask(0o077)
	os.WriteFile("/proc/self/comm", []byte("restartilka-sup"), 0) //nolint:errcheck // only a name for ps; else it is "exe"
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	j, err := readJob(os.Stdin)
	if err != nil {
		log.Error("supervisor can't begin", "error", err)
		return 1
	}
	log = log.With("task_id", j.Task)
	if err := Supervise(context.Background(), j, log); err != nil {
		log.Error("supervisor gave up", "error", err)
		return 1
	}
	return 0
}

// KeepDescriptors keeps every descriptor above 2 from programs that are started
// from here on: those that this process inherited as well.
func KeepDescriptors() {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	// before Linux 5.11
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		unix.CloseOnExec(LockFD)
		return
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}

// Supervise does one task's work. It returns nil when how the task ended is in
// the spool, or when somebody else has the right to run it.
func Supervise(ctx context.Context, j Job, log *slog.Logger) error {
	return supervise(ctx, j, log, nil, nil)
}

// Simulate is Supervise within this process, with two parts replaced: sync
// stands for fsync(2), and run for the execution of a script's text. Everything
// else is real. It is for measuring a server against more hosts than there are.
func Simulate(ctx context.Context, j Job, log *slog.Logger, sync spool.Sync, run func(ctx context.Context, text string) (exit int, err error)) error {
	return supervise(ctx, j, log, sync, simulated(run))
}

// simulated runs no process.
type simulated func(ctx context.Context, text string) (int, error)

func (run simulated) run(ctx context.Context, s script) (int, error) { return run(ctx, s.text) }

// dump takes one that says nothing.
func (run simulated) dump(ctx context.Context, _ capture.Job, _ host.User, emit func(capture.Captured) error) error {
	if _, err := run(ctx, ""); err != nil {
		return err
	}
	return emit(capture.Captured{Header: dump.Header{PID: 1, Runtime: dump.Process, Method: capture.MethodProc, Taken: time.Now(), Number: 1, Of: 1}, Raw: []byte("\n")})
}

// supervise does the work; no scripts means that they are processes.
func supervise(ctx context.Context, j Job, log *slog.Logger, sync spool.Sync, scripts scripts) error {
	task, err := spool.OpenTask(j.Spool, j.Task, sync)
	if err != nil {
		return err
	}
	defer task.Close()
	received, err := task.Received()
	if err != nil {
		return err
	}
	t := &tour{job: j, task: task, scripts: scripts, log: log}
	t.status, err = statusOf(received)
	if err != nil {
		return err
	}
	if t.envelope, t.work, err = verify(j, received); err != nil {
		return t.refuse(err)
	}
	log = log.With("run_id", t.envelope.Run, "service", t.envelope.Service)
	t.log = log

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := t.heed(cancel)
	defer stop()
	t.prepare()
	// The last look before the point of no return.
	if wished, err := task.Wished(); err != nil || wished {
		return t.refuse(restart.Errorf(restart.CodeConflict, "cancelled before it started"))
	}
	if err := t.envelope.CheckTime(time.Now()); err != nil {
		return t.refuse(err)
	}
	now := time.Now().UTC()
	switch err := task.Start(spool.Started{At: now, BootID: host.BootID(), PID: os.Getpid(), Scriptless: t.scriptless()}); {
	case errors.Is(err, spool.ErrStarted):
		log.Info("another has the right to run this task")
		return nil
	case err != nil:
		return err
	}
	t.status.Stage, t.status.StartedAt = restart.StageStarted, &now
	t.status.Revision = 2 // what an agent that sees only "started" gives it: the first phase must come after that
	t.walk(ctx)
	return t.finish()
}

// verify judges again, from the spool's bytes and the host's own files, what
// the agent has judged before: nothing runs on another's word.
func verify(j Job, r spool.Received) (protocol.Envelope, host.Work, error) {
	keys := j.Keys
	if protocol.IsLocal(r.Sealed) {
		// Begun by root on this host: only the key that lies in the spool says so,
		// and no key that came with the job.
		var err error
		if keys, err = spool.LocalKeys(j.Spool); err != nil {
			return protocol.Envelope{}, host.Work{}, restart.Errorf(restart.CodeBadSignature, "the host's own key can't be used: %v", err).Because(err)
		}
	}
	e, err := protocol.Open(r.Sealed, keys)
	if err != nil {
		return e, host.Work{}, err
	}
	if e.Task != j.Task {
		return e, host.Work{}, restart.Errorf(restart.CodeInvalid, "the folder of task %s holds the envelope of task %s", j.Task, e.Task)
	}
	if err := e.CheckTime(time.Now()); err != nil {
		return e, host.Work{}, err
	}
	w, err := j.Host.Resolve(e)
	return e, w, err
}

// statusOf begins a task's status with what is known from its envelope.
func statusOf(r spool.Received) (protocol.TaskStatus, error) {
	e, err := r.Envelope()
	if err != nil {
		return protocol.TaskStatus{}, fmt.Errorf("read the envelope: %w", err)
	}
	return protocol.TaskStatus{
		Task: e.Task, Run: e.Run, Service: e.Service, Stage: restart.StageReceived, Revision: 1, ReceivedAt: r.ReceivedAt,
	}, nil
}

// refuse ends the task before it has started. The right to run is taken first:
// whoever comes later finds it gone.
func (t *tour) refuse(why error) error {
	now := time.Now().UTC()
	err := t.task.Start(spool.Started{At: now, BootID: host.BootID(), PID: os.Getpid(), Void: true})
	if errors.Is(err, spool.ErrStarted) {
		return nil
	}
	if err != nil {
		return err
	}
	t.status.Outcome, t.status.Error = protocol.OutcomeNotStarted, sentence(why)
	return t.finish()
}

// heedTick is how often the wish to cancel is looked for where the kernel does
// not tell of it.
const heedTick = time.Second

// heed calls cancel when somebody wishes the task ended.
func (t *tour) heed(cancel context.CancelCauseFunc) (stop func()) {
	told := make(chan struct{})
	watch, err := spool.NewWatch()
	if err == nil {
		err = watch.AddTask(t.task)
	}
	if err != nil { // too many watches on this host, perhaps
		t.log.Warn("the wish to cancel is looked for once a second only", "error", err)
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		for watch != nil {
			if _, err := watch.Next(); err != nil {
				return
			}
			select {
			case told <- struct{}{}:
			case <-end:
				return
			}
		}
	}()
	go func() {
		defer close(done)
		tick := time.NewTicker(heedTick)
		defer tick.Stop()
		events := told
		for {
			if wished, err := t.task.Wished(); err == nil && wished {
				cancel(errCancelled)
				return
			}
			select {
			case _, ok := <-events:
				if !ok {
					events = nil
				}
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		if watch != nil {
			watch.Close()
		}
		<-done
		for range told { // until its goroutine has ended
		}
	}
}

// sentence makes an error fit for a status: one escaped line, bounded.
func sentence(err error) string {
	const most = 1000
	text := restart.Escape(err.Error())
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
