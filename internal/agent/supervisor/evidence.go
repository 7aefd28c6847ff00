package supervisor

import (
	"context"
	"errors"
	"fmt"

	"github.com/restartilka/restartilka/internal/evidence"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// evidence keeps what the restart would destroy. What can't be taken is a
// warning, unless the scenario requires it: then nothing is touched.
func (t *tour) evidence(ctx context.Context) bool {
	wanted := t.work.Scenario.Evidence
	if len(wanted) == 0 {
		return true
	}
	t.begin(protocol.PhaseEvidence)
	items := evidence.Take(ctx, wanted, evidence.Target{Unit: t.work.Unit, Process: t.process(ctx)})
	if ctx.Err() != nil {
		t.end(nil, errors.New("cancelled"))
		return t.fail(protocol.PhaseEvidence, protocol.OutcomeCancelled)
	}
	err := t.task.Evidence(items)
	if err != nil {
		t.warn(fmt.Sprintf("the evidence was not kept: %v", err))
	}
	for i, item := range items {
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

// process observes the service's main process, if it can be told which one it is.
func (t *tour) process(ctx context.Context) *health.Process {
	ref := t.work.Rendered.Health.NewProcess
	if ref == nil && t.work.Unit != "" {
		ref = &restart.ProcessRef{Unit: t.work.Unit}
	}
	if ref == nil {
		return nil
	}
	p, err := health.Observe(ctx, *ref)
	if err != nil {
		t.warn(fmt.Sprintf("the service's process can't be told: %v", err))
		return nil
	}
	return &p
}
