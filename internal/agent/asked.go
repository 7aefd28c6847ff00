package agent

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// refusalsRecorded is how many refusals of one code are recorded one by one
	// within an hour. Of the others their number is, so that a flood can neither
	// fill the disk nor hide a refusal of another kind.
	refusalsRecorded = 100
	refusalsWindow   = time.Hour
	// mostDetail bounds the sentence of a record, in bytes.
	mostDetail = 1000
	// serverOrigin and serverActor stand in a record where no envelope could be read.
	serverOrigin = "server"
	serverActor  = "server"
)

// asking counts the refusals of one hour. Agent.mu guards it.
type asking struct {
	since  time.Time
	counts map[restart.Code]int
}

// noteTaken records a server's task, durably, before it is received: what is not
// recorded is not taken.
func (a *Agent) noteTaken(e protocol.Envelope, now time.Time) error {
	if a.cfg.Asked == nil {
		return nil
	}
	r := recordOf(e, audit.TaskTaken, now)
	r.Origin, r.Detail = serverOrigin, "scenario "+e.Scenario
	switch e.Only {
	case "":
	case protocol.OnlyRehearse:
		r.Detail += rehearsed
	default:
		r.Detail += ", its " + e.Only + " step alone"
	}
	return diskFull(a.cfg.Asked.Append(r))
}

// noteAsked records what else servers have asked here. What can't be written is
// logged.
func (a *Agent) noteAsked(r audit.Record) { a.logged(r, a.recordAsked(r, (*ledger.Ledger).Note)) }

// noteChanged records, durably, what servers have changed here: whom and what
// the host obeys.
func (a *Agent) noteChanged(r audit.Record) { a.logged(r, a.recordAsked(r, (*ledger.Ledger).Append)) }

func (a *Agent) logged(r audit.Record, err error) {
	if err != nil {
		a.cfg.Logger.Error("what a server asked is not in this host's own record", "action", string(r.Action), "outcome", r.Outcome, "error", err)
	}
}

// recordAsked records what a server asks.
func (a *Agent) recordAsked(r audit.Record, write func(*ledger.Ledger, audit.Record) error) error {
	if a.cfg.Asked == nil {
		return nil
	}
	if r.Actor == "" {
		r.Actor = serverActor
	}
	r.Time, r.Origin, r.Host = a.cfg.Now().UTC(), serverOrigin, a.cfg.Host.Name
	if len(r.Detail) > mostDetail {
		r.Detail = restart.Escape(r.Detail[:mostDetail]) + "…"
	}
	return write(a.cfg.Asked, r)
}

// noteRefused records a refusal, as far as the envelope could be read. An agent
// that is stopping has refused nothing, and neither has one that has failed.
func (a *Agent) noteRefused(e protocol.Envelope, err error) {
	why, ok := errors.AsType[*restart.Error](err)
	if a.cfg.Asked == nil || !ok || why.Code == restart.CodeStopping || why.Code == restart.CodeInternal {
		return
	}
	one, before := a.countRefusal(why.Code)
	for _, r := range before {
		a.noteAsked(r)
	}
	if !one {
		return
	}
	r := recordOf(e, audit.TaskRefused, a.cfg.Now().UTC())
	r.Params = nil
	r.Outcome, r.Detail = string(why.Code), why.Message
	if e.Scenario != "" {
		r.Detail = "scenario " + e.Scenario + ": " + r.Detail
	}
	if e.Host != "" && e.Host != a.cfg.Host.Name {
		r.Detail += "; made for host " + restart.Quote(e.Host)
	}
	a.noteAsked(r)
}

// countRefusal tells whether a refusal is recorded by itself, and gives the
// records about those of the hour before that were not.
func (a *Agent) countRefusal(code restart.Code) (one bool, before []audit.Record) {
	now := a.cfg.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &a.asking
	if w.counts == nil || now.Sub(w.since) >= refusalsWindow || now.Before(w.since) {
		for _, c := range slices.Sorted(maps.Keys(w.counts)) {
			if n := w.counts[c] - refusalsRecorded; n > 0 {
				before = append(before, audit.Record{Action: audit.TaskRefused, Outcome: string(c),
					Detail: fmt.Sprintf("%d more such requests were refused within an hour from %s", n, w.since.UTC().Format(time.RFC3339))})
			}
		}
		*w = asking{since: now, counts: map[restart.Code]int{}}
	}
	w.counts[code]++
	if n := w.counts[code]; n == refusalsRecorded+1 {
		before = append(before, audit.Record{Action: audit.TaskRefused, Outcome: string(code),
			Detail: fmt.Sprintf("more than %d such requests were refused within an hour: the next are only counted", refusalsRecorded)})
	}
	return w.counts[code] <= refusalsRecorded, before
}
