package control

import (
	"context"
	"fmt"
	"path"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// discoverTimeout bounds one host's answer: it starts programs there.
const discoverTimeout = 30 * time.Second

// DiscoverHosts asks the agents of all hosts of an expression which services
// they see, at most 50 at once, in the expression's order. It is for admins,
// and recorded: what runs where is worth knowing to others, too.
func (c *Control) DiscoverHosts(ctx context.Context, actor restart.Actor, req wire.HostDiscoverRequest) ([]wire.HostDiscovery, error) {
	rec := c.record(actor, audit.HostsDiscovered)
	rec.Detail = clip(req.Hosts)
	if err := c.requireNow(actor, authz.Administer); err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	if _, err := path.Match(req.Unit, ""); err != nil {
		return nil, c.refused(ctx, rec, restart.Errorf(restart.CodeInvalid, "%s is not a glob", restart.Quote(req.Unit)).WithHint("such as 'nginx*' or 'worker@*.service'"))
	}
	hosts, err := c.Hosts(ctx, actor, req.Hosts)
	if err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	rec.Detail = clip(fmt.Sprintf("%d hosts: %s", len(hosts), req.Hosts))
	if err := c.cfg.Store.AppendAudit(ctx, rec); err != nil {
		return nil, err
	}
	c.cfg.Committed()
	out := make([]wire.HostDiscovery, len(hosts))
	ask := protocol.DiscoverRequest{Unit: req.Unit, All: req.All}
	eachHost(hosts, func(i int, h restart.Host) { out[i] = c.discoverHost(ctx, h, ask) })
	return out, nil
}

func (c *Control) discoverHost(ctx context.Context, h restart.Host, ask protocol.DiscoverRequest) wire.HostDiscovery {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	report, err := c.cfg.Agents.Discover(ctx, h, ask)
	d := wire.HostDiscovery{Host: h}
	switch {
	case err != nil && restart.CodeOf(err) == restart.CodeNotFound:
		d.Error = restart.Errorf(restart.CodeConflict, "its agent is of a version that can't look for services").WithHint("upgrade restartilka-agent there")
	case err != nil:
		d.Error = personal(err)
	case report.Host != h.Name:
		d.Error = restart.Errorf(restart.CodeWrongHost, "the agent calls itself %s", restart.Quote(report.Host)).WithHint("correct host: in its agent.yaml")
	default:
		d.Report = new(trusted(report))
	}
	return d
}

// trusted keeps of a host's answer what has the form that it must have: names
// become names of files and texts of documents.
func trusted(r protocol.DiscoverReport) protocol.DiscoverReport {
	kept := []protocol.Discovered{}
	for _, s := range r.Services {
		if len(kept) == protocol.MaxDiscovered {
			break
		}
		err := restart.CheckServiceName(s.Name)
		if err == nil {
			err = restart.CheckUnit(s.Unit)
		}
		if s.Package != "" && restart.CheckPackage(s.Package) != nil {
			s.Package = ""
		}
		if s.User != "" && restart.CheckUser(s.User) != nil {
			s.User = ""
		}
		if s.Runtime != "jvm" && s.Runtime != "python" {
			s.Runtime = ""
		}
		s.Description, s.State, s.Enabled, s.Listed = clip(s.Description), clip(s.State), clip(s.Enabled), clip(s.Listed)
		if err != nil {
			r.LeftOut = append(r.LeftOut, protocol.LeftOut{Unit: s.Unit, Why: err.Error()})
			continue
		}
		kept = append(kept, s)
	}
	r.Services = kept
	for i := range r.LeftOut {
		r.LeftOut[i].Unit, r.LeftOut[i].Why = clip(r.LeftOut[i].Unit), clip(r.LeftOut[i].Why)
	}
	for i := range r.Notes {
		r.Notes[i] = clip(r.Notes[i])
	}
	r.Program = clip(r.Program)
	return r
}
