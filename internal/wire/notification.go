package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// The events of a Notification.
const (
	EventRunStarted        = "run-started"        // it goes over its hosts now
	EventRunPaused         = "run-paused"         // and a person is needed: see its cause
	EventRunResumed        = "run-resumed"        // a person lets it go on
	EventRunFinished       = "run-finished"       // every host is done
	EventRunFailed         = "run-failed"         // it ended as failed or aborted: see its state
	EventApprovalRequested = "approval-requested" // it waits for a second person
	EventApprovalDecided   = "approval-decided"   // approved, rejected, withdrawn or late
	EventBreakGlass        = "break-glass"        // it was started past the safeguards
	EventScenarioExpires   = "scenario-expires"   // has no run
	EventDigest            = "digest"             // what was restarted in a week; has no run
	EventTest              = "test"               // an admin tries a receiver; has no run
	EventRecurrence        = "recurrence"         // restarted again and again for the same reason; its run is the last of those
	EventRunScheduled      = "run-scheduled"      // it is planned for a time to come
	EventScheduleMissed    = "schedule-missed"    // what was planned has not started, and does not any more: see explanation
	EventScheduleCancelled = "schedule-cancelled" // by whom, by says
)

// Notification is what receivers outside are told, as JSON. It may come more
// than once: the id tells.
type Notification struct {
	ID          string       `json:"id"`
	Event       string       `json:"event"`
	At          time.Time    `json:"at"`
	Run         string       `json:"run"`
	URL         string       `json:"url"` // of the run's page
	Service     string       `json:"service"`
	Environment string       `json:"environment"`
	Group       string       `json:"group,omitempty"`
	Scenario    string       `json:"scenario"`
	Kind        restart.Kind `json:"kind,omitempty"`
	Work        restart.Work `json:"work,omitempty"` // how much of the scenario is done; "" = all
	Actor       string       `json:"actor"`
	Reason      string       `json:"reason"`
	Ticket      string       `json:"ticket,omitempty"`
	Waived      string       `json:"waived,omitempty"` // what stood in the way
	Owners      []string     `json:"owners"`           // of the service
	Hosts       []string     `json:"hosts"`            // that are to be touched; at most 100
	HostCount   int          `json:"host_count"`

	// How it stands after the event.
	State       restart.RunState          `json:"state,omitempty"`
	Cause       restart.Cause             `json:"cause,omitempty"`
	Explanation string                    `json:"explanation,omitempty"`
	StartedAt   *time.Time                `json:"started_at,omitempty"`
	FinishedAt  *time.Time                `json:"finished_at,omitempty"`
	Tasks       map[restart.TaskState]int `json:"tasks,omitempty"`   // how many hosts are in each state
	Trouble     []string                  `json:"trouble,omitempty"` // hosts that failed or are unknown; at most 100

	// Of a scenario whose last day is near, which has no run:
	Digest    string     `json:"digest,omitempty"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`

	// Of what is planned for a time to come; run is the id that it gets when it starts.
	Schedule   string     `json:"schedule,omitempty"`
	PlannedFor *time.Time `json:"planned_for,omitempty"`

	// Of approvals: which rule asks, who may give it until when, what became of it.
	Rule    string                  `json:"rule,omitempty"`
	Who     string                  `json:"who,omitempty"`
	Until   *time.Time              `json:"until,omitempty"`
	Verdict restart.ApprovalVerdict `json:"verdict,omitempty"`
	By      string                  `json:"by,omitempty"`
	Note    string                  `json:"note,omitempty"` // his own words

	// Of a recurrence: so many restarts, this one included, within so many days.
	Restarts int `json:"restarts,omitempty"`
	Days     int `json:"days,omitempty"`

	Week *Week `json:"week,omitempty"` // of a digest
}

// Week is what a digest tells of the runs that ended in a week, rehearsals left
// out.
type Week struct {
	From     time.Time     `json:"from"`
	Until    time.Time     `json:"until"`
	For      string        `json:"for,omitempty"` // the owner it is for; "" = all that the receiver is told of
	Runs     int           `json:"runs"`
	Failed   int           `json:"failed"`   // or aborted
	Services []WeekService `json:"services"` // those with most runs first; at most 20
	Again    []WeekRun     `json:"again"`    // restarts that did not help: the same was restarted again within a day; at most 20
	Reasons  []WeekReason  `json:"reasons"`  // given more than once for one service; at most 20
}

// WeekService is how runs of a service went in an environment.
type WeekService struct {
	Service     string `json:"service"`
	Environment string `json:"environment"`
	Runs        int    `json:"runs"`
	Failed      int    `json:"failed"` // or aborted
	Again       int    `json:"again"`  // that did not help
}

// WeekRun is a restart that did not help.
type WeekRun struct {
	Run         string    `json:"run"`
	URL         string    `json:"url"`
	Service     string    `json:"service"`
	Environment string    `json:"environment"`
	Actor       string    `json:"actor"`
	Reason      string    `json:"reason"`
	At          time.Time `json:"at"` // when it ended
}

// WeekReason is a reason that was given again.
type WeekReason struct {
	Service string `json:"service"`
	Reason  string `json:"reason"` // as it was given last
	Runs    int    `json:"runs"`
}

// Receiver is one whom a server tells, as its settings name him.
type Receiver struct {
	Name    string   `json:"name"` // as the settings have it, else the id
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Address string   `json:"address"` // without secrets
	Events  []string `json:"events"`
	// What of these events it is told of: names or globs, owners, and kinds of
	// what is done. A list that is not there does not narrow.
	Services     []string       `json:"services,omitempty"`
	Environments []string       `json:"environments,omitempty"`
	Teams        []string       `json:"teams,omitempty"`
	Kinds        []restart.Kind `json:"kinds,omitempty"`
	Waiting      int64          `json:"waiting"`           // messages that it has not taken yet
	Since        *time.Time     `json:"since,omitempty"`   // when the oldest of them was left
	Failure      string         `json:"failure,omitempty"` // of the oldest of them: why the last try failed
}

// ReceiverTest is what became of a message that tries a receiver.
type ReceiverTest struct {
	Receiver string `json:"receiver"`
	Taken    bool   `json:"taken"`
	Said     string `json:"said,omitempty"` // why not
	Took     string `json:"took"`           // such as 120ms
}
