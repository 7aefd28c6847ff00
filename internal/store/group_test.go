package store

import (
	"context"
	"errors"
	"testing"
)

func openForGroup(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{DSN: "sqlite:" + t.TempDir() + "/x.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newJob(statements ...string) *job {
	return &job{done: make(chan error, 1), do: func(t tx) error {
		for _, statement := range statements {
			if _, err := t.exec(context.Background(), statement); err != nil {
				return err
			}
		}
		return nil
	}}
}

const (
	goodWrite   = "INSERT INTO audit_heads (source, epoch, seq, hash) VALUES ('good', 1, 0, '')"
	refused     = "INSERT INTO audit_heads (source) VALUES ('bad')"
	orphan      = "INSERT INTO outputs (task_id, received) VALUES ('nobody', 0)"
	checkAtEnd  = "PRAGMA defer_foreign_keys = ON"
	lostToAFull = "ROLLBACK" // what SQLite does by itself where the disk is full
)

// Jobs that share a transaction are answered with what became of it.
func TestGroupAnswersWithTheTruth(t *testing.T) {
	for name, c := range map[string]struct {
		jobs   [][]string
		failed []bool
		stored int
	}{
		"all well":             {[][]string{{"SELECT 1"}, {goodWrite}}, []bool{false, false}, 1},
		"one is refused":       {[][]string{{refused}, {goodWrite}, {goodWrite}}, []bool{true, false, true}, 1},
		"a half is undone":     {[][]string{{goodWrite, refused}, {"SELECT 1"}}, []bool{true, false}, 0},
		"the commit fails":     {[][]string{{goodWrite}, {checkAtEnd, orphan}}, []bool{true, true}, 0},
		"all is rolled back":   {[][]string{{goodWrite}, {lostToAFull, refused}, {"SELECT 1"}}, []bool{true, true, true}, 0},
		"rolled back in peace": {[][]string{{goodWrite}, {lostToAFull}}, []bool{true, true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := openForGroup(t)
			var jobs []*job
			for _, statements := range c.jobs {
				jobs = append(jobs, newJob(statements...))
			}
			s.group.commit(jobs)
			for i, j := range jobs {
				if err := <-j.done; (err != nil) != c.failed[i] {
					t.Errorf("job %d is answered with %v", i, err)
				}
			}
			var stored int
			err := s.read(t.Context(), "count", func(ctx context.Context, tx tx) error {
				return tx.row(ctx, "SELECT count(*) FROM audit_heads").Scan(&stored)
			})
			if err != nil || stored != c.stored {
				t.Errorf("%d rows are stored, error %v, want %d", stored, err, c.stored)
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.endLeases(t.Context()); err != nil { // the connection is still good
				t.Error(err)
			}
		})
	}
}

// A caller that goes away while its write waits takes the write with it.
func TestGroupWithdraws(t *testing.T) {
	s := openForGroup(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.group.do(context.Background(), func(context.Context, tx) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		second <- s.group.do(ctx, func(context.Context, tx) error {
			t.Error("a withdrawn write was made")
			return nil
		})
	}()
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Fatalf("the caller got %v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
}
