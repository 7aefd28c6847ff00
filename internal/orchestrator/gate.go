package orchestrator

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// sample looks, just before a batch, at every host that was healthy at the
// plan, and says whether touching the batch keeps min_available of them. Only
// hosts that are healthy now count as lost: a broken one costs nothing.
func (l *loop) sample(ctx context.Context, run restart.Run, batch int) (g gate) {
	defer func() { g.again = triedAgain(restart.Latest(run.Tasks), batch) }()
	healthy := map[string]bool{}
	var mu sync.Mutex
	asking := newCrew(l.o.cfg.Clock, 50)
	counted := 0
	for _, h := range run.Plan.Hosts {
		if h.Health != restart.HealthHealthy {
			continue
		}
		counted++
		asking.Go(func() {
			pctx, cancel := l.o.cfg.Clock.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			r, err := l.o.cfg.Agents.Probe(pctx, h.Host, protocol.ProbeRequest{
				Service: run.Service, Environment: run.Environment, Project: run.Project, Group: run.Group, Digest: run.Digest,
			})
			if err == nil && r.Sample.Healthy {
				mu.Lock()
				healthy[h.Name] = true
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	need, err := restart.MinAvailable(run.Plan.Strategy.MinAvailable, counted)
	if err != nil {
		return gate{why: err.Error()}
	}
	var lost []string
	for _, t := range restart.Latest(run.Tasks) {
		if t.Batch == batch && t.State == restart.TaskPlanned && healthy[t.Host] {
			lost = append(lost, t.Host)
		}
	}
	left := len(healthy) - len(lost)
	if len(lost) > 0 && left < need {
		return gate{why: fmt.Sprintf("min_available is %d (%s of %d healthy at the plan); %d are healthy now, and touching %s would leave %d",
			need, run.Plan.Strategy.MinAvailable, counted, len(healthy), strings.Join(lost, ", "), left)}
	}
	return gate{open: true}
}
