//go:build !race

package spool_test

import (
	"fmt"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
)

// act is one thing that an agent or a supervisor does to a task, and what it promises by that.
type act struct {
	name string
	by   by
	do   func(c *crashing, e protocol.Envelope, p *promises) error
}

type by int

const (
	byAgent by = iota
	bySupervisor
)

var acts = []act{
	{"receive", byAgent, func(c *crashing, e protocol.Envelope, p *promises) error {
		if c.grave[e.Task] {
			return nil
		}
		err := c.agent.Receive(e, receivedAs(e))
		if err == nil {
			p.received, p.epoch = true, 3
			c.known[e.Task] = spool.Record{ID: e.Task}
		}
		return err
	}},
	{"start", bySupervisor, func(c *crashing, e protocol.Envelope, p *promises) error {
		if !c.knows(e) {
			return nil
		}
		t := c.supervisor(e.Task)
		if t == nil {
			return nil
		}
		if r, err := t.Received(); err != nil || r.Epoch != 3 {
			return err
		}
		c.started++
		pid := c.started
		err := t.Start(spool.Started{At: noon, PID: pid})
		if err == nil {
			if p.pid != 0 || p.voided || p.buried {
				c.failf("%s is started by %d; promised before: %+v", e.Task, pid, *p)
			}
			p.pid, t.runs = pid, true
		}
		return err
	}},
	{"evidence", bySupervisor, func(c *crashing, e protocol.Envelope, p *promises) error {
		if t := c.sups[e.Task]; t != nil && t.runs {
			if err := t.Evidence([]protocol.EvidenceItem{{}}); err != nil {
				return err
			}
			p.evidence = true
		}
		return nil
	}},
	{"dump", bySupervisor, func(c *crashing, e protocol.Envelope, p *promises) error {
		if t := c.sups[e.Task]; t != nil && t.runs && t.dumps < protocol.MaxDumps {
			// The number is the next whether the last one was kept or not.
			t.dumps++
			if err := t.Dump(t.dumps, []byte(e.Task)); err != nil {
				return err
			}
			p.dumps = t.dumps
		}
		return nil
	}},
	{"progress", bySupervisor, func(c *crashing, e protocol.Envelope, p *promises) error {
		if t := c.sups[e.Task]; t != nil && t.runs {
			return t.Progress(protocol.TaskStatus{Task: e.Task, Revision: 2})
		}
		return nil
	}},
	{"done", bySupervisor, func(c *crashing, e protocol.Envelope, p *promises) error {
		t := c.sups[e.Task]
		if t == nil || !t.runs {
			return nil
		}
		err := t.Done(doneStatus(e, protocol.OutcomeSucceeded))
		if err == nil {
			p.done, p.outcome = true, protocol.OutcomeSucceeded
		}
		return err
	}},
	{"raise", byAgent, func(c *crashing, e protocol.Envelope, p *promises) error {
		if !p.received {
			return nil
		}
		epoch := p.epoch + 1
		err := c.agent.Raise(e.Task, epoch)
		if err == nil {
			p.epoch = epoch
		}
		return err
	}},
	{"wish", byAgent, func(c *crashing, e protocol.Envelope, _ *promises) error { return c.agent.Wish(e.Task) }},
	{"settle as not started", byAgent, func(c *crashing, e protocol.Envelope, p *promises) error {
		return c.settle(e, p, protocol.OutcomeNotStarted)
	}},
	{"settle as unknown", byAgent, func(c *crashing, e protocol.Envelope, p *promises) error {
		if r, err := c.agent.Read(e.Task); err != nil || r.Started == nil || c.sups[e.Task] != nil {
			return err
		}
		return c.settle(e, p, protocol.OutcomeUnknown)
	}},
	{"bury", byAgent, func(c *crashing, e protocol.Envelope, p *promises) error {
		if r, err := c.agent.Read(e.Task); err == nil && r.Done == nil {
			return nil // the agent refuses
		}
		p.burying = true
		err := c.agent.Bury(stoneFor(e))
		if err == nil {
			p.buried, c.grave[e.Task] = true, true
		}
		return err
	}},
	{"end", bySupervisor, func(c *crashing, e protocol.Envelope, _ *promises) error {
		if t := c.sups[e.Task]; t != nil {
			delete(c.sups, e.Task)
			return t.lock.Close()
		}
		return nil
	}},
}

// knows tells whether the agent works on a task: what it could not receive may
// have left something behind, which it does not touch before its next start.
func (c *crashing) knows(e protocol.Envelope) bool {
	_, known := c.known[e.Task]
	return known && !c.grave[e.Task]
}

func (c *crashing) settle(e protocol.Envelope, p *promises, as protocol.Outcome) error {
	if !c.knows(e) {
		return nil
	}
	before, err := c.agent.Read(e.Task)
	if err != nil {
		return err
	}
	kept, err := c.agent.Settle(e.Task, doneStatus(e, as), spool.Started{At: noon})
	if err != nil {
		return err
	}
	if p.done && kept.Outcome != p.outcome {
		c.failf("%s has ended as %s, and is settled as %s", e.Task, p.outcome, kept.Outcome)
	}
	if before.Done != nil {
		return nil // its writer may have crashed before it was durable: it promised nothing
	}
	p.done, p.outcome = true, kept.Outcome
	p.voided = kept.Outcome == protocol.OutcomeNotStarted
	return nil
}

func receivedAs(e protocol.Envelope) spool.Received {
	payload := fmt.Appendf(nil, `{"version":1,"task":%q,"run":%q,"host":"web1","service":%q}`, e.Task, e.Run, e.Service)
	return spool.Received{Sealed: protocol.Sealed{Payload: payload, KeyID: "k"}, Epoch: 3, ReceivedAt: noon}
}
