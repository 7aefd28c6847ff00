package hosts

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/fleet"
)

// dumped asks for thread dumps of nginx on all hosts by the scenario that the
// package ships, and gives what looks at them once the series, which takes its
// time, is over.
func dumped(c *fleet.Company) (looked func(t *testing.T, c *fleet.Company)) {
	run := c.Start(restart.AnyDump, "502s since 14:00, what does nginx wait for")
	return func(t *testing.T, c *fleet.Company) {
		if r := c.Until(run, waitTime, restart.RunCompleted); r.Scenario != restart.AnyDump || len(r.Tasks) != 5 {
			t.Fatalf("%+v", r)
		}
		var list wire.List[wire.Dump]
		if err := json.Unmarshal([]byte(c.MustCLI("dumps", "--run", run, "--limit", "200", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Items) != 5*restart.DefaultDumps {
			t.Errorf("%d dumps: %+v", len(list.Items), list.Items)
		}
		for _, d := range list.Items {
			if d.Method != "proc" || d.Error != "" || d.Summary == nil || d.Summary.Threads == 0 || d.Verdict == nil {
				t.Errorf("%s: %+v", d.Host, d)
			}
		}
		if raw := c.MustCLI("dumps", "get", list.Items[0].ID); !strings.Contains(raw, "nginx: master process") {
			t.Errorf("the kernel's view of nginx:\n%s", raw)
		}
	}
}
