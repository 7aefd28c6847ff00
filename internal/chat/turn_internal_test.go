package chat

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/store"
)

// desk is one that notes what it is asked for and knows nothing.
type desk struct {
	Desk

	silent atomic.Bool // it does not answer
	mu     sync.Mutex
	taken  []string // events
	given  int      // turns that were given back
}

func (d *desk) NewInChat(_ context.Context, _, id string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = append(d.taken, id)
	return false, nil
}

func (d *desk) TakeChatTurn(ctx context.Context, _, _ string, _ time.Duration) (bool, error) {
	if d.silent.Load() {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return true, nil
}

func (d *desk) GiveChatTurn(context.Context, string, string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.given++
	return nil
}

func (*desk) ChatMessages(ctx context.Context, _ string) ([]store.ChatMessage, error) {
	return nil, ctx.Err()
}

// lone is a chat that only listens.
type lone struct {
	Chat

	listen func(ctx context.Context, each Handle) error
}

func (lone) Name() string          { return "lone" }
func (lone) Routes(Handle) []Route { return nil }
func (l lone) Listen(ctx context.Context, each Handle, _ func(bool)) error {
	return l.listen(ctx, each)
}

// TestTurnIsLostInMidEvent: what a chat has handed over as the turn is lost is
// done: it is not handed over once more.
func TestTurnIsLostInMidEvent(t *testing.T) {
	t.Parallel()
	const events = 50
	d := &desk{}
	held, lose := context.WithCancel(t.Context())
	l := lone{listen: func(ctx context.Context, each Handle) error {
		lose()
		for i := range events {
			each(ctx, Event{ID: strconv.Itoa(i), Private: true, Text: "/help"})
		}
		return errors.New("the line is cut")
	}}
	New(Config{Desk: d, Chats: Chats{all: []opened{{Chat: l}}}}).listen(t.Context(), held, opened{Chat: l})
	if n := len(d.taken); n != events {
		t.Errorf("%d of %d were done", n, events)
	}
}

// TestDatabaseThatDoesNotAnswer: who can't keep his turn stops listening before
// another may begin.
func TestDatabaseThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		var ended atomic.Int64
		l := lone{listen: func(ctx context.Context, _ Handle) error {
			<-ctx.Done()
			ended.Store(time.Now().UnixNano())
			return ctx.Err()
		}}
		const turn = 15 * time.Second
		b := New(Config{Desk: d, Chats: Chats{all: []opened{{Chat: l}}}, Turn: turn})
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, stop)
		began := time.Now()
		time.AfterFunc(time.Minute+time.Second, func() { d.silent.Store(true) })
		b.hold(ctx, opened{Chat: l})
		// The last turn was taken in the minute's last second.
		if after := time.Unix(0, ended.Load()).Sub(began); after < time.Minute || after >= time.Minute+turn {
			t.Errorf("it has listened for %s", after)
		}
		if d.given != 1 {
			t.Errorf("the turn was given back %d times", d.given)
		}
	})
}

// slow is a desk that takes a while, and gives up when it is told to.
type slow struct {
	*desk

	begun chan struct{}
	cut   atomic.Bool // what was in hand
}

func (s *slow) NewInChat(ctx context.Context, chat, id string) (bool, error) {
	close(s.begun)
	wait(ctx, stopTime/2)
	s.cut.Store(ctx.Err() != nil)
	return s.desk.NewInChat(ctx, chat, id)
}

// TestStopInMidEvent: what is in hand when the server is told to stop is done: its
// button may be used up already. What takes too long is not waited for.
func TestStopInMidEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &slow{desk: &desk{}, begun: make(chan struct{})}
		l := lone{listen: func(ctx context.Context, each Handle) error {
			each(ctx, Event{ID: "1", Private: true, Text: "/help"})
			<-ctx.Done()
			return ctx.Err()
		}}
		b := New(Config{Desk: d, Chats: Chats{all: []opened{{Chat: l}}}})
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			<-d.begun
			stop()
		}()
		b.Run(ctx)
		if d.cut.Load() || len(d.taken) != 1 {
			t.Errorf("cut off: %t, done: %q", d.cut.Load(), d.taken)
		}
		late, cancel := lasting(ctx)
		defer cancel()
		began := time.Now()
		<-late.Done()
		if took := time.Since(began); took != stopTime {
			t.Errorf("it is waited for %s", took)
		}
	})
}
