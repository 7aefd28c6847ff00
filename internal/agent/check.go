package agent

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// unitTime bounds the question to systemd about a unit.
const unitTime = 3 * time.Second

// Check says what the host says about itself, and what would refuse a task of
// that kind now (R33). Nothing is changed. Its only errors are malformed names.
func (a *Agent) Check(ctx context.Context, c protocol.CheckRequest) (protocol.CheckReport, error) {
	if err := checkNames(c.Service, c.Environment, c.Group, "", c.Tag, c.Digest); err != nil {
		return protocol.CheckReport{}, err
	}
	r := protocol.CheckReport{
		Version: protocol.Version, Program: a.cfg.Program, Host: a.cfg.Host.Name, Clock: a.cfg.Now().UTC(), BootID: a.cfg.BootID,
		Containment: a.cfg.Containment, Review: ReviewFiles, Groups: a.cfg.Host.Groups, Weaker: a.cfg.Weaker,
		Scenarios: []protocol.AcceptedScenario{},
	}
	problem := func(err error) {
		if e, ok := errors.AsType[*restart.Error](err); ok {
			r.Problems = append(r.Problems, *e)
		} else {
			r.Problems = append(r.Problems, *restart.Errorf(restart.CodeInternal, "%s", restart.Escape(err.Error())))
		}
	}
	if _, err := a.cfg.Keys(); err != nil {
		problem(err)
	}
	scenarios, broken := host.ListScenarios(a.cfg.Host.Scenarios)
	for _, err := range broken {
		// Not a problem of a task by another scenario: Find below judges the one that is wanted.
		r.Weaker = append(slices.Clip(r.Weaker), "not used, "+restart.Escape(err.Error()))
	}
	for _, s := range scenarios {
		if c.Service == "" || s.Fits(c.Service) {
			r.Scenarios = append(r.Scenarios, protocol.AcceptedScenario{Name: s.Name, Digest: s.Digest, Serial: s.Serial})
		}
	}
	if err := a.cfg.Host.Belongs(c.Environment, c.Group); err != nil {
		problem(err)
	}
	if c.Service != "" {
		report, err := a.checkService(ctx, c)
		r.Service = report
		if err != nil {
			problem(err)
		}
	}
	if c.Digest != "" {
		var err error
		if c.Service != "" {
			here := a.cfg.Host
			here.Groups, here.Environments = nil, nil // judged above
			_, err = here.Find(c.Service, c.Digest, c.Environment, c.Group, "")
		} else {
			_, err = host.ReadScenario(a.cfg.Host.Scenarios, c.Digest)
		}
		if err != nil && (r.Service != nil || restart.CodeOf(err) != restart.CodeUnknownService) { // else it has been said above
			problem(err)
		}
	}
	return r, nil
}

// checkService gives the host's own word about one service.
func (a *Agent) checkService(ctx context.Context, c protocol.CheckRequest) (*protocol.ServiceReport, error) {
	s, err := host.ReadService(a.cfg.Host.Services, c.Service)
	if err != nil {
		return nil, err
	}
	r := &protocol.ServiceReport{Name: s.Name, Package: s.Package, Unit: s.Unit, Active: a.holder(s.Name)}
	tag := c.Tag
	if tag == "" {
		tag = s.Tag
	}
	if s.Unit != "" {
		r.UnitState = unitState(ctx, s.Unit)
	}
	r.Installed, err = a.installed(ctx, s.Package, tag)
	return r, err
}

// holder gives the id of the task that holds the service now.
func (a *Agent) holder(service string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, t := range a.tasks {
		if !t.done() && t.envelope.Service == service {
			return id
		}
	}
	return ""
}

// unitState asks systemd how a unit is; "" where there is no systemd.
func unitState(ctx context.Context, unit string) string {
	tool, err := exec.LookPath("/usr/bin/systemctl")
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, unitTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, "show", "--property=ActiveState", "--value", "--", unit)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return restart.Escape(strings.TrimSpace(string(out)))
}
