package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

// evidenceBed is an agent that lists five services, s0 to s4, and takes evidence
// of them by doing nothing.
type evidenceBed struct {
	*Agent
	t        *testing.T
	digest   string
	gathered int
}

func newEvidenceBed(t *testing.T) *evidenceBed {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	scenarios, services := t.TempDir(), t.TempDir()
	lay := func(folder, name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := "format: 1\nname: look\nserial: 1\nauthor: anna@example.com\nkind: restart\nservices: [s0, s1, s2, s3, s4]\ndescription: for a test\nevidence: [process]\n" +
		"steps:\n  run: {script: \"true\"}\nhealth:\n  new_process: {pid_file: /run/x.pid}\n  deadline: 1s\n  interval: 200ms\n"
	lay(scenarios, "look.yaml", text)
	for i := range 5 {
		lay(services, fmt.Sprintf("s%d.yaml", i), "user: "+me.Username+"\n")
	}
	asked, damage, err := ledger.OpenAsked(t.TempDir(), "web1", time.Now())
	if err != nil || damage != nil {
		t.Fatal(err, damage)
	}
	b := &evidenceBed{t: t, digest: scenario.Digest([]byte(text))}
	b.Agent = &Agent{gathering: map[string]bool{}, gathered: map[string][]time.Time{}, cfg: Config{
		Host: host.Host{Name: "web1", Scenarios: scenarios, Services: services}, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Asked: asked, RatePerHour: DefaultRate,
		Gather: func(context.Context, host.Work) (io.ReadCloser, error) {
			b.gathered++
			return io.NopCloser(strings.NewReader("{}")), nil
		},
	}}
	return b
}

func (b *evidenceBed) take(i int) (io.ReadCloser, error) {
	return b.Evidence(b.t.Context(), protocol.EvidenceRequest{Service: fmt.Sprintf("s%d", i), Environment: "testing", Group: "shop-testing", Digest: b.digest})
}

// TestEvidenceOfMany: of few services at once, and none that this host's own
// record can't take.
func TestEvidenceOfMany(t *testing.T) {
	t.Parallel()
	b := newEvidenceBed(t)
	var reports []io.ReadCloser
	for i := range 4 {
		r, err := b.take(i)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	for _, i := range []int{4, 0} {
		if _, err := b.take(i); restart.CodeOf(err) != restart.CodeBusy {
			t.Errorf("s%d: %v", i, err)
		}
	}
	reports[0].Close()
	r, err := b.take(4)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	b.cfg.Asked.Close()
	for range 5 { // a refusal leaves its place to others
		if _, err := b.take(4); err == nil || restart.CodeOf(err) == restart.CodeBusy || b.gathered != 5 {
			t.Errorf("without a record: %v, %d were taken", err, b.gathered)
		}
	}
}

// TestEvidenceInAnHour: a server can't ask without end, and so fill the host's
// own record until what else it asked falls out of that.
func TestEvidenceInAnHour(t *testing.T) {
	t.Parallel()
	b := newEvidenceBed(t)
	now := time.Now()
	b.cfg.RatePerHour, b.cfg.Now = 3, func() time.Time { return now }
	for n := range 5 {
		r, err := b.take(0)
		if n < 3 && err == nil {
			r.Close()
			now = now.Add(time.Minute)
			continue
		}
		if n < 3 || restart.CodeOf(err) != restart.CodeBusy || b.gathered != 3 {
			t.Errorf("time %d: %v, %d were taken", n+1, err, b.gathered)
		}
	}
	if r, err := b.take(1); err != nil {
		t.Errorf("of another service: %v", err)
	} else {
		r.Close()
	}
	now = now.Add(time.Hour - 3*time.Minute) // the first is an hour old, the second not yet
	for n, want := range []restart.Code{"", restart.CodeBusy} {
		r, err := b.take(0)
		if restart.CodeOf(err) != want {
			t.Errorf("an hour later, time %d: %v", n+1, err)
		}
		if err == nil {
			r.Close()
		}
	}
}
