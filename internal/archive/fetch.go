package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/orchestrator"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Kept implements orchestrator.Dumps.
func (a *Archive) Kept(ctx context.Context, task string) ([]int, error) {
	return a.cfg.Store.TaskDumps(ctx, task)
}

// Fetch implements orchestrator.Dumps. A dump that its host could not take, or
// keep, is stored without bytes: that it is missing is worth knowing.
func (a *Archive) Fetch(ctx context.Context, run restart.Run, task restart.Task, host restart.Host, r protocol.DumpReport) error {
	d := a.describe(run, host, originOf(r.When), r)
	d.TaskID, d.Place = task.ID, r.N
	var data []byte
	if r.Stored > 0 {
		more, leave := a.room()
		defer leave()
		var err error
		if data, err = a.cfg.Hosts.Dump(ctx, host, task.ID, r.N, more); err != nil {
			refused, isRefused := errors.AsType[*dispatch.RefusedError](err)
			if !isRefused && restart.CodeOf(err) != restart.CodeTooLarge {
				return err
			}
			d.Error = "the host did not give it: " + orchestrator.Clean(sentence(err))
			if isRefused {
				d.Error = "the host did not give it: " + refused.Err.Message
			}
		} else if data, err = a.take(ctx, &d, data); err != nil {
			return err
		}
	}
	return a.keep(ctx, d, data)
}

// room gives what waits for a place for a long answer, and what gives it back
// once that answer is stored: hundreds may come at once, and most are short.
func (a *Archive) room() (more dispatch.Room, leave func()) {
	held := false
	more = func(ctx context.Context) error {
		select {
		case a.large <- struct{}{}:
			held = true
			return nil
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errNoRoom, ctx.Err())
		}
	}
	return more, func() {
		if held {
			<-a.large
		}
	}
}

// keep stores a dump. One that is there already was stored by whoever had the
// run before. The size of one without bytes would be its host's word.
func (a *Archive) keep(ctx context.Context, d store.Dump, data []byte) error {
	if len(data) == 0 {
		d.Size = 0
	}
	err := a.cfg.Store.AddDump(ctx, d, data)
	if restart.CodeOf(err) == restart.CodeConflict {
		return nil
	}
	if err != nil {
		return err
	}
	a.grew(len(data) + len(d.Evidence)) // which is packed when it is stored: rather too much than too little
	if len(data) > 0 {
		a.cfg.Kept(d.Runtime, d.Origin)
	}
	return nil
}

// originOf reads a host's word.
func originOf(when protocol.DumpWhen) store.DumpOrigin {
	switch when {
	case protocol.DumpEvidence:
		return store.DumpEvidence
	case protocol.DumpAfter:
		return store.DumpAfter
	case protocol.DumpRun:
	}
	return store.DumpOfRun
}

// describe makes a row of what a host says of its dump: each word is bounded and
// escaped, each number within what it can be.
func (a *Archive) describe(run restart.Run, host restart.Host, origin store.DumpOrigin, r protocol.DumpReport) store.Dump {
	now := a.now()
	r = orchestrator.CleanDump(r)
	if !known(r.Runtime) {
		r.Runtime = ""
	}
	d := store.Dump{
		ID: restart.NewID(now), RunID: run.ID, Host: host.Name, Service: run.Service, Environment: run.Environment, Group: run.Group, Origin: origin,
		Number: min(max(r.Number, 1), dump.MaxSeries), Runtime: r.Runtime, Method: clip(r.Method, 20), PID: max(r.PID, 0),
		TakenAt: r.TakenAt.UTC(), Took: min(max(r.Took, 0), time.Hour), Size: min(max(r.Size, 0), maxText), Notes: r.Notes, Error: r.Error, CreatedAt: now,
	}
	d.Of = min(max(r.Of, d.Number), dump.MaxSeries)
	if off := now.Sub(d.TakenAt); off > 24*time.Hour || off < -24*time.Hour {
		d.TakenAt = now // a clock that is off by days says nothing
	}
	return d
}

const (
	// roundTime bounds the whole of an evidence round.
	roundTime = 20 * time.Second
	// roundAtOnce is how many hosts are asked at a time.
	roundAtOnce = 50
)

