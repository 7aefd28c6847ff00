package control

import (
	"context"
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// MayAudit tells whether somebody may read the audit trail.
func (c *Control) MayAudit(actor restart.Actor) bool {
	return c.rights().Decide(actor, authz.Audit, authz.Object{}).Allowed
}

// Audit searches the trail. next is where a search for what follows goes on: see
// store.AuditPage.
func (c *Control) Audit(ctx context.Context, actor restart.Actor, q wire.AuditQuery) (records []audit.Record, next string, err error) {
	entries, next, err := c.AuditPage(ctx, actor, q)
	for _, e := range entries {
		records = append(records, e.Record)
	}
	return records, next, err
}

// AuditPage is Audit with the numbers by which AuditRecord finds each again.
func (c *Control) AuditPage(ctx context.Context, actor restart.Actor, q wire.AuditQuery) (entries []store.AuditEntry, next string, err error) {
	if err := c.rights().Require(actor, authz.Audit, authz.Object{}); err != nil {
		return nil, "", err
	}
	filter, err := auditFilter(q)
	if err != nil {
		return nil, "", err
	}
	return c.cfg.Store.AuditPage(ctx, filter)
}

func auditFilter(q wire.AuditQuery) (store.AuditFilter, error) {
	since, until, err := q.Bounds()
	if err != nil {
		return store.AuditFilter{}, err
	}
	if q.Area != "" && !slices.Contains(audit.Areas(), q.Area) {
		return store.AuditFilter{}, restart.Errorf(restart.CodeInvalid, "%s is no area of the audit trail", restart.Quote(string(q.Area))).WithHint("there are: %s", listed(audit.Areas()))
	}
	return store.AuditFilter{
		Run: q.Run, Actor: q.Actor, Action: audit.Action(q.Action), Area: q.Area, Service: q.Service, Environment: q.Environment, Host: q.Host,
		Since: since, Until: until, Text: q.Text, Seals: q.Seals, Newest: q.Newest, Stored: q.Stored, After: q.After, Limit: q.Limit,
	}, nil
}

// AuditRecord is a record with what is known of its way.
type AuditRecord struct {
	store.AuditAround
	Way []AuditWay
}

// AuditWay tells whether one place outside has a record.
type AuditWay struct {
	Sink    string      // its name
	Level   audit.Level // what it promises; "" = it is another server's, or one that is there no more
	Settled bool
}

// AuditRecord gives one record by its number.
func (c *Control) AuditRecord(ctx context.Context, actor restart.Actor, id int64) (AuditRecord, error) {
	if err := c.rights().Require(actor, authz.Audit, authz.Object{}); err != nil {
		return AuditRecord{}, err
	}
	found, err := c.cfg.Store.AuditEntry(ctx, id)
	if err != nil {
		return AuditRecord{}, err
	}
	trail, err := c.Trail(ctx, actor)
	if err != nil {
		return AuditRecord{}, err
	}
	return AuditRecord{AuditAround: found, Way: wayOf(found, trail.Trail)}, nil
}

// wayOf takes this server's own sinks as they stand now, and all else as the
// database has it.
func wayOf(r store.AuditAround, own audit.Stats) (way []AuditWay) {
	cursors := map[string]int64{}
	for _, x := range r.Cursors {
		cursors[x.Sink] = x.Seq
	}
	if r.Source == own.Source || r.Seq == 0 {
		for _, x := range own.Sinks {
			way = append(way, AuditWay{Sink: x.Name, Level: x.Level, Settled: r.Seq > 0 && max(x.Settled, cursors[x.Name]) >= r.Seq})
			delete(cursors, x.Name)
		}
	}
	for _, x := range r.Cursors {
		if seq, left := cursors[x.Sink]; left {
			way = append(way, AuditWay{Sink: x.Sink, Settled: seq >= r.Seq})
		}
	}
	return way
}

// TrailState is how the trail of this server stands, for auditors.
type TrailState struct {
	Server ServerFacts
	Trail  audit.Stats
}

// Trail tells how this server's records get to where they are kept. Where no
// server tells of itself, it is the zero state.
func (c *Control) Trail(ctx context.Context, actor restart.Actor) (TrailState, error) {
	if err := c.rights().Require(actor, authz.Audit, authz.Object{}); err != nil {
		return TrailState{}, err
	}
	if c.cfg.Server == nil {
		return TrailState{}, nil
	}
	stats, err := c.cfg.Server.Trail(ctx)
	return TrailState{Server: c.cfg.Server.Facts(), Trail: stats}, err
}

// MaxStory bounds the records that a story is told from: those of a run over a
// thousand hosts.
const MaxStory = 4000

// RunRecords gives what was recorded of a run, the oldest first, up to MaxStory;
// more tells that there is more. CodeNotFound where nothing was.
func (c *Control) RunRecords(ctx context.Context, actor restart.Actor, run string) (entries []store.AuditEntry, more bool, err error) {
	if err := restart.CheckID(run); err != nil {
		return nil, false, err
	}
	q := wire.AuditQuery{Run: run, Limit: wire.MaxPage}
	for len(entries) < MaxStory {
		page, next, err := c.AuditPage(ctx, actor, q)
		if err != nil {
			return nil, false, err
		}
		entries = append(entries, page...)
		if next == "" {
			if len(entries) == 0 {
				return nil, false, restart.Errorf(restart.CodeNotFound, "nothing is recorded of run %s", run)
			}
			return entries, false, nil
		}
		q.After = next
	}
	return entries, true, nil
}
