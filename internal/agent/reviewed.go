package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/scenario/signing"
)

// Reviewed is what a host keeps where it trusts scenarios by signature: *spool.Spool.
type Reviewed interface {
	RaiseSerial(name string, serial int) error
	Serial(name string) (int, error)
	ForgetSerial(name string) error
	Lay(file string, data []byte) error
	Unlay(file string) error
}

// maxLaid is how many versions a host keeps that servers have laid; those that
// a task in hand is by are kept beyond that.
const maxLaid = 64

// Lay keeps a signed version that a server sends (PUT /v1/scenarios/{digest}),
// once everything about it was found in order: what is refused leaves nothing.
// A version that is trusted here already costs nothing. CodeForbidden where the
// host trusts files instead of signatures, CodeTooLarge, CodeInvalid,
// CodeNotReviewed with the reason, CodeDiskFull.
func (a *Agent) Lay(_ context.Context, digest string, in protocol.SignedScenario) (protocol.AcceptedScenario, error) {
	s, err := a.lay(digest, in)
	if err != nil {
		a.noteRefused(protocol.Envelope{Digest: digest}, err)
		return protocol.AcceptedScenario{}, err
	}
	return protocol.AcceptedScenario{Name: s.Name, Digest: s.Digest, Serial: s.Serial}, nil
}

func (a *Agent) lay(digest string, in protocol.SignedScenario) (restart.Scenario, error) {
	var none restart.Scenario
	if err := restart.CheckDigest(digest); err != nil {
		return none, err
	}
	review := a.cfg.Host.Review
	if review == nil || a.cfg.Reviewed == nil {
		return none, restart.Errorf(restart.CodeForbidden, "this host takes no scenarios from servers: it trusts the files that its administrators lay").
			WithHint("review: signed in its agent.yaml would let it")
	}
	if len(in.Body) > protocol.MaxLaidBody || len(in.Signatures) > signing.MaxSignatures {
		return none, restart.Errorf(restart.CodeTooLarge, "a scenario that is laid has at most %d bytes and %d signatures", protocol.MaxLaidBody, signing.MaxSignatures)
	}
	if is := scenario.Digest(in.Body); is != digest {
		return none, restart.Errorf(restart.CodeNotReviewed, "what was sent as the scenario with digest %s has digest %s", digest[:12], is[:12])
	}
	now := a.cfg.Now().UTC()
	s, err := review.Judge(in.Body, host.Signatures(in.Signatures), now)
	if err != nil {
		return none, err
	}
	a.laying.Lock()
	defer a.laying.Unlock()
	if s, err := a.cfg.Host.Trusted(digest, now); err == nil {
		return s, nil
	}
	data, err := json.Marshal(host.Laid{Body: in.Body, Signatures: in.Signatures, At: now})
	if err != nil {
		return none, fmt.Errorf("encode a scenario: %w", err)
	}
	if err := a.cfg.Reviewed.Lay(digest+host.LaidSuffix, data); err != nil {
		return none, diskFull(err)
	}
	a.noteChanged(audit.Record{Action: audit.ScenarioLaid, ScenarioDigest: digest, Detail: fmt.Sprintf("scenario %s, serial %d", s.Name, s.Serial)})
	a.cfg.Logger.Info("a signed scenario was laid", "scenario", s.Name, "serial", s.Serial, "digest", digest)
	a.pruneLaid(digest)
	return s, nil
}

// pruneLaid drops the versions that were laid first, beyond maxLaid.
func (a *Agent) pruneLaid(newest string) {
	laid, err := a.cfg.Host.Review.LaidAt()
	if err != nil {
		a.cfg.Logger.Error("scenarios that were laid can't be counted", "error", err)
		return
	}
	used := map[string]bool{newest: true}
	a.mu.Lock()
	for _, t := range a.tasks {
		if !t.done() {
			used[t.envelope.Digest] = true
		}
	}
	a.mu.Unlock()
	var digests []string
	for digest := range laid {
		digests = append(digests, digest)
	}
	slices.SortFunc(digests, func(x, y string) int {
		if c := laid[x].Compare(laid[y]); c != 0 {
			return c
		}
		return strings.Compare(x, y)
	})
	over := len(digests) - maxLaid
	for _, digest := range digests {
		if over <= 0 {
			return
		}
		if used[digest] {
			continue
		}
		if err := a.cfg.Reviewed.Unlay(digest + host.LaidSuffix); err != nil {
			a.cfg.Logger.Error("an old scenario is not dropped", "digest", digest, "error", err)
		}
		over--
	}
}

// raiseSerial makes durable which serial of a scenario is accepted, before its
// task is.
func (a *Agent) raiseSerial(s restart.Scenario) error {
	if a.cfg.Host.Review == nil || a.cfg.Reviewed == nil {
		return nil
	}
	err := a.cfg.Reviewed.RaiseSerial(s.Name, s.Serial)
	if older, ok := errors.AsType[*spool.OlderError](err); ok { // since it was judged
		return host.Older(s, older.Highest)
	}
	return diskFull(err)
}

// Forgotten answers ForgetReviewed.
type Forgotten struct {
	Scenario string `json:"scenario"`
	Serial   int    `json:"serial"` // that was kept until now
}

// forgetAsk is the body of POST /local/review/{name}/forget.
type forgetAsk struct {
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// ForgetReviewed drops the highest serial of a scenario that is kept here, so
// that an older version is trusted again where it is signed. Only root asks for
// that, on the host; it is durable in the ledger first. CodeNotFound where none
// is kept, CodeReason, CodeInvalid.
func (a *Agent) ForgetReviewed(ctx context.Context, name, actor, reason string) (Forgotten, error) {
	out := Forgotten{Scenario: name}
	if err := restart.CheckScenarioName(name); err != nil {
		return out, err
	}
	reason, err := restart.CheckReason(reason)
	if err != nil {
		return out, err
	}
	if a.cfg.Reviewed == nil || a.cfg.Local == nil {
		return out, restart.Errorf(restart.CodeConflict, "this host keeps no serials: it trusts the files that lie on it (review: files)")
	}
	if err := a.take(ctx); err != nil {
		return out, err
	}
	defer a.give()
	if out.Serial, err = a.cfg.Reviewed.Serial(name); err != nil {
		return out, err
	}
	if out.Serial == 0 {
		return out, restart.Errorf(restart.CodeNotFound, "no version of scenario %s was accepted on this host", name)
	}
	r := audit.Record{
		Time: a.cfg.Now().UTC(), Actor: actor, Origin: localOrigin, Action: audit.SerialForgotten, Host: a.cfg.Host.Name, Reason: reason,
		Detail: fmt.Sprintf("scenario %s: serial %d was the highest that was accepted", name, out.Serial),
	}
	if err := a.cfg.Local.Ledger.Append(r); err != nil {
		return out, diskFull(err)
	}
	if err := a.cfg.Reviewed.ForgetSerial(name); err != nil {
		return out, diskFull(err)
	}
	a.cfg.Logger.Warn("root lets older versions of a scenario in", "scenario", name, "serial", out.Serial, "actor", restart.Escape(actor), "reason", reason)
	return out, nil
}

func (a *Agent) serveLay(w http.ResponseWriter, r *http.Request) error {
	return handle(w, r, a.Lay)
}

func (a *Agent) serveForgetReviewed(w http.ResponseWriter, r *http.Request) error {
	return handle(w, r, func(ctx context.Context, name string, in forgetAsk) (Forgotten, error) {
		return a.ForgetReviewed(ctx, name, in.Actor, in.Reason)
	})
}
