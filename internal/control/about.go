package control

import (
	"context"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
)

// Server tells of the process around Control what its admins are shown.
type Server interface {
	// Rules gives the file of rules as it stands.
	Rules() RulesState
	// Trail gives the state of the audit trail and of where it is shipped to.
	Trail(ctx context.Context) (audit.Stats, error)
	// Facts are about the process itself; Configuration is its effective
	// configuration, redacted, as `config show` prints it.
	Facts() ServerFacts
	Configuration() (string, error)
}

// RulesState is the file of rules: what is in force, and why what lies in the
// file now is not.
type RulesState struct {
	File    string // its path; "" = the shipped rules
	Text    string // in force
	Digest  string // SHA-256 of it, hex
	Loaded  time.Time
	Refused string // why the file as it is now can't be used; "" = it is in force
}

// ServerFacts are about the process that answers.
type ServerFacts struct {
	Name, Version, Database string
	Started                 time.Time
	Require                 string   // the level that an intent must reach before a host is touched
	Sinks                   []string // where the trail is shipped to, in the order of audit.Stats
	NoRemoteLog             bool
}

var errNoServer = restart.Errorf(restart.CodeUnavailable, "this process does not tell of itself")

// RulesInForce gives the rules by which is decided, for who administers or
// audits.
func (c *Control) RulesInForce(actor restart.Actor) (RulesState, error) {
	if !c.rights().Decide(actor, authz.Audit, authz.Object{}).Allowed {
		if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
			return RulesState{}, err
		}
	}
	if c.cfg.Server == nil {
		return RulesState{}, errNoServer
	}
	return c.cfg.Server.Rules(), nil
}

// Delivery tells how the audit trail stands and where it goes, for admins.
type Delivery struct {
	Server ServerFacts
	Log    audit.Standing // how it stands between requests and hosts
	Trail  audit.Stats
	Last   *audit.Record // the newest record of all; nil = there is none
	// Unplaced are records that have no place in a trail yet, and Messages those
	// that their receivers outside have not taken.
	Unplaced, Messages int64
}

// Delivery gives how records leave this server.
func (c *Control) Delivery(ctx context.Context, actor restart.Actor) (Delivery, error) {
	var out Delivery
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return out, err
	}
	if c.cfg.Server == nil {
		return out, errNoServer
	}
	out.Server, out.Log = c.cfg.Server.Facts(), c.Log()
	var err error
	if out.Trail, err = c.cfg.Server.Trail(ctx); err != nil {
		return out, err
	}
	if out.Last, err = c.cfg.Store.LastRecord(ctx); err != nil {
		return out, err
	}
	counts, err := c.counts(ctx)
	out.Unplaced, out.Messages = counts.Waiting, counts.Messages
	return out, err
}

// Configuration gives the effective configuration, redacted, for admins.
func (c *Control) Configuration(actor restart.Actor) (ServerFacts, string, error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return ServerFacts{}, "", err
	}
	if c.cfg.Server == nil {
		return ServerFacts{}, "", errNoServer
	}
	text, err := c.cfg.Server.Configuration()
	return c.cfg.Server.Facts(), text, err
}

// URL gives the address of this server, without a slash at its end.
func (c *Control) URL() string { return c.cfg.URL }
