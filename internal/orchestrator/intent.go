package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Trail knows how far what was recorded of a run has come on its way to the
// log. audit.Trail is one.
type Trail interface {
	// Secure waits until the run's newest intent, run.started or run.resumed with
	// its hosts, and what was recorded of the run since, has the level that is
	// needed. CodeAuditBacklog: it has not within the deadline. Any other error:
	// that could not be found out.
	Secure(ctx context.Context, run string) error
	// Late tells why no further host may be touched, because records wait here for
	// longer than the deadline; nil = it may.
	Late() error
}

// intentState is how far the newest intent of a run has come, as this walk
// knows it. A walk never believes another: it has seen so itself, since it
// claimed the run, and again after each pause.
type intentState string

// The states of an intent.
const (
	intentHolds intentState = "" // it has its level; or nothing is waited for
	intentDue   intentState = "due"
	intentAsked intentState = "asked"
	intentLate  intentState = "late" // it does not get its level in time
)

// secured gives what is to be done before a host of the batch is touched, and
// whether anything is: nothing, while the intent is on its way.
func secured(s snapshot) (c []command, waits bool) {
	switch s.intent {
	case intentHolds:
		return nil, false
	case intentDue:
		return []command{secure{}}, true
	case intentLate:
		return []command{pause{restart.CauseAuditBacklog, s.backlog}}, true
	}
	return nil, true
}

// standing gives the intent's state for a snapshot, and why it is late.
func (l *loop) standing(run restart.Run) (intentState, string) {
	if !l.awaits(run) {
		return intentHolds, ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.intent, l.backlog
}

// awaits tells whether a run waits for the log. Broken glass waives that: its
// intent is in the database first all the same, and shipped later.
func (l *loop) awaits(run restart.Run) bool {
	return l.o.cfg.Trail != nil && !run.Waives(restart.SafeguardRemoteLog)
}

// secure has the trail waited for, beside the walk: a person who stops the run
// meanwhile is obeyed at once.
func (l *loop) secure(ctx context.Context, run restart.Run) {
	sctx, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	l.intent, l.endWait = intentAsked, cancel
	l.waits++
	asked := l.waits
	l.mu.Unlock()
	run.Tasks = nil // the loop's own
	l.wg.Go(func() {
		defer cancel()
		now, why := l.ask(sctx, run)
		l.mu.Lock()
		if l.waits == asked { // else the run was paused meanwhile, and there is another intent
			l.intent, l.backlog = now, why
		}
		l.mu.Unlock()
		l.nudge()
	})
}

// ask waits for the trail, and tells what that gave.
func (l *loop) ask(ctx context.Context, run restart.Run) (intentState, string) {
	said := l.sayThatItWaits(ctx, run)
	err := l.o.cfg.Trail.Secure(ctx, run.ID)
	told := said()
	switch {
	case err == nil:
		if told || run.Explanation != "" { // by the server that had the run before, perhaps
			l.explain(ctx, run, "")
		}
		return intentHolds, ""
	case restart.CodeOf(err) == restart.CodeAuditBacklog:
		return intentLate, plainly(err)
	}
	if ctx.Err() == nil {
		l.o.log.Warn("find out whether an intent is in the log; trying again", "run_id", run.ID, "error", err)
		l.o.sleep(ctx, l.o.cfg.Poll, nil)
	}
	return intentDue, ""
}

// quickly is how soon the log has an intent, as a rule: a run that waits longer
// says what it waits for.
const quickly = time.Second

// sayThatItWaits explains a run once it has waited for the log for a while. The
// answer ends that, and tells whether it was said.
func (l *loop) sayThatItWaits(ctx context.Context, run restart.Run) (end func() bool) {
	ctx, cancel := context.WithCancel(ctx)
	saying, told := newCrew(l.o.cfg.Clock, 0), false
	saying.Go(func() {
		if l.o.sleep(ctx, quickly, nil) {
			told = true
			l.explain(ctx, run, "no host is touched before the log has the intent of this run")
		}
	})
	return func() bool {
		cancel()
		saying.Wait()
		return told
	}
}

// explain says of a running run what it waits for; "" = nothing any more.
func (l *loop) explain(ctx context.Context, run restart.Run, why string) {
	_, err := l.o.cfg.Runs.Apply(ctx, store.Change{
		RunID: run.ID, Fence: new(l.fence()), At: l.o.cfg.Clock.Now().UTC(),
		Run: &store.RunChange{From: []restart.RunState{restart.RunRunning}, Explanation: why, Explained: true},
	})
	if err == nil {
		l.o.cfg.Changed(run.ID)
	} else if ctx.Err() == nil {
		l.o.log.Debug("say what a run waits for", "run_id", run.ID, "error", err)
	}
}

// intentOver makes the next host wait for the next intent: the run is paused,
// and goes on by another one.
func (l *loop) intentOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.intent, l.backlog = intentDue, ""
	l.waits++
	if l.endWait != nil {
		l.endWait()
	}
}

// late tells why a run's next host may not be touched for the log's sake.
func (l *loop) late(run restart.Run) (restart.Cause, string) {
	if !l.awaits(run) {
		return "", ""
	}
	if err := l.o.cfg.Trail.Late(); err != nil {
		return restart.CauseAuditBacklog, plainly(err)
	}
	return "", ""
}

// plainly gives the sentence of an error without its code.
func plainly(err error) string {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e.Message
	}
	return err.Error()
}
