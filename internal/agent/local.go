package agent

import (
	"context"
	"crypto/ed25519"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Local is what an agent needs to take work from root on its own host.
type Local struct {
	Key    func() (ed25519.PrivateKey, error) // the host's own; made at its first use
	Ledger *ledger.Ledger
}

// Ask is what root asks for on the host itself, without a server.
type Ask struct {
	Service     string            `json:"service"`
	Scenario    string            `json:"scenario,omitempty"` // "" = the one of Kind that fits
	Digest      string            `json:"digest,omitempty"`   // "" = the highest serial of that name
	Kind        restart.Kind      `json:"kind,omitempty"`     // the scenario must be of it; "" = of any
	Environment string            `json:"environment,omitempty"`
	Group       string            `json:"group,omitempty"`
	Project     string            `json:"project,omitempty"`
	Params      map[string]string `json:"params,omitempty"`
	Rehearse    bool              `json:"rehearse,omitempty"` // every check for real, and no script of the scenario
	Reason      string            `json:"reason"`
	Actor       string            `json:"actor"` // see Invoker; root can say what it likes
}

// LocalPlan is what would be done, as it is shown before.
type LocalPlan struct {
	Ask
	Host        string            `json:"host"`
	Serial      int               `json:"serial"`
	Description string            `json:"description,omitempty"`
	Values      map[string]string `json:"values,omitempty"` // of all parameters, defaults included
	User        string            `json:"user"`             // whom the scripts run as
	Package     string            `json:"package,omitempty"`
	Installed   string            `json:"installed,omitempty"`
	Unit        string            `json:"unit,omitempty"`
	Timeout     string            `json:"timeout"` // of drain and run
	Health      bool              `json:"health"`  // whether its health is waited for
	Steps       []LocalStep       `json:"steps"`
	Dump        *restart.DumpStep `json:"dump,omitempty"` // instead of a run step
}

// LocalStep is one script, as it would run.
type LocalStep struct {
	Phase  protocol.Phase `json:"phase"`
	Script string         `json:"script"`
	When   string         `json:"when,omitempty"` // of undrain
}

// Plan resolves what root asks for, by the host's own files and with the same
// checks as a server's task, and changes nothing. Its errors are those of Put,
// and CodeReason, CodeNotFound (no such process).
func (a *Agent) Plan(ctx context.Context, ask Ask) (LocalPlan, error) {
	ask, work, err := a.resolve(ctx, ask)
	if err != nil {
		return LocalPlan{}, err
	}
	version, err := a.installed(ctx, work.Package, work.Service.Tag)
	if err != nil {
		return LocalPlan{}, err
	}
	if id := a.holder(ask.Service); id != "" {
		return LocalPlan{}, a.busy(ask.Service, id)
	}
	values, err := work.Scenario.Values(ask.Params)
	if err != nil {
		return LocalPlan{}, err
	}
	p := LocalPlan{
		Ask: ask, Host: a.cfg.Host.Name, Serial: work.Scenario.Serial, Description: work.Scenario.Description, Values: values,
		User: work.User.Name, Package: work.Package, Installed: version, Unit: work.Unit,
		Timeout: work.Scenario.Strategy.TaskTimeout.Std().String(), Health: !work.Rendered.Health.Empty(),
	}
	for _, s := range []struct {
		phase protocol.Phase
		step  *restart.Step
	}{{protocol.PhaseDrain, work.Rendered.Drain}, {protocol.PhaseRun, work.Rendered.Run}, {protocol.PhaseUndrain, work.Rendered.Undrain}} {
		if s.step != nil {
			p.Steps = append(p.Steps, LocalStep{Phase: s.phase, Script: s.step.Script, When: s.step.When})
		}
	}
	p.Dump = work.Rendered.Dump
	return p, nil
}

// Begin begins what root asks for, as Put begins what a server does: the same
// checks, the same lock, the same spool and supervisor. Before, what is asked
// is durable in the ledger. The answer does not wait for the work.
func (a *Agent) Begin(ctx context.Context, ask Ask) (protocol.TaskStatus, error) {
	var none protocol.TaskStatus
	ask, work, err := a.resolve(ctx, ask)
	if err != nil {
		return none, err
	}
	key, err := a.cfg.Local.Key()
	if err != nil {
		return none, diskFull(err)
	}
	now := a.cfg.Now().UTC()
	e := protocol.Envelope{
		Version: protocol.Version, Task: restart.NewID(now), Run: restart.NewID(now), Attempt: 1, Host: a.cfg.Host.Name, Service: ask.Service,
		Environment: ask.Environment, Project: ask.Project, Group: ask.Group, Scenario: work.Scenario.Name, Digest: work.Scenario.Digest,
		Params: ask.Params, Actor: ask.Actor, Reason: ask.Reason, NotBefore: now, Expiry: now.Add(protocol.Lifetime),
	}
	if ask.Rehearse {
		e.Only = protocol.OnlyRehearse
	}
	sealed, err := protocol.SealLocal(e, key)
	if err != nil {
		return none, err
	}
	public := key.Public().(ed25519.PublicKey)
	if e, err = protocol.Open(sealed, map[string]ed25519.PublicKey{protocol.LocalKeyID(public): public}); err != nil {
		return none, err
	}
	if work, err = a.admit(ctx, e, 1); err != nil {
		return none, err
	}
	if err := a.take(ctx); err != nil {
		return none, err
	}
	defer a.give()
	return a.receive(ctx, e, protocol.Submission{Sealed: sealed, Epoch: 1}, work.Scenario)
}

// resolve fills in what root has left out, and finds the work.
func (a *Agent) resolve(_ context.Context, ask Ask) (Ask, host.Work, error) {
	if a.cfg.Local == nil {
		return ask, host.Work{}, restart.Errorf(restart.CodeUnavailable, "this agent keeps no records of its own, and takes no work on the host")
	}
	var err error
	if ask.Reason, err = restart.CheckReason(ask.Reason); err != nil {
		return ask, host.Work{}, err
	}
	if ask.Service == "" {
		return ask, host.Work{}, restart.Errorf(restart.CodeInvalid, "name a service of this host").WithHint("restartilka-agent check lists the services")
	}
	if err := checkNames(ask.Service, ask.Environment, ask.Group, ask.Project, "", ask.Digest); err != nil {
		return ask, host.Work{}, err
	}
	// Where the host says that it is in one alone, it is in that one.
	if only := a.cfg.Host.Environments; ask.Environment == "" && len(only) == 1 {
		ask.Environment = only[0]
	}
	if only := a.cfg.Host.Groups; ask.Group == "" && len(only) == 1 {
		ask.Group = only[0]
	}
	if _, err := host.ReadService(a.cfg.Host.Services, ask.Service); err != nil {
		return ask, host.Work{}, err
	}
	s, err := a.choose(ask)
	if err != nil {
		return ask, host.Work{}, err
	}
	ask.Scenario, ask.Digest, ask.Kind = s.Name, s.Digest, s.Kind
	work, err := a.cfg.Host.Find(ask.Service, ask.Digest, ask.Environment, ask.Group, ask.Project)
	if err != nil {
		return ask, work, err
	}
	if err := checkShell(work.Scenario); err != nil {
		return ask, work, err
	}
	_, err = work.Scenario.Values(ask.Params)
	return ask, work, err
}

// choose finds the reviewed scenario that is meant: by its name, or the one of
// its kind.
func (a *Agent) choose(ask Ask) (restart.Scenario, error) {
	all, broken := a.cfg.Host.List(a.now())
	var found []restart.Scenario
	var fitting []string
	for _, s := range all {
		if !s.Fits(ask.Service) || ask.Kind != "" && s.Kind != ask.Kind {
			continue
		}
		if !slices.Contains(fitting, s.Name) {
			fitting = append(fitting, s.Name)
		}
		if (ask.Scenario == "" || s.Name == ask.Scenario) && (ask.Digest == "" || s.Digest == ask.Digest) {
			found = append(found, s)
		}
	}
	slices.Sort(fitting)
	if len(found) == 0 {
		what := "scenario " + restart.Quote(ask.Scenario)
		if ask.Scenario == "" {
			what = "scenario of kind " + string(ask.Kind)
		}
		e := restart.Errorf(restart.CodeNotReviewed, "this host has no reviewed %s for service %s", what, ask.Service)
		switch {
		case len(fitting) > 0:
			return restart.Scenario{}, e.WithHint("reviewed here for it: %s", strings.Join(fitting, ", "))
		case len(broken) > 0:
			return restart.Scenario{}, e.WithHint("lay the reviewed file into %s, owned by root; not looked at: %s", a.cfg.Host.Scenarios, restart.Escape(broken[0].Error()))
		}
		return restart.Scenario{}, e.WithHint("lay the reviewed file into %s, owned by root", a.cfg.Host.Scenarios)
	}
	if ask.Scenario == "" {
		found = preferred(found, ask)
	}
	newest := slices.MaxFunc(found, func(x, y restart.Scenario) int { return x.Serial - y.Serial })
	for _, s := range found {
		if s.Name != newest.Name {
			return restart.Scenario{}, restart.Errorf(restart.CodeInvalid, "more than one scenario of kind %s fits service %s: %s", ask.Kind, ask.Service, strings.Join(fitting, ", ")).
				WithHint("choose one with --scenario NAME")
		}
		if s.Serial == newest.Serial && s.Digest != newest.Digest {
			return restart.Scenario{}, restart.Errorf(restart.CodeInvalid, "two files in %s are scenario %s with serial %d", a.cfg.Host.Scenarios, s.Name, s.Serial).
				WithHint("choose one with --digest: %s or %s", s.Digest, newest.Digest)
		}
	}
	return newest, nil
}

// preferred narrows what fits to what was made for the service by name, where
// there is such a scenario, and, of the dumps that come with the package, to the
// one that takes whatever a service is.
func preferred(found []restart.Scenario, ask Ask) []restart.Scenario {
	var named, dumps []restart.Scenario
	for _, s := range found {
		if slices.Contains(s.Services, ask.Service) {
			named = append(named, s)
		}
		if s.Name == restart.AnyDump && s.Kind == restart.KindThreadDump {
			dumps = append(dumps, s)
		}
	}
	switch {
	case len(named) > 0:
		return named
	case ask.Kind == restart.KindThreadDump && len(dumps) > 0:
		return dumps
	}
	return found
}

// busy says who holds the service.
func (a *Agent) busy(service, id string) *restart.Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	by := "another task"
	if id != "" {
		by = "task " + id
	}
	if t := a.tasks[id]; t != nil && t.local() {
		by += ", which " + t.envelope.Actor + " has begun on the host itself"
	}
	return restart.Errorf(restart.CodeBusy, "service %s is held on this host by %s", service, by).
		WithHint("wait until that one has ended, or cancel it")
}

