package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

const (
	forgetEvery   = time.Minute
	forgetPage    = 200             // tasks
	forgetAtOnce  = 20              // hosts
	forgetTimeout = 5 * time.Second // for one task
)

// forgetLoop tells agents that they may forget what a crash, or a host that was
// away, kept this server or another one from telling them in time.
func (o *Orchestrator) forgetLoop(ctx context.Context) {
	for {
		o.forgetAll(ctx)
		if !o.sleep(ctx, forgetEvery, nil) {
			return
		}
	}
}

// forgetAll goes through everything that is left, page by page, so that hosts
// that are gone for good hold up nobody else.
func (o *Orchestrator) forgetAll(ctx context.Context) {
	for after := ""; ctx.Err() == nil; {
		tasks, err := o.cfg.Tasks.Unreported(ctx, after, forgetPage)
		if err != nil {
			if ctx.Err() == nil {
				o.log.Warn("list tasks to forget", "error", err)
			}
			return
		}
		if len(tasks) == 0 {
			return
		}
		after = tasks[len(tasks)-1].ID
		if done := o.forgetPage(ctx, tasks); len(done) > 0 {
			if err := o.cfg.Tasks.MarkReported(ctx, done); err != nil && ctx.Err() == nil {
				o.log.Warn("mark tasks as reported", "error", err)
			}
		}
	}
}

// forgetPage asks the hosts side by side, each for its own tasks in turn, and
// gives the tasks that were forgotten. A host that does not answer once is left
// for the next round.
func (o *Orchestrator) forgetPage(ctx context.Context, tasks []restart.Task) (done []string) {
	runs := map[string]restart.Run{}
	byHost := map[string][]restart.Task{}
	for _, t := range tasks {
		if o.isWalked(t.RunID) {
			continue // its own loop does that
		}
		if _, ok := runs[t.RunID]; !ok {
			run, err := o.cfg.Runs.Run(ctx, t.RunID)
			if err != nil {
				continue
			}
			runs[t.RunID] = run
		}
		byHost[t.Host] = append(byHost[t.Host], t)
	}
	var mu sync.Mutex
	asking := newCrew(o.cfg.Clock, forgetAtOnce)
	for _, name := range slices.Sorted(maps.Keys(byHost)) {
		own := byHost[name]
		asking.Go(func() {
			for _, t := range own {
				if o.forgetOne(ctx, runs[t.RunID], t) != nil {
					return
				}
				mu.Lock()
				done = append(done, t.ID)
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	return done
}

func (o *Orchestrator) forgetOne(ctx context.Context, run restart.Run, t restart.Task) error {
	fctx, cancel := o.cfg.Clock.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	if err := o.learn(fctx, run, t); err != nil {
		return err
	}
	_, err := o.cfg.Agents.Forget(fctx, hostOf(run, t.Host), t.ID, protocol.Forget{Run: t.RunID, Epoch: run.Epoch})
	return err
}

// saysNow marks the sentence of an unknown task whose host has answered since.
const saysNow = "; the host says now: "

// learn keeps what a host says of a task that ended unknown here, before the
// host is told to forget it: whoever decides what happened needs it. nil means
// that there is nothing more to learn.
func (o *Orchestrator) learn(ctx context.Context, run restart.Run, t restart.Task) error {
	if t.State != restart.TaskUnknown || strings.Contains(t.Error, saysNow) {
		return nil
	}
	host := hostOf(run, t.Host)
	status, err := o.cfg.Agents.Status(ctx, host, t.ID, -1, 0)
	if refused, ok := errors.AsType[*dispatch.RefusedError](err); ok && (refused.Err.Code == restart.CodeNotFound || refused.Err.Code == restart.CodeTombstone) {
		return nil
	}
	if err != nil {
		return err
	}
	if status.Outcome == "" {
		return fmt.Errorf("task %s goes on", t.ID)
	}
	says := clean(string(status.Outcome))
	if status.Error != "" {
		says += ", " + clean(status.Error)
	}
	now := o.cfg.Clock.Now().UTC()
	rec := record(run, audit.TaskLearned, now)
	rec.Task, rec.Attempt, rec.Host, rec.Outcome, rec.Detail = t.ID, t.Attempt, t.Host, string(t.State), "the host says now: "+says
	rec.Params = audit.HostHeads(head(status.Asked), head(status.Chain))
	_, err = o.cfg.Runs.Apply(ctx, store.Change{
		RunID: run.ID, At: now, Records: []audit.Record{rec},
		Tasks: []store.TaskChange{{
			ID: t.ID, From: []restart.TaskState{restart.TaskUnknown}, Version: t.Version, Error: t.Error + saysNow + says,
			ExitCode: status.ExitCode, Drained: &status.Drained, Detail: detail(status),
		}},
	})
	if err != nil {
		return err
	}
	o.cfg.Committed()
	o.cfg.Changed(run.ID)
	return nil
}
