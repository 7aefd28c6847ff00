package trail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/store"
)

const source = "server-1"

// job is what a writing process is told.
type job struct {
	DSN    string
	Key    string // file of the key that seals
	Sinks  []audit.SinkConfig
	First  int // number of the first record that it commits
	Number int // of them
}

// write commits records and ships them until every sink has settled them, as
// the server does. It says the number of each when it is committed. The tracer
// knows by two calls, which nothing else here makes, when to count.
func write(text string) error {
	ctx := context.Background()
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Config{DSN: j.DSN, Source: source, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer st.Close()
	key, err := audit.LoadKey(j.Key)
	if err != nil {
		return err
	}
	sinks, err := audit.Settings{Require: string(audit.LevelSpool), Sinks: j.Sinks}.Open()
	if err != nil {
		return err
	}
	trail, err := audit.New(audit.Config{Store: st, Source: source, Sinks: sinks, Key: key, Poll: 200 * time.Millisecond})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	unix.Getppid()
	go func() {
		defer close(ended)
		trail.Run(running)
	}()
	for n := j.First; n < j.First+j.Number; n++ {
		if err := st.AppendAudit(ctx, recordOf(n)); err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, n)
		trail.Wake()
		if err := trail.Flush(ctx); err != nil {
			return err
		}
	}
	if err := settled(ctx, trail); err != nil {
		return err
	}
	stop()
	<-ended
	unix.Getppid()
	return nil
}

func recordOf(n int) audit.Record {
	return audit.Record{Actor: "anna", Origin: "cli 192.0.2.7", Action: audit.TaskOutcome, Service: "nginx", Host: "web1.example.com", Reason: reasonOf(n), Outcome: "succeeded"}
}

// reasonOf marks a record by its number.
func reasonOf(n int) string { return fmt.Sprintf("the queue grows, number %d", n) }

// settled waits until every sink has everything.
func settled(ctx context.Context, trail *audit.Trail) error {
	for {
		stats, err := trail.Stats(ctx)
		if err != nil {
			return err
		}
		waiting := false
		for _, s := range stats.Sinks {
			waiting = waiting || s.Backlog > 0
		}
		if !waiting {
			return nil
		}
		time.Sleep(100 * time.Millisecond) // other processes are waited for
	}
}
