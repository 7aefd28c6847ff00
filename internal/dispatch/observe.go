package dispatch

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Result is how a call ended, in one word.
type Result string

// The results of a call.
const (
	ResultOK         Result = "ok"         // the agent has done it, or has begun to answer
	ResultRefused    Result = "refused"    // its own answer: not done
	ResultNotSent    Result = "not_sent"   // it could not be reached, or not be believed
	ResultUnanswered Result = "unanswered" // sent, and what came of it is not known
	ResultCancelled  Result = "cancelled"  // nobody here waits for the answer any more
)

// Results lists the results of a call.
func Results() []Result {
	return []Result{ResultOK, ResultRefused, ResultNotSent, ResultUnanswered, ResultCancelled}
}

// Call is one request to an agent, after it.
type Call struct {
	Verb   string        // put, status, output, dumps, cancel, forget, check, probe, evidence, …
	Result Result        //
	Code   restart.Code  // of a refusal; it is the agent's word, and may be any text
	Took   time.Duration // until the answer began
}

// VerbStatus and VerbOutput are the verbs that wait on purpose, so that their
// time says nothing of the host.
const (
	VerbStatus = "status"
	VerbOutput = "output"
)

// observe tells who wants to know.
func (c *Client) observe(ctx context.Context, method, path string, began time.Time, err error) {
	if c.cfg.Observe == nil {
		return
	}
	call := Call{Verb: verbOf(method, path), Result: resultOf(ctx, err), Took: time.Since(began)}
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		call.Code = refused.Err.Code
	}
	c.cfg.Observe(call)
}

func resultOf(ctx context.Context, err error) Result {
	if err == nil {
		return ResultOK
	}
	if _, ok := errors.AsType[*RefusedError](err); ok {
		return ResultRefused
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ResultCancelled
	}
	if _, ok := errors.AsType[*NotSentError](err); ok {
		return ResultNotSent
	}
	return ResultUnanswered
}

// verbOf names a verb: its path without what all have, or what its method does
// with a task; as the agent names it in its own count.
func verbOf(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	rest, ofTask := strings.CutPrefix(path, "/v1/tasks/")
	if _, last, more := strings.Cut(rest, "/"); ofTask && more {
		last, _, _ = strings.Cut(last, "/") // without the number of a dump
		return last
	}
	if !ofTask {
		return strings.ReplaceAll(strings.TrimPrefix(path, "/v1/"), "/", "_")
	}
	switch method {
	case http.MethodGet:
		return VerbStatus
	case http.MethodDelete:
		return "forget"
	}
	return "put"
}
