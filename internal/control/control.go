package control

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/version"
	"github.com/restartilka/restartilka/internal/wire"
)

// Agents is the part of dispatch.Client by which hosts are looked at.
type Agents interface {
	Check(ctx context.Context, host restart.Host, m protocol.CheckRequest) (protocol.CheckReport, error)
	CheckAnew(ctx context.Context, host restart.Host, m protocol.CheckRequest) (protocol.CheckReport, error)
	Probe(ctx context.Context, host restart.Host, m protocol.ProbeRequest) (protocol.ProbeReport, error)
	Discover(ctx context.Context, host restart.Host, m protocol.DiscoverRequest) (protocol.DiscoverReport, error)
}

// Config lists everything that Control depends on. Needed are those before
// Program.
type Config struct {
	Store      *store.Store
	Inventory  *inventory.Inventory
	Scenarios  *Shelf
	Agents     Agents
	Dumps      Dumps
	Enrol      *Enrolment
	Hub        *Hub
	Wake       func(run string) // tells the orchestrator that a run wants looking at
	Committed  func()           // tells the audit trail that there is something to ship
	Program    string           // the server's version, which agents' are compared with; "" = this build's
	Logger     *slog.Logger
	Now        func() time.Time
	Lays       bool                             // signed versions are laid on hosts: see dispatch.Config.Scenarios
	Zone       string                           // IANA name of the time zone of freezes that name none; "" = UTC
	URL        string                           // of this server, for links in messages
	Channels   func(wire.Notification) []string // who is to be told of it; nil = nobody is
	Receivers  Receivers                        // they themselves, for who tries them; nil = there are none
	Announced  func()                           // tells that there is a message to deliver; nil = nobody delivers
	Ended      func(restart.Run)                // is told of a run that ended before it began; nil = nobody is
	Scheduled  func(restart.ScheduleState)      // is told how a schedule ended; nil = nobody is
	Rights     func() *authz.Rules              // those in force; nil = the shipped ones
	People     Directory                        // nil = users, and who has a token
	Hasher     *authn.Hasher                    // of passwords; nil = one of its own
	Review     Review                           // how scenarios come into force
	Trail      Trail                            // stands between requests and hosts; nil = nothing is waited for
	Server     Server                           // tells admins of the process; nil = nobody does
	Tickets    Tickets                          // of the company's trackers; nil = there are none
	Recurs     []Recurrence                     // when a ticket is opened about restarts
	Windows    []restart.MaintenanceWindow      // that runs can be planned for
	Grace      time.Duration                    // how late what was given a time may start; 0 = DefaultGrace
	SecondStep []string                         // globs of environments whose changes take a second step; nil = DefaultSecondStep
	Alerts     Alerts                           // stand between requests and hosts; nil = none do
	Outside    OutsideLocks                     // are shared with others; nil = there are none
}

// Directory knows who people are now, whether they are here or not: their
// rights are looked at again before each host.
type Directory interface {
	// Person gives the roles and teams that somebody has now. Who is nobody any
	// more has none; an error means that it could not be found out.
	Person(ctx context.Context, name string) (restart.Actor, error)
	// Present gives a user who asks for something just now, or CodeNotFound where
	// there is none of that name, and CodeUnauthorised for one who can't sign in
	// any more.
	Present(ctx context.Context, name string) (restart.Actor, error)
}

// Control answers people. It is safe for concurrent use.
type Control struct {
	cfg     Config
	library library
	guesses *authn.Throttle // of old passwords and of codes
	book    hostBook        // how hosts were found last
	deleted atomic.Int64    // dumps, by people
	exports chan struct{}   // a place for each search of an export that is under way
}