// local tells whether the task was begun on the host itself.
func (t *task) local() bool { return protocol.IsLocal(t.received.Sealed) }

// begunHere tells whether an id, whatever is left of it, was begun on the host itself.
func (a *Agent) begunHere(id string) bool {
	if a.cfg.Local == nil {
		return false
	}
	_, ok := a.cfg.Local.Ledger.Entry(id)
	return ok
}

// CancelHere is Cancel for root on the host: of work that was begun here.
func (a *Agent) CancelHere(ctx context.Context, id string) (protocol.TaskStatus, error) {
	t, err := a.find(id)
	if err != nil {
		return protocol.TaskStatus{}, err
	}
	if !t.local() {
		return protocol.TaskStatus{}, restart.Errorf(restart.CodeForbidden, "task %s is a server's", id).
			WithHint("abort its run there: restartilka force-abort %s", t.envelope.Run)
	}
	return a.cancel(ctx, id, protocol.Cancel{Run: t.envelope.Run, Epoch: 1})
}

// notOurs keeps a server from ending what root has begun on the host.
func notOurs(id string, t *task) error {
	if !t.local() {
		return nil
	}
	return restart.Errorf(restart.CodeForbidden, "task %s was begun on the host itself, by %s", id, t.envelope.Actor).
		WithHint("end it there: restartilka-agent task %s --cancel", id)
}

