package restart

import (
	"slices"
	"strings"
	"time"
)

// Schedule is a run that is planned for a time to come. It keeps what was asked
// for, and the plan as it was shown; at its time the plan is made anew. Run is
// the id of the one run that it may become, so that it becomes at most one,
// whatever crashes.
type Schedule struct {
	ID          string        `json:"id"`
	Run         string        `json:"run"` // that it becomes; there is none before it has started
	Draft       string        `json:"-"`   // the plan that was confirmed for it: the same again is the same schedule
	Request     Request       `json:"request"`
	Ticket      string        `json:"ticket,omitempty"`   // that it is for, given or found in the reason; "" = none
	Unticked    []string      `json:"unticked,omitempty"` // hosts that were asked for and are left out: by the request, a person or the plan
	Service     string        `json:"service"`
	Environment string        `json:"environment"`
	Group       string        `json:"group,omitempty"`
	Scenario    string        `json:"scenario"`
	Digest      string        `json:"digest"`
	Kind        Kind          `json:"kind"`
	Hosts       int           `json:"hosts"`            // that would be touched, as it was planned
	At          time.Time     `json:"at"`               // when it starts
	Until       time.Time     `json:"until"`            // from then on it is missed
	Zone        string        `json:"zone"`             // by which clock it is meant
	Window      string        `json:"window,omitempty"` // the maintenance window that it waits for; "" = it was given a time
	Actor       string        `json:"actor"`
	Via         string        `json:"via,omitempty"`
	CreatedAt   time.Time     `json:"created_at"`
	State       ScheduleState `json:"state"`
	Code        Code          `json:"code,omitempty"` // of Why
	Why         string        `json:"why,omitempty"`  // what keeps it from starting, or kept it
	EndedBy     string        `json:"ended_by,omitempty"`
	EndedAt     *time.Time    `json:"ended_at"`
	Approval    *Approval     `json:"approval,omitempty"`
	Plan        *Plan         `json:"plan,omitempty"` // as it was shown
	Restored    bool          `json:"-"`              // it was open in a backup, and may have been started or cancelled since
}

// ScheduleState says how a schedule stands.
type ScheduleState string

// The states of a schedule:
//
//	awaiting_approval ──► waiting ──► started
//	        │  └──► rejected │
//	        └───────┬────────┘
//	                └──► missed | refused | cancelled
const (
	ScheduleAwaiting  ScheduleState = "awaiting_approval"
	ScheduleWaiting   ScheduleState = "waiting"
	ScheduleStarted   ScheduleState = "started"   // its run is there
	ScheduleMissed    ScheduleState = "missed"    // it could not be started in time
	ScheduleRefused   ScheduleState = "refused"   // at its time something was not as planned: a right, the plan, a freeze
	ScheduleRejected  ScheduleState = "rejected"  // by who was to approve it
	ScheduleCancelled ScheduleState = "cancelled" // by who planned it, or another who may
)

// ScheduleStates lists them all.
func ScheduleStates() []ScheduleState {
	return []ScheduleState{ScheduleAwaiting, ScheduleWaiting, ScheduleStarted, ScheduleMissed, ScheduleRefused, ScheduleRejected, ScheduleCancelled}
}

var scheduleSteps = map[ScheduleState][]ScheduleState{
	ScheduleAwaiting: {ScheduleWaiting, ScheduleRejected, ScheduleMissed, ScheduleRefused, ScheduleCancelled},
	ScheduleWaiting:  {ScheduleStarted, ScheduleMissed, ScheduleRefused, ScheduleCancelled},
}

// Open tells whether the schedule may start still.
func (s ScheduleState) Open() bool { return len(scheduleSteps[s]) > 0 }

// Transition tells why a schedule can't go from s to another state; nil where
// it can.
func (s ScheduleState) Transition(to ScheduleState) error {
	if slices.Contains(scheduleSteps[s], to) {
		return nil
	}
	return Errorf(CodeConflict, "what is planned and is %s can't become %s", s, to)
}

// LocalTime reads a date with a time: RFC 3339, or by the clock of a zone.
// Where the clock skips that time, or shows it twice, it is not known which is
// meant: CodeInvalid, with what to write instead.
func LocalTime(text string, zone *time.Location) (time.Time, error) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		wall, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		first := FirstReading(wall, zone)
		again, twice := secondReading(first, wall, zone)
		switch {
		case !asUTC(first.In(zone)).Equal(wall):
			return time.Time{}, Errorf(CodeInvalid, "the clock of %s skips %s on that day", zone, wall.Format("15:04")).WithHint("the next time that it shows: %s", first.In(zone).Format("2006-01-02T15:04"))
		case twice:
			return time.Time{}, Errorf(CodeInvalid, "the clock of %s shows %s twice on that day", zone, wall.Format("15:04")).
				WithHint("say which: %s or %s", first.In(zone).Format(time.RFC3339), again.In(zone).Format(time.RFC3339))
		}
		return first, nil
	}
	return time.Time{}, Errorf(CodeInvalid, "%s is not a date with a time", Quote(text)).WithHint("such as 2026-12-24T03:00, by the clock of the zone, or 2026-12-24T03:00:00+01:00")
}

// secondReading gives the instant after first at which a clock shows wall once
// more, as it is put back.
func secondReading(first, wall time.Time, zone *time.Location) (time.Time, bool) {
	_, end := first.In(zone).ZoneBounds()
	if end.IsZero() {
		return time.Time{}, false
	}
	_, offset := end.In(zone).Zone()
	again := wall.Add(-time.Duration(offset) * time.Second)
	return again, !again.Before(end) && asUTC(again.In(zone)).Equal(wall)
}
