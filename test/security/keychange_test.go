package security

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/server"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// The key that hosts obey is changed as docs/guide/admin.md says: at every step
// runs go on, each step can be taken back, and in the end the old one is good
// nowhere.
func TestEnvelopeKeyIsChanged(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 2, Prepare: func(c *company.Company) {
		b, err := os.ReadFile(c.Config())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(b), "  envelope_key: envelope.key\n", "  envelope_key: envelope.key\n  next_envelope_key: envelope-next.key\n", 1)
		if text == string(b) {
			t.Fatalf("server.yaml has no envelope_key:\n%s", b)
		}
		if err := os.WriteFile(c.Config(), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}})
	key := func(verb ...string) server.EnvelopeKeys {
		t.Helper()
		out, talk, code := c.Program(append([]string{"server", "envelope-key", "--config", c.Config(), "--json"}, verb...)...)
		var keys server.EnvelopeKeys
		if err := json.Unmarshal([]byte(out), &keys); code != 0 || err != nil {
			t.Fatalf("envelope-key %v: exit %d, %v\n%s%s", verb, code, err, out, talk)
		}
		return keys
	}
	restart := func() {
		c.StopServer()
		c.StartServer()
	}
	works := func(when string) {
		t.Helper()
		if out, talk, code := c.CLI("restart", demo.ServiceName, "--reason", "workers hang since the deploy", "--yes"); code != 0 {
			t.Fatalf("%s: exit %d\n%s\n%s", when, code, out, talk)
		}
	}
	know := func(when string, want ...string) {
		t.Helper()
		c.Eventually("all hosts know "+strings.Join(want, ", ")+" "+when, func() bool {
			for _, h := range c.Hosts {
				checks, err := c.Admin.CheckHosts(t.Context(), wire.HostCheckRequest{Hosts: h.Name})
				if err != nil {
					t.Fatal(err)
				}
				for _, hc := range checks {
					if hc.Report == nil || len(hc.Report.EnvelopeKeys) != len(want) || !strings.Contains(strings.Join(hc.Report.EnvelopeKeys, " ")+" ", want[0]+" ") {
						return false
					}
				}
			}
			return true
		})
	}
	if out, talk, code := c.Program("server", "envelope-key", "use", "--config", c.Config()); code == 0 || !strings.Contains(out+talk, "no other key") {
		t.Errorf("use without another: exit %d\n%s%s", code, out, talk)
	}
	first := key().InUse
	second := key("new").Next
	works("before the server knows of it")
	restart()
	know("after new", second, first)
	works("after new")
	if got := key("use"); got.InUse != second || got.Next != first {
		t.Fatalf("use: %+v", got)
	}
	restart()
	works("after use")
	key("use") // taken back, and taken back again
	key("use")
	if got := key("drop"); got.InUse != second || got.Next != "" {
		t.Fatalf("drop: %+v", got)
	}
	restart()
	know("after drop", second)
	works("after drop")
}
