package e2e

import (
	"bytes"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
)

// A script that prints far more than is kept, in one endless line, harms
// nothing, and both ends of what it said are there when the agent has been told
// to forget it.
func TestOutputOfEndlessScripts(t *testing.T) {
	t.Parallel()
	const printed = 200 << 20
	c := company.New(t, company.Options{Hosts: 1, Scenario: func(c *company.Company) (string, string) {
		return "witness", strings.Replace(c.Witness(0), "      echo \"restarted", "      echo first\n      head -c 209715200 /dev/zero | tr '\\000' x\n      echo; echo last\n      echo \"restarted", 1)
	}})
	run := c.Until(c.Start(reason).ID, restart.RunCompleted)
	var kept bytes.Buffer
	var truncated, next int64
	for more := true; more; {
		var pieces []protocol.Output
		var err error
		pieces, next, more, err = c.Dev.Output(t.Context(), run.ID, run.Tasks[0].ID, next, 1<<20)
		must(t, err)
		for _, p := range pieces {
			kept.Write(p.Data)
			truncated += p.Truncated
		}
	}
	said := kept.Bytes()
	if !bytes.HasPrefix(said, []byte("first\n")) || !bytes.Contains(said[max(0, len(said)-200):], []byte("\nlast\nrestarted hello")) {
		t.Errorf("begins %q, ends %q", said[:min(20, len(said))], said[max(0, len(said)-60):])
	}
	if total := int64(len(said)) + truncated; total < printed || len(said) < protocol.Head+protocol.Tail || len(said) > protocol.Head+2*protocol.Tail {
		t.Errorf("%d bytes kept, %d dropped", len(said), truncated)
	}
}
