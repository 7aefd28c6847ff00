package notify_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/notify"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is a real receiver of some kind, and what it has taken.
type receiver interface {
	settings() notify.Settings // that name it, for break-glass, each message by itself
	refuse(times int)          // so many messages, from now on; it counts them all the same
	tries() int                // how often it was asked to take one
	taken() []string           // what those who read have before them, in order
}

// bench is a store with messages, and senders over it.
type bench struct {
	t     *testing.T
	store *store.Store
	run   restart.Run
	at    time.Time // of the message that was told of last
	log   *logged
}

type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, store: storetest.Open(t, storetest.SQLite(t)), log: &logged{}, at: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	now := time.Now().UTC()
	b.run = restart.Run{ID: restart.NewID(now), Service: "shop", Actor: "anna", State: restart.RunQueued, CreatedAt: now}
	_, err := b.store.CreateRun(t.Context(), b.run, "", nil, nil)
	b.must(err)
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// leave lays a message that belongs to no run into the outbox, as a change does.
func (b *bench) leave(at time.Time, text string, to notify.Receivers) string {
	b.t.Helper()
	return b.tell(at, wire.Notification{Event: wire.EventBreakGlass, Service: "shop", Environment: "testing", Kind: restart.KindRestart, Actor: "anna", Reason: text}, to)
}

// tell lays a message into the outbox.
func (b *bench) tell(at time.Time, n wire.Notification, to notify.Receivers) string {
	b.t.Helper()
	b.at = b.at.Add(time.Second)
	n.ID, n.URL, n.At = restart.NewID(time.Now()), "https://restartilka.example.com/runs/"+b.run.ID, b.at
	m, _, err := notify.Message(n, to.For(n))
	b.must(err)
	_, err = b.store.Apply(b.t.Context(), store.Change{RunID: b.run.ID, At: at, Messages: []store.Message{m}})
	b.must(err)
	return n.ID
}

func (b *bench) open(r receiver) notify.Receivers {
	b.t.Helper()
	all, err := r.settings().Open()
	b.must(err)
	return all
}

// send runs a sender, until stop.
func (b *bench) send(to notify.Receivers, change func(*notify.Config)) (s *notify.Sender, stop func()) {
	b.t.Helper()
	cfg := notify.Config{
		Outbox: b.store, Receivers: to, Server: "main", Poll: 5 * time.Millisecond, First: 5 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(b.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	s = notify.New(cfg)
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case <-ended:
			case <-time.After(time.Minute):
				b.t.Error("the sender does not end")
			}
		})
	}
	b.t.Cleanup(stop)
	return s, stop
}

// until waits for a condition.
func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			b.t.Fatalf("waited in vain for %s; the log says\n%s", what, b.log)
		case <-tick.C:
		}
	}
}

func (b *bench) waiting() int64 {
	b.t.Helper()
	st, err := b.store.Statistics(b.t.Context(), time.Hour, time.Hour)
	b.must(err)
	return st.Messages
}

// Exercise is what every kind of receiver has to do.
func Exercise(t *testing.T, fresh func(t *testing.T) receiver) {
	t.Run("a message arrives once, whole", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		to := b.open(r)
		_, stop := b.send(to, nil)
		want := map[string]int{}
		for i := range 6 {
			text := fmt.Sprintf("<b>%d</b> ☃ & more", i)
			want[text] = 0
			b.leave(time.Time{}, text, to)
		}
		b.until("all messages", func() bool { return b.waiting() == 0 })
		stop()
		got := r.taken()
		for _, text := range got {
			for w := range want {
				if strings.Contains(text, w) {
					want[w]++
				}
			}
		}
		for w, n := range want {
			if n != 1 {
				t.Errorf("%q is there %d times in %q", w, n, got)
			}
		}
	})
	t.Run("what is told of a run arrives in order, also where one is refused", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		r.refuse(2)
		to := b.open(r)
		var want []string
		for i := range 4 {
			want = append(want, fmt.Sprintf("number %d of them", i))
			b.tell(time.Time{}, wire.Notification{Event: wire.EventBreakGlass, Run: b.run.ID, Service: "shop", Actor: "anna", Reason: want[i]}, to)
		}
		b.send(to, nil)
		b.send(to, nil) // another server
		b.until("all messages", func() bool { return b.waiting() == 0 })
		got := r.taken()
		if len(got) != len(want) {
			t.Fatalf("%d arrived: %q", len(got), got)
		}
		for i, w := range want {
			if !strings.Contains(got[i], w) {
				t.Errorf("in the place of %q: %q", w, got[i])
			}
		}
	})
	t.Run("what is refused comes again", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		r.refuse(3)
		to := b.open(r)
		b.leave(time.Time{}, "x marks it", to)
		b.send(to, nil)
		b.until("the message", func() bool { return b.waiting() == 0 })
		if got := r.taken(); len(got) != 1 || r.tries() != 4 {
			t.Fatalf("taken in %d tries: %q", r.tries(), got)
		}
	})
	t.Run("what a server has left, the next one sends", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		r.refuse(1 << 30)
		to := b.open(r)
		b.leave(time.Time{}, "x", to)
		_, stop := b.send(to, nil)
		b.until("a try", func() bool { return r.tries() > 0 })
		stop()
		r.refuse(0)
		b.send(b.open(r), nil)
		b.until("the message", func() bool { return len(r.taken()) == 1 })
	})
	t.Run("a message is given up in the end, on the record", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		r.refuse(1 << 30)
		to := b.open(r)
		b.leave(time.Now().Add(-72*time.Hour), "old", to)
		b.send(to, nil)
		b.until("the end", func() bool { return b.waiting() == 0 })
		records, _, err := b.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.MessageGivenUp})
		b.must(err)
		if len(records) != 1 || records[0].Actor != "server:main" || r.tries() != 1 {
			t.Errorf("records %+v after %d tries", records, r.tries())
		}
	})
	t.Run("wake is heard", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		to := b.open(r)
		s, _ := b.send(to, func(c *notify.Config) { c.Poll = time.Hour })
		b.leave(time.Time{}, "x", to)
		s.Wake()
		b.until("the message", func() bool { return len(r.taken()) == 1 })
	})
}

// What is to a receiver that is gone is given up in the end.
func TestAReceiverThatIsGone(t *testing.T) {
	b, r := newBench(t), newHook(t, false)
	to := b.open(r)
	b.leave(time.Now().Add(-72*time.Hour), "old", to)
	b.leave(time.Now().Add(-71*time.Hour), "young", to)
	_, stop := b.send(notify.Receivers{}, nil) // its settings name nobody
	b.until("the end of the old one", func() bool { return b.waiting() == 1 })
	stop()
	records, _, err := b.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.MessageGivenUp})
	b.must(err)
	if len(records) != 1 || records[0].Actor != "server:main" || !strings.Contains(records[0].Detail, "not in the settings") || r.tries() != 0 {
		t.Errorf("records %+v after %d tries", records, r.tries())
	}
	b.send(to, nil) // it has come back
	b.until("the young one", func() bool { return b.waiting() == 0 })
	if got := r.taken(); len(got) != 1 || got[0] != "young" {
		t.Errorf("taken: %q", got)
	}
}
