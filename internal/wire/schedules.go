package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// LaterRequest confirms a draft for a time to come: one that is given, or the
// next maintenance window of a name.
type LaterRequest struct {
	Hosts  []string `json:"hosts,omitempty" doc:"the hosts to touch; empty: all that the plan does not leave out" maxItems:"10000"`
	At     string   `json:"at,omitempty" doc:"2026-12-24T03:00 by the clock of the zone, or RFC 3339" maxLength:"64"`
	Zone   string   `json:"zone,omitempty" doc:"IANA name, such as Europe/Berlin; empty: the server's" maxLength:"64"`
	Window string   `json:"window,omitempty" doc:"instead of at: the name of a maintenance window" maxLength:"64"`
}

// Planned is a run that is planned for a time to come, or was.
type Planned struct {
	restart.Schedule
	Who       string `json:"who,omitempty" doc:"who may approve it, other than who asks; while it waits for that"`
	MayDecide bool   `json:"may_decide" doc:"whether the one who looks may approve and reject it"`
	MayCancel bool   `json:"may_cancel" doc:"whether the one who looks may cancel it"`
}

// DecideLaterRequest approves or rejects what is planned.
type DecideLaterRequest struct {
	Reason string `json:"reason" doc:"one sentence: what was looked at, or why not; 10 to 500 characters"`
}

// MaintenanceWindow is a window that runs can be planned for, with the time that
// it is open, or will be next.
type MaintenanceWindow struct {
	restart.MaintenanceWindow
	Open   bool      `json:"open" doc:"it is open now"`
	Begins time.Time `json:"begins"`
	Ends   time.Time `json:"ends"`
}

// Calendar is the address under which programs read what is planned.
type Calendar struct {
	URL       string     `json:"url,omitempty" doc:"shown once, as it is made; whoever has it can read what is planned"`
	CreatedAt time.Time  `json:"created_at"`
	UsedAt    *time.Time `json:"used_at" doc:"to the minute; null: never"`
}
