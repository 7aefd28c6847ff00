package notify

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Outbox is the part of the store that keeps messages until they are taken.
type Outbox interface {
	DueMessages(ctx context.Context, channels []string, hold time.Duration, limit int) ([]store.Delivery, error)
	Told(ctx context.Context, d store.Delivery) (post string, earlier []json.RawMessage, err error)
	LeftMessages(ctx context.Context, channels []string, age time.Duration, limit int) ([]store.Delivery, error)
	MessageDelivered(ctx context.Context, d store.Delivery) error
	MessageFailed(ctx context.Context, d store.Delivery, why string, again time.Duration, records ...audit.Record) error
}

// Config of a Sender. Outbox is needed.
type Config struct {
	Outbox    Outbox
	Receivers Receivers
	Server    string // its name, for the audit record of a message that is given up
	Logger    *slog.Logger
	Now       func() time.Time // nil = time.Now

	Poll  time.Duration // 0 = 1 s; how soon a message left by another server, or one to be tried again, is seen
	First time.Duration // 0 = 1 s; before the second try; each further one waits twice as long, 5 min at most
	For   time.Duration // 0 = 72 h; for how long a message is tried
}

const (
	// hold is how long a message that a server has taken is nobody else's: longer
	// than any delivery lasts.
	hold     = 30 * time.Second
	longest  = 5 * time.Minute
	latest   = time.Hour // that a receiver may put off the next try itself
	atOnce   = 20
	sweeps   = time.Hour // between two looks for messages whose receivers are gone
	mostSaid = 300       // bytes of why a delivery has failed
)

// Sender delivers what lies in the outbox.
type Sender struct {
	cfg   Config
	wakes map[string]chan struct{} // by the receiver's name
}

// New returns a Sender; Run starts it.
func New(cfg Config) *Sender {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&cfg.Poll, time.Second)
	or(&cfg.First, time.Second)
	or(&cfg.For, 72*time.Hour)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sender{cfg: cfg, wakes: map[string]chan struct{}{}}
	for _, c := range cfg.Receivers.all {
		s.wakes[c.Name()] = make(chan struct{}, 1)
	}
	return s
}

