package notify_test

import (
	"context"
	"encoding/json"
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
	settings() notify.Settings // that name it, for break-glass
	refuse(times int)          // so many messages, from now on; it sees them all the same
	seen() []message           // in order, refused ones too
}

type message struct {
	id, event string
	body      string
	taken     bool
}

// bench is a store with messages, and senders over it.
type bench struct {
	t     *testing.T
	store *store.Store
	run   restart.Run
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
	b := &bench{t: t, store: storetest.Open(t, storetest.SQLite(t)), log: &logged{}}
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

// leave lays a message into the outbox, as a run's change does.
func (b *bench) leave(at time.Time, text string, to notify.Receivers) string {
	b.t.Helper()
	id := restart.NewID(time.Now())
	body, err := json.Marshal(map[string]string{"text": text})
	b.must(err)
	_, err = b.store.Apply(b.t.Context(), store.Change{RunID: b.run.ID, At: at, Messages: []store.Message{
		{ID: id, Event: wire.EventBreakGlass, Channels: to.For(wire.EventBreakGlass), Body: body},
	}})
	b.must(err)
	return id
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
			<-ended
		})
	}
	b.t.Cleanup(stop)
	return s, stop
}

// until waits for a condition.
func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
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

func takenBy(r receiver) (out []message) {
	for _, m := range r.seen() {
		if m.taken {
			out = append(out, m)
		}
	}
	return out
}

// Exercise is what every kind of receiver has to do.
func Exercise(t *testing.T, fresh func(t *testing.T) receiver) {
	t.Run("a message arrives once, whole, in order", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		to := b.open(r)
		_, stop := b.send(to, nil)
		var ids []string
		for i := range 30 {
			ids = append(ids, b.leave(time.Time{}, fmt.Sprintf("<b>%d</b> ☃ & more", i), to))
		}
		b.until("all messages", func() bool { return b.waiting() == 0 })
		stop()
		got := takenBy(r)
		if len(got) != len(ids) {
			t.Fatalf("%d arrived, %d were left", len(got), len(ids))
		}
		for _, m := range got {
			i := -1
			for j, id := range ids {
				if id == m.id {
					i = j
				}
			}
			var body map[string]string
			if err := json.Unmarshal([]byte(m.body), &body); i < 0 || err != nil || body["text"] != fmt.Sprintf("<b>%d</b> ☃ & more", i) || m.event != wire.EventBreakGlass {
				t.Errorf("message %d: %+v (%v)", i, m, err)
			}
			ids[max(i, 0)] = ""
		}
	})
	t.Run("what is refused comes again under the same id", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		r.refuse(3)
		to := b.open(r)
		id := b.leave(time.Time{}, "x", to)
		b.send(to, nil)
		b.until("the message", func() bool { return b.waiting() == 0 })
		got := r.seen()
		if len(got) != 4 || !got[3].taken || got[0].taken {
			t.Fatalf("seen: %+v", got)
		}
		for _, m := range got {
			if m.id != id || m.body != got[0].body {
				t.Errorf("a try is not like the first: %+v", m)
			}
		}
	})
	t.Run("what a server has left, the next one sends", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		r.refuse(1 << 30)
		to := b.open(r)
		b.leave(time.Time{}, "x", to)
		_, stop := b.send(to, nil)
		b.until("a try", func() bool { return len(r.seen()) > 0 })
		stop()
		r.refuse(0)
		b.send(b.open(r), nil)
		b.until("the message", func() bool { return len(takenBy(r)) == 1 })
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
		if len(records) != 1 || records[0].Actor != "server:main" || len(r.seen()) != 1 {
			t.Errorf("records %+v after %d tries", records, len(r.seen()))
		}
	})
	t.Run("what is to a receiver that is gone is given up in the end", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		to := b.open(r)
		b.leave(time.Now().Add(-72*time.Hour), "old", to)
		young := b.leave(time.Now().Add(-71*time.Hour), "young", to)
		_, stop := b.send(notify.Receivers{}, nil) // its settings name nobody
		b.until("the end of the old one", func() bool { return b.waiting() == 1 })
		stop()
		records, _, err := b.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.MessageGivenUp})
		b.must(err)
		if len(records) != 1 || records[0].Actor != "server:main" || !strings.Contains(records[0].Detail, "not in the settings") || len(r.seen()) != 0 {
			t.Errorf("records %+v after %d tries", records, len(r.seen()))
		}
		b.send(to, nil) // it has come back
		b.until("the young one", func() bool { return b.waiting() == 0 })
		if got := takenBy(r); len(got) != 1 || got[0].id != young {
			t.Errorf("taken: %+v", got)
		}
	})
	t.Run("wake is heard", func(t *testing.T) {
		b, r := newBench(t), fresh(t)
		to := b.open(r)
		s, _ := b.send(to, func(c *notify.Config) { c.Poll = time.Hour })
		b.leave(time.Time{}, "x", to)
		s.Wake()
		b.until("the message", func() bool { return len(takenBy(r)) == 1 })
	})
}
