package orchestrator

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// settle turns the agent's outcome into the server's.
func (d *driver) settle(ctx context.Context, status protocol.TaskStatus) error {
	why := restart.Errorf(restart.Code(status.FailedPhase), "%s", status.Error)
	if status.Error == "" {
		why = nil
	}
	switch status.Outcome {
	case protocol.OutcomeSucceeded:
		return d.outcome(ctx, restart.TaskSucceeded, why, &status)
	case protocol.OutcomeFailed:
		return d.outcome(ctx, restart.TaskFailed, why, &status)
	case protocol.OutcomeTimedOut:
		return d.outcome(ctx, restart.TaskTimedOut, why, &status)
	case protocol.OutcomeNotStarted:
		return d.outcome(ctx, restart.TaskNotStarted, why, &status)
	case protocol.OutcomeCancelled:
		if d.run.Kind == restart.KindThreadDump {
			return d.outcome(ctx, restart.TaskCancelled, why, &status)
		}
		// A restart that was killed half-way: what the service is now is for a person to see.
		return d.outcome(ctx, restart.TaskUnknown, restart.Errorf("cancelled", "killed in the middle of its work; look at the service on this host"), &status)
	default:
		return d.outcome(ctx, restart.TaskUnknown, why, &status)
	}
}

// outcome commits the end of the task, its audit record and its outbox row in
// one transaction. Then the agent is told that it may forget.
func (d *driver) outcome(ctx context.Context, state restart.TaskState, why *restart.Error, status *protocol.TaskStatus) error {
	now := d.now().UTC()
	change := store.TaskChange{From: []restart.TaskState{d.task.State}, FinishedAt: &now}
	if status != nil {
		if state != restart.TaskNotStarted {
			change.Path = d.pathTo(restart.StageStarted)
		} else {
			change.Path = d.pathTo(restart.StageReceived)
		}
		change.Drained, change.Detail = &status.Drained, detail(*status)
		if state != restart.TaskUnknown { // how it ended is not known: nor is the rest
			change.ExitCode = status.ExitCode
		}
		change.Phase = clean(string(status.FailedPhase))
	}
	change.Path = append(change.Path, state)
	rec := d.record(audit.TaskOutcome, now)
	rec.Outcome, rec.Params = string(state), nil
	if status != nil {
		rec.Params = audit.HostHeads(head(status.Asked), head(status.Chain))
	}
	if why != nil {
		change.Cause, change.Error = clean(string(why.Code)), clean(why.Error())
		rec.Detail = change.Error
	}
	if err := d.apply(ctx, change, &rec); err != nil {
		return err
	}
	switch {
	case state == restart.TaskUnreachable: // it has nothing to forget
	case state == restart.TaskUnknown && (status == nil || status.Outcome == ""): // forgetLoop asks first what became of it
	default:
		d.l.forget(ctx, d.run, d.task, d.host)
	}
	return nil
}

// head takes over what a host says of one of its chains. Nonsense is kept, as
// it is: that is what the host has said.
func head(h *protocol.ChainHead) audit.Head {
	if h == nil {
		return audit.Head{}
	}
	return audit.Head{Seq: h.Seq, Hash: clean(h.Hash)}
}

// forget tells the agent that the outcome is stored. The walk does not wait
// for it: what is not told now is told later by forgetLoop.
func (l *loop) forget(ctx context.Context, run restart.Run, t restart.Task, host restart.Host) {
	l.wg.Go(func() {
		fctx, cancel := l.o.cfg.Clock.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := l.o.cfg.Agents.Forget(fctx, host, t.ID, protocol.Forget{Run: run.ID, Epoch: l.claim.Epoch}); err != nil {
			return
		}
		l.mu.Lock()
		l.reported = append(l.reported, t.ID)
		l.mu.Unlock()
	})
}

// apply commits one change of the task and remembers its new state.
func (d *driver) apply(ctx context.Context, c store.TaskChange, rec *audit.Record) error {
	c.ID = d.task.ID
	change := store.Change{RunID: d.run.ID, Fence: new(d.l.fence()), Tasks: []store.TaskChange{c}, At: d.now().UTC()}
	change.Going = slices.Contains(c.Path, restart.TaskIntentLogged) // no next host after a stop
	if rec != nil {
		change.Records = []audit.Record{*rec}
	}
	if _, err := d.l.o.cfg.Runs.Apply(ctx, change); err != nil {
		return err
	}
	d.task.State = c.Path[len(c.Path)-1]
	if d.task.State.Final() {
		d.l.o.cfg.Observer.TaskEnded(d.run.Kind, d.task.State, since(d.task.StartedAt, change.At))
	}
	if rec != nil {
		d.l.o.cfg.Committed()
	}
	d.l.o.cfg.Changed(d.run.ID)
	return nil
}

func (d *driver) record(action audit.Action, now time.Time) audit.Record {
	r := record(d.run, action, now)
	r.Task, r.Attempt, r.Host = d.task.ID, d.task.Attempt, d.host.Name
	return r
}

// mostKept bounds each list that an agent sends, in elements.
const mostKept = 100

// detail keeps what the agent said, for pages; its text is cleaned first, all
// of it but the evidence's own, which is shown as what it is.
func detail(s protocol.TaskStatus) json.RawMessage {
	s.Error, s.Containment = clean(s.Error), clean(s.Containment)
	s.Chain, s.Asked = nil, nil // they are in the record of the outcome
	s.Phase, s.FailedPhase = protocol.Phase(clean(string(s.Phase))), protocol.Phase(clean(string(s.FailedPhase)))
	s.Phases, s.Health = s.Phases[:min(len(s.Phases), mostKept)], s.Health[:min(len(s.Health), mostKept)]
	s.Warnings, s.Evidence = s.Warnings[:min(len(s.Warnings), mostKept)], s.Evidence[:min(len(s.Evidence), mostKept)]
	s.Dumps = s.Dumps[:min(len(s.Dumps), protocol.MaxDumps)]
	for i := range s.Dumps {
		s.Dumps[i] = CleanDump(s.Dumps[i])
	}
	for i := range s.Phases {
		s.Phases[i].Phase = protocol.Phase(clean(string(s.Phases[i].Phase)))
		s.Phases[i].Error = clean(s.Phases[i].Error)
	}
	for i := range s.Evidence {
		s.Evidence[i].Kind, s.Evidence[i].Error = clean(s.Evidence[i].Kind), clean(s.Evidence[i].Error)
	}
	for i := range s.Health {
		s.Health[i].Detail = clean(s.Health[i].Detail)
	}
	for i := range s.Warnings {
		s.Warnings[i] = clean(s.Warnings[i])
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil // a time outside the years of RFC 3339, from a host that lies: not worth keeping
	}
	return b
}

// clean bounds and escapes text from a host.
func clean(s string) string {
	const most = 2000
	if len(s) > most {
		s = s[:most] + "…"
	}
	return restart.Escape(s)
}
