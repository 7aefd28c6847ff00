package silence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
	"github.com/restartilka/restartilka/internal/store"
)

// Store is what a Keeper needs of the store.
type Store interface {
	AskSilence(ctx context.Context, a restart.Silence) (again bool, err error)
	SettleSilence(ctx context.Context, a restart.Silence, records ...audit.Record) error
	SilenceFailed(ctx context.Context, a restart.Silence, records ...audit.Record) error
	OpenSilences(ctx context.Context, task string) ([]store.PlacedSilence, error)
	LeftSilences(ctx context.Context, grace time.Duration, limit int) ([]store.PlacedSilence, error)
	CountSilences(ctx context.Context, grace time.Duration) (map[string]store.SilenceCounts, error)
}

// Config of a Keeper. Store and Systems are needed.
type Config struct {
	Store     Store
	Systems   Systems
	Server    string // its name, for the records of what it lifts
	URL       string // of the server, for links in what people read there
	Committed func() // is called after each commit of audit records; nil = nobody is
	Logger    *slog.Logger
	Now       func() time.Time // nil = time.Now
	Sweep     time.Duration    // 0 = 1 min; between two looks for what is left
}

const (
	// patience is how long a host waits for all systems together.
	patience = 5 * time.Second
	// grace is how long a task may be silenced before it has begun.
	grace = 2 * time.Minute
	// early is how much sooner than now a silence begins, for a system whose clock
	// is late. It begins when it is asked for, whatever it says.
	early = 30 * time.Second
	// longest is how long a silence that leaves something behind is tried to be
	// lifted after its end.
	longest = 3 * 24 * time.Hour
	sweeps  = 200 // at a time
	// settled is how long after a question without an answer a system may still
	// do what it was asked for.
	settled = time.Minute
)

// Keeper places silences and lifts them. It is what an orchestrator tells of its
// tasks.
type Keeper struct {
	cfg Config
}

