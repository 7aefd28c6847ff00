package receive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/audit/audittest"
	"github.com/restartilka/restartilka/internal/receive"
)

const source = "server-1"

// TestMain makes a receiver of this program where it is asked for one.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "receive" {
		os.Exit(receiver(os.Args[3]))
	}
	goleak.VerifyTestMain(m)
}

func receiver(config string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	c, err := receive.ReadConfig(config)
	if err == nil {
		err = receive.Serve(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, nil)), nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// process prepares a receiver in a process of its own.
func process(t *testing.T, more string, sources ...string) *audittest.Receiver {
	t.Helper()
	return audittest.NewReceiver(t, []string{os.Args[0], "receive"}, more, sources...)
}

// sinkTo is the sink of a source to a receiver.
func sinkTo(t *testing.T, r *audittest.Receiver, name string) audit.Sink {
	t.Helper()
	cert, key := r.Certificate(name)
	sinks, err := audit.Settings{Require: "spool", Sinks: []audit.SinkConfig{{
		Kind: "receiver", Address: r.Address, CA: r.CAFile(), ServerName: audittest.ServerName, Certificate: cert, Key: key,
	}}}.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sinks[0].Close() })
	return sinks[0]
}

// chain makes n records behind a head.
func chain(head audit.Head, n int) []audit.Record {
	records := make([]audit.Record, n)
	for i := range records {
		records[i] = audit.Record{
			Time: time.Date(2026, 3, 1, 12, 0, 0, 1000*(i+1), time.UTC), Actor: "anna", Origin: "cli 192.0.2.7", Action: audit.TaskOutcome,
			Run: "06dbx7kq3p0000000000000001", Service: "nginx", Host: "web1.example.com", Reason: "очередь растёт, воркеры висят <b>", Outcome: "succeeded",
		}
		records[i].Link(head)
		head = records[i].Head()
	}
	return records
}

func first(n int) []audit.Record { return chain(audit.Head{Source: source}, n) }

// restored begins an epoch behind a record.
func restored(r audit.Record, n int) []audit.Record {
	head := r.Head()
	head.Epoch++
	return chain(head, n)
}

func lines(records ...audit.Record) []byte {
	var b []byte
	for i := range records {
		b = append(append(b, records[i].Canonical()...), '\n')
	}
	return b
}

func headOf(records []audit.Record) audit.Head { return records[len(records)-1].Head() }

// open opens a store of one source, small files and all.
func open(t *testing.T, folder string, change ...func(*receive.StoreConfig)) *receive.Store {
	t.Helper()
	c := receive.StoreConfig{Folder: folder, Sources: []string{source}, FileSize: 8 << 10, KeepFree: 1}
	for _, f := range change {
		f(&c)
	}
	s, err := receive.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// stored gives all that a store holds, as the verifier reads it.
func stored(t *testing.T, folder string) []byte {
	t.Helper()
	parts, err := receive.Parts(folder)
	if err != nil {
		t.Fatal(err)
	}
	f, err := receive.Reader(parts)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// whole wants the store to be a whole trail up to a head.
func whole(t *testing.T, folder string, head audit.Head) audit.SourceReport {
	t.Helper()
	report, err := audit.Verify(bytes.NewReader(stored(t, folder)), head)
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK || len(report.Sources) != 1 {
		var text strings.Builder
		report.Write(&text)
		t.Fatalf("not whole:\n%s", &text)
	}
	return report.Sources[0]
}

// alarmsOf reads the alarms that stand.
func alarmsOf(t *testing.T, folder string) []receive.Alarm {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, source, "alarm.jsonl"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []receive.Alarm
	for line := range bytes.Lines(b) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var a receive.Alarm
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, a)
	}
	return all
}
