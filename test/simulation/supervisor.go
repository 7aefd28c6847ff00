package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

var errNoRoom = fmt.Errorf("the disk is sick: %w", unix.ENOSPC)

// supervisor is the process beside the agent that does one task's work: the
// order of its steps is that of package supervisor, over the same spool.
type supervisor struct {
	m      *machine
	task   string
	p      *process
	wished chan struct{}
}

func (m *machine) startSupervisor(id string) {
	m.w.made++
	s := &supervisor{m: m, task: id, p: &process{name: fmt.Sprintf("%s supervisor %d", m.name, m.w.made)}, wished: make(chan struct{}, 1)}
	begun := false
	defer func() {
		if !begun { // also by a crash
			m.disk.Kill(s.p.name)
		}
	}()
	// The lock that says that it lives is taken before it begins.
	task, err := spool.OpenTaskOn(m.disk.Root(s.p.name), id)
	if err == nil {
		_, err = task.Lock()
	}
	if err != nil {
		m.w.log("%s: no supervisor for %s: %v", m.name, id, err)
		return
	}
	begun = true
	m.sups[id] = s
	m.w.spawn(s.p, func() {
		power := false
		func() {
			defer func() {
				if r := recover(); r != nil {
					if r != any(errCrash) {
						panic(r)
					}
					m.w.log("%s: supervisor of %s crashed", m.name, id)
					power, m.power = m.power, false
				}
			}()
			if err := s.supervise(task); err != nil {
				m.w.log("%s: supervisor of %s gave up: %v", m.name, id, err)
			}
		}()
		s.ended()
		if power {
			s.m.w.after(0, s.m.cutPower)
		}
	})
}

// ended frees what it held.
func (s *supervisor) ended() {
	s.p.dead = true
	s.m.disk.Kill(s.p.name)
	if s.m.sups[s.task] == s {
		delete(s.m.sups, s.task)
	}
	s.m.w.physical.stopped(s.m, s.task)
	s.m.attend()
}

// kill is kill -9 of the supervisor.
func (s *supervisor) kill() {
	s.m.w.log("%s: supervisor of %s is killed", s.m.name, s.task)
	s.m.w.kill(s.p)
	s.ended()
}

func (s *supervisor) heed() {
	select {
	case s.wished <- struct{}{}:
	default:
	}
}

// pass lets time go by; false means that somebody wishes the task ended.
func (s *supervisor) pass(task *spool.Task, d time.Duration) bool {
	until := s.m.w.now + d
	for {
		if wished, err := task.Wished(); err == nil && wished {
			return false
		}
		left := until - s.m.w.now
		if left <= 0 {
			return true
		}
		s.m.w.wait(context.Background(), min(left, 2*time.Second), s.wished)
	}
}

func (s *supervisor) supervise(task *spool.Task) error {
	w := s.m.w
	w.wait(context.Background(), w.between(0, 30*time.Millisecond))
	received, err := task.Received()
	if err != nil {
		return err
	}
	e, err := received.Envelope() // the agent has verified it; that the supervisor does so too changes nothing here
	if err != nil {
		return err
	}
	status := protocol.TaskStatus{Task: e.Task, Run: e.Run, Service: e.Service, Stage: restart.StageReceived, Revision: 1, ReceivedAt: received.ReceivedAt}
	refuse := func(why string) error {
		now := s.m.now()
		err := task.Start(spool.Started{At: now, BootID: s.m.bootID(), Void: true})
		if errors.Is(err, spool.ErrStarted) {
			return nil
		}
		if err != nil {
			return err
		}
		status.Outcome, status.Error = protocol.OutcomeNotStarted, why
		return s.finish(task, status)
	}
	if wished, err := task.Wished(); err != nil || wished {
		return refuse("cancelled before it started")
	}
	if err := e.CheckTime(s.m.now()); err != nil {
		return refuse(err.Error())
	}
	w.wait(context.Background(), w.between(0, 10*time.Millisecond))
	now := s.m.now()
	switch err := task.Start(spool.Started{At: now, BootID: s.m.bootID(), PID: 1}); {
	case errors.Is(err, spool.ErrStarted):
		return nil
	case err != nil:
		return err
	}
	status.Stage, status.StartedAt = restart.StageStarted, &now
	s.work(task, e, &status)
	return s.finish(task, status)
}

// work is what happens to the service, seen by the witness.
func (s *supervisor) work(task *spool.Task, e protocol.Envelope, status *protocol.TaskStatus) {
	w := s.m.w
	end := func(outcome protocol.Outcome, phase protocol.Phase, why string) {
		status.Outcome, status.FailedPhase, status.Error = outcome, phase, why
	}
	s.tell(task, status, protocol.PhaseRun)
	w.physical.executed(s.m, e)
	if !s.pass(task, w.between(10*time.Millisecond, w.plan.scriptTime)) {
		end(protocol.OutcomeCancelled, protocol.PhaseRun, "run: cancelled")
		return
	}
	if s.m.failing {
		end(protocol.OutcomeFailed, protocol.PhaseRun, "run: the script ended with exit status 3")
		return
	}
	s.tell(task, status, protocol.PhaseHealth)
	if !s.pass(task, w.between(10*time.Millisecond, w.plan.healthTime)) {
		end(protocol.OutcomeCancelled, protocol.PhaseHealth, "health: cancelled")
		return
	}
	if s.m.broken {
		end(protocol.OutcomeFailed, protocol.PhaseHealth, "health: not healthy within its deadline")
		return
	}
	w.physical.healthy(s.m, e.Task)
	status.Outcome = protocol.OutcomeSucceeded
}

func (s *supervisor) tell(task *spool.Task, status *protocol.TaskStatus, phase protocol.Phase) {
	status.Phase = phase
	status.Revision++
	if err := task.Progress(*status); err != nil {
		s.m.w.log("%s: progress of %s can't be told: %v", s.m.name, s.task, err)
	}
	s.m.attend()
}

func (s *supervisor) finish(task *spool.Task, status protocol.TaskStatus) error {
	now := s.m.now()
	status.Stage, status.FinishedAt, status.Phase = restart.StageDone, &now, ""
	status.Revision++
	return task.Done(status)
}
