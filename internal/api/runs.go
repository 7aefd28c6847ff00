package api

import (
	"context"
	"strconv"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) plan(ctx context.Context, actor restart.Actor, in *struct{ Body restart.Request }) (restart.Plan, error) {
	return a.cfg.Control.Plan(ctx, actor, in.Body)
}

func (a *api) listRuns(ctx context.Context, actor restart.Actor, in *struct{ wire.RunQuery }) (wire.List[restart.Run], error) {
	runs, next, err := a.cfg.Control.FindRuns(ctx, actor, in.RunQuery)
	return wire.ListOf(runs, next), err
}

// createRun keeps a draft and, where it is asked to, starts it. The same
// idempotency key of the same person gives the same run again.
func (a *api) createRun(ctx context.Context, actor restart.Actor, in *struct {
	Key  string `header:"Idempotency-Key" doc:"the same key of the same person gives the same run again" maxLength:"128"`
	Body wire.RunRequest
}) (restart.Run, error) {
	if in.Body.BreakGlass && !in.Body.Start {
		return restart.Run{}, restart.Errorf(restart.CodeInvalid, "break_glass goes with start: a draft waives nothing").WithHint("give it to the draft's /start")
	}
	run, err := a.cfg.Control.Draft(ctx, actor, in.Body.Request, in.Key)
	return a.startIf(ctx, actor, run, in.Body.Start, wire.StartRequest{BreakGlass: in.Body.BreakGlass}, err)
}

// runID is the input of an operation on one run.
type runID struct {
	ID string `path:"id"`
}

func (a *api) getRun(ctx context.Context, actor restart.Actor, in *runID) (restart.Run, error) {
	run, err := a.cfg.Control.Run(ctx, actor, in.ID)
	run.Outcome = restart.OutcomeOf(run)
	return run, err
}

func (a *api) startRun(ctx context.Context, actor restart.Actor, in *struct {
	ID   string `path:"id"`
	Body wire.StartRequest
}) (restart.Run, error) {
	return a.cfg.Control.Start(ctx, actor, in.ID, in.Body)
}

// verbOn is the input of an operation that asks something of one run; its body
// may be left out.
type verbOn struct {
	ID   string `path:"id"`
	Body *wire.VerbRequest
}

// verb is an operation that asks something of one run.
func (a *api) verb(ask func(ctx context.Context, actor restart.Actor, id string, seen int64) (restart.Run, error)) func(context.Context, restart.Actor, *verbOn) (restart.Run, error) {
	return func(ctx context.Context, actor restart.Actor, in *verbOn) (restart.Run, error) {
		if in.Body == nil {
			return ask(ctx, actor, in.ID, 0)
		}
		return ask(ctx, actor, in.ID, in.Body.Version)
	}
}

func (a *api) decideTask(ctx context.Context, actor restart.Actor, in *struct {
	ID   string `path:"id"`
	Body wire.DecideRequest
}) (restart.Run, error) {
	return a.cfg.Control.Decide(ctx, actor, in.ID, in.Body)
}

func (a *api) retryRun(ctx context.Context, actor restart.Actor, in *struct {
	ID   string `path:"id"`
	Key  string `header:"Idempotency-Key" doc:"the same key of the same person gives the same run again" maxLength:"128"`
	Body wire.RetryRequest
}) (restart.Run, error) {
	run, err := a.cfg.Control.Retry(ctx, actor, in.ID, in.Body, in.Key)
	return a.startIf(ctx, actor, run, in.Body.Start, wire.StartRequest{}, err)
}

func (a *api) undrainRun(ctx context.Context, actor restart.Actor, in *struct {
	ID   string `path:"id"`
	Key  string `header:"Idempotency-Key" doc:"the same key of the same person gives the same run again" maxLength:"128"`
	Body wire.UndrainRequest
}) (restart.Run, error) {
	run, err := a.cfg.Control.Undrain(ctx, actor, in.ID, in.Body, in.Key)
	return a.startIf(ctx, actor, run, in.Body.Start, wire.StartRequest{}, err)
}

// startIf starts a draft where that was asked for at once.
func (a *api) startIf(ctx context.Context, actor restart.Actor, run restart.Run, start bool, how wire.StartRequest, err error) (restart.Run, error) {
	if err != nil || !start {
		return run, err
	}
	return a.cfg.Control.Start(ctx, actor, run.ID, how)
}

// taskID is the input of an operation on one host of a run.
type taskID struct {
	ID   string `path:"id"`
	Task string `path:"task"`
}

func (a *api) getTask(ctx context.Context, actor restart.Actor, in *taskID) (wire.TaskDetail, error) {
	return a.cfg.Control.TaskDetail(ctx, actor, in.ID, in.Task)
}

// getOutput's cursor is the offset at which the output goes on; empty where
// there is nothing more now: whether more comes, the task's state tells.
func (a *api) getOutput(ctx context.Context, actor restart.Actor, in *struct {
	ID     string `path:"id"`
	Task   string `path:"task"`
	Offset int64  `query:"offset" minimum:"0"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1048576" default:"65536" doc:"bytes"`
}) (wire.List[protocol.Output], error) {
	pieces, err := a.cfg.Control.Output(ctx, actor, in.ID, in.Task, in.Offset, in.Limit)
	if err != nil || len(pieces) == 0 {
		return wire.ListOf(pieces, ""), err
	}
	return wire.ListOf(pieces, strconv.FormatInt(after(pieces), 10)), nil
}

// after gives the offset that follows the last of some pieces.
func after(pieces []protocol.Output) int64 {
	last := pieces[len(pieces)-1]
	return last.Offset + int64(len(last.Data)) + last.Truncated
}
