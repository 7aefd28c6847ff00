package agent

import (
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// action is what has to be done about a task.
type action string

const (
	keep   action = "keep"   // nothing: only the status may be newer
	launch action = "launch" // start a supervisor
	settle action = "settle" // make it done, with the status, and free its service
)

// verdict says what has to be done about a task, and what its status is then.
type verdict struct {
	do     action
	status protocol.TaskStatus
}

// judge looks at a task's files, and whether its supervisor lives (asked before
// the files were read), and says what has to be done. It is pure.
func judge(r spool.Record, alive bool, launches int, now time.Time, bootID string) verdict {
	status := current(r)
	switch {
	case r.Done != nil:
		return verdict{settle, *r.Done}
	case alive:
		return verdict{keep, status}
	case r.Err != nil:
		return verdict{settle, ended(status, protocol.OutcomeUnknown, now, "what the spool says about this task can't be read: "+restart.Escape(r.Err.Error()))}
	case r.Started != nil && r.Started.Scriptless:
		return verdict{settle, ended(status, protocol.OutcomeFailed, now, interrupted(*r.Started, bootID))}
	case r.Started != nil && r.Started.Void:
		return verdict{settle, ended(status, protocol.OutcomeNotStarted, now, "it was ended before it started")}
	case r.Started != nil:
		return verdict{settle, ended(status, protocol.OutcomeUnknown, now, lost(*r.Started, status, bootID))}
	}
	if r.Received == nil { // its folder is not the agent's work any more
		return verdict{settle, ended(status, protocol.OutcomeUnknown, now, "what the spool had of this task is gone")}
	}
	e, err := r.Received.Envelope()
	switch {
	case err != nil:
		return verdict{settle, ended(status, protocol.OutcomeNotStarted, now, "its envelope can't be read: "+restart.Escape(err.Error()))}
	case e.CheckTime(now) != nil:
		return verdict{settle, ended(status, protocol.OutcomeNotStarted, now, "its envelope was over before it could start")}
	case launches >= maxLaunches:
		return verdict{settle, ended(status, protocol.OutcomeNotStarted, now, fmt.Sprintf("its supervisor ended %d times without a word: see the log in its folder of the spool", launches))}
	}
	return verdict{launch, status}
}

// lost says why nobody can know how a started task ended.
func lost(s spool.Started, status protocol.TaskStatus, bootID string) string {
	during := ""
	if status.Phase != "" {
		during = fmt.Sprintf(" in its phase %s", status.Phase)
	}
	if s.BootID != bootID {
		return fmt.Sprintf("the host was restarted%s, so it is not known how far the script came", duringOr(during))
	}
	return fmt.Sprintf("its supervising process was killed%s, so it is not known how far the script came; parts of it may still run", duringOr(during))
}

// interrupted says why a task that runs no script did not come to its end. That
// nothing was changed is known, whoever died: there was nothing that changes.
func interrupted(s spool.Started, bootID string) string {
	why := "its supervising process was killed"
	if s.BootID != bootID {
		why = "the host was restarted"
	}
	return "interrupted: " + why + " while dumps were taken; nothing was changed on the host, and it can be asked for again"
}

func duringOr(during string) string {
	if during == "" {
		return " while it ran"
	}
	return during
}

// current gives a task's status by its files, before any judgement.
func current(r spool.Record) protocol.TaskStatus {
	var s protocol.TaskStatus
	switch {
	case r.Progress != nil:
		s = *r.Progress
	case r.Received != nil:
		if e, err := r.Received.Envelope(); err == nil {
			s = received(e, *r.Received)
		}
	}
	s.Task = r.ID
	if r.Started != nil && !r.Started.Void {
		s.Stage = restart.StageStarted
		if s.StartedAt == nil {
			at := r.Started.At
			s.StartedAt = &at
		}
		s.Revision = max(s.Revision, 2)
	}
	return s
}

// received gives the status of a task that has just come.
func received(e protocol.Envelope, r spool.Received) protocol.TaskStatus {
	return protocol.TaskStatus{
		Task: e.Task, Run: e.Run, Service: e.Service, Stage: restart.StageReceived, Revision: 1, ReceivedAt: r.ReceivedAt,
	}
}

// ended gives the last status of a task whose supervisor has not written one.
func ended(s protocol.TaskStatus, outcome protocol.Outcome, now time.Time, why string) protocol.TaskStatus {
	now = now.UTC()
	s.Stage, s.Outcome, s.Error, s.FinishedAt = restart.StageDone, outcome, why, &now
	s.FailedPhase, s.Phase = s.Phase, ""
	s.Revision++
	return s
}
