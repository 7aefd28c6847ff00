package silence_test

import (
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/silence"
	"github.com/restartilka/restartilka/test/foreign/trouble"
	"github.com/restartilka/restartilka/test/foreign/zabbix"
)

// standIn is a Zabbix that knows the hosts of benches.
type standIn struct {
	*zabbix.Server
	file string
}

func newStandIn(t *testing.T) *standIn {
	t.Helper()
	hosts := []string{"db1.example.com"}
	for i := range 2 {
		hosts = append(hosts, host(numbered.Load(), i))
	}
	return &standIn{zabbix.Start(t, hosts...), credentials(t, zabbix.Authorization)}
}

func (z *standIn) settings() silence.System {
	return silence.System{Name: "main", Kind: "zabbix", URLs: []string{z.URL}, CredentialsFile: z.file}
}

func (z *standIn) gate() *trouble.Gate { return &z.Trouble }

func (z *standIn) asks() string { return "maintenance.create" }

func (z *standIn) quiet(host, alert string) bool {
	return z.Suppressed(host, map[string]string{"alertname": alert, "scope": "availability"})
}

func (z *standIn) placed(task string) (ends []time.Time) {
	for _, m := range z.Maintenances() {
		if strings.Contains(m.Name, task) {
			ends = append(ends, time.Unix(m.Till, 0))
		}
	}
	return ends
}

func (z *standIn) byHand(host, _ string) func() bool {
	z.Make("the disk is being changed", host)
	return func() bool { return z.Suppressed(host, nil) }
}

func TestZabbix(t *testing.T) {
	Exercise(t, func(t *testing.T) watcher { return newStandIn(t) })
	t.Run("a host that it does not know", func(t *testing.T) {
		b := newBench(t)
		z := &standIn{zabbix.Start(t), credentials(t, zabbix.Authorization)}
		b.must(b.begin(b.keeper(z.settings()), 0))
		if got, want := b.states(0), "main refused: monitoring system main has no host "+b.run.Tasks[0].Host+", or does not show it to us"; got != want {
			t.Errorf("kept: %s", got)
		}
	})
	t.Run("credentials that are not good", func(t *testing.T) {
		b := newBench(t)
		z := newStandIn(t)
		z.file = credentials(t, "Bearer other")
		b.must(b.begin(b.keeper(z.settings()), 0))
		if got, want := b.states(0), "main refused: monitoring system main refuses: Invalid params. Not authorized."; got != want {
			t.Errorf("kept: %s", got)
		}
	})
	t.Run("what has ended by itself is removed too", func(t *testing.T) {
		b := newBench(t)
		z := newStandIn(t)
		b.must(b.begin(b.keeper(z.settings()), 0))
		b.now.Store(int64(time.Hour))
		b.sweep(b.keeper(z.settings())) // the database's clock says that it is not over, and that its task is not begun
		if n := len(z.Maintenances()); n != 1 {
			t.Fatalf("%d are left of a task that may begin", n)
		}
		b.becomes(0, "not_started")
		b.sweep(b.keeper(z.settings()))
		if n := len(z.Maintenances()); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
}