// LocalSummary is one line of what was begun on this host.
type LocalSummary struct {
	Task     string           `json:"task"`
	Run      string           `json:"run"`
	Service  string           `json:"service"`
	Rehearse bool             `json:"rehearse,omitempty"` // no script was run
	Digest   string           `json:"digest"`
	Actor    string           `json:"actor"`
	Reason   string           `json:"reason"`
	At       time.Time        `json:"at"`
	Outcome  protocol.Outcome `json:"outcome,omitempty"` // "" = it goes on
	Reported bool             `json:"reported"`          // a server has taken it over; its output is there
}

// Tasks lists what was begun on this host itself within protocol.TombstoneLife,
// newest first.
func (a *Agent) Tasks(context.Context) ([]LocalSummary, error) {
	if a.cfg.Local == nil {
		return nil, nil
	}
	out := []LocalSummary{}
	for _, e := range slices.Backward(a.cfg.Local.Ledger.Entries()) {
		s := LocalSummary{
			Task: e.Intent.Task, Run: e.Intent.Run, Service: e.Intent.Service, Digest: e.Intent.ScenarioDigest,
			Actor: e.Intent.Actor, Reason: e.Intent.Reason, At: e.Intent.Time,
		}
		s.Rehearse = strings.HasSuffix(e.Intent.Detail, rehearsed)
		if e.Outcome != nil {
			s.Outcome = protocol.Outcome(e.Outcome.Outcome)
		}
		a.mu.Lock()
		_, s.Reported = a.graves[s.Task]
		a.mu.Unlock()
		out = append(out, s)
	}
	return out, nil
}
