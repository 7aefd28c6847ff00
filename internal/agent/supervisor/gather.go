package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/evidence"
	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// GatherVerb is the hidden verb of restartilka-agent that GatherMain serves.
const GatherVerb = "gather"

// Gathering is evidence to take apart from any task, by a process of its own.
type Gathering struct {
	Host    string              `json:"host"`
	Service string              `json:"service"`
	Wanted  []restart.Evidence  `json:"wanted"`
	Unit    string              `json:"unit,omitempty"`
	Process *restart.ProcessRef `json:"process,omitempty"` // nil = none known
	Cgroup  string              `json:"cgroup,omitempty"`
	Grace   time.Duration       `json:"grace"` // ns
}

// GatherOf says what evidence a scenario wants on this host.
func GatherOf(w host.Work, name, cgroup string, grace time.Duration) Gathering {
	g := Gathering{Host: name, Service: w.Service.Name, Wanted: w.Scenario.Evidence, Unit: w.Unit, Cgroup: cgroup, Grace: grace}
	if ref, known := processOf(w); known {
		g.Process = &ref
	}
	return g
}

// GatherMain is the whole life of the process that takes evidence: the
// Gathering comes on stdin, the protocol.EvidenceReport goes to stdout. SIGTERM
// ends what it has begun.
func GatherMain() int {
	return answer(func(ctx context.Context, g Gathering) protocol.EvidenceReport { return g.take(ctx) })
}

func (g Gathering) take(ctx context.Context) protocol.EvidenceReport {
	out := protocol.EvidenceReport{TakenAt: time.Now().UTC()}
	target := evidence.Target{Unit: g.Unit}
	if g.Process != nil {
		if p, err := health.Observe(ctx, *g.Process); err == nil {
			target.Process = &p
		}
		target.Dump = func(ctx context.Context) (string, error) { return g.dump(ctx, &out) }
	}
	out.Items = evidence.Take(ctx, g.Wanted, target)
	return out
}

// dump takes the thread dump into the report.
func (g Gathering) dump(ctx context.Context, out *protocol.EvidenceReport) (string, error) {
	own, err := host.OwnUser()
	if err != nil {
		return "", err
	}
	job := jobOf(onlyOne(*g.Process, dumpPatience))
	job.Host, job.Service = g.Host, g.Service
	r := &runner{task: "evidence-" + strconv.Itoa(os.Getpid()), cgroup: g.Cgroup, grace: g.Grace, warn: func(string) {}}
	err = r.dump(ctx, job, own, func(c capture.Captured) error {
		report, packed, err := packDump(c, protocol.DumpEvidence)
		if err == nil && len(packed) > protocol.MaxEvidenceDump {
			err = fmt.Errorf("the dump has %s packed; at most %s are sent", bytesText(int64(len(packed))), bytesText(protocol.MaxEvidenceDump))
		}
		if err != nil {
			return err
		}
		report.N, report.Stored = 1, int64(len(packed))
		out.Dump, out.Report = packed, &report
		return nil
	})
	if err == nil && out.Report == nil {
		err = errors.New("no dump was taken")
	}
	if err != nil {
		return "", err
	}
	return DumpLine(*out.Report), nil
}
