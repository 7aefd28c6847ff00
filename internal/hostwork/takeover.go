package hostwork

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// origin marks records of what hosts tell, and the runs.
const origin = restart.ViaHost

// Bounds of a run's values, as a host tells them.
const (
	mostParams = 64
	mostValue  = 4 << 10 // bytes
	mostReason = 2000    // bytes
)

// takeOver fetches what is left to know of a task, stores it, and lets the host
// forget it. It tells whether it was new here.
func (k *Keeper) takeOver(ctx context.Context, host restart.Host, t protocol.LocalTask) (taken bool, err error) {
	if err := check(host, t); err != nil {
		return false, err
	}
	k.body <- struct{}{}
	defer func() { <-k.body }()
	ctx, cancel := context.WithTimeout(ctx, bodyTime)
	defer cancel()
	status, output, err := k.fetch(ctx, host, t)
	if err != nil {
		return false, err
	}
	in := k.imported(ctx, host, t, status, output)
	if taken, err = k.cfg.Store.ImportRun(ctx, in); err != nil {
		return false, err
	}
	if taken {
		k.cfg.Committed()
		k.cfg.Changed(in.Run.ID)
		k.cfg.Logger.Info("taken over what was done on a host itself", "host", host.Name, "run_id", in.Run.ID, "task_id", t.Envelope.Task,
			"service", in.Run.Service, "actor", in.Run.Actor, "outcome", string(in.Run.Tasks[0].State))
	}
	_, err = k.cfg.Agents.Forget(ctx, host, t.Envelope.Task, protocol.Forget{Run: t.Envelope.Run, Epoch: 1})
	return taken, err
}

// check refuses what could not be stored as the host's own.
func check(host restart.Host, t protocol.LocalTask) error {
	e := t.Envelope
	if e.Host != host.Name {
		return restart.Errorf(restart.CodeWrongHost, "host %s tells of work on host %s", host.Name, restart.Quote(e.Host))
	}
	for _, err := range []error{restart.CheckID(e.Task), restart.CheckID(e.Run), restart.CheckServiceName(e.Service), restart.CheckDigest(e.Digest)} {
		if err != nil {
			return fmt.Errorf("what host %s tells of its work makes no sense: %w", host.Name, err)
		}
	}
	if t.Status.Task != e.Task {
		return restart.Errorf(restart.CodeInvalid, "host %s mixes up its tasks %s and %s", host.Name, e.Task, restart.Quote(t.Status.Task))
	}
	return nil
}

// errEnough ends the reading of output.
var errEnough = errors.New("enough")

