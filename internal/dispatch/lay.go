package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Scenarios has the versions that reviewers have signed.
type Scenarios interface {
	// Signed gives a version's bytes and signatures. CodeNotFound where no such
	// version is in force any more: then nothing is laid.
	Signed(ctx context.Context, digest string) (body []byte, sigs []protocol.ScenarioSignature, err error)
}

// layAgain is how long a host that takes no scenarios, because it trusts its own
// files or its agent is an older one, is not offered any.
const layAgain = 10 * time.Minute

// layTime bounds the laying of one version before a task is sent.
const layTime = 5 * time.Second

// takers remembers the hosts that take no scenarios.
type takers struct {
	mu   sync.Mutex
	none map[string]time.Time // by host: until when
}

func (t *takers) skip(host string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.none[host]
	if ok && !now.Before(until) {
		delete(t.none, host)
		ok = false
	}
	return ok
}

func (t *takers) note(host string, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.none == nil {
		t.none = map[string]time.Time{}
	}
	t.none[host] = until
}

// Lay lays a signed version on a host that trusts signatures. Any number of
// times is the same as once, and no service is touched. laid tells whether the
// host has it now; nil without it means that there is nothing to lay, or that
// the host takes none. A version that the host does not trust is a
// *RefusedError with the host's reason.
func (c *Client) Lay(ctx context.Context, host restart.Host, digest string) (laid bool, err error) {
	if c.cfg.Scenarios == nil || digest == "" || c.takers.skip(host.Name, c.cfg.Now()) {
		return false, nil
	}
	body, sigs, err := c.cfg.Scenarios.Signed(ctx, digest)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var out protocol.AcceptedScenario
	err = c.call(ctx, host, http.MethodPut, "/v1/scenarios/"+digest, protocol.SignedScenario{Body: body, Signatures: sigs}, &out)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		switch refused.Err.Code {
		case restart.CodeNotFound, restart.CodeForbidden:
			c.takers.note(host.Name, c.cfg.Now().Add(layAgain))
			return false, nil
		}
	}
	return err == nil, err
}

// prepare lays what a task is by before it is sent, and gives the host's reason
// where it does not want it. Everything else that is in the way shows at once,
// when the task itself is sent.
func (c *Client) prepare(ctx context.Context, host restart.Host, s protocol.Sealed) *RefusedError {
	if c.cfg.Scenarios == nil {
		return nil
	}
	var e struct {
		Digest string `json:"digest"`
	}
	if json.Unmarshal(s.Payload, &e) != nil || restart.CheckDigest(e.Digest) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, layTime)
	defer cancel()
	_, err := c.Lay(ctx, host, e.Digest)
	refused, _ := errors.AsType[*RefusedError](err)
	return refused
}

// because gives the reason for which a host did not take a version in place of
// its bare word that it does not have it. Only the host's refusal of the task
// itself says that nothing was started: without it nothing is changed.
func because(err error, refused *RefusedError) error {
	said, ok := errors.AsType[*RefusedError](err)
	if !ok || refused == nil || said.Err.Code != restart.CodeNotReviewed || refused.Err.Code == restart.CodeStopping {
		return err
	}
	return refused
}

// layAndCheck asks once more about a version that the host does not have, after
// it was laid, so that a plan shows beforehand what a task would hear.
func (c *Client) layAndCheck(ctx context.Context, host restart.Host, m protocol.CheckRequest, first protocol.CheckReport) (protocol.CheckReport, error) {
	missing := func(e restart.Error) bool { return e.Code == restart.CodeNotReviewed }
	if c.cfg.Scenarios == nil || m.Digest == "" || !slices.ContainsFunc(first.Problems, missing) {
		return first, nil
	}
	laid, err := c.Lay(ctx, host, m.Digest)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		for i, p := range first.Problems {
			if missing(p) {
				first.Problems[i] = *refused.Err
			}
		}
		return first, nil
	}
	if !laid { // the host's first word says enough
		return first, nil
	}
	var again protocol.CheckReport
	err = c.call(ctx, host, http.MethodPost, "/v1/check", m, &again)
	return again, err
}
