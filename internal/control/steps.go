package control

import (
	"context"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/wire"
)

// Steps gives what a run does on one of its hosts, from the reviewed bytes that
// it is pinned to; host "" is its first one. Package and unit are filled in as
// the inventory has them; the host takes its own.
func (c *Control) Steps(ctx context.Context, actor restart.Actor, id, host string) (wire.Steps, error) {
	var none wire.Steps
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return none, err
	}
	run, err := c.Run(ctx, actor, id)
	if err != nil {
		return none, err
	}
	if run.Plan == nil || run.OnHost() {
		return none, restart.Errorf(restart.CodeNotFound, "run %s has no plan here", id)
	}
	return c.stepsOf(ctx, run, host)
}

// PlannedSteps gives the same of what is planned under an id.
func (c *Control) PlannedSteps(ctx context.Context, actor restart.Actor, id, host string) (wire.Steps, error) {
	p, err := c.PlannedOne(ctx, actor, id)
	if err != nil {
		return wire.Steps{}, err
	}
	if p.Plan == nil {
		return wire.Steps{}, restart.Errorf(restart.CodeNotFound, "what is planned as %s has no plan here", id)
	}
	return c.stepsOf(ctx, PlannedRun(p.Schedule), host)
}

// PlannedRun is the run that a schedule is to become, as its plan was shown: what
// is said of a run before it starts is said of it.
func PlannedRun(s restart.Schedule) restart.Run {
	run := runOf(s)
	run.Approval = s.Approval
	if s.Plan != nil {
		run.Params = s.Plan.Params
	}
	return run
}

func (c *Control) stepsOf(ctx context.Context, run restart.Run, host string) (wire.Steps, error) {
	var none wire.Steps
	chosen := run.Plan.Chosen()
	if host == "" && len(chosen) > 0 {
		host = chosen[0].Name
	}
	if !slices.ContainsFunc(chosen, func(h restart.PlannedHost) bool { return h.Name == host }) {
		return none, restart.Errorf(restart.CodeNotFound, "run %s touches no host %s", run.ID, restart.Quote(host))
	}
	file, err := c.kept(ctx, run)
	if err != nil {
		return none, err
	}
	return stepsOn(run, file.Scenario, host), nil
}

// ownUser stands for the user that only the host knows, while a scenario is
// rendered here.
const ownUser = "restartilka-own-user"

func stepsOn(run restart.Run, s restart.Scenario, host string) wire.Steps {
	service := run.Plan.Service
	facts := scenario.Facts{
		Service: service.Name, Package: service.Package, Unit: service.Unit, User: ownUser, Host: host,
		Group: run.Group, Environment: run.Environment, Project: run.Project,
	}
	out := wire.Steps{Host: host, Shell: s.Shell, Steps: []wire.Step{}, Variables: map[string]string{}}
	if out.Shell == "" {
		out.Shell = "/bin/sh"
	}
	drain, main, undrain, dump := s.Steps.Drain, s.Steps.Run, s.Steps.Undrain, s.Dump
	for name, value := range (protocol.Envelope{Params: run.Params}).Values() {
		if strings.HasPrefix(name, "PARAM_") {
			out.Variables[name] = value
		}
	}
	out.RunAs = s.RunAs
	if r, err := scenario.Render(s, facts); err == nil {
		drain, main, undrain, dump, out.RunAs = r.Drain, r.Run, r.Undrain, r.Dump, r.RunAs
	} else {
		out.Note = "as it was reviewed, with its placeholders: " + personal(err).Message
	}
	if out.RunAs == ownUser {
		out.RunAs = ""
	}
	if run.Work == restart.WorkUndrain {
		drain, main = nil, nil
	}
	for _, step := range []struct {
		name string
		*restart.Step
	}{{"drain", drain}, {"run", main}, {"undrain", undrain}} {
		if step.Step != nil {
			out.Steps = append(out.Steps, wire.Step{Name: step.name, Script: step.Script, When: step.When})
		}
	}
	if dump != nil { // no script: what is done, in words
		out.Steps = append(out.Steps, wire.Step{Name: "dump", Script: dump.String()})
	}
	return out
}
