package apitest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

// Behaviour is what a host does with a task.
type Behaviour string

// The behaviours.
const (
	Succeeds Behaviour = "" // the default
	Fails    Behaviour = "fails"
	Hangs    Behaviour = "hangs" // until it is cancelled, or told to succeed
	Away     Behaviour = "away"  // its agent does not answer
	Sick     Behaviour = "sick"  // its service is not healthy; its tasks succeed
)

// Agents stands for the agents of all hosts where a test is not about them.
type Agents struct {
	mu      sync.Mutex
	behave  map[string]Behaviour
	tasks   map[string]protocol.TaskStatus // by task id
	changed chan struct{}                  // closed, and replaced, when something has changed
	text    string                         // what each task prints
	dumps   map[string][]Captured          // by host: what each task has captured when it ends
	before  map[string]protocol.EvidenceReport
}

// Captured is a dump as a host tells of it, and its bytes as they are sent.
type Captured struct {
	Report protocol.DumpReport
	Data   []byte
}

// Capture has each task of a host capture dumps from now on.
func (a *Agents) Capture(host string, dumps ...Captured) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dumps[host] = dumps
}

// Evident is what a host says from now on when it is asked for its evidence.
func (a *Agents) Evident(host string, r protocol.EvidenceReport) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.before[host] = r
}

// Dump implements archive.Hosts.
func (a *Agents) Dump(_ context.Context, host restart.Host, _ string, n int, _ dispatch.Room) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.dumps[host.Name] {
		if d.Report.N == n && d.Data != nil {
			return d.Data, nil
		}
	}
	return nil, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeNotFound, "there is no dump %d here", n)}
}

// Evidence implements archive.Hosts.
func (a *Agents) Evidence(_ context.Context, host restart.Host, _ protocol.EvidenceRequest, _ dispatch.Room) (protocol.EvidenceReport, error) {
	if err := a.away(host.Name); err != nil {
		return protocol.EvidenceReport{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.before[host.Name], nil
}

// NewAgents gives agents whose tasks all succeed, and print text.
func NewAgents(text string) *Agents {
	return &Agents{dumps: map[string][]Captured{}, before: map[string]protocol.EvidenceReport{}, behave: map[string]Behaviour{}, tasks: map[string]protocol.TaskStatus{}, changed: make(chan struct{}), text: text}
}

// Set changes what a host does, also with a task it has now.
func (a *Agents) Set(host string, b Behaviour) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.behave[host] = b
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *Agents) away(host string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.behave[host] != Away {
		return nil
	}
	return dispatch.Unreached(host, dispatch.Closed)
}

// Print changes what each task prints from now on.
func (a *Agents) Print(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text = text
}

func (a *Agents) printed() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text
}

// Check implements control.Agents.
func (a *Agents) Check(_ context.Context, host restart.Host, m protocol.CheckRequest) (protocol.CheckReport, error) {
	if err := a.away(host.Name); err != nil {
		return protocol.CheckReport{}, err
	}
	r := protocol.CheckReport{Version: 1, Program: "0.1.0", Host: host.Name, Clock: time.Now(), BootID: "boot", Containment: "process-group", Review: "files", Services: []string{"shop"},
		Scenarios: []protocol.AcceptedScenario{{Name: "plain-restart", Digest: scenario.Digest([]byte(Scenario)), Serial: 1}}}
	if m.Service != "" {
		r.Service = &protocol.ServiceReport{Name: m.Service, Package: m.Service, Installed: "1.2.3-1", Unit: m.Service + ".service", UnitState: "active"}
		if m.Tag != "" && !strings.HasPrefix(r.Service.Installed, m.Tag) { // as an agent judges such tags
			r.Problems = append(r.Problems, *restart.Errorf(restart.CodeNotInstalled, "package %s has version %s here, which does not carry the tag %s", m.Service, r.Service.Installed, m.Tag))
		}
	}
	return r, nil
}

// CheckAnew implements control.Agents.
func (a *Agents) CheckAnew(ctx context.Context, host restart.Host, m protocol.CheckRequest) (protocol.CheckReport, error) {
	return a.Check(ctx, host, m)
}

