package agent

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// localOrigin is the way in of what root begins on the host.
const localOrigin = "host"

// rehearsed ends the detail of a record of a rehearsal.
const rehearsed = ", a rehearsal: no script is run"

// intend makes durable what is about to be begun on the host. It is called in
// turn, after everything else was found in order; what is not recorded is not
// begun.
func (a *Agent) intend(e protocol.Envelope, now time.Time) error {
	if id := a.holder(e.Service); id != "" {
		return a.busy(e.Service, id)
	}
	r := recordOf(e, audit.TaskIntent, now)
	r.Detail = "scenario " + e.Scenario
	if e.Only == protocol.OnlyRehearse {
		r.Detail += rehearsed
	}
	return diskFull(a.cfg.Local.Ledger.Append(r))
}

func recordOf(e protocol.Envelope, action audit.Action, at time.Time) audit.Record {
	return audit.Record{
		Time: at, Actor: e.Actor, Origin: localOrigin, Action: action, Run: e.Run, Task: e.Task, Attempt: e.Attempt, Service: e.Service,
		Environment: e.Environment, Host: e.Host, ScenarioDigest: e.Digest, Params: e.Params, Reason: e.Reason,
	}
}

// conclude writes the outcome of one task into the ledger, unless it is there.
func (a *Agent) conclude(id string, outcome protocol.Outcome, why string) error {
	entry, ok := a.cfg.Local.Ledger.Entry(id)
	if !ok || entry.Outcome != nil {
		return nil
	}
	r := entry.Intent
	r.Action, r.Time, r.Outcome, r.Detail = audit.TaskOutcome, a.cfg.Now().UTC(), string(outcome), why
	return a.cfg.Local.Ledger.Append(r)
}

// concludeAll writes the outcomes that a crash, or a full disk, has kept from
// the ledger. It is called in turn, or before anybody asks for anything.
func (a *Agent) concludeAll() error {
	if a.cfg.Local == nil {
		return nil
	}
	var all error
	for _, entry := range a.cfg.Local.Ledger.Entries() {
		if entry.Outcome != nil {
			continue
		}
		id := entry.Intent.Task
		a.mu.Lock()
		t, here := a.tasks[id]
		grave, buried := a.graves[id]
		var status protocol.TaskStatus
		if here {
			status = t.status
		}
		a.mu.Unlock()
		switch {
		case here && status.Stage == restart.StageDone:
			all = errors.Join(all, a.conclude(id, status.Outcome, status.Error))
		case here: // it goes on
		case buried:
			all = errors.Join(all, a.conclude(id, grave.Outcome, "its outcome was written down late"))
		case a.absent(id) != nil: // it may have been received: nothing is known
		default:
			all = errors.Join(all, a.conclude(id, protocol.OutcomeNotStarted, neverReceived))
		}
	}
	return all
}

const neverReceived = "it was asked for and never received: the agent ended in between, or the spool could not take it"

// chain gives the head of the host's own records; nil = there are none.
func (a *Agent) chain() *protocol.ChainHead {
	if a.cfg.Local == nil {
		return nil
	}
	return headOf(a.cfg.Local.Ledger)
}

// headOf gives what a server is told of a chain; nil = there is nothing in it.
func headOf(l *ledger.Ledger) *protocol.ChainHead {
	if l == nil {
		return nil
	}
	head := l.Durable()
	if head.Seq == 0 {
		return nil
	}
	return &protocol.ChainHead{Seq: head.Seq, Hash: head.Hash}
}

// LocalReport tells a server what was begun on this host itself: see
// protocol.LocalReport. A negative after is CodeInvalid.
func (a *Agent) LocalReport(ctx context.Context, after int64) (protocol.LocalReport, error) {
	if after < 0 {
		return protocol.LocalReport{}, restart.Errorf(restart.CodeInvalid, "after=%d is not acceptable: it counts from 0", after)
	}
	out := protocol.LocalReport{Host: a.cfg.Host.Name, Records: []json.RawMessage{}, Tasks: []protocol.LocalTask{}}
	if a.cfg.Local == nil {
		return out, nil
	}
	if err := a.take(ctx); err != nil {
		return out, err
	}
	err := a.concludeAll()
	a.give()
	if err != nil {
		return out, diskFull(err)
	}
	records, more, err := a.cfg.Local.Ledger.After(after, protocol.MaxLocalRecords)
	if err != nil {
		return out, err
	}
	out.More = more
	for _, r := range records {
		out.Records = append(out.Records, r.Canonical())
	}
	if head := a.chain(); head != nil {
		out.Head = *head
	}
	for _, entry := range a.cfg.Local.Ledger.Entries() {
		t, ok := a.localTask(entry)
		if !ok {
			continue
		}
		if len(out.Tasks) == protocol.MaxLocalTasks {
			out.More = true
			break
		}
		out.Tasks = append(out.Tasks, t)
	}
	return out, nil
}

// localTask tells of one task that no server has taken over; false where one
// has.
func (a *Agent) localTask(entry ledger.Entry) (protocol.LocalTask, bool) {
	r := entry.Intent
	if _, err := a.find(r.Task); restart.CodeOf(err) == restart.CodeUnavailable {
		return protocol.LocalTask{}, false // nothing is known of it for now
	}
	a.mu.Lock()
	t, here := a.tasks[r.Task]
	_, buried := a.graves[r.Task]
	if buried || !here && a.cfg.Now().Sub(r.Time) > protocol.TombstoneLife-48*time.Hour { // what is older may have had a tombstone
		a.mu.Unlock()
		return protocol.LocalTask{}, false
	}
	out := protocol.LocalTask{Intent: r.Canonical(), Envelope: protocol.Envelope{
		Version: protocol.Version, Task: r.Task, Run: r.Run, Attempt: r.Attempt, Host: r.Host, Service: r.Service, Environment: r.Environment,
		Digest: r.ScenarioDigest, Params: r.Params, Actor: r.Actor, Reason: r.Reason, NotBefore: r.Time, Expiry: r.Time.Add(protocol.Lifetime),
	}}
	if here {
		out.Envelope, out.Status = t.envelope, t.status
	}
	a.mu.Unlock()
	if !here {
		out.Status = protocol.TaskStatus{
			Task: r.Task, Run: r.Run, Service: r.Service, Stage: restart.StageDone, Revision: 1, Outcome: protocol.OutcomeNotStarted,
			Error: neverReceived, ReceivedAt: r.Time, FinishedAt: &r.Time,
		}
	}
	if entry.Outcome != nil {
		out.Outcome = entry.Outcome.Canonical()
	}
	if s, err := a.cfg.Host.Trusted(r.ScenarioDigest, a.now()); err == nil {
		out.Kind, out.Envelope.Scenario = string(s.Kind), s.Name
	}
	out.Status.Health, out.Status.Warnings = nil, slices.Clip(out.Status.Warnings) // the rest comes with the task's own status
	return out, true
}
