package restart

import (
	"slices"
	"time"
)

// SilenceState is where a Silence stands.
type SilenceState string

// The states of a silence. One that is asked may be there or not, or twice: its
// system has not answered yet, or an answer of it never came.
const (
	SilenceAsked   SilenceState = "asked"
	SilencePlaced  SilenceState = "placed"
	SilenceRefused SilenceState = "refused" // it never was there
	SilenceLifted  SilenceState = "lifted"
)

// silenceTransitions is the one table of what may follow what.
var silenceTransitions = map[SilenceState][]SilenceState{
	SilenceAsked:   {SilencePlaced, SilenceRefused, SilenceLifted},
	SilencePlaced:  {SilenceLifted},
	SilenceRefused: {},
	SilenceLifted:  {},
}

// SilenceStates lists every state.
func SilenceStates() []SilenceState {
	return []SilenceState{SilenceAsked, SilencePlaced, SilenceRefused, SilenceLifted}
}

// CanBecome tells whether the table allows s → to.
func (s SilenceState) CanBecome(to SilenceState) bool {
	return slices.Contains(silenceTransitions[s], to)
}

// Open tells whether alerts may be silent because of it.
func (s SilenceState) Open() bool { return len(silenceTransitions[s]) > 0 }

// Silence is what one monitoring system was told about one host while a task
// works on it: not to alert, of these alerts alone, until the task is over. It
// ends by itself at EndsAt, whatever becomes of the server.
type Silence struct {
	Run     string       `json:"run,omitempty"`
	Task    string       `json:"task"`
	Host    string       `json:"host"`
	System  string       `json:"system"` // its name in the configuration
	Alerts  []string     `json:"alerts"` // whole names
	State   SilenceState `json:"state"`
	Foreign string       `json:"foreign,omitempty"` // its id there; "" = not known
	Failure string       `json:"failure,omitempty"` // why it is not placed, or not lifted yet
	AskedAt time.Time    `json:"asked_at"`
	EndsAt  time.Time    `json:"ends_at"`
}

// Silences tells whether a task of the run silences alerts: one that does the
// work of a scenario that names some. A rehearsal restarts nothing, and an
// undrain alone stops nothing.
func (r Run) Silences() bool {
	return r.Plan != nil && len(r.Plan.Silence) > 0 && r.Work == WorkWhole
}
