package agent

import (
	"errors"
	"slices"

	"github.com/restartilka/restartilka/internal/restart"
)

// refusalsKept is how many refused ids an agent remembers. A copy of a request
// that was refused comes within its connection's life, if ever.
const refusalsKept = 1024

// refusals are the last ids that were refused, with what was said: a copy of
// the request that is still on its way is refused as well, although the service
// may be free by then. A refusal that could be overtaken would be no outcome.
type refusals struct {
	why  map[string]*restart.Error
	ring []string
	next int
}

func (r *refusals) add(id string, why *restart.Error) {
	if r.why == nil {
		r.why, r.ring = map[string]*restart.Error{}, make([]string, refusalsKept)
	}
	if _, known := r.why[id]; known {
		return
	}
	delete(r.why, r.ring[r.next])
	r.ring[r.next], r.why[id] = id, why
	r.next = (r.next + 1) % len(r.ring)
}

// refuse remembers a refusal and gives it back. An agent that is stopping asks
// to be asked again, a server that has lost the run is told no outcome of the
// task, and what is not made for people ("internal") leaves open what happened:
// none of these is one.
func (a *Agent) refuse(id string, err error) error {
	why, ok := errors.AsType[*restart.Error](err)
	if !ok || slices.Contains([]restart.Code{restart.CodeStopping, restart.CodeStaleEpoch, restart.CodeInternal}, why.Code) {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused.add(id, why)
	return err
}

// refusedBefore gives what was said to an earlier copy of the request.
func (a *Agent) refusedBefore(id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if why, ok := a.refused.why[id]; ok {
		return why
	}
	return nil
}