// fetch asks for the whole status and the output. A task that was never
// received has neither.
func (k *Keeper) fetch(ctx context.Context, host restart.Host, t protocol.LocalTask) (protocol.TaskStatus, []protocol.Output, error) {
	status, err := k.cfg.Agents.Status(ctx, host, t.Envelope.Task, -1, 0)
	if refused, ok := errors.AsType[*dispatch.RefusedError](err); ok && refused.Err.Code == restart.CodeNotFound && t.Status.Outcome == protocol.OutcomeNotStarted {
		return t.Status, nil, nil
	}
	if err != nil {
		return status, nil, err
	}
	if status.Task != t.Envelope.Task || status.Stage != restart.StageDone {
		return status, nil, restart.Errorf(restart.CodeInvalid, "host %s says of task %s that it is done, and that it is not", host.Name, t.Envelope.Task)
	}
	status.Chain, status.Asked = nil, nil
	var output []protocol.Output
	offset, room := int64(0), store.ImportOutput
	err = k.cfg.Agents.Output(ctx, host, t.Envelope.Task, 0, func(o protocol.Output) error {
		switch {
		case o.Offset != offset || o.Truncated < 0:
			return restart.Errorf(restart.CodeInvalid, "host %s sends output from %d where %d is next", host.Name, o.Offset, offset)
		case o.Truncated > 0:
			output = append(output, protocol.Output{Offset: offset, Truncated: o.Truncated})
			offset += o.Truncated
			return nil
		case len(o.Data) > room:
			o.Data = o.Data[:room]
		}
		if len(o.Data) > 0 {
			output = append(output, protocol.Output{Offset: offset, Data: slices.Clone(o.Data)})
		}
		offset, room = offset+int64(len(o.Data)), room-len(o.Data)
		if room == 0 || len(output) > 2*store.ImportOutput/1024 { // or it comes in crumbs
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return status, nil, err
	}
	if left := status.OutputSize - offset; left > 0 && errors.Is(err, errEnough) {
		output = append(output, protocol.Output{Offset: offset, Truncated: left})
	}
	return status, output, nil
}

// imported makes the run of what the host tells.
func (k *Keeper) imported(ctx context.Context, host restart.Host, t protocol.LocalTask, s protocol.TaskStatus, output []protocol.Output) store.Import {
	e, now := t.Envelope, k.now()
	at := func(p *time.Time) *time.Time { // the host's clock may say anything; the history is not to be led astray
		if p == nil {
			return nil
		}
		v := p.UTC().Truncate(time.Microsecond)
		if v.After(now) || v.Year() < 2020 {
			v = now
		}
		return &v
	}
	run := restart.Run{
		ID: e.Run, Scenario: e.Scenario, Digest: e.Digest, Kind: restart.Kind(t.Kind), Service: e.Service, Params: values(e.Params),
		Actor: actorOf(e.Actor, host.Name), Via: origin, Reason: reasonOf(e.Reason), Epoch: 1, Version: 1,
		CreatedAt: *at(&e.NotBefore), StartedAt: at(s.StartedAt), FinishedAt: at(s.FinishedAt),
	}
	if e.Only == protocol.OnlyRehearse {
		run.Work = restart.WorkRehearse
	}
	if restart.CheckScenarioName(run.Scenario) != nil {
		run.Scenario = "unknown"
	}
	switch run.Kind {
	case restart.KindRestart, restart.KindThreadDump:
	default:
		run.Kind = restart.KindCustom
	}
	if run.FinishedAt == nil {
		run.FinishedAt = &now
	}
	k.place(ctx, host, e, &run)
	task := restart.Task{
		ID: e.Task, RunID: run.ID, Host: host.Name, Attempt: 1, Cause: "", Phase: orchestrator.Clean(string(s.FailedPhase)), Error: orchestrator.Clean(s.Error),
		ExitCode: s.ExitCode, Drained: s.Drained, StartedAt: run.StartedAt, FinishedAt: run.FinishedAt, Version: 1,
	}
	task.State, run.State, run.Cause = ended(s.Outcome)
	if task.State == restart.TaskUnknown {
		task.ExitCode = nil // how it ended is not known: nor is the rest
	}
	if run.State != restart.RunCompleted {
		run.Explanation = task.Error
	}
	run.Tasks = []restart.Task{task}
	in := store.Import{Run: run, Detail: orchestrator.Said(s), Output: output, At: now}
	for _, step := range []struct {
		raw     []byte
		outcome string
		at      time.Time
	}{{t.Intent, "", e.NotBefore}, {t.Outcome, string(task.State), *run.FinishedAt}} {
		in.Records = append(in.Records, audit.Record{
			Time: now, Actor: run.Actor, Origin: origin, Action: audit.TaskLocal, Run: run.ID, Task: task.ID, Attempt: 1, Service: run.Service,
			Environment: run.Environment, Host: host.Name, ScenarioDigest: run.Digest, Params: run.Params, Reason: run.Reason,
			Outcome: step.outcome, Detail: tells(host.Name, step.raw, step.at, task.Error),
		})
	}
	return in
}

// tells says on whose word a record stands.
func tells(host string, raw []byte, at time.Time, why string) string {
	place := "without a record of its own"
	if r, err := audit.Decode(raw); err == nil && r.Intact() && r.Source == audit.AgentSource+host {
		place = fmt.Sprintf("its record %d %s", r.Seq, r.Hash)
	}
	text := fmt.Sprintf("made on the host, as it tells: %s, at %s by its clock", place, at.UTC().Format(time.RFC3339))
	if why != "" {
		text += "; " + why
	}
	return text
}

// ended maps how a task ended on its host.
func ended(o protocol.Outcome) (restart.TaskState, restart.RunState, restart.Cause) {
	switch o {
	case protocol.OutcomeSucceeded:
		return restart.TaskSucceeded, restart.RunCompleted, ""
	case protocol.OutcomeFailed:
		return restart.TaskFailed, restart.RunFailed, restart.CauseFailure
	case protocol.OutcomeTimedOut:
		return restart.TaskTimedOut, restart.RunFailed, restart.CauseFailure
	case protocol.OutcomeCancelled:
		return restart.TaskCancelled, restart.RunAborted, restart.CauseOperator
	case protocol.OutcomeNotStarted:
		return restart.TaskNotStarted, restart.RunAborted, restart.CauseInterrupted
	}
	return restart.TaskUnknown, restart.RunFailed, restart.CauseUnknown
}

// actorOf names who did it, as the host says: always somebody at that host, and
// so nobody who is signed in here.
func actorOf(actor, host string) string {
	name := strings.TrimSuffix(actor, "@"+host)
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	if name == "" {
		name = "somebody"
	}
	return restart.Escape(name) + "@" + host
}

func reasonOf(reason string) string {
	if good, err := restart.CheckReason(reason); err == nil {
		return good
	}
	if len(reason) > mostReason {
		reason = strings.ToValidUTF8(reason[:mostReason], "") + "…"
	}
	return restart.Escape(reason)
}

// values keeps the parameters that could be ones.
func values(params map[string]string) map[string]string {
	out := map[string]string{}
	for name, v := range params {
		if len(out) < mostParams && restart.CheckParamName(name) == nil && len(v) <= mostValue {
			out[name] = restart.Escape(v)
		}
	}
	return out
}

// place finds what the host belongs to by the inventory's word, and gives the
// run a plan of that one host.
func (k *Keeper) place(ctx context.Context, host restart.Host, e protocol.Envelope, run *restart.Run) {
	plan := &restart.Plan{
		Scenario: run.Scenario, Digest: run.Digest, Kind: run.Kind, Service: restart.Service{Name: run.Service}, Params: run.Params,
		Hosts: []restart.PlannedHost{{Host: host, Health: restart.HealthUnknown}}, Batches: []int{1}, MadeAt: run.CreatedAt, InventoryAt: run.CreatedAt,
	}
	run.Plan = plan
	if now, err := k.cfg.Inventory.Snapshot(ctx); err == nil {
		for _, s := range now.Services {
			if s.Name == run.Service {
				plan.Service = s
			}
		}
		var own []restart.Group
		for _, g := range now.Groups {
			if slices.Contains(g.Services, run.Service) && slices.Contains(g.Hosts, host.Name) {
				own = append(own, g)
			}
		}
		i := slices.IndexFunc(own, func(g restart.Group) bool {
			return g.Environment == e.Environment && (e.Group == "" || g.Name == e.Group)
		})
		if i < 0 && len(own) > 0 {
			i = 0
		}
		if i >= 0 {
			run.Environment, run.Project, run.Group = own[i].Environment, own[i].Project, own[i].Name
		}
	}
	if run.Group == "" && restart.CheckEnvironment(e.Environment) == nil {
		run.Environment = e.Environment
	}
	plan.Environment, plan.Project, plan.Group = run.Environment, run.Project, run.Group
	plan.Request = restart.Request{
		Service: run.Service, Scenario: run.Scenario, Kind: run.Kind, Environment: run.Environment, Project: run.Project,
		Hosts: host.Name, Params: run.Params, Reason: run.Reason,
	}
}
