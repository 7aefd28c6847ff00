package control

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func TestNotesOfHosts(t *testing.T) {
	var b hostBook
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	host := restart.Host{Name: "web1"}
	ends := now.AddDate(1, 0, 0)
	report := &protocol.CheckReport{Program: "1.2.3", Review: "signed", Certificate: &protocol.CertificateReport{NotAfter: ends}}
	b.note(wire.HostCheck{Host: host, State: wire.HostReady, Report: report}, now, false)
	if n := b.of("web1"); n.State != wire.HostReady || n.Program != "1.2.3" || n.Review != "signed" || !n.Contact.Equal(now) || !n.Ends.Equal(ends) {
		t.Errorf("%+v", n)
	}
	// What a plan finds of one service says nothing of the host, but that it answers.
	wrong := restart.Errorf(restart.CodeUnknownService, "there is no shop here")
	b.note(wire.HostCheck{Host: host, State: wire.HostProblem, Error: wrong, Report: report}, now.Add(time.Minute), true)
	if n := b.of("web1"); n.State != wire.HostReady || n.Why != "" || !n.Contact.Equal(now.Add(time.Minute)) {
		t.Errorf("after a plan: %+v", n)
	}
	// Silence keeps what was known, and when it was.
	silence := dispatch.Unreached("web1", dispatch.Silent).Err
	b.note(wire.HostCheck{Host: host, State: wire.HostSilent, Error: silence}, now.Add(time.Hour), true)
	if n := b.of("web1"); n.State != wire.HostSilent || n.Why != silence.Message || n.Program != "1.2.3" || !n.Contact.Equal(now.Add(time.Minute)) || !n.Asked.Equal(now.Add(time.Hour)) {
		t.Errorf("silent: %+v", n)
	}
	b.note(wire.HostCheck{Host: restart.Host{Name: "web2"}, State: wire.HostReady, Report: report}, now, false)
	b.keep([]restart.Host{{Name: "web2"}})
	if n := b.of("web1"); n != (HostNote{}) || b.of("web2").State != wire.HostReady {
		t.Errorf("a host that left is remembered: %+v", n)
	}
}

// counted are agents that answer, and count how often they were asked.
type counted struct {
	Agents
	mu    sync.Mutex
	asked map[string]int
}

func (c *counted) Check(_ context.Context, host restart.Host, _ protocol.CheckRequest) (protocol.CheckReport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[host.Name]++
	if host.Name == "web2" {
		return protocol.CheckReport{}, dispatch.Unreached(host.Name, dispatch.Closed)
	}
	return protocol.CheckReport{Host: host.Name, Program: "0.1.0", Clock: time.Now()}, nil
}

func (c *counted) times(host string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[host]
}

// Every host is asked a minute after the start, and every 15 minutes from then on.
func TestHostsAreAskedNowAndThen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "inventory.yaml")
	if err := os.WriteFile(file, []byte("hosts:\n  - {name: web1}\n  - {name: web2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.New(inventory.Config{Kind: "yaml", Path: file})
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := NewShelf(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		agents := &counted{asked: map[string]int{}}
		c := New(Config{Inventory: inv, Scenarios: shelf, Agents: agents, Enrol: &Enrolment{}, Program: "0.2.0"})
		ctx, stop := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() { c.WatchHosts(ctx) })
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{59 * time.Second, 0}, {2 * time.Second, 1}, {15*time.Minute - 2*time.Second, 1}, {2 * time.Second, 2}} {
			time.Sleep(step.after)
			synctest.Wait()
			if got := agents.times("web1"); got != step.want {
				t.Errorf("after %s more, asked %d times, want %d", step.after, got, step.want)
			}
		}
		if n := c.book.of("web2"); n.State != wire.HostClosed || n.Asked.IsZero() {
			t.Errorf("%+v", n)
		}
		if n := c.book.of("web1"); c.otherVersion(n) == nil {
			t.Errorf("an older agent is not told: %+v", n)
		}
		stop()
		watching.Wait()
	})
}
