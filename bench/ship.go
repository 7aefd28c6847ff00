package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/audit/audittest"
	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/test/company"
)

// ship measures how fast a trail that waits in a server's database gets to our
// own receiver, a process of its own on this machine: read, sent over TLS,
// checked, synced and answered, until the server knows the last record stored.
func (s *session) ship(b *bed) error {
	const source = "main"
	receiver := audittest.NewReceiver(b, []string{company.Build(b).Server, "audit", "receive"}, "", source)
	receiver.Start()
	st, err := store.Open(b.ctx, store.Config{DSN: "sqlite:" + filepath.Join(b.TempDir(), "ship.db"), Source: source})
	b.must(err)
	defer st.Close()
	b.must(fillTrail(b.ctx, st, source, s.shipped))
	head, err := st.AuditHead(b.ctx, source)
	b.must(err)

	cert, key := receiver.Certificate(source)
	sinks, err := audit.Settings{Require: string(audit.LevelSpool), Sinks: []audit.SinkConfig{{
		Kind: "receiver", Address: receiver.Address, ServerName: audittest.ServerName, CA: receiver.CAFile(), Certificate: cert, Key: key,
	}}}.Open()
	b.must(err)
	trail, err := audit.New(audit.Config{Store: st, Source: source, Sinks: sinks, Poll: 10 * time.Millisecond})
	b.must(err)
	ctx, stop := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	begun := time.Now()
	go func() {
		defer close(ended)
		trail.Run(ctx)
	}()
	for {
		stats, err := trail.Stats(b.ctx)
		b.must(err)
		if stats.Sinks[0].Settled == head.Seq {
			break
		}
		if stats.Sinks[0].Error != "" {
			b.Fatal(stats.Sinks[0].Error)
		}
		b.pause(5 * time.Millisecond)
	}
	took := time.Since(begun)
	stop()
	<-ended
	receiver.Stop(os.Interrupt)
	if err := provedWhole(receiver.Folder(), head); err != nil {
		return err
	}
	s.results.AuditShip = new(round(float64(s.shipped)/took.Seconds(), 0))
	return nil
}

// fillTrail makes records as hosts' tasks do, and gives them their places.
func fillTrail(ctx context.Context, st *store.Store, source string, n int) error {
	for made := 0; made < n; {
		batch := make([]audit.Record, 0, 1000)
		for ; len(batch) < cap(batch) && made < n; made++ {
			batch = append(batch, audit.Record{
				Actor: "anna@example.com", Origin: "cli 192.0.2.7", Action: []audit.Action{audit.TaskIntent, audit.TaskOutcome}[made%2],
				Run: "06dbx7kq3p0000000000000001", Task: fmt.Sprintf("06dbx7kq3p%016d", made/2), Attempt: 1, Service: "nginx", Environment: "production",
				Host: fmt.Sprintf("web%d.example.com", made/2%500), ScenarioDigest: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
				Params: map[string]string{"mode": "graceful"}, Reason: "the queue grows and the workers hang, see OPS-4711",
			})
		}
		if err := st.AppendAudit(ctx, batch...); err != nil {
			return err
		}
		if _, err := st.Sequence(ctx, source, len(batch), func(head audit.Head, r *audit.Record) {
			head.Source = source
			r.Link(head)
		}); err != nil {
			return err
		}
	}
	return nil
}

// provedWhole verifies what the receiver has stored.
func provedWhole(folder string, head audit.Head) error {
	parts, err := receive.Parts(folder)
	if err != nil {
		return err
	}
	files, err := receive.Reader(parts)
	if err != nil {
		return err
	}
	defer files.Close()
	report, err := audit.Verify(files, head)
	if err != nil {
		return err
	}
	if !report.OK || report.Sources[0].Duplicates > 0 {
		return fmt.Errorf("the receiver has not stored the trail: %+v", report)
	}
	return nil
}
