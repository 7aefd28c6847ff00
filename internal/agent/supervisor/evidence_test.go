package supervisor

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/dump/capture"
	"github.com/restartilka/restartilka/internal/evidence"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// asked keeps what the process that takes dumps is asked for.
type asked []capture.Job

func (*asked) run(context.Context, script) (int, error) { return 0, nil }

func (a *asked) dump(_ context.Context, job capture.Job, _ host.User, _ func(capture.Captured) error) error {
	*a = append(*a, job)
	return nil
}

// TestADumpGivesUpFirst: a dump has less time than the evidence that it is part
// of, before the change and after it, so that there is some left for its last way.
func TestADumpGivesUpFirst(t *testing.T) {
	for when, all := range map[protocol.DumpWhen]time.Duration{protocol.DumpEvidence: evidence.Patience, protocol.DumpAfter: afterTime} {
		jobs := &asked{}
		x := &tour{log: slog.New(slog.DiscardHandler), scripts: jobs, work: host.Work{Unit: "shop.service"}}
		x.work.Scenario.Evidence = []restart.Evidence{{Kind: restart.EvidenceThreadDump}}
		if _, err := x.target(t.Context(), when).Dump(t.Context()); err != nil || len(*jobs) != 1 {
			t.Fatalf("%s: %v, %v", when, jobs, err)
		}
		if least := (*jobs)[0].Request.Timeout; least <= 0 || least > all-time.Second {
			t.Errorf("%s: the dump may take %s of %s", when, least, all)
		}
	}
}
