package wire

import "time"

// ApprovalRequest approves or rejects a run that waits for it.
type ApprovalRequest struct {
	Reason string `json:"reason" doc:"one sentence: what was looked at, or why not; 10 to 500 characters"`
	Seen
}

// AwaitingRun is a run that waits for an approval; with Schedule, one that is
// planned for a time to come.
type AwaitingRun struct {
	Run         string     `json:"run" doc:"of what is planned: the id that its run will get"`
	Schedule    string     `json:"schedule,omitempty" doc:"the id of what is planned, which is approved at /planned/{id}; absent: it starts once it is approved"`
	PlannedFor  *time.Time `json:"planned_for,omitempty" doc:"when what is planned starts"`
	Service     string     `json:"service"`
	Environment string     `json:"environment"`
	Group       string     `json:"group,omitempty"`
	Scenario    string     `json:"scenario"`
	Actor       string     `json:"actor" doc:"who asks"`
	Reason      string     `json:"reason"`
	Ticket      string     `json:"ticket,omitempty"`
	Hosts       int        `json:"hosts" doc:"how many are to be touched"`
	Rule        string     `json:"rule" doc:"the line of the rules that asks for it"`
	AskedAt     time.Time  `json:"asked_at"`
	Until       time.Time  `json:"until"`
	Who         string     `json:"who" doc:"who may approve, other than who asks"`
	MayDecide   bool       `json:"may_decide" doc:"whether the one who looks may"`
}

// ID is what it is looked at and decided about by.
func (a AwaitingRun) ID() string {
	if a.Schedule != "" {
		return a.Schedule
	}
	return a.Run
}

// Path leads to its page.
func (a AwaitingRun) Path() string {
	if a.Schedule != "" {
		return "/planned/" + a.Schedule
	}
	return "/runs/" + a.Run
}

// Steps are what a run does on one of its hosts, as far as the server can tell:
// package, unit and user are the host's own to fill in, from the reviewed bytes.
type Steps struct {
	Host      string            `json:"host"`
	RunAs     string            `json:"run_as,omitempty" doc:"empty: the service's own user"`
	Shell     string            `json:"shell"`
	Variables map[string]string `json:"variables,omitempty" doc:"the parameters, as scripts get them"`
	Steps     []Step            `json:"steps" nullable:"false"`
	Note      string            `json:"note,omitempty" doc:"what is not filled in, and why"`
}

// Step is one script, or what is done without one, in words.
type Step struct {
	Name   string `json:"name" enum:"drain,run,undrain,dump"`
	Script string `json:"script"`
	When   string `json:"when,omitempty" doc:"of undrain: healthy or always"`
}
