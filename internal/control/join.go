package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	// NamedJoinLife is how long a token for one host's name lives.
	NamedJoinLife = 15 * time.Minute
	// MaxJoinWindow bounds how long one for a pattern may live.
	MaxJoinWindow = 7 * 24 * time.Hour
	// MaxJoinCount bounds how often it may be used.
	MaxJoinCount = 10_000
	// maxJoinSkew is how far a host's clock may be off when it joins: a
	// certificate is valid from so long before its issue, so that it would not
	// hold, for one end or the other, with a clock further off.
	maxJoinSkew = pki.Backdate
)

// CreateJoinToken makes a join token and gives its text, which is shown once;
// a hash of its secret is stored.
func (c *Control) CreateJoinToken(ctx context.Context, actor restart.Actor, req wire.JoinTokenRequest) (wire.JoinToken, string, error) {
	rec := c.record(actor, audit.JoinTokenCreated)
	if err := c.requireNow(actor, authz.Administer); err != nil {
		return wire.JoinToken{}, "", c.refused(ctx, rec, err)
	}
	rec.Host = clip(req.Host)
	if err := checkJoinToken(&req); err != nil {
		return wire.JoinToken{}, "", c.refused(ctx, rec, err)
	}
	if c.cfg.Enrol.CA == nil {
		return wire.JoinToken{}, "", c.refused(ctx, rec, errNoAuthority)
	}
	pin, err := c.cfg.Enrol.Pin()
	if err != nil {
		return wire.JoinToken{}, "", err
	}
	text := pki.NewJoinToken(pin)
	now := c.now()
	t := store.JoinToken{
		ID: restart.NewID(now), Host: req.Host, Pattern: req.Pattern, Hash: text.Hash(), Uses: req.Count, Left: req.Count,
		CreatedBy: actor.Name, CreatedAt: now, ExpiresAt: now.Add(req.Window.Std()),
	}
	rec.Detail = fmt.Sprintf("%s for %s, %d uses, until %s", t.ID, joinTarget(t), t.Uses, t.ExpiresAt.Format(time.RFC3339))
	if err := c.cfg.Store.CreateJoinToken(ctx, t, rec); err != nil {
		return wire.JoinToken{}, "", err
	}
	c.cfg.Committed()
	return c.joinTokenInfo(t), text.String(), nil
}

// checkJoinToken checks a request and fills in what follows from it.
func checkJoinToken(req *wire.JoinTokenRequest) error {
	if (req.Host == "") == (req.Pattern == "") {
		return restart.Errorf(restart.CodeInvalid, "a join token is for one host's name, or for a pattern")
	}
	if req.Host != "" {
		if err := restart.CheckHost(req.Host); err != nil {
			return restart.InField(err, "host")
		}
		if req.Count > 1 || req.Window != 0 {
			return restart.Errorf(restart.CodeInvalid, "a token for one name is good for one use within %s", restart.Span(NamedJoinLife)).WithHint("a count and a window belong to a pattern")
		}
		req.Count, req.Window = 1, restart.Duration(NamedJoinLife)
		return nil
	}
	if err := checkPattern(req.Pattern); err != nil {
		return restart.InField(err, "pattern")
	}
	if req.Count < 1 || req.Count > MaxJoinCount {
		return restart.InField(restart.Errorf(restart.CodeInvalid, "a join token can't be good for %d hosts", req.Count).WithHint("from 1 to %d", MaxJoinCount), "count")
	}
	if req.Window.Std() < time.Minute || req.Window.Std() > MaxJoinWindow {
		return restart.InField(restart.Errorf(restart.CodeInvalid, "a join token can't live for %s", restart.Span(req.Window.Std())).WithHint("from 1 minute to %s", restart.Span(MaxJoinWindow)), "window")
	}
	return nil
}

func joinTarget(t store.JoinToken) string {
	if t.Host != "" {
		return t.Host
	}
	return t.Pattern
}

// JoinTokens lists the join tokens, the newest first.
func (c *Control) JoinTokens(ctx context.Context, actor restart.Actor) ([]wire.JoinToken, error) {
	if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
		return nil, err
	}
	list, err := c.cfg.Store.JoinTokens(ctx)
	if err != nil {
		return nil, err
	}
	out := []wire.JoinToken{}
	for _, t := range list {
		out = append(out, c.joinTokenInfo(t))
	}
	return out, nil
}

// RevokeJoinToken ends a join token at once. Hosts that have joined with it
// stay enrolled.
func (c *Control) RevokeJoinToken(ctx context.Context, actor restart.Actor, id string) error {
	rec := c.record(actor, audit.JoinTokenRevoked)
	rec.Detail = clip(id)
	err := c.requireNow(actor, authz.Administer)
	if err == nil {
		err = restart.CheckID(id)
	}
	if err != nil {
		return c.refused(ctx, rec, err)
	}
	if err := c.cfg.Store.RevokeJoinToken(ctx, id, c.now(), rec); err != nil {
		return c.refused(ctx, rec, err)
	}
	c.cfg.Committed()
	return nil
}

func (c *Control) joinTokenInfo(t store.JoinToken) wire.JoinToken {
	state := wire.JoinTokenGood
	switch now := c.now(); {
	case !t.RevokedAt.IsZero():
		state = wire.JoinTokenRevoked
	case t.Left == 0:
		state = wire.JoinTokenSpent
	case !now.Before(t.ExpiresAt):
		state = wire.JoinTokenOver
	}
	return wire.JoinToken{
		ID: t.ID, State: state, Host: t.Host, Pattern: t.Pattern, Count: t.Uses, Left: t.Left, CreatedBy: t.CreatedBy, CreatedAt: t.CreatedAt,
		ExpiresAt: t.ExpiresAt, UsedAt: orNull(t.UsedAt), RevokedAt: orNull(t.RevokedAt),
	}
}