// Wake has the outbox looked at at once. It never blocks.
func (s *Sender) Wake() {
	for _, wake := range s.wakes {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// Run delivers until ctx ends, to each receiver by itself, so that one that is
// dead delays no other.
func (s *Sender) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range s.cfg.Receivers.all {
		wg.Go(func() { s.serve(ctx, c.Channel) })
	}
	wg.Go(func() { s.sweep(ctx) })
	wg.Wait()
}

func (s *Sender) serve(ctx context.Context, c Channel) {
	for ctx.Err() == nil {
		due, err := s.cfg.Outbox.DueMessages(ctx, []string{c.Name()}, hold, atOnce)
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.WarnContext(ctx, "look for messages", "receiver", c.String(), "error", err)
		}
		began, again := s.cfg.Now(), len(due) == atOnce
		for _, d := range due {
			if s.cfg.Now().Sub(began) > hold/6 {
				again = true
				break // the rest may be anybody's soon: it is taken anew
			}
			if s.deliver(ctx, c, d) { // also when ctx has ended: it is given back then
				again = again || d.Subject != "" // the next of its run may have waited for it
			}
		}
		if again {
			continue
		}
		timer := time.NewTimer(s.cfg.Poll)
		select {
		case <-ctx.Done():
		case <-s.wakes[c.Name()]:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// sweep gives up, at once and then every hour, what is old and to receivers that
// the settings name no more: nobody tries it. What is younger is left, for the
// receiver to come back, or for a server that has it still.
func (s *Sender) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		s.giveUpLeft(ctx)
		timer := time.NewTimer(sweeps)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (s *Sender) giveUpLeft(ctx context.Context) {
	const why = "its receiver is not in the settings any more"
	known := make([]string, 0, len(s.cfg.Receivers.all))
	for _, c := range s.cfg.Receivers.all {
		known = append(known, c.Name())
	}
	for ctx.Err() == nil {
		left, err := s.cfg.Outbox.LeftMessages(ctx, known, s.cfg.For, atOnce)
		for _, d := range left {
			if err == nil {
				s.cfg.Logger.ErrorContext(ctx, "message given up", "message", d.ID, "event", d.Event, "error", why)
				err = s.cfg.Outbox.MessageFailed(ctx, d, why, -1, s.givenUp(d, restart.Escape(d.Channel), why))
			}
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.WarnContext(ctx, "give up messages whose receivers are gone", "error", err)
		}
		if err != nil || len(left) < atOnce {
			return
		}
	}
}

// givenUp is the record of a message that is tried no more.
func (s *Sender) givenUp(d store.Delivery, receiver, why string) audit.Record {
	return audit.Record{
		Actor: "server:" + s.cfg.Server, Origin: "local", Action: audit.MessageGivenUp, Outcome: "undelivered", Detail: d.Event + " " + d.ID + " to " + receiver + ": " + why,
	}
}

// deliver hands one message over and notes how that ended. What can't be noted
// is sent again after the hold, under the same id.
func (s *Sender) deliver(ctx context.Context, c Channel, d store.Delivery) (taken bool) {
	log := s.cfg.Logger.With("message", d.ID, "event", d.Event, "receiver", c.String(), "attempt", d.Attempts)
	failed := s.hand(ctx, c, &d)
	if partly, ok := errors.AsType[*Partly](failed); ok {
		log.WarnContext(ctx, "message not delivered to all", "error", shown(partly))
		failed = nil
	}
	noting := context.WithoutCancel(ctx)
	var err error
	switch {
	case failed != nil && ctx.Err() != nil: // the server stops: the next one sends it
		err = s.cfg.Outbox.MessageFailed(noting, d, "the server stopped", 0)
	case failed == nil:
		log.InfoContext(ctx, "message delivered")
		err = s.cfg.Outbox.MessageDelivered(noting, d)
	case s.cfg.Now().Sub(d.CreatedAt) >= s.cfg.For:
		why := shown(failed)
		log.ErrorContext(ctx, "message given up", "error", why)
		err = s.cfg.Outbox.MessageFailed(noting, d, why, -1, s.givenUp(d, c.String(), why))
	default:
		why, again := shown(failed), s.pause(d.Attempts)
		if later, ok := errors.AsType[*Later](failed); ok {
			again = max(again, min(later.After, latest))
		}
		log.WarnContext(ctx, "message not delivered; trying again", "error", why, "after", again.Round(time.Millisecond))
		err = s.cfg.Outbox.MessageFailed(noting, d, why, again)
	}
	if err != nil {
		log.WarnContext(noting, "note what became of a message", "error", err)
	}
	return failed == nil && err == nil
}

// hand gives a message to its receiver; to one that keeps a message a run, with
// what it was told of the run before. d.Post is what it calls that then.
func (s *Sender) hand(ctx context.Context, c Channel, d *store.Delivery) error {
	keeper, keeps := c.(Keeper)
	if !keeps || d.Subject == "" {
		return c.Deliver(ctx, *d)
	}
	post, earlier, err := s.cfg.Outbox.Told(ctx, *d)
	if err != nil {
		return err
	}
	d.Post = post
	d.Post, err = keeper.Keep(ctx, *d, earlier)
	return err
}

// pause is how long to wait after so many tries: twice as long each time, and
// up to a tenth longer, so that many messages do not come at once.
func (s *Sender) pause(attempts int) time.Duration {
	d := longest
	if attempts < 20 {
		d = min(s.cfg.First<<max(attempts-1, 0), longest)
	}
	return d + time.Duration(rand.Int64N(int64(d)/10+1)) //nolint:gosec // jitter is no secret
}

// shown bounds and escapes what comes from outside.
func shown(err error) string {
	text := restart.Escape(err.Error())
	if len(text) > mostSaid {
		text = restart.Escape(text[:mostSaid]) + "…"
	}
	return text
}
