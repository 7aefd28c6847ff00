package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// watcher follows a task for a person. An agent that is restarted meanwhile is
// asked again; where none runs, the work of one is done in this process.
type watcher struct {
	settings       agent.Settings
	stdout, stderr io.Writer
	json           bool
	talk           bool // the task's output is talk: it goes to standard error
	// seen is shown each status as it comes; nil = nobody wants it
	seen  func(context.Context, protocol.TaskStatus)
	shown atomic.Int64 // bytes of the task's output

	mu   sync.Mutex
	here agent.OnHost
	done func()
}

func (w *watcher) open(ctx context.Context) error {
	here, done, err := agent.OpenHere(ctx, w.settings, quiet(w.stderr))
	if err != nil {
		return err
	}
	w.here, w.done = here, done
	return nil
}

func (w *watcher) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done != nil {
		w.done()
		w.done = nil
	}
}

// retryTime is the pause before an agent that went away is asked again.
const retryTime = 200 * time.Millisecond

// gone tells whether an error means that the agent is away, perhaps for a moment.
func gone(err error) bool {
	code := restart.CodeOf(err)
	return code == restart.CodeUnavailable || code == restart.CodeStopping
}

// again opens anew what was here before; another goroutine may have done so.
func (w *watcher) again(ctx context.Context, was agent.OnHost) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.here != was {
		return nil
	}
	if w.done != nil {
		w.done()
		w.done = nil
	}
	return w.open(ctx)
}

func (w *watcher) now() agent.OnHost {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.here
}

// try does something, once more where the agent went away in between.
func (w *watcher) try(ctx context.Context, do func(agent.OnHost) error) error {
	for {
		here := w.now()
		err := do(here)
		if err == nil || !gone(err) || ctx.Err() != nil {
			return err
		}
		if failed := w.again(ctx, here); failed != nil {
			return failed
		}
		select { // an agent that answers and breaks off is not asked without end
		case <-time.After(retryTime):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follow shows a task's phases and output until its end, and gives the exit
// status. The end of ctx detaches: the task goes on.
func (w *watcher) follow(ctx context.Context, status protocol.TaskStatus) int {
	id := status.Task
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	output := make(chan error, 1)
	go func() { output <- w.output(following, id) }()
	status, err := w.phases(following, status)
	if err == nil {
		err = <-output
	} else {
		cancel()
		<-output //nolint:errcheck // the first error counts
	}
	switch {
	case status.Stage == restart.StageDone: // the output may be with a server already
		return w.ended(status)
	case restart.CodeOf(err) == restart.CodeTombstone:
		return w.takenOver(ctx, id)
	case err != nil && ctx.Err() != nil:
		fmt.Fprintf(w.stderr, "detached: task %s goes on; come back with: restartilka-agent task %s\n", id, id)
		return exitInterrupted
	case err != nil:
		fmt.Fprintf(w.stderr, "task %s was begun, and can't be followed; look with: restartilka-agent task %s\n", id, id)
		return failLocal(w.stderr, err)
	}
	return exitWrong
}

// waitTime is how long one question for a newer status waits.
const waitTime = 10 * time.Second

// phases tells each phase as it begins, until the end.
func (w *watcher) phases(ctx context.Context, status protocol.TaskStatus) (protocol.TaskStatus, error) {
	id, said := status.Task, protocol.Phase("")
	for {
		if w.seen != nil {
			w.seen(ctx, status)
		}
		if status.Phase != "" && status.Phase != said {
			said = status.Phase
			w.await(ctx, status.OutputSize)
			fmt.Fprintf(w.stderr, "-- %s\n", restart.Escape(string(said)))
		}
		if status.Stage == restart.StageDone {
			return status, nil
		}
		after := status.Revision
		err := w.try(ctx, func(here agent.OnHost) error {
			s, err := here.Wait(ctx, id, after, waitTime)
			if err == nil {
				status = s
			}
			return err
		})
		if err != nil {
			return status, err
		}
	}
}

// await waits until what was printed before a phase began is shown before its
// heading; not for long, as it may have gone to a server already.
func (w *watcher) await(ctx context.Context, size int64) {
	for range 20 {
		if w.shown.Load() >= size {
			return
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// output copies a task's output to standard output; to standard error where
// what is asked for is something else.
func (w *watcher) output(ctx context.Context, id string) error {
	to := w.stdout
	if w.json || w.talk {
		to = w.stderr
	}
	offset := int64(0)
	return w.try(ctx, func(here agent.OnHost) error {
		return here.Output(ctx, id, offset, func(o protocol.Output) error {
			if o.Truncated > 0 {
				fmt.Fprintf(w.stderr, "-- truncated %d bytes\n", o.Truncated)
				offset = o.Offset + o.Truncated
				w.shown.Store(offset)
			}
			if len(o.Data) == 0 {
				return nil
			}
			offset = o.Offset + int64(len(o.Data))
			_, err := to.Write(o.Data)
			w.shown.Store(offset)
			return err
		})
	})
}

// ended says how a task ended.
func (w *watcher) ended(s protocol.TaskStatus) int {
	if w.json && !w.talk {
		if err := json.NewEncoder(w.stdout).Encode(s); err != nil {
			return failLocal(w.stderr, err)
		}
	}
	fmt.Fprintf(w.stderr, "task %s: %s\n", s.Task, s.Outcome)
	if s.Error != "" {
		fmt.Fprintf(w.stderr, "  %s\n", restart.Escape(s.Error))
	}
	for _, warning := range s.Warnings {
		fmt.Fprintf(w.stderr, "  warning: %s\n", restart.Escape(warning))
	}
	if s.Drained {
		fmt.Fprintln(w.stderr, "  the service is still out of the balancer here: its undrain step did not run")
	}
	fmt.Fprintln(w.stderr, "a server shows it as soon as it is in touch with this host")
	return endCode(s.Outcome)
}

// takenOver says how a task ended that a server has taken over meanwhile.
func (w *watcher) takenOver(ctx context.Context, id string) int {
	tasks, err := w.now().Tasks(ctx)
	if err != nil {
		return failLocal(w.stderr, err)
	}
	for _, t := range tasks {
		if t.Task != id {
			continue
		}
		if w.json && !w.talk {
			if err := json.NewEncoder(w.stdout).Encode(t); err != nil {
				return failLocal(w.stderr, err)
			}
		}
		fmt.Fprintf(w.stderr, "task %s: %s; a server has taken it over: restartilka show %s\n", id, t.Outcome, t.Run)
		return endCode(t.Outcome)
	}
	return failLocal(w.stderr, restart.Errorf(restart.CodeNotFound, "task %s was not begun on this host itself", id).WithHint("restartilka-agent task lists those that were"))
}
