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

// TestEvidenceOfMany: of few services at once, and none that this host's own
// record can't take.
func TestEvidenceOfMany(t *testing.T) {
	t.Parallel()
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
	gathered := 0
	a := &Agent{gathering: map[string]bool{}, cfg: Config{
		Host: host.Host{Name: "web1", Scenarios: scenarios, Services: services}, Now: time.Now, Logger: slog.New(slog.DiscardHandler), Asked: asked,
		Gather: func(context.Context, host.Work) (io.ReadCloser, error) {
			gathered++
			return io.NopCloser(strings.NewReader("{}")), nil
		},
	}}
	take := func(i int) (io.ReadCloser, error) {
		return a.Evidence(t.Context(), protocol.EvidenceRequest{Service: fmt.Sprintf("s%d", i), Environment: "testing", Group: "shop-testing", Digest: scenario.Digest([]byte(text))})
	}
	var reports []io.ReadCloser
	for i := range 4 {
		r, err := take(i)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	for _, i := range []int{4, 0} {
		if _, err := take(i); restart.CodeOf(err) != restart.CodeBusy {
			t.Errorf("s%d: %v", i, err)
		}
	}
	reports[0].Close()
	r, err := take(4)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	asked.Close()
	for range 5 { // a refusal leaves its place to others
		if _, err := take(4); err == nil || restart.CodeOf(err) == restart.CodeBusy || gathered != 5 {
			t.Errorf("without a record: %v, %d were taken", err, gathered)
		}
	}
}
