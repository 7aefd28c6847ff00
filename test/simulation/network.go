package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

var (
	errReset  = errors.New("connection reset")
	errSilent = errors.New("no answer in time")
)

// link is the way between a server and a host.
type link struct {
	deaf bool // what the server sends does not arrive
	mute bool // what the host answers does not
	// open tells that there is a connection, so that a partition is met in the
	// middle of a request and not at the handshake.
	open bool
}

// calls are a server's orchestrator.Agents: each call is a request and an
// answer, which may be lost, late, doubled and overtaken on their way. What is
// known after a call is what dispatch.Client says: nothing was sent
// (NotSentError), the agent said no (RefusedError), or nothing is known.
type calls struct {
	s *server
	p *process
}

// answer is what came back.
type answer struct {
	status any
	err    error
}

// call sends a request and waits for its answer. do is what the agent does, on
// its host; it may be done twice.
func (c calls) call(ctx context.Context, host restart.Host, verb string, do func(*machine, func(any, error))) (any, error) {
	w := c.s.w
	m := w.machines[host.Name]
	l := c.s.links[host.Name]
	w.wait(ctx, w.between(0, time.Millisecond)) // who is killed here has sent nothing
	if ctx.Err() != nil {
		return nil, errSilent
	}
	if !l.open {
		switch {
		case l.deaf || l.mute || !m.up:
			w.wait(ctx, 3*time.Second)
			return nil, dispatch.Unreached(host.Name, dispatch.Silent)
		case m.agent == nil:
			w.wait(ctx, w.between(0, time.Millisecond))
			return nil, dispatch.Unreached(host.Name, dispatch.Closed)
		}
		l.open = true
	}
	w.log("%s → %s: %s", c.p.name, host.Name, verb)
	w.events++
	var got *answer
	arrived := make(chan struct{}, 1)
	take := func(a answer) {
		if got == nil {
			got = &a
			arrived <- struct{}{}
		}
	}
	c.send(m, l, verb, do, take)
	w.wait(ctx, never, arrived)
	if got == nil {
		if ctx.Err() != nil && w.chance(2) {
			l.open = false // as dispatch does: the next call makes a new one
		}
		return nil, errSilent
	}
	if got.err == nil {
		return got.status, nil
	}
	if errors.Is(got.err, errReset) {
		l.open = false
		return nil, got.err
	}
	if e, ok := errors.AsType[*restart.Error](got.err); ok && e.Code != restart.CodeInternal {
		return nil, &dispatch.RefusedError{Err: e}
	}
	return nil, got.err // the agent's own trouble: "internal error"
}

// send brings the request to its host, perhaps.
func (c calls) send(m *machine, l *link, verb string, do func(*machine, func(any, error)), take func(answer)) {
	w := c.s.w
	if !m.up {
		return // silence
	}
	fate := w.fate()
	if fate != fateFine {
		w.met(string(fate))
	}
	late := w.between(0, 20*time.Millisecond)
	life := m.life // a connection does not outlive its agent
	deliver := func(take func(answer)) {
		switch {
		case l.deaf || !m.up:
		case m.agent == nil, m.life != life:
			take(answer{nil, errReset})
		default:
			c.serve(m, l, verb, do, take)
		}
	}
	nobody := func(answer) {}
	switch fate {
	case fateRequestLost:
		return
	case fateAnswerLost:
		w.after(late, func() { deliver(nobody) })
	case fateReset: // and yet it may arrive
		w.after(late/2, func() { take(answer{nil, errReset}) })
		if w.chance(2) {
			w.after(late+w.between(0, 40*time.Second), func() { deliver(nobody) })
		}
	case fateLate:
		w.after(w.between(time.Second, 60*time.Second), func() { deliver(take) })
	case fateDoubled:
		w.after(late, func() { deliver(take) })
		for range 1 + w.rng.IntN(3) {
			w.after(w.between(0, 50*time.Second), func() { deliver(nobody) })
		}
	default:
		w.after(late, func() { deliver(take) })
	}
}

// obeyed is told of each order of a server that an agent has followed: once it
// has followed a later server of a run, it follows no earlier one.
func (m *machine) obeyed(verb, run string, epoch int64, err error) {
	if err != nil {
		return
	}
	if epoch < m.highest[run] {
		m.w.violated("%s has followed a %s of epoch %d of run %s, after one of epoch %d", m.name, verb, epoch, run, m.highest[run])
	}
	m.highest[run] = max(m.highest[run], epoch)
}

