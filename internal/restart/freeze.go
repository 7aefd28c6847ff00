package restart

import (
	"slices"
	"strings"
	"time"
)

// EveryEnvironment is the word by which a freeze names all environments, those
// of tomorrow too.
const EveryEnvironment = "all"

// Freeze is a time in which no run that changes a service starts, or goes on
// to its next host. It is by date (From and To) or weekly, never both.
type Freeze struct {
	ID           string     `json:"id"`
	Environments []string   `json:"environments"`       // names, or EveryEnvironment alone
	Services     []string   `json:"services,omitempty"` // empty = every service
	From         *time.Time `json:"from,omitempty"`     // by date: the first instant of it
	To           *time.Time `json:"to,omitempty"`       // by date: the first instant after it
	Weekly       string     `json:"weekly,omitempty"`   // as ParseWeekly reads it
	Zone         string     `json:"zone"`               // IANA name of the time zone that Weekly is meant in
	Reason       string     `json:"reason"`
	CreatedBy    string     `json:"created_by"`
	CreatedAt    time.Time  `json:"created_at"`
}

// Names tells whether the freeze is about that service in that environment.
func (f Freeze) Names(service, environment string) bool {
	if len(f.Services) > 0 && !slices.Contains(f.Services, service) {
		return false
	}
	return slices.Contains(f.Environments, EveryEnvironment) || slices.Contains(f.Environments, environment)
}

// Where says what the freeze is about: "production", "shop in production, testing".
func (f Freeze) Where() string {
	where := strings.Join(f.Environments, ", ")
	if slices.Contains(f.Environments, EveryEnvironment) {
		where = "every environment"
	}
	if len(f.Services) > 0 {
		where = strings.Join(f.Services, ", ") + " in " + where
	}
	return where
}

// Window is a time from its first instant to the first one after it.
type Window struct{ From, To time.Time }

// Holds tells whether t is in the window.
func (w Window) Holds(t time.Time) bool { return !t.Before(w.From) && t.Before(w.To) }

// Window gives the window that the freeze is in at now, or the next one to
// come; false where none will: it is over. zone is the location of f.Zone. An
// error is of a Weekly that ParseWeekly does not read.
func (f Freeze) Window(now time.Time, zone *time.Location) (Window, bool, error) {
	if f.Weekly == "" {
		if f.From == nil || f.To == nil {
			return Window{}, false, Errorf(CodeInvalid, "freeze %s is neither by date nor weekly", f.ID)
		}
		w := Window{*f.From, *f.To}
		return w, now.Before(w.To), nil
	}
	weekly, err := ParseWeekly(f.Weekly)
	if err != nil {
		return Window{}, false, err
	}
	return weekly.Window(now, zone), true, nil
}

// FreezeBinds tells whether freezes keep a run from starting and from going on
// to its next host. A thread dump changes nothing, so it may be taken at any
// time. An undrain alone ends a change that was made before: a host that was
// left drained is put back whatever is frozen.
func FreezeBinds(kind Kind, work Work) bool { return kind != KindThreadDump && work != WorkUndrain }

// Safeguard is something between a request and its hosts that break-glass can
// waive.
type Safeguard string

// The safeguards that can be waived.
const (
	SafeguardFreeze    Safeguard = "freeze"
	SafeguardApproval  Safeguard = "approval"
	SafeguardRemoteLog Safeguard = "remote_log" // the wait for it: the intent is stored here first all the same
	SafeguardTicket    Safeguard = "ticket"     // that the rules demand, or whose tracker can't be asked
	// Alerts that fire, and silences that are required and can't be placed.
	SafeguardMonitoring Safeguard = "monitoring"
	// SafeguardLockKeeper is the question to who keeps a lock that is shared with
	// others, where nobody answers it. A lock that another has is never waived.
	SafeguardLockKeeper Safeguard = "lock_keeper"
)

// Waives is the one place that says what break-glass waives, of a run whose
// glass is broken. All else holds as ever: rights, reviewed bytes, locks,
// min_available, the durable intent.
func (r Run) Waives(s Safeguard) bool {
	if !r.BreakGlass {
		return false
	}
	switch s {
	case SafeguardFreeze, SafeguardApproval, SafeguardRemoteLog, SafeguardTicket, SafeguardMonitoring, SafeguardLockKeeper:
		return true
	}
	return false
}
