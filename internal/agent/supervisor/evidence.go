package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/evidence"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// dumpPatience is how long a dump as evidence may take: less than all evidence
	// together, so that it is this dump that gives up.
	dumpPatience = evidence.Patience - dumpMargin
	// afterTime bounds what is taken once more after the change.
	afterTime = 5 * time.Second
	// dumpMargin is what a dump as evidence leaves of the time there is, to start
	// and to be handed over: its last way, the kernel's view, must come in time.
	dumpMargin = 2 * time.Second
)

// evidence keeps what the restart would destroy. What can't be taken is a
// warning, unless the scenario requires it: then nothing is touched.
func (t *tour) evidence(ctx context.Context) bool {
	wanted := t.work.Scenario.Evidence
	if len(wanted) == 0 {
		return true
	}
	t.begin(protocol.PhaseEvidence)
	t.kept = evidence.Take(ctx, wanted, t.target(ctx, protocol.DumpEvidence))
	if ctx.Err() != nil {
		t.end(nil, errors.New("cancelled"))
		return t.fail(protocol.PhaseEvidence, protocol.OutcomeCancelled)
	}
	err := t.task.Evidence(t.kept)
	if err != nil {
		t.warn(fmt.Sprintf("the evidence was not kept: %v", err))
	}
	for i, item := range t.kept {
		if item.Error != "" {
			t.warn(fmt.Sprintf("evidence %s: %s", item.Kind, item.Error))
		}
		if wanted[i].Required && (item.Error != "" || err != nil) {
			t.end(nil, fmt.Errorf("%s is required by the scenario and could not be taken: %s", item.Kind, item.Error))
			return t.fail(protocol.PhaseEvidence, protocol.OutcomeFailed)
		}
	}
	t.end(nil, nil)
	return true
}

// after takes once more what can be compared with what was before. It takes its
// time, and changes nothing about how the task ends.
func (t *tour) after(ctx context.Context) {
	var wanted []restart.Evidence
	for _, e := range t.work.Scenario.Evidence {
		if e.Kind != restart.EvidenceJournal {
			wanted = append(wanted, e)
		}
	}
	if len(wanted) == 0 || t.work.Rendered.Dump != nil || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, afterTime)
	defer cancel()
	items := evidence.Take(ctx, wanted, t.target(ctx, protocol.DumpAfter))
	for i := range items {
		items[i].When = protocol.DumpAfter
		if items[i].Error != "" {
			t.warn(fmt.Sprintf("%s after the change: %s", items[i].Kind, items[i].Error))
		}
	}
	if err := t.task.Evidence(append(t.kept, items...)); err != nil {
		t.warn(fmt.Sprintf("what was seen after the change was not kept: %v", err))
	}
}

// target is whose evidence is taken.
func (t *tour) target(ctx context.Context, when protocol.DumpWhen) evidence.Target {
	patience := dumpPatience
	if when == protocol.DumpAfter {
		patience = afterTime - dumpMargin
	}
	target := evidence.Target{Unit: t.work.Unit, Process: t.process(ctx)}
	if ref, ok := processOf(t.work); ok && t.work.Scenario.Wants(restart.EvidenceThreadDump) {
		target.Dump = func(ctx context.Context) (line string, err error) {
			own, err := host.OwnUser()
			if err != nil {
				return "", err
			}
			var last protocol.DumpReport
			err = t.scripts.dump(ctx, t.jobOf(onlyOne(ref, patience)), own, func(c capture.Captured) error {
				last = t.keep(c, when)
				return nil
			})
			if err == nil && last.Error != "" {
				err = errors.New(last.Error)
			}
			return DumpLine(last), err
		}
	}
	return target
}

// onlyOne is the dump that is taken as evidence.
func onlyOne(ref restart.ProcessRef, patience time.Duration) restart.DumpStep {
	return restart.DumpStep{Process: ref, Count: 1, Timeout: restart.Duration(patience)}
}

// processOf says which process is the service's, as far as that is known.
func processOf(w host.Work) (restart.ProcessRef, bool) {
	switch {
	case w.Rendered.Health.NewProcess != nil:
		return *w.Rendered.Health.NewProcess, true
	case w.Unit != "":
		return restart.ProcessRef{Unit: w.Unit}, true
	}
	return restart.ProcessRef{}, false
}

// process observes the service's main process, if it can be told which one it is.
func (t *tour) process(ctx context.Context) *health.Process {
	ref, known := processOf(t.work)
	if !known {
		return nil
	}
	p, err := health.Observe(ctx, ref)
	if err != nil {
		t.warn(fmt.Sprintf("the service's process can't be told: %v", err))
		return nil
	}
	return &p
}
