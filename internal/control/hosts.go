package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	lookTimeout = 5 * time.Second // at one host; a silent one is given up sooner, see dispatch.Config
	lookAtOnce  = 50              // hosts
)

// CheckHosts asks the agents of all hosts of an expression, at most 50 at
// once, in the expression's order. service and environment may be empty.
func (c *Control) CheckHosts(ctx context.Context, actor restart.Actor, expr, service, environment string) ([]wire.HostCheck, error) {
	hosts, err := c.Hosts(ctx, actor, expr)
	if err != nil {
		return nil, err
	}
	req := protocol.CheckRequest{Service: service, Environment: environment}
	if service != "" {
		if _, err := c.cfg.Inventory.Service(ctx, service); err != nil {
			return nil, err
		}
	}
	folder, err := c.folder(ctx)
	if err != nil {
		return nil, err
	}
	shelf := newest(folder)
	out := make([]wire.HostCheck, len(hosts))
	// Over new connections: who asks whether a host is ready wants to know of
	// its certificate, too, as it is now.
	eachHost(hosts, func(i int, h restart.Host) { out[i] = c.checkHost(ctx, c.cfg.Agents.CheckAnew, h, req, shelf) })
	return out, nil
}

type checker func(context.Context, restart.Host, protocol.CheckRequest) (protocol.CheckReport, error)

// checkHost asks one host. shelf is what its trust is compared with; nil =
// nothing is.
func (c *Control) checkHost(ctx context.Context, ask checker, h restart.Host, req protocol.CheckRequest, shelf []restart.Scenario) wire.HostCheck {
	lctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	sent := c.cfg.Now()
	report, err := ask(lctx, h, req)
	l := look{host: h, service: req.Service, sent: sent, took: c.cfg.Now().Sub(sent), program: c.cfg.Program, shelf: shelf, keys: c.cfg.Enrol.keyIDs(), lays: c.cfg.Lays}
	hc := l.judge(report, err)
	if ctx.Err() == nil { // otherwise it is not the host that gave no answer
		c.book.note(hc, sent, req.Service != "")
	}
	return hc
}

// lookAt fills in what each host of a plan says now: whether its agent would
// take the task, and whether the service is healthy. A host that would not
// comes unticked, with why.
func (c *Control) lookAt(ctx context.Context, p *restart.Plan, s restart.Scenario) {
	hosts := make([]restart.Host, len(p.Hosts))
	for i, h := range p.Hosts {
		hosts[i] = h.Host
	}
	probe := protocol.ProbeRequest{Service: p.Service.Name, Environment: p.Environment, Project: p.Project, Group: p.Group, Digest: p.Digest}
	eachHost(hosts, func(i int, h restart.Host) {
		line := &p.Hosts[i]
		hc := c.checkHost(ctx, c.cfg.Agents.Check, h, checkOf(*p, h), nil) // of all scenarios only this one matters, and the host judges it
		if hc.Report != nil && hc.Report.Service != nil {
			line.Version = restart.Escape(hc.Report.Service.Installed)
		}
		if hc.State != wire.HostReady {
			line.Agent = hc.Error.Error()
			if !line.LeftOut {
				line.LeftOut, line.Why, line.Code = true, line.Agent, hc.Error.Code
			}
			return
		}
		line.Agent = "ready"
		if e := lacks(p.Service, h); e != nil && !line.LeftOut {
			line.LeftOut, line.Why, line.Code = true, e.Error(), e.Code
		}
		if s.Health.Empty() {
			return
		}
		lctx, cancel := context.WithTimeout(ctx, protocol.ProbeWait)
		defer cancel()
		report, err := c.cfg.Agents.Probe(lctx, h, probe)
		switch {
		case err != nil:
			line.Health = restart.HealthUnknown
		case report.Sample.Healthy:
			line.Health = restart.HealthHealthy
		default:
			line.Health = restart.HealthUnhealthy
		}
	})
}

// eachHost calls f for every host, at most lookAtOnce at a time, and waits.
func eachHost(hosts []restart.Host, f func(i int, h restart.Host)) {
	slots := make(chan struct{}, lookAtOnce)
	var wg sync.WaitGroup
	for i, h := range hosts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i, h)
		})
	}
	wg.Wait()
}

// personal gives the sentence for people of an error from an agent's client.
func personal(err error) *restart.Error {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e
	}
	return restart.Errorf(restart.CodeUnreachable, "%s", restart.Escape(err.Error()))
}
