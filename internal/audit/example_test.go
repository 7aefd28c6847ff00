package audit_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/audit/audittest"
)

// The configurations that are given to copy store the trail byte for byte, with
// a receiver that is stopped and comes back, and take nothing from a stranger.
func TestExamplesOfLogServers(t *testing.T) {
	for example, kind := range map[string]string{"rsyslog.conf": "relp", "syslog-ng.conf": "syslog"} {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			r := &rsyslog{audittest.NewExample(t, example), t, kind}
			r.Start()
			stranger := r.open("")
			if err := stranger.Send(t.Context(), chained(1)); err == nil {
				eventually(t, func() bool { _, err = stranger.Settled(); return err != nil })
			}
			store := newMemory()
			store.commit(vectors()...)
			commitAll(store, 300)
			trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{r.open("server-1")}})
			settledAll(t, trail)
			r.Stop(unix.SIGTERM)
			commitAll(store, 100)
			r.Start()
			if err := trail.Flush(t.Context()); err != nil { // they have their place
				t.Fatal(err)
			}
			settledAll(t, trail)
			stop()
			r.await(int(store.head.Seq)) // rsyslog answers for what is in its queue
			r.Stop(unix.SIGTERM)
			report := verify(t, r.Stored(), store.head)
			if !report.OK || report.Foreign > 0 || report.Torn > 0 || report.Lines-report.Sources[0].Duplicates != store.head.Seq {
				t.Errorf("%s\n%s", describe(report), r.Said())
			}
			if first, _, _ := bytes.Cut(r.Stored(), []byte("\n")); !bytes.Equal(first, store.records[0].Canonical()) {
				t.Errorf("stored as %s", first)
			}
		})
	}
}
