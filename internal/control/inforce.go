package control

import (
	"context"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

// unexpired refuses a scenario whose last day is over.
func unexpired(f scenario.File, now time.Time) (scenario.File, error) {
	if !f.Scenario.Expired(now) {
		return f, nil
	}
	return f, restart.Errorf(restart.CodeNotReviewed, "scenario %s serial %d may be used no more since the end of %s", f.Scenario.Name, f.Scenario.Serial, f.Scenario.LastDay()).
		WithHint("have a version with a later day and a higher serial reviewed; %s wrote this one", restart.Escape(orNobody(f.Scenario.Author)))
}

func orNobody(author string) string {
	if author == "" {
		return "nobody that is named"
	}
	return author
}

// instead gives the better reason why there is no scenario to choose: of those
// that would fit, one is known and may not be used. Otherwise it gives err.
func (c *Control) instead(ctx context.Context, err error, fits func(restart.Scenario) bool) error {
	if !c.cfg.Review.Signed {
		return err
	}
	s, lookup := c.versions(ctx)
	if lookup != nil {
		return lookup
	}
	for _, j := range s.judged { // of each name, the highest serial first
		if fits(j.Scenario) {
			if why := j.Usable(false); why != nil {
				return why
			}
		}
	}
	return err
}

// usable refuses a version that a run was planned with and that may not be used
// any more (CodeNotReviewed): it was withdrawn or revoked since, or its signers'
// keys were. A newer version does not stand in its way. Where the folder is in
// force the hosts decide alone.
func (c *Control) usable(ctx context.Context, digest string, work restart.Work) error {
	if !c.cfg.Review.Signed {
		return nil
	}
	s, err := c.versions(ctx)
	if err != nil {
		return err
	}
	j, ok := s.find(digest)
	if !ok {
		return restart.Errorf(restart.CodeNotReviewed, "the scenario version of the run, %s, was never reviewed on this server", digest).
			WithHint("it is older than review: signed; ask for a new run")
	}
	return j.Usable(work == restart.WorkUndrain)
}

// Signed gives the bytes and signatures of a version, to be laid on hosts that
// trust signatures: CodeNotFound where it may not be used, and where the folder
// is in force. Who calls is the server itself.
func (c *Control) Signed(ctx context.Context, digest string) ([]byte, []protocol.ScenarioSignature, error) {
	if !c.cfg.Review.Signed || c.usable(ctx, digest, restart.WorkUndrain) != nil { // a host that is told nothing says itself what it lacks
		return nil, nil, restart.Errorf(restart.CodeNotFound, "no such version is to be laid on hosts")
	}
	body, sigs, err := c.cfg.Store.Version(ctx, digest)
	out := make([]protocol.ScenarioSignature, len(sigs))
	for i, sig := range sigs {
		out[i] = protocol.ScenarioSignature(sig)
	}
	return body, out, err
}

// mayStillUse is usable for the next host of a run that is under way. Hosts
// judge by the same: what they would refuse waits here for a person instead.
func (c *Control) mayStillUse(ctx context.Context, run restart.Run) (restart.Cause, string) {
	err := c.usable(ctx, run.Digest, run.Work)
	if err == nil {
		return "", ""
	}
	if restart.CodeOf(err) != restart.CodeNotReviewed {
		c.cfg.Logger.ErrorContext(ctx, "look at the review of a scenario", "run_id", run.ID, "error", err)
		return restart.CauseGate, fmt.Sprintf("whether scenario %s is reviewed still could not be found out", run.Scenario)
	}
	return restart.CauseGate, personal(err).Message
}