// New returns a Keeper; Run sweeps up what is left.
func New(cfg Config) *Keeper {
	if cfg.Committed == nil {
		cfg.Committed = func() {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Sweep == 0 {
		cfg.Sweep = time.Minute
	}
	return &Keeper{cfg: cfg}
}

// Begin silences the alerts of a run's scenario about one host, which is about
// to be asked to do a task and has at most limit for it. It takes a few seconds
// at most. An error says why the host must not be asked: a system that the
// settings require can't be told.
func (k *Keeper) Begin(ctx context.Context, run restart.Run, task restart.Task, host restart.Host, limit time.Duration) error {
	if !run.Silences() {
		return nil
	}
	alerts, err := alertsOn(run.Plan.Silence, host.Name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var wg sync.WaitGroup
	failed := make([]error, len(k.cfg.Systems.all))
	for i, sys := range k.cfg.Systems.all {
		if sys.Silence == silenceNone || !sys.about(run) {
			continue
		}
		wg.Go(func() {
			a := restart.Silence{Run: run.ID, Task: task.ID, Host: host.Name, System: sys.Name, Alerts: alerts, EndsAt: k.cfg.Now().Add(limit + sys.Margin)}
			err := k.place(ctx, sys, run, task, host, a)
			if err != nil {
				k.cfg.Logger.WarnContext(ctx, "alerts are not silent", "run_id", run.ID, "task_id", task.ID, "host", host.Name, "system", sys.Name, "error", err)
			}
			if err != nil && sys.Silence == silenceRequire && !run.Waives(restart.SafeguardMonitoring) {
				failed[i] = err
			}
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			return restart.Errorf(restart.CodeUnavailable, "alerts about %s can't be silenced, and no host is touched without that: %s", host.Name, sentence(err))
		}
	}
	return nil
}

// alertsOn fills in what is different on each host.
func alertsOn(names []string, host string) ([]string, error) {
	var out []string
	for _, name := range names {
		filled, err := scenario.AlertOn(name, host)
		if err != nil {
			return nil, err
		}
		out = append(out, filled)
	}
	return out, nil
}

// place tells one system, and keeps what became of it.
func (k *Keeper) place(ctx context.Context, sys *system, run restart.Run, task restart.Task, host restart.Host, a restart.Silence) error {
	again, err := k.cfg.Store.AskSilence(ctx, a)
	if err != nil {
		return err
	}
	said := sys.resting(k.cfg.Now())
	if said != nil && sys.Silence != silenceRequire {
		sys.tell(VerbPlace, ResultSkipped)
	} else {
		said = sys.ask(ctx, VerbPlace, k.cfg.Now, func(ctx context.Context) (err error) {
			if again { // the same task was about to begin before
				if err := sys.monitor.Lift(ctx, a); err != nil {
					return err
				}
			}
			a.Foreign, err = sys.monitor.Place(ctx, wanted{Silence: a, HostName: sys.nameOf(host), From: k.cfg.Now().Add(-early), Comment: k.comment(run, task, host)})
			if again {
				a.Foreign = "" // so that all of the task is looked for at the end
			}
			return err
		})
	}
	rec := about(run, task.ID, task.Attempt, host.Name, audit.TaskSilenced, k.cfg.Now())
	rec.Detail = fmt.Sprintf("%s: %s, until %s at the latest", sys.Name, strings.Join(a.Alerts, ", "), a.EndsAt.UTC().Format(time.RFC3339))
	if said != nil {
		a.Failure = sentence(said)
		rec.Outcome, rec.Detail = string(restart.CodeUnavailable), sys.Name+": "+a.Failure
	}
	noting := context.WithoutCancel(ctx)
	switch {
	case said == nil && a.Foreign == "" && !again: // it stays asked, and all that is there, or comes to be, is lifted at the end
		err = k.cfg.Store.SilenceFailed(noting, a, rec)
	case said == nil:
		a.State = restart.SilencePlaced
		err = k.cfg.Store.SettleSilence(noting, a, rec)
	case again || inDoubt(said): // it stays asked, and whatever is there is lifted at the end
		err = k.cfg.Store.SilenceFailed(noting, a, rec)
	default:
		a.State = restart.SilenceRefused
		err = k.cfg.Store.SettleSilence(noting, a, rec)
	}
	if err != nil {
		k.cfg.Logger.WarnContext(ctx, "note what became of a silence", "task_id", a.Task, "system", a.System, "error", err)
	}
	k.cfg.Committed()
	return said
}

// taskMark is how the comment of a silence names its task.
func taskMark(task string) string { return "task " + task }

// mostComment bounds the words of a person in what people read elsewhere.
const mostComment = 200

func (k *Keeper) comment(run restart.Run, task restart.Task, host restart.Host) string {
	reason := []rune(restart.Escape(run.Reason))
	if len(reason) > mostComment {
		reason = append(reason[:mostComment], '…')
	}
	return fmt.Sprintf("%s does %s of %s on %s: %s (%s/runs/%s, %s)", run.Actor, run.Scenario, run.Service, host.Name, string(reason), k.cfg.URL, run.ID, taskMark(task.ID))
}

// about starts a record of what is done for a task.
func about(run restart.Run, task string, attempt int, host string, action audit.Action, now time.Time) audit.Record {
	return audit.Record{
		Time: now.UTC(), Actor: run.Actor, Origin: run.Via, Action: action, Run: run.ID, Task: task, Attempt: attempt,
		Service: run.Service, Environment: run.Environment, Host: host,
	}
}

// sentence is an error for people, without its code.
func sentence(err error) string {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e.Message
	}
	return "it went wrong within the server, whose log has the details"
}

// End lifts whatever a task has silenced: it is over, or was not begun.
func (k *Keeper) End(ctx context.Context, run restart.Run, task string) {
	if run.Silences() {
		k.lift(ctx, task)
	}
}

// lift lifts what a task has silenced. What can't be is tried again by Run.
func (k *Keeper) lift(ctx context.Context, task string) {
	open, err := k.cfg.Store.OpenSilences(ctx, task)
	if err != nil {
		k.cfg.Logger.WarnContext(ctx, "find what a task has silenced; trying again", "task_id", task, "error", err)
		return
	}
	k.liftAll(ctx, open)
}

func (k *Keeper) liftAll(ctx context.Context, open []store.PlacedSilence) {
	var wg sync.WaitGroup
	for _, p := range open {
		wg.Go(func() { k.liftOne(ctx, p) })
	}
	wg.Wait()
}

// liftOne lifts one silence, or finds that it is over.
func (k *Keeper) liftOne(ctx context.Context, p store.PlacedSilence) {
	now := k.cfg.Now()
	sys := k.cfg.Systems.named(p.System)
	run := restart.Run{ID: p.Run, Actor: p.Actor, Service: p.Service, Environment: p.Environment}
	rec := about(run, p.Task, p.Attempt, p.Host, audit.TaskUnsilenced, now)
	rec.Actor, rec.Origin, rec.Detail = "server:"+k.cfg.Server, "local", p.System
	over := now.After(p.EndsAt)
	var err error
	switch {
	case over && (sys == nil || sys.monitor.Fades()):
		rec.Detail += ": it has ended by itself"
	case over && now.Sub(p.EndsAt) > longest:
		rec.Detail += ": it has ended, and could not be removed"
	case sys == nil:
		err = restart.Errorf(restart.CodeUnavailable, "monitoring system %s is not in the settings any more: what was silenced ends by itself", p.System)
	default:
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		err = sys.ask(ctx, VerbLift, k.cfg.Now, func(ctx context.Context) error { return sys.monitor.Lift(ctx, p.Silence) })
	}
	noting := context.WithoutCancel(ctx)
	if err != nil {
		k.cfg.Logger.WarnContext(ctx, "alerts are still silent; trying again", "task_id", p.Task, "host", p.Host, "system", p.System, "until", p.EndsAt, "error", err)
		var records []audit.Record
		if p.Failure == "" || p.State == restart.SilenceAsked { // else it is on record
			rec.Outcome, rec.Detail = string(restart.CodeUnavailable), p.System+": "+sentence(err)
			records = append(records, rec)
		}
		if sentence(err) == p.Failure {
			return
		}
		p.Failure = sentence(err)
		err = k.cfg.Store.SilenceFailed(noting, p.Silence, records...)
	} else {
		if p.State == restart.SilenceAsked && !over && now.Sub(p.AskedAt) < settled {
			return // it may yet come to be: Run looks again
		}
		p.State = restart.SilenceLifted
		err = k.cfg.Store.SettleSilence(noting, p.Silence, rec)
	}
	if err != nil && restart.CodeOf(err) != restart.CodeConflict { // another server was quicker
		k.cfg.Logger.WarnContext(ctx, "note that a silence is over", "task_id", p.Task, "system", p.System, "error", err)
	}
	k.cfg.Committed()
}

// Count tells how many silences of ours stand, by system: each that the settings
// name, and others where something stands still.
func (k *Keeper) Count(ctx context.Context) (map[string]store.SilenceCounts, error) {
	counts, err := k.cfg.Store.CountSilences(ctx, grace)
	if err != nil {
		return nil, err
	}
	for _, name := range k.cfg.Systems.Names() {
		if _, stands := counts[name]; !stands {
			counts[name] = store.SilenceCounts{}
		}
	}
	return counts, nil
}

// Run lifts, at once and then every Sweep, what is left of tasks that are over:
// those of a server that has died, and those whose system did not answer.
func (k *Keeper) Run(ctx context.Context) {
	for ctx.Err() == nil {
		k.sweep(ctx)
		timer := time.NewTimer(k.cfg.Sweep)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (k *Keeper) sweep(ctx context.Context) {
	left, err := k.cfg.Store.LeftSilences(ctx, grace, sweeps)
	if err != nil {
		if ctx.Err() == nil {
			k.cfg.Logger.WarnContext(ctx, "look for silences that are left", "error", err)
		}
		return
	}
	k.liftAll(ctx, left)
}