// Before implements orchestrator.Dumps. Hosts that have answered before, asked
// by a server that has since gone away, are not asked again.
func (a *Archive) Before(ctx context.Context, run restart.Run) {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	log := a.log.With("run_id", run.ID)
	answered, err := a.cfg.Store.HostsBefore(ctx, run.ID)
	if err != nil {
		log.Warn("the hosts are not asked for evidence before the run", "error", err)
		return
	}
	var asking sync.WaitGroup
	places := make(chan struct{}, roundAtOnce)
	for _, h := range run.Plan.Chosen() {
		if slices.Contains(answered, h.Name) {
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if brokenOff(ctx) {
			break
		}
		if ctx.Err() != nil {
			log.Warn("the time for evidence is over; the other hosts keep theirs as they are touched")
			break
		}
		asking.Go(func() {
			defer func() { <-places }()
			if err := a.before(ctx, run, h.Host); err != nil && !brokenOff(ctx) {
				log.Warn("keep evidence from before the run", "host", h.Name, "error", err)
			}
		})
	}
	asking.Wait()
}

// brokenOff tells that the run, or this server, goes no further: whoever has not
// answered yet is asked by the next round. The end of a round's own time is none.
func brokenOff(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// before asks one host, and stores what it says, or why it says nothing; of a
// round that is broken off, nothing that a later one would take for an answer.
func (a *Archive) before(ctx context.Context, run restart.Run, host restart.Host) error {
	actx, cancel := context.WithTimeout(ctx, protocol.EvidenceWait)
	defer cancel()
	more, leave := a.room()
	defer leave()
	report, err := a.cfg.Hosts.Evidence(actx, host, protocol.EvidenceRequest{
		Service: run.Service, Environment: run.Environment, Project: run.Project, Group: run.Group, Digest: run.Digest,
	}, more)
	refused, isRefused := errors.AsType[*dispatch.RefusedError](err)
	if isRefused && refused.Err.Code == restart.CodeNotFound {
		return err // an agent of before: it takes evidence in its own task
	}
	if err != nil && !isRefused && brokenOff(ctx) {
		return err
	}
	r := protocol.DumpReport{TakenAt: report.TakenAt}
	if report.Report != nil {
		r = *report.Report
	}
	d := a.describe(run, host, store.DumpBefore, r)
	switch {
	case isRefused:
		d.Error = "the host gave no evidence: " + refused.Err.Message
	case err != nil:
		d.Error = unanswered(actx, err)
	}
	var data []byte
	if err == nil && len(report.Dump) > 0 {
		if data, err = a.take(ctx, &d, report.Dump); err != nil {
			if brokenOff(ctx) {
				return err
			}
			d.Error = "there was no time to look at the dump; it was not kept"
		}
	}
	d.Evidence = a.evidence(report.Items)
	kctx, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // what was brought is kept, though the time is over
	defer done()
	return a.keep(kctx, d, data)
}

// errNoRoom is of a server that has other long answers in memory.
var errNoRoom = errors.New("the server had no room for the answer in time")

// unanswered is what people are told of a host that was asked in vain.
func unanswered(ctx context.Context, err error) string {
	if errors.Is(err, errNoRoom) {
		return errNoRoom.Error()
	}
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return "the host gave no evidence: " + orchestrator.Clean(e.Message)
	}
	if ctx.Err() != nil {
		return "the host gave no evidence in time"
	}
	return "the host broke its answer off"
}

const (
	mostItems = 10
	mostBytes = 1 << 20 // of each item
)

// evidence bounds what a host has kept beside a dump, and redacts it as a dump.
// Its text is shown as what it is.
func (a *Archive) evidence(items []protocol.EvidenceItem) json.RawMessage {
	items = slices.Clone(items[:min(len(items), mostItems)])
	for i := range items {
		it := &items[i]
		it.Kind, it.Error = orchestrator.Clean(it.Kind), orchestrator.Clean(it.Error)
		if len(it.Text) > mostBytes {
			it.Truncated += int64(len(it.Text) - mostBytes)
			it.Text = it.Text[:mostBytes]
		}
		it.Text = string(a.cfg.Redact.Text([]byte(it.Text)))
	}
	if len(items) == 0 {
		return nil
	}
	b, err := json.Marshal(items)
	if err != nil {
		return nil
	}
	return b
}
