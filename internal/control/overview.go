package control

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Overview is what may need an admin.
type Overview struct {
	Glass        int // runs that broke the glass, to be reviewed
	Approvals    int // runs that wait for an approval
	Unknown      int // paused runs with hosts of which it is not known whether the script ran
	Paused       int // other paused runs
	Ending, Over int // hosts whose certificate of this server ends within 30 days, or has ended
	Silent       int // hosts whose agents don't answer
	OtherVersion int // hosts whose agents have another version
	Asked        int // hosts that were asked since the start, of
	Hosts        int // those of the inventory
	Scenarios    ScenarioCounts
	Messages     int // that their receivers outside have not taken
	Locks        int // services that are held
	Inventory    string
	Rules        string // why the file of rules can't be used
	Trail        audit.Stats
	TrailKnown   bool
}

// TrailTrouble tells whether the audit trail, or a sink of it, fails now.
func (o Overview) TrailTrouble() bool {
	for _, s := range o.Trail.Sinks {
		if s.Error != "" {
			return true
		}
	}
	return o.Trail.Error != ""
}

// Overview gathers it, for admins. What can't be found out is said, and leaves
// the rest there.
func (c *Control) Overview(ctx context.Context, actor restart.Actor) (Overview, error) {
	var out Overview
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return out, err
	}
	counts, err := c.counts(ctx)
	if err != nil {
		return out, err
	}
	out.Glass, out.Approvals, out.Messages = int(counts.Unreviewed), int(counts.OpenRuns[restart.RunAwaitingApproval]), int(counts.Messages)
	out.Ending, out.Over = int(counts.Hosts.Expiring), int(counts.Hosts.Expired)
	out.Unknown = int(counts.Paused[restart.CauseUnknown])
	out.Paused = int(counts.OpenRuns[restart.RunPaused]) - out.Unknown
	locks, err := c.cfg.Store.Locks(ctx)
	if err != nil {
		return out, err
	}
	out.Locks = len(locks)
	if out.Scenarios, err = c.CountScenarios(ctx); err != nil {
		return out, err
	}
	c.countHosts(ctx, &out)
	if c.cfg.Server == nil {
		return out, nil
	}
	out.Rules = c.cfg.Server.Rules().Refused
	out.Trail, err = c.cfg.Server.Trail(ctx)
	out.TrailKnown = err == nil
	return out, err
}

// counts are the numbers of the whole database.
func (c *Control) counts(ctx context.Context) (store.Statistics, error) {
	return c.cfg.Store.Statistics(ctx, authn.SessionIdle, soonOver)
}

func (c *Control) countHosts(ctx context.Context, out *Overview) {
	now, err := c.cfg.Inventory.Snapshot(ctx)
	if err != nil {
		out.Inventory = personal(err).Message
		return
	}
	if now.Stale || len(now.Missing) > 0 {
		out.Inventory = "as of " + now.FetchedAt.UTC().Format(time.RFC3339) + ": " + now.Problem
	}
	out.Hosts = len(now.Hosts)
	for _, h := range now.Hosts {
		n := c.book.of(h.Name)
		if n.Asked.IsZero() {
			continue
		}
		out.Asked++
		if silent(n.State) {
			out.Silent++
		}
		if c.otherVersion(n) != nil {
			out.OtherVersion++
		}
	}
}