// Joiner is who shows a known join token: the token, and the address it came
// from.
type Joiner struct {
	token store.JoinToken
	from  string
}

var errJoinToken = restart.Errorf(restart.CodeUnauthorised, "the join token is not valid").
	WithHint("it may be mistyped or long over; an admin makes another with: restartilka host join-token HOST")

// Joiner finds out who shows a secret: CodeUnauthorised where it is not one of
// ours. Who has none learns nothing else: neither what tokens there are nor
// which have been. Secrets have 256 random bits and are looked up by their
// hash, so that neither patience nor a clock helps to guess one; a limit of
// tries for each address would only lock out the hosts behind one router.
func (c *Control) Joiner(ctx context.Context, secret, from string) (Joiner, error) {
	if !pki.JoinSecret(secret) {
		return Joiner{}, errJoinToken
	}
	token, err := c.cfg.Store.JoinTokenByHash(ctx, pki.HashJoinSecret(secret))
	if restart.CodeOf(err) == restart.CodeNotFound {
		return Joiner{}, errJoinToken
	}
	return Joiner{token, from}, err
}

// Join enrols a host: it signs for the key of its request. What is refused is
// in the trail, with the reason that the host is told.
func (c *Control) Join(ctx context.Context, who Joiner, req protocol.JoinRequest) (protocol.JoinAnswer, error) {
	rec := c.record(restart.Actor{Name: "join-token:" + who.token.ID, Via: "join", From: who.from}, audit.HostJoin)
	rec.Host = clip(req.Host)
	answer, err := c.join(ctx, who.token, req, rec)
	if e, ok := errors.AsType[*restart.Error](err); ok && e.Code != restart.CodeUnavailable {
		rec.Outcome, rec.Detail = string(e.Code), e.Message
		recorded, recErr := c.cfg.Store.RefuseJoin(ctx, who.token.ID, rec)
		if recErr != nil {
			return protocol.JoinAnswer{}, recErr
		}
		if recorded {
			c.cfg.Committed()
		}
	}
	return answer, err
}

func (c *Control) join(ctx context.Context, token store.JoinToken, req protocol.JoinRequest, rec audit.Record) (protocol.JoinAnswer, error) {
	now := c.now()
	if err := restart.CheckHost(req.Host); err != nil {
		return protocol.JoinAnswer{}, err
	}
	if err := token.Check(now); err != nil {
		return protocol.JoinAnswer{}, err
	}
	if err := checkJoinName(token, req.Host); err != nil {
		return protocol.JoinAnswer{}, err
	}
	if err := checkJoinClock(req.Clock, now); err != nil {
		return protocol.JoinAnswer{}, err
	}
	issued, err := c.sign([]byte(req.CSR), req.Host, now)
	if err != nil {
		return protocol.JoinAnswer{}, err
	}
	use, again, made, ended := rec, rec, rec, rec
	use.Detail = "with token " + token.ID + ", serial " + issued.row.Serial
	again.Detail = "the answer was asked for again, with token " + token.ID
	made.Action, made.Detail = audit.CertificateIssued, issued.detail()
	ended.Action = audit.CertificateRevoked
	before, err := c.cfg.Store.UseJoinToken(ctx, store.Join{
		Token: token.ID, KeyHash: issued.keyHash, Certificate: issued.row, PEM: issued.pem,
		Records: []audit.Record{use, made}, Again: []audit.Record{again}, Revoked: ended,
	})
	if err != nil {
		return protocol.JoinAnswer{}, err
	}
	if before != nil {
		issued.pem = before
	}
	c.cfg.Committed()
	c.revocationsChanged(ctx)
	trust, err := c.trust(issued.pem)
	return protocol.JoinAnswer{Certificate: trust.Certificate, CA: trust.CA, Server: trust.Server, EnvelopeKey: trust.EnvelopeKey, Clock: now}, err
}

func checkJoinName(token store.JoinToken, host string) error {
	switch {
	case token.Host != "" && token.Host != host:
		return restart.Errorf(restart.CodeWrongHost, "this join token is for %s, and the host calls itself %s", token.Host, host).
			WithHint("join with --host %s if that is its name; or make a token for it: restartilka host join-token %s", token.Host, host)
	case token.Pattern != "" && !matchPattern(token.Pattern, host):
		return restart.Errorf(restart.CodeWrongHost, "this join token is for %s, and the host calls itself %s", token.Pattern, host).
			WithHint("name the host as in the inventory with --host; or make a token for it: restartilka host join-token %s", host)
	}
	return nil
}

func checkJoinClock(host, server time.Time) error {
	skew := host.Sub(server).Round(time.Second)
	if skew.Abs() <= maxJoinSkew {
		return nil
	}
	amount, hosts, servers := restart.Span(skew.Abs()), host.UTC().Format(time.RFC3339), server.Format(time.RFC3339)
	off := restart.Errorf(restart.CodeClockSkew, "the host's clock is %s ahead: it says %s, and the server's %s", amount, hosts, servers)
	if skew < 0 {
		off = restart.Errorf(restart.CodeClockSkew, "the host's clock is %s behind: it says %s, and the server's %s", amount, hosts, servers)
	}
	return off.WithHint("set the clock and join again; the token has not been used")
}
