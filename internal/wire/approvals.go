package wire

import "time"

// ApprovalRequest approves or rejects a run that waits for it.
type ApprovalRequest struct {
	Reason string `json:"reason" doc:"one sentence: what was looked at, or why not; 10 to 500 characters"`
	Seen
}

// AwaitingRun is a run that waits for an approval.
type AwaitingRun struct {
	Run         string    `json:"run"`
	Service     string    `json:"service"`
	Environment string    `json:"environment"`
	Group       string    `json:"group,omitempty"`
	Scenario    string    `json:"scenario"`
	Actor       string    `json:"actor" doc:"who asks"`
	Reason      string    `json:"reason"`
	Ticket      string    `json:"ticket,omitempty"`
	Hosts       int       `json:"hosts" doc:"how many are to be touched"`
	Rule        string    `json:"rule" doc:"the line of the rules that asks for it"`
	AskedAt     time.Time `json:"asked_at"`
	Until       time.Time `json:"until"`
	Who         string    `json:"who" doc:"who may approve, other than who asks"`
	MayDecide   bool      `json:"may_decide" doc:"whether the one who looks may"`
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
