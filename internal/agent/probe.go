package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Probe looks once at the health section of a reviewed scenario, without any
// task. A new process can't be judged without a restart: any process will do.
func (a *Agent) Probe(ctx context.Context, p protocol.ProbeRequest) (protocol.ProbeReport, error) {
	if err := checkNames(p.Service, p.Environment, p.Group, p.Project, "", p.Digest); err != nil {
		return protocol.ProbeReport{}, err
	}
	work, err := a.cfg.Host.Find(p.Service, p.Digest, p.Environment, p.Group, p.Project)
	if err != nil {
		return protocol.ProbeReport{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, protocol.ProbeTime)
	defer cancel()
	var run health.Runner
	if a.cfg.Command != nil {
		work.Values = probeValues(a.cfg.Host.Name, work.Scenario, p)
		run = a.cfg.Command(work)
	}
	return protocol.ProbeReport{Sample: health.New(health.Config{Health: work.Rendered.Health, Run: run}).Sample(ctx)}, nil
}

// probeValues gives a health command what it would see in a task, as far as
// that can be told without a request: parameters have their defaults.
func probeValues(name string, s restart.Scenario, p protocol.ProbeRequest) map[string]string {
	e := protocol.Envelope{Host: name, Service: p.Service, Environment: p.Environment, Project: p.Project, Group: p.Group, Params: map[string]string{}}
	for _, param := range s.Params {
		if param.Default != nil {
			e.Params[param.Name] = *param.Default
		}
	}
	return e.Values()
}

// checkNames checks every name that a request for a report carries; "" is fine.
func checkNames(service, environment, group, project, tag, digest string) error {
	for _, field := range []struct {
		value string
		check func(string) error
	}{
		{service, restart.CheckServiceName}, {environment, restart.CheckEnvironment}, {group, restart.CheckGroupName},
		{project, restart.CheckProject}, {tag, restart.CheckTag}, {digest, restart.CheckDigest},
	} {
		if field.value != "" {
			if err := field.check(field.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// Command gives the runner of a scenario's health command for a probe: in a
// process of its own, contained as in a task.
func Command(cgroup string, grace time.Duration) func(host.Work) health.Runner {
	return func(w host.Work) health.Runner {
		return func(ctx context.Context, text string) (int, string, error) {
			try := supervisor.Try{Text: text, Shell: w.Scenario.Shell, User: w.User, Values: w.Values, Cgroup: cgroup, Grace: grace}
			process, err := newHelper(ctx, supervisor.TryVerb, try, grace+5*time.Second) // it ends the script's tree
			if err != nil {
				return 0, "", fmt.Errorf("run a health command: %w", err)
			}
			out, err := process.Output()
			if err != nil {
				return 0, "", fmt.Errorf("run a health command: %w", process.explain(err))
			}
			var tried supervisor.Tried
			if err := json.Unmarshal(out, &tried); err != nil {
				return 0, "", fmt.Errorf("run a health command: %w", err)
			}
			if tried.Error != "" {
				return 0, tried.Output, errors.New(restart.Escape(tried.Error))
			}
			return tried.Exit, tried.Output, nil
		}
	}
}
