package orchestrator

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Quiet keeps those who watch a host from alerting while a task works on it.
type Quiet interface {
	// Begin is told of a task before its host is asked, and takes a few seconds at
	// most; limit is the longest that the task can last from now. An error, which
	// is a sentence for people, says why the host must not be asked.
	Begin(ctx context.Context, run restart.Run, task restart.Task, host restart.Host, limit time.Duration) error
	// End is told when the task is over, or was not begun. What it can't do by the
	// end of ctx it does later.
	End(ctx context.Context, run restart.Run, task string)
}

// endTime bounds one End.
const endTime = 5 * time.Second

// quieten keeps others from alerting of the host. False means that the host must
// not be asked now: the loop looks why.
func (d *driver) quieten(ctx context.Context) (bool, error) {
	if d.l.o.cfg.Quiet == nil || !d.run.Silences() {
		return true, nil
	}
	began := d.now()
	limit := protocol.Lifetime + d.longestWork()
	if err := d.l.o.cfg.Quiet.Begin(ctx, d.run, d.task, d.host, limit); err != nil {
		if ctx.Err() == nil {
			d.log.Warn("the host is not touched", "error", err)
			d.l.holdBack(plainly(err))
		}
		return false, ctx.Err()
	}
	if took := d.l.o.since(began); took > promptly || took < 0 { // below 0: the clock was set back
		cause, _ := d.l.may(ctx, d.run) // a right may have gone meanwhile, or a freeze begun
		return cause == "", ctx.Err()
	}
	return true, ctx.Err()
}

// loud lets others alert of the host again. The walk waits only where the same
// task may be begun anew.
func (l *loop) loud(ctx context.Context, d *driver) {
	if l.o.cfg.Quiet == nil || !d.run.Silences() {
		return
	}
	end := func() {
		ectx, cancel := l.o.cfg.Clock.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		l.o.cfg.Quiet.End(ectx, d.run, d.task.ID)
	}
	if d.task.State == restart.TaskPlanned {
		end()
		return
	}
	l.wg.Go(end)
}

// holdBack keeps the run's next host from being touched: the loop pauses the run.
func (l *loop) holdBack(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heldFor == "" {
		l.heldFor = why
	}
}

// heldBack gives why hold was called, since the run last paused.
func (l *loop) heldBack() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.heldFor
}

// heldOver forgets why hold was called: the run is paused, and a resume tries
// anew.
func (l *loop) heldOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heldFor = ""
}
