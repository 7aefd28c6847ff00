// Package client asks a restartilka server from a Go program: plan a restart,
// start it, watch it to the end, look at what was done. It is the whole API, as
// the command line uses it; Do is the way most programs need.
//
//	c, err := client.New(client.Config{URL: "https://restartilka.example.com:8443", Token: token})
//	run, err := client.Do(ctx, c, client.Request{Service: "nginx", Environment: "testing", Reason: "build 814 brings a new configuration"}, client.Options{})
//	if err == nil {
//		err = client.Check(run)
//	}
//
// Whose token it is says who asks: rights, approvals, freezes and the audit
// trail are those of a person at the page. A refusal is an *Error with a code for
// programs, and a sentence and a hint for people. Nothing here is ever sent twice
// by itself, but for a request with a key (Options.Key), which is one run however
// often it is sent.
package client

import (
	"context"
	"errors"
	"time"

	internal "github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

type (
	// Client asks one server; its methods are the whole API.
	Client = internal.Client
	// Config says which server, and who asks.
	Config = internal.Config
	// UnreachableError says that nobody has answered.
	UnreachableError = internal.UnreachableError
	// Request is what is asked for.
	Request = restart.Request
	// Plan is what it would do.
	Plan = restart.Plan
	// PlannedHost is a host of a plan.
	PlannedHost = restart.PlannedHost
	// Run is one request over its hosts.
	Run = restart.Run
	// RunState is where a run stands.
	RunState = restart.RunState
	// Cause says why it is paused, or ended as it did.
	Cause = restart.Cause
	// Task is its work on one host.
	Task = restart.Task
	// TaskState is where one host stands.
	TaskState = restart.TaskState
	// Kind is what a scenario is for.
	Kind = restart.Kind
	// Verdict is what a person says of an unknown host.
	Verdict = restart.Verdict
	// Error is a refusal: a code for programs, a sentence and a hint for people.
	Error = restart.Error
	// Code is what programs know it by.
	Code = restart.Code
	// StartRequest confirms a draft.
	StartRequest = wire.StartRequest
	// RetryRequest asks for what a run has left undone.
	RetryRequest = wire.RetryRequest
	// DecideRequest settles an unknown host.
	DecideRequest = wire.DecideRequest
	// ApprovalRequest approves or rejects.
	ApprovalRequest = wire.ApprovalRequest
	// RunQuery narrows a list of runs.
	RunQuery = wire.RunQuery
	// Notification is what webhooks are sent.
	Notification = wire.Notification
)

// The states that a program meets when Do has returned.
const (
	RunAwaitingApproval = restart.RunAwaitingApproval
	RunPaused           = restart.RunPaused
	RunCompleted        = restart.RunCompleted
	RunFailed           = restart.RunFailed
	RunAborted          = restart.RunAborted
	RunRejected         = restart.RunRejected
)

// The kinds of scenarios that a Request can ask for without naming one.
const (
	KindRestart    = restart.KindRestart
	KindThreadDump = restart.KindThreadDump
)

// New checks the configuration; it does not call the server.
func New(cfg Config) (*Client, error) { return internal.New(cfg) }

// Options of Do; the zero value starts what is planned and tells nobody.
type Options struct {
	// Key makes the request the same one however often it is sent, also by
	// another process: the number of a build, for instance. 1 to 128 printable
	// characters; "" = each Do is a run of its own.
	Key string
	// Confirm looks at the plan before anything is started: an error leaves it
	// unstarted, and is what Do returns. nil = whatever is planned is started.
	Confirm func(Plan) error
	// Watch is called with the run at its start and whenever it has changed; an
	// error ends the watching, and not the run. nil = nobody watches.
	Watch func(Run) error
}

// Do plans a request, starts it over every host that the plan does not leave
// out, and follows the run until it is over or needs a person: paused with no
// host in hand, or waiting for an approval. Where ctx ends before, the run goes
// on, and is returned as it stood with ctx's error.
//
// A nil error says that this was seen, not that the restart went well: see Check.
func Do(ctx context.Context, c *Client, req Request, o Options) (Run, error) {
	run, err := c.Draft(ctx, req, o.Key)
	if err != nil {
		return Run{}, err
	}
	if run.State == restart.RunDraft {
		if o.Confirm != nil {
			if run.Plan == nil {
				return run, errors.New("the server has sent no plan to confirm, and nothing is started")
			}
			if err := o.Confirm(*run.Plan); err != nil {
				return run, err
			}
		}
		if run, err = c.Start(ctx, run.ID, StartRequest{}); err != nil {
			return run, err
		}
	}
	return Follow(ctx, c, run.ID, o.Watch)
}

// errRests ends the following of a run that needs a person.
var errRests = errors.New("the run needs a person")

// Follow is the second half of Do, for a run that is started.
func Follow(ctx context.Context, c *Client, id string, watch func(Run) error) (last Run, err error) {
	err = c.Follow(ctx, id, 0, func(run Run) error {
		last = run
		if watch != nil {
			if err := watch(run); err != nil {
				return err
			}
		}
		if rests(run) {
			return errRests
		}
		return nil
	}, nil)
	switch {
	case errors.Is(err, errRests):
		return last, nil
	case err == nil && ctx.Err() != nil:
		return last, context.Cause(ctx)
	}
	return last, err
}

// rests tells whether nothing more happens without a person.
func rests(run Run) bool {
	if run.State != restart.RunPaused || run.Control != restart.ControlNone {
		return run.State == restart.RunAwaitingApproval
	}
	for _, t := range run.Tasks {
		if t.State.Active() {
			return false
		}
	}
	return true
}

// ErrNeedsPerson is of a run that is paused, waits for an approval, is not over
// for another reason, or of which a host is unknown.
var ErrNeedsPerson = errors.New("the run needs a person")

// ErrFailed is of a run that has ended otherwise than well, on one of its hosts
// at least.
var ErrFailed = errors.New("the run has failed")

// Check gives nil where a run is done on every host that it was asked for, and
// else an error that tells, in one sentence, how it stands: ErrNeedsPerson or
// ErrFailed. It judges as the command line does. That a run is completed is not
// enough: failures may have been tolerated, and agents may not have been there.
func Check(run Run) error {
	text := run.Summary()
	if run.Explanation != "" {
		text += ": " + run.Explanation
	}
	for _, h := range run.Missed() {
		text += "; " + h.Name + " was left out: " + h.Why
	}
	switch restart.OutcomeOf(run) {
	case restart.OutcomeDone:
		return nil
	case restart.OutcomeFailed, restart.OutcomeRejected:
		return &outcome{restart.Escape(text), ErrFailed}
	}
	return &outcome{restart.Escape(text), ErrNeedsPerson}
}

// outcome is the error of Check.
type outcome struct {
	text string
	kind error
}

func (o *outcome) Error() string { return o.text }
func (o *outcome) Unwrap() error { return o.kind }

// VerifyWebhook checks the signature of a webhook's request over its body, as it
// came: header gives a header by its name, such as http.Header.Get. It refuses
// what was signed longer than patience before now, or after it; 0 = 5 minutes.
func VerifyWebhook(secret []byte, header func(string) string, body []byte, now time.Time, patience time.Duration) error {
	return wire.VerifySignature(secret, header(wire.HeaderTimestamp), header(wire.HeaderSignature), body, now, patience)
}
