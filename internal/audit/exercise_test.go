package audit_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
)

// place is somewhere that a sink ships to, for Exercise.
type place struct {
	open   func(t *testing.T) audit.Sink     // a new sink to the same place
	stored func(t *testing.T) []audit.Record // what has arrived there by now
	copies bool                              // records that are sent again are there again
	settle func(t *testing.T, s audit.Sink, seq int64)
}

// Exercise is what every kind of sink passes.
func Exercise(t *testing.T, fresh func(t *testing.T) place) {
	ctx := context.Background()
	send := func(t *testing.T, s audit.Sink, records []audit.Record) {
		t.Helper()
		if err := s.Send(ctx, records); err != nil {
			t.Fatal(err)
		}
	}
	same := func(t *testing.T, want, got []audit.Record) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stored (-want +got)\n%s", diff)
		}
	}
	t.Run("records arrive whole and in order", func(t *testing.T) {
		p := fresh(t)
		s := p.open(t)
		records := append(vectors(), extend(vectors()[4].Head(), 200)...)
		for part := range slices.Chunk(records, 33) {
			send(t, s, part)
		}
		p.settle(t, s, int64(len(records)))
		same(t, records, p.stored(t))
	})
	t.Run("nothing is settled before it is sent", func(t *testing.T) {
		s := fresh(t).open(t)
		if seq, err := s.Settled(); seq != 0 || err != nil {
			t.Errorf("settled %d, %v", seq, err)
		}
		if s.Name() == "" || s.Level() == "" {
			t.Errorf("name %q, level %q", s.Name(), s.Level())
		}
	})
	t.Run("a sink opened again goes on, and takes records again", func(t *testing.T) {
		p := fresh(t)
		records := chained(30)
		s := p.open(t)
		send(t, s, records[:20])
		p.settle(t, s, 20)
		name := s.Name()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = p.open(t)
		if s.Name() != name {
			t.Errorf("it is called %q and then %q", name, s.Name())
		}
		send(t, s, records[10:])
		p.settle(t, s, 30)
		want := records
		if p.copies {
			want = slices.Concat(records[:20], records[10:])
		}
		same(t, want, p.stored(t))
	})
	t.Run("a call that is over sends nothing", func(t *testing.T) {
		p := fresh(t)
		s := p.open(t)
		over, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.Send(over, chained(1)); err == nil {
			t.Error("sent")
		}
		send(t, s, chained(2))
		p.settle(t, s, 2)
		same(t, chained(2), p.stored(t))
	})
	t.Run("closed means closed", func(t *testing.T) {
		s := fresh(t).open(t)
		send(t, s, chained(1))
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := s.Send(ctx, extend(chained(1)[0].Head(), 1)); err == nil {
			t.Error("a closed sink takes records")
		}
	})
}

func TestFileExercise(t *testing.T) {
	Exercise(t, func(t *testing.T) place {
		path := filepath.Join(t.TempDir(), "audit", "server.jsonl")
		return place{
			open:   func(t *testing.T) audit.Sink { return openFile(t, path) },
			stored: func(t *testing.T) []audit.Record { return parse(t, read(t, path)) },
			settle: func(t *testing.T, s audit.Sink, seq int64) {
				if got, err := s.Settled(); got != seq || err != nil {
					t.Errorf("settled %d instead of %d, %v", got, seq, err)
				}
			},
		}
	})
}

func TestSyslogExercise(t *testing.T) {
	Exercise(t, func(t *testing.T) place {
		r := newReceiver(t)
		return place{
			open:   func(t *testing.T) audit.Sink { return r.sink(t, 20*time.Millisecond) },
			stored: func(t *testing.T) []audit.Record { return r.records() },
			copies: true,
			settle: func(t *testing.T, s audit.Sink, seq int64) {
				t.Helper()
				r.await(t, func(got []audit.Record) bool { return len(got) > 0 && got[len(got)-1].Seq >= seq })
				eventually(t, func() bool {
					got, err := s.Settled()
					if err != nil {
						t.Fatal(err)
					}
					return got == seq
				})
			},
		}
	})
}
