package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// FreezeRequest asks for a freeze: by date or weekly.
type FreezeRequest struct {
	Environments []string `json:"environments" doc:"names, or the one word all" maxItems:"100"`
	Services     []string `json:"services,omitempty" doc:"empty: every service" maxItems:"1000"`
	From         string   `json:"from,omitempty" doc:"2026-12-24T00:00 by the clock of the zone, or RFC 3339; empty, with to: now" maxLength:"64"`
	To           string   `json:"to,omitempty" doc:"as from" maxLength:"64"`
	Weekly       string   `json:"weekly,omitempty" doc:"instead of dates, such as fri 18:00-mon 08:00" maxLength:"64"`
	Zone         string   `json:"zone,omitempty" doc:"IANA name, such as Europe/Berlin; empty: the server's" maxLength:"64"`
	Reason       string   `json:"reason"`
}

// Freeze is a freeze as it is listed: with the window that it is in, or the
// next one.
type Freeze struct {
	restart.Freeze
	Applies bool      `json:"applies" doc:"it keeps runs from starting now"`
	Begins  time.Time `json:"begins" doc:"of the window that it is in, or else of the next"`
	Ends    time.Time `json:"ends"`
}

// BrokenGlass is a run that was started past its safeguards.
type BrokenGlass struct {
	Run         string           `json:"run"`
	Service     string           `json:"service"`
	Environment string           `json:"environment"`
	Scenario    string           `json:"scenario"`
	By          string           `json:"by"`
	At          time.Time        `json:"at"`
	Reason      string           `json:"reason"`
	Waived      string           `json:"waived,omitempty" doc:"what stood in the way; empty: nothing did"`
	State       restart.RunState `json:"state"`
	Outcome     string           `json:"outcome" doc:"what became of it, in one line"`
	ReviewedBy  string           `json:"reviewed_by,omitempty"`
	ReviewedAt  *time.Time       `json:"reviewed_at"`
	Note        string           `json:"note,omitempty" doc:"of the review"`
}

// ReviewRequest says what a review has found.
type ReviewRequest struct {
	Note string `json:"note" doc:"what was found; 10 to 500 characters"`
}
