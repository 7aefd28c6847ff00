package audit_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/audit/audittest"
)

// rsyslog is a real receiver and the sink that ships to it.
type rsyslog struct {
	*audittest.Rsyslog
	t    *testing.T
	kind string // of the sink that ships to it
}

func newRsyslog(t *testing.T, template, client string) *rsyslog {
	t.Helper()
	return &rsyslog{audittest.NewRsyslog(t, template, client), t, "syslog"}
}

func newRelpd(t *testing.T, template, client string) *rsyslog {
	t.Helper()
	return &rsyslog{audittest.NewRelp(t, template, client), t, "relp"}
}

// await waits for a number of lines.
func (r *rsyslog) await(n int) {
	r.t.Helper()
	if !within(30*time.Second, func() bool { return bytes.Count(r.Stored(), []byte("\n")) >= n }) {
		r.t.Fatalf("%d of %d lines are stored\n%s", bytes.Count(r.Stored(), []byte("\n")), n, r.Said())
	}
}

func (r *rsyslog) open(client string) audit.Sink {
	r.t.Helper()
	c := audit.SinkConfig{Kind: r.kind, Address: r.Address, CA: r.CAFile(), ServerName: audittest.ServerName}
	if client != "" {
		cert, key, err := r.CA.IssueClient(client, time.Now())
		if err != nil {
			r.t.Fatal(err)
		}
		c.Certificate, c.Key = r.Write("client.crt", cert), r.Write("client.key", key)
	}
	sinks, err := audit.Settings{Require: "spool", Sinks: []audit.SinkConfig{c}}.Open()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { sinks[0].Close() })
	return sinks[0]
}

func TestRsyslogStoresRecordsWhole(t *testing.T) {
	for _, template := range []string{"RSYSLOG_FileFormat", "RSYSLOG_TraditionalFileFormat", "RSYSLOG_SyslogProtocol23Format"} {
		t.Run(template, func(t *testing.T) {
			r := newRsyslog(t, template, "server-1")
			r.Start()
			sink := r.open("server-1")
			records := append(vectors(), extend(vectors()[4].Head(), 300)...)
			if err := sink.Send(context.Background(), records); err != nil {
				t.Fatal(err)
			}
			r.await(len(records))
			report := verify(t, r.Stored(), records[len(records)-1].Head())
			if s := report.Sources[0]; !report.OK || s.Stored != int64(len(records)) || s.Duplicates != 0 {
				t.Error(describe(report))
			}
			for i, line := range bytes.Split(bytes.TrimSpace(r.Stored()), []byte("\n")) {
				if !bytes.HasSuffix(line, records[i].Canonical()) {
					t.Errorf("stored as %s", line)
				}
			}
		})
	}
}

func TestRsyslogRefusesAStranger(t *testing.T) {
	r := newRsyslog(t, "RSYSLOG_FileFormat", "server-1")
	r.Start()
	sink := r.open("")
	err := sink.Send(context.Background(), chained(1))
	if err == nil {
		eventually(t, func() bool { _, err = sink.Settled(); return err != nil })
	}
	if len(r.Stored()) > 0 {
		t.Errorf("stored: %s", r.Stored())
	}
}

// The receiver is killed in the middle of the stream, twice, and comes back:
// every record is there, first occurrences in order.
func TestRsyslogKilledInTheMiddle(t *testing.T) {
	r := newRsyslog(t, "RSYSLOG_FileFormat", "")
	r.Start()
	store := newMemory()
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{r.open("")}, Batch: 64})
	const total = 6000
	for part := range 3 {
		commitAll(store, total/3)
		trail.Wake()
		if part == 2 {
			break
		}
		r.await(total/3*part + 300)
		r.Stop(unix.SIGKILL)
		commitAll(store, 50) // while it is away
		trail.Wake()
		r.Start()
	}
	settledAll(t, trail)
	stop()
	r.Stop(unix.SIGTERM)
	report := verify(t, r.Stored(), store.head)
	if !report.OK || report.Sources[0].Stored != total+100 {
		t.Error(describe(report))
	}
	t.Logf("%d duplicates, %d torn lines", report.Sources[0].Duplicates, report.Torn)
}

func TestRsyslogAwayForAWhile(t *testing.T) {
	r := newRsyslog(t, "RSYSLOG_FileFormat", "")
	store := newMemory()
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{r.open("")}})
	commitAll(store, 500)
	trail.Wake()
	eventually(t, func() bool {
		stats, err := trail.Stats(t.Context())
		return err == nil && stats.Sinks[0].Error != "" && stats.Sinks[0].Backlog == 500
	})
	r.Start()
	settledAll(t, trail)
	stop()
	r.Stop(unix.SIGTERM)
	report := verify(t, r.Stored(), store.head)
	if !report.OK || report.Lines != 500 {
		t.Error(describe(report))
	}
}

func settledAll(t *testing.T, trail *audit.Trail) {
	t.Helper()
	if !within(40*time.Second, func() bool {
		stats, err := trail.Stats(t.Context())
		return err == nil && stats.Error == "" && stats.Sinks[0].Backlog == 0
	}) {
		stats, err := trail.Stats(t.Context())
		t.Fatalf("%+v, %v", stats, err)
	}
}