// serve lets the agent do what it is asked, and brings its answer back.
func (c calls) serve(m *machine, l *link, verb string, do func(*machine, func(any, error)), take func(answer)) {
	w := c.s.w
	answered := false
	back := func(status any, err error) {
		answered = true
		w.after(w.between(0, 20*time.Millisecond), func() {
			if !l.mute {
				take(answer{status, err})
			}
		})
	}
	w.log("%s ← %s: %s arrives", m.name, c.p.name, verb)
	w.events++
	m.inHand = append(m.inHand, func() {
		if !answered {
			back(nil, errReset)
		}
	})
	m.act(func() {
		do(m, back)
		m.tell()
	})
}

func (c calls) Put(ctx context.Context, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
	w := c.s.w
	w.ledger.put(c.p, task, s)
	v, err := c.call(ctx, host, "PUT", func(m *machine, answer func(any, error)) {
		status, err := m.agent.Put(context.Background(), task, s)
		m.obeyed("PUT", w.ledger.runOf[task], s.Epoch, err)
		answer(status, err)
	})
	status, _ := v.(protocol.TaskStatus)
	return status, err
}

func (c calls) Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	v, err := c.call(ctx, host, "GET", func(m *machine, answer func(any, error)) {
		status, err := m.agent.Get(context.Background(), task)
		if err != nil || status.Revision > after || status.Stage == restart.StageDone || wait == 0 {
			answer(status, err)
			return
		}
		p := &poll{task: task, after: after, answer: answer}
		m.polls = append(m.polls, p)
		life := m.life
		m.w.after(wait, func() {
			for i, q := range m.polls {
				if q == p && m.agent != nil && m.life == life {
					m.polls = append(m.polls[:i], m.polls[i+1:]...)
					m.act(func() { answer(m.agent.Get(context.Background(), task)) })
					return
				}
			}
		})
	})
	status, _ := v.(protocol.TaskStatus)
	return status, err
}

func (c calls) Output(ctx context.Context, _ restart.Host, _ string, _ int64, _ func(protocol.Output) error) error {
	return nil
}

func (c calls) Cancel(ctx context.Context, host restart.Host, task string, msg protocol.Cancel) error {
	_, err := c.call(ctx, host, "cancel", func(m *machine, answer func(any, error)) {
		status, err := m.agent.Cancel(context.Background(), task, msg)
		m.obeyed("cancel", msg.Run, msg.Epoch, err)
		answer(status, err)
	})
	return err
}

func (c calls) Forget(ctx context.Context, host restart.Host, task string, msg protocol.Forget) (protocol.Tombstone, error) {
	v, err := c.call(ctx, host, "DELETE", func(m *machine, answer func(any, error)) {
		stone, err := m.agent.Forget(context.Background(), task, msg)
		m.obeyed("DELETE", msg.Run, msg.Epoch, err)
		answer(stone, err)
	})
	stone, _ := v.(protocol.Tombstone)
	return stone, err
}

func (c calls) Probe(ctx context.Context, host restart.Host, _ protocol.ProbeRequest) (protocol.ProbeReport, error) {
	v, err := c.call(ctx, host, "probe", func(m *machine, answer func(any, error)) {
		answer(protocol.ProbeReport{Sample: protocol.HealthSample{Healthy: c.s.w.physical.isHealthy(m)}}, nil)
	})
	report, _ := v.(protocol.ProbeReport)
	return report, err
}

// fate is what happens to one message.
type fate string

const (
	fateFine        fate = ""
	fateRequestLost fate = "request lost"
	fateAnswerLost  fate = "answer lost"
	fateReset       fate = "reset"
	fateLate        fate = "late"
	fateDoubled     fate = "doubled"
)

// fate draws what happens to a message: nothing, as a rule.
func (w *world) fate() fate {
	if w.plan.bad == 0 || w.calm || w.rng.IntN(100) >= w.plan.bad {
		return fateFine
	}
	all := []fate{fateRequestLost, fateAnswerLost, fateReset, fateLate, fateDoubled}
	return all[w.rng.IntN(len(all))]
}
