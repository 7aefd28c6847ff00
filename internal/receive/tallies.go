package receive

import (
	"maps"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
)

// stuckAfter is how long a batch may take before the disk counts as hung.
const stuckAfter = 10 * time.Second

// tallies are what is told of a source. They have a lock of their own: a disk
// that hangs holds the source's, and has to be told of.
type tallies struct {
	mu   sync.Mutex
	here Stats
	at   time.Time // when the batch in hand began; zero = none
}

// Stats is how a source stands.
type Stats struct {
	Source     string              `json:"source"`
	Head       audit.Head          `json:"head"`               // of what is stored
	Bytes      int64               `json:"bytes"`              // of its files
	Records    int64               `json:"records"`            // stored since the start
	Duplicates int64               `json:"duplicates"`         // passed over since the start
	Refused    map[AlarmKind]int64 `json:"refused,omitempty"`  // batches, since the start
	Received   time.Time           `json:"received,omitzero"`  // when a batch was stored last
	Error      string              `json:"error,omitempty"`    // why nothing can be stored
	Alarms     []Alarm             `json:"alarms,omitempty"`   // those that stand, the first twenty
	AlarmCount int                 `json:"alarm_count"`        // of all that stand
	Stuck      time.Duration       `json:"stuck_ns,omitempty"` // how long the disk has not answered
}

const shownAlarms = 20

func (t *tallies) opened(s *source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.here = Stats{Source: s.name, Head: s.head, Bytes: s.size(), Refused: map[AlarmKind]int64{}}
}

func (t *tallies) begin(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = now
}

func (t *tallies) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = time.Time{}
}

func (t *tallies) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.here.Error = err.Error()
}

func (t *tallies) refused(kind AlarmKind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.here.Refused[kind]++
}

// took counts a batch that is on the disk.
func (t *tallies) took(s *source, b batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range b.pieces {
		t.here.Records += int64(len(b.pieces[i].digests))
		t.here.Bytes += int64(len(b.pieces[i].lines))
	}
	t.here.Duplicates += b.duplicates
	t.here.Head = s.head
	if len(b.pieces) > 0 {
		t.here.Received, t.here.Error = s.now().UTC(), ""
	}
}

// stats gives how the source stands.
func (s *source) stats() Stats {
	t := &s.tallies
	t.mu.Lock()
	out := t.here
	out.Refused = maps.Clone(out.Refused)
	if !t.at.IsZero() {
		if d := s.now().Sub(t.at); d > stuckAfter {
			out.Stuck = d
		}
	}
	t.mu.Unlock()
	out.Alarms = s.alarms.standing()
	out.AlarmCount = len(out.Alarms)
	out.Alarms = out.Alarms[:min(len(out.Alarms), shownAlarms)]
	return out
}