// Discover implements control.Agents: each host has the unit of shop, and one
// of its own.
func (a *Agents) Discover(_ context.Context, host restart.Host, m protocol.DiscoverRequest) (protocol.DiscoverReport, error) {
	if err := a.away(host.Name); err != nil {
		return protocol.DiscoverReport{}, err
	}
	r := protocol.DiscoverReport{Version: 1, Program: "0.1.0", Host: host.Name, System: 12, Services: []protocol.Discovered{
		{Name: "extra-" + host.Name, Unit: "extra-" + host.Name + ".service", State: "active", Enabled: "enabled"},
		{Name: "shop", Unit: "shop.service", Package: "shop", User: "shop", Description: "The shop", Ports: []int{8080, 8081}, State: "active", Enabled: "enabled"},
	}}
	r.Services = slices.DeleteFunc(r.Services, func(s protocol.Discovered) bool { return m.Unit != "" && m.Unit != s.Name })
	return r, nil
}

// Probe implements control.Agents and orchestrator.Agents.
func (a *Agents) Probe(_ context.Context, host restart.Host, _ protocol.ProbeRequest) (protocol.ProbeReport, error) {
	if err := a.away(host.Name); err != nil {
		return protocol.ProbeReport{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.behave[host.Name] == Sick {
		return protocol.ProbeReport{Sample: protocol.HealthSample{At: time.Now(), Detail: "nothing listens"}}, nil
	}
	return protocol.ProbeReport{Sample: protocol.HealthSample{At: time.Now(), Healthy: true, Detail: "answers"}}, nil
}

// Put implements orchestrator.Agents.
func (a *Agents) Put(_ context.Context, host restart.Host, task string, _ protocol.Submission) (protocol.TaskStatus, error) {
	if err := a.away(host.Name); err != nil {
		return protocol.TaskStatus{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now().UTC()
	s := protocol.TaskStatus{
		Task: task, Stage: restart.StageStarted, Revision: 1, Phase: protocol.PhaseRun, ReceivedAt: now, StartedAt: &now,
		Phases: []protocol.PhaseReport{{Phase: protocol.PhaseRun, StartedAt: now}}, Containment: "process-group", Evidence: a.before[host.Name].Items,
	}
	a.tasks[task] = s
	return s, nil
}

// Status implements orchestrator.Agents: it waits until the task has changed.
func (a *Agents) Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		a.mu.Lock()
		s, ok := a.tasks[task]
		changed := a.changed
		if ok && s.Stage == restart.StageStarted && a.behave[host.Name] != Hangs {
			s = finish(s, a.behave[host.Name], len(a.text))
			for _, d := range a.dumps[host.Name] {
				s.Dumps = append(s.Dumps, d.Report)
			}
			a.tasks[task] = s
		}
		a.mu.Unlock()
		if !ok {
			return s, &dispatch.RefusedError{Err: restart.Errorf(restart.CodeNotFound, "no task %s here", task)}
		}
		if s.Revision > after {
			return s, nil
		}
		select {
		case <-changed:
		case <-over.C:
			return s, nil
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

func finish(s protocol.TaskStatus, b Behaviour, size int) protocol.TaskStatus {
	now := time.Now().UTC()
	s.Stage, s.Revision, s.FinishedAt, s.OutputSize = restart.StageDone, s.Revision+1, &now, int64(size)
	s.Outcome, s.ExitCode = protocol.OutcomeSucceeded, new(0)
	if b == Fails {
		s.Outcome, s.ExitCode, s.FailedPhase, s.Error = protocol.OutcomeFailed, new(1), protocol.PhaseRun, "the script ended with exit status 1"
	}
	s.Phases = slices.Clone(s.Phases)
	for i := range s.Phases {
		s.Phases[i].FinishedAt, s.Phases[i].ExitCode = &now, s.ExitCode
	}
	return s
}

// Cancel implements orchestrator.Agents.
func (a *Agents) Cancel(_ context.Context, _ restart.Host, task string, _ protocol.Cancel) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.tasks[task]
	if !ok {
		return &dispatch.RefusedError{Err: restart.Errorf(restart.CodeNotFound, "no task %s here", task)}
	}
	s = finish(s, Fails, len(a.text))
	s.Outcome, s.Error = protocol.OutcomeCancelled, "killed"
	a.tasks[task] = s
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

// Forget implements orchestrator.Agents.
func (a *Agents) Forget(_ context.Context, _ restart.Host, task string, _ protocol.Forget) (protocol.Tombstone, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return protocol.Tombstone{Task: task, Stage: a.tasks[task].Stage, Outcome: a.tasks[task].Outcome}, nil
}

// Output implements orchestrator.Agents.
func (a *Agents) Output(_ context.Context, _ restart.Host, _ string, offset int64, each func(protocol.Output) error) error {
	text := a.printed()
	if offset < int64(len(text)) {
		if err := each(protocol.Output{Offset: offset, Data: []byte(text[offset:])}); err != nil {
			return err
		}
	}
	return each(protocol.Output{Offset: int64(len(text)), EOF: true})
}