// New returns a Control over its parts.
func New(cfg Config) *Control {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Program == "" {
		cfg.Program = version.Current().Version
	}
	if cfg.Zone == "" {
		cfg.Zone = "UTC"
	}
	if cfg.SecondStep == nil {
		cfg.SecondStep = DefaultSecondStep()
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	cfg.Windows = slices.Clone(cfg.Windows)
	for i := range cfg.Windows {
		cfg.Windows[i].Zone = cmp.Or(cfg.Windows[i].Zone, cfg.Zone)
	}
	if cfg.Channels == nil {
		cfg.Channels = func(wire.Notification) []string { return nil }
	}
	if cfg.Announced == nil {
		cfg.Announced = func() {}
	}
	if cfg.Ended == nil {
		cfg.Ended = func(restart.Run) {}
	}
	if cfg.Scheduled == nil {
		cfg.Scheduled = func(restart.ScheduleState) {}
	}
	if cfg.Rights == nil {
		cfg.Rights = authz.Default
	}
	if cfg.People == nil {
		cfg.People = authn.People{Store: cfg.Store, Now: cfg.Now}
	}
	if cfg.Hasher == nil {
		cfg.Hasher = authn.NewHasher()
	}
	return &Control{cfg: cfg, exports: make(chan struct{}, exportsAtOnce), guesses: &authn.Throttle{Now: cfg.Now}}
}

// rights gives the rules in force.
func (c *Control) rights() *authz.Rules { return c.cfg.Rights() }

func (c *Control) now() time.Time { return c.cfg.Now().UTC().Truncate(time.Microsecond) }

// record starts an audit record of an act of the actor.
func (c *Control) record(actor restart.Actor, action audit.Action) audit.Record {
	return audit.Record{Time: c.now(), Actor: actor.Name, Origin: strings.TrimSpace(actor.Via + " " + actor.From), Action: action}
}

// about fills a record with what it says of a run.
func about(rec audit.Record, r restart.Run) audit.Record {
	rec.Run, rec.Service, rec.Environment, rec.ScenarioDigest, rec.Params, rec.Reason = r.ID, r.Service, r.Environment, r.Digest, r.Params, r.Reason
	return rec
}

// refused records that something was asked for and not done, and gives err
// back. What is ours ("internal") is not the person's refusal.
func (c *Control) refused(ctx context.Context, rec audit.Record, err error) error {
	var e *restart.Error
	if !errors.As(err, &e) || e.Code == restart.CodeInternal {
		return err
	}
	rec.Outcome, rec.Detail = string(e.Code), e.Message
	if appendErr := c.cfg.Store.AppendAudit(ctx, rec); appendErr != nil {
		c.cfg.Logger.Error("record a refusal", "actor", rec.Actor, "error", appendErr)
		return appendErr
	}
	c.cfg.Committed()
	return err
}

// runFor gives the run that somebody wants to do something about. That there is
// none, or none that he may see, is a refusal as any other.
func (c *Control) runFor(ctx context.Context, actor restart.Actor, id string, action audit.Action) (restart.Run, error) {
	run, err := c.Run(ctx, actor, id)
	if err != nil {
		rec := c.record(actor, action)
		rec.Run = clip(id)
		return restart.Run{}, c.refused(ctx, rec, err)
	}
	return run, nil
}

// Whoami gives the actor back, once it is somebody.
func (c *Control) Whoami(_ context.Context, actor restart.Actor) (restart.Actor, error) {
	return actor, c.rights().Require(actor, authz.See, authz.Object{})
}

// Inventory gives everything that the inventory holds, and how old it is.
func (c *Control) Inventory(ctx context.Context, actor restart.Actor) (inventory.Snapshot, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return inventory.Snapshot{}, err
	}
	return c.cfg.Inventory.Snapshot(ctx)
}

// Service gives one service.
func (c *Control) Service(ctx context.Context, actor restart.Actor, name string) (restart.Service, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return restart.Service{}, err
	}
	return c.cfg.Inventory.Service(ctx, name)
}

// Hosts resolves an expression; "" is every host.
func (c *Control) Hosts(ctx context.Context, actor restart.Actor, expr string) ([]restart.Host, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	if expr == "" {
		expr = "%all"
	}
	return c.cfg.Inventory.Resolve(ctx, expr)
}

// Scenarios lists the version of each scenario that is in force.
func (c *Control) Scenarios(ctx context.Context, actor restart.Actor) ([]wire.Scenario, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, err
	}
	folder, err := c.folder(ctx)
	if err != nil {
		return nil, err
	}
	out := []wire.Scenario{}
	for _, f := range folder.Files() {
		if newest, ok := folder.ByName(f.Scenario.Name); ok && newest.Scenario.Digest == f.Scenario.Digest {
			out = append(out, scenarioInfo(f.Scenario))
		}
	}
	return out, nil
}

// Scenario gives one version by its digest, with its bytes: one that is in
// force, or that was proposed or pinned by a run at some time.
func (c *Control) Scenario(ctx context.Context, actor restart.Actor, digest string) (wire.Scenario, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return wire.Scenario{}, err
	}
	if err := restart.CheckDigest(digest); err != nil {
		return wire.Scenario{}, err
	}
	folder, err := c.folder(ctx)
	if err != nil {
		return wire.Scenario{}, err
	}
	var body []byte
	if f, ok := folder.ByDigest(digest); ok {
		body = f.Bytes
	} else if body, err = c.cfg.Store.Scenario(ctx, digest); err != nil {
		return wire.Scenario{}, err
	}
	s, err := scenario.Parse(body)
	if err != nil {
		return wire.Scenario{}, err
	}
	info := scenarioInfo(s)
	info.Body = string(body)
	return info, nil
}

func scenarioInfo(s restart.Scenario) wire.Scenario {
	return wire.Scenario{
		Name: s.Name, Serial: s.Serial, Digest: s.Digest, Kind: s.Kind, Author: s.Author,
		Services: s.Services, Description: s.Description, Params: s.Params, Expires: orNull(s.Expires),
	}
}
