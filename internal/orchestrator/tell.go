package orchestrator

import (
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// tell adds to a change of a run the messages about it.
func (l *loop) tell(change *store.Change, run restart.Run) error {
	event := eventOf(run, change.Run.To)
	if event == "" {
		return nil
	}
	messages, err := l.o.cfg.Tell(event, change.At, changed(run, *change))
	change.Messages = messages
	return err
}

// eventOf names what a run's way into a state is to those outside; "" is nothing.
func eventOf(run restart.Run, to restart.RunState) string {
	switch {
	case to == restart.RunRunning && run.StartedAt == nil:
		return wire.EventRunStarted
	case to == restart.RunPaused:
		return wire.EventRunPaused
	case to == restart.RunCompleted:
		return wire.EventRunFinished
	case to == restart.RunFailed, to == restart.RunAborted:
		return wire.EventRunFailed
	}
	return ""
}

// changed is the run as it stands once a change of it is committed.
func changed(run restart.Run, change store.Change) restart.Run {
	run.State, run.Cause, run.Explanation = change.Run.To, change.Run.Cause, change.Run.Explanation
	if change.Run.SetStarted {
		run.StartedAt = &change.At
	}
	if change.Run.SetFinished {
		run.FinishedAt = &change.At
	}
	ends := make(map[string]restart.TaskState, len(change.Tasks))
	for _, c := range change.Tasks {
		if len(c.Path) > 0 {
			ends[c.ID] = c.Path[len(c.Path)-1]
		}
	}
	if len(ends) > 0 {
		run.Tasks = slices.Clone(run.Tasks)
	}
	for i := range run.Tasks {
		if state, ended := ends[run.Tasks[i].ID]; ended {
			run.Tasks[i].State = state
		}
	}
	return run
}
