package agent

import (
	"context"
	"errors"
	"os"
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
		Containment: a.cfg.Containment, Memory: a.cfg.Features.Memory, User: a.cfg.Features.User, Init: a.cfg.Features.Init,
		Review: ReviewFiles, Shells: a.cfg.Features.Shells, Groups: a.cfg.Host.Groups,
		Scenarios: []protocol.AcceptedScenario{}, Warnings: slices.Clone(a.cfg.Features.Warnings),
		Chain: a.chain(), EnvelopeKeys: a.keyIDs(),
	}
	problem := func(err error) {
		if e, ok := errors.AsType[*restart.Error](err); ok {
			r.Problems = append(r.Problems, *e)
		} else {
			r.Problems = append(r.Problems, *restart.Errorf(restart.CodeInternal, "%s", restart.Escape(err.Error())))
		}
	}
	warn := func(w protocol.Warning) { r.Warnings = append(r.Warnings, w) }
	if _, err := a.cfg.Keys(); err != nil {
		problem(err)
	}
	if a.cfg.SpoolDir != "" {
		r.Spool = a.checkSpool(problem, warn)
	}
	if review := a.cfg.Host.Review; review != nil {
		signing, err := review.Report(a.now())
		if r.Review, r.Signing = reviewSigned, signing; err != nil {
			problem(err)
		}
	}
	a.checkScenarios(&r, c.Service, warn)
	a.checkServices(&r, c.Service, problem, warn)
	if err := a.cfg.Host.Belongs(c.Environment, c.Group); err != nil {
		problem(err)
	}
	if c.Service != "" {
		report, err := a.checkService(ctx, c, problem, warn)
		r.Service = report
		if err != nil {
			problem(err)
		}
	}
	if c.Digest != "" {
		err := a.checkDigest(c)
		if err != nil && (r.Service != nil || restart.CodeOf(err) != restart.CodeUnknownService) { // else it has been said above
			problem(err)
		}
	}
	for _, w := range r.Warnings {
		r.Weaker = append(r.Weaker, w.Message)
	}
	return r, nil
}

// checkScenarios lists what would be accepted, for the service where one is
// named, and what lies beside it and would not.
func (a *Agent) checkScenarios(r *protocol.CheckReport, service string, warn func(protocol.Warning)) {
	scenarios, broken := a.cfg.Host.List(a.now())
	for _, err := range broken {
		// Not a problem of a task by another scenario: checkDigest judges the one that is wanted.
		warn(protocol.Warning{
			Kind: protocol.WarnScenario, Message: "not used, " + restart.Escape(err.Error()),
			Hint: "correct the file on the host, or take it away",
		})
	}
	for _, s := range scenarios {
		if service != "" && !s.Fits(service) {
			continue
		}
		r.Scenarios = append(r.Scenarios, protocol.AcceptedScenario{Name: s.Name, Digest: s.Digest, Serial: s.Serial})
		if err := checkShell(s); err != nil {
			warn(protocol.Warning{Kind: protocol.WarnScenario, Message: err.Message, Hint: err.Hint})
		}
	}
}

// checkServices lists the services of the host. Where none is asked about, the
// file of each is read, too.
func (a *Agent) checkServices(r *protocol.CheckReport, service string, problem func(error), warn func(protocol.Warning)) {
	names, err := host.ListServices(a.cfg.Host.Services)
	r.Services = names
	if service != "" {
		return // checkService says what is wrong with that one
	}
	if err != nil {
		problem(restart.Errorf(restart.CodeUnknownService, "this host's list of services can't be used: %s", restart.Escape(err.Error())).
			WithHint("services: in agent.yaml names a folder of NAME.yaml files, owned by root"))
		return
	}
	if len(names) == 0 {
		warn(protocol.Warning{
			Kind: protocol.WarnServices, Message: "no service is listed, so nothing can be restarted here",
			Hint: "lay NAME.yaml files into " + a.cfg.Host.Services + "; restartilka hosts discover drafts them",
		})
	}
	for _, name := range names {
		if _, err := host.ReadService(a.cfg.Host.Services, name); err != nil {
			problem(err)
		}
	}
}

// checkDigest judges one scenario, for the service where one is named.
func (a *Agent) checkDigest(c protocol.CheckRequest) error {
	var s restart.Scenario
	if c.Service == "" {
		var err error
		if s, err = a.cfg.Host.Trusted(c.Digest, a.now()); err != nil {
			return err
		}
	} else {
		here := a.cfg.Host
		here.Groups, here.Environments = nil, nil // judged by Belongs
		work, err := here.Find(c.Service, c.Digest, c.Environment, c.Group, "")
		if err != nil {
			return err
		}
		s = work.Scenario
	}
	if err := checkShell(s); err != nil {
		return err
	}
	return nil
}

// checkService gives the host's own word about one service.
func (a *Agent) checkService(ctx context.Context, c protocol.CheckRequest, problem func(error), warn func(protocol.Warning)) (*protocol.ServiceReport, error) {
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
	if c.Digest == "" {
		a.checkUser(s, problem, warn)
	}
	r.Installed, err = a.installed(ctx, s.Package, tag)
	return r, err
}

// checkUser says where scripts of a service would run as nobody: the host does
// not say as whom, or names somebody whom it has not. Where every scenario that
// is trusted for it leaves that to the host nothing runs, which is a problem;
// where some do, those are named. Of one scenario alone, checkDigest judges.
func (a *Agent) checkUser(s host.Service, problem func(error), warn func(protocol.Warning)) {
	err := restart.Errorf(restart.CodeUnknownService, "this host does not say as whom service %s runs", s.Name).
		WithHint("add user: to %s.yaml in services.d on the host", s.Name)
	if s.User != "" {
		_, lookup := host.FindUser(s.User, os.Geteuid())
		if lookup == nil {
			return
		}
		if e, ok := errors.AsType[*restart.Error](lookup); ok {
			err = e
		}
	}
	var left, all []string
	scenarios, _ := a.cfg.Host.List(a.now())
	for _, x := range scenarios {
		if !x.Fits(s.Name) {
			continue
		}
		if all = append(all, x.Name); x.RunAs == "" {
			left = append(left, x.Name)
		}
	}
	switch {
	case len(left) == 0:
	case len(left) == len(all):
		problem(err)
	default:
		warn(protocol.Warning{Kind: protocol.WarnServices, Message: err.Message + ": refused here would be " + strings.Join(left, ", "), Hint: err.Hint})
	}
}

func (a *Agent) now() time.Time {
	if a.cfg.Now == nil { // it only reads: see CheckHere
		return time.Now()
	}
	return a.cfg.Now()
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
