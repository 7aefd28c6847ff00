package chat

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	atOnce     = 8                // events of a chat in hand
	handleTime = 30 * time.Second // of one event
	stopTime   = 3 * time.Second  // that an event in hand has when the server is stopped: less than that takes
)

// Run listens to every chat whose turn this server has, until ctx ends. It
// returns when all is done that was begun.
func (b *Bot) Run(ctx context.Context) {
	var walking sync.WaitGroup
	for _, c := range b.cfg.Chats.all {
		walking.Go(func() { b.attend(ctx, c) })
	}
	walking.Wait()
}

// Handler takes what chats send to this server, below /chat/.
func (b *Bot) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, c := range b.cfg.Chats.all {
		routes := c.Routes(func(ctx context.Context, e Event) {
			ctx, cancel := lasting(ctx)
			defer cancel()
			b.handle(ctx, c, e)
		})
		for _, r := range routes {
			method, path, _ := strings.Cut(r.Pattern, " ")
			mux.HandleFunc(method+" /chat/"+c.Name()+path, r.Take)
		}
	}
	return mux
}

// attend waits for the turn of a chat, and holds it as long as it can.
func (b *Bot) attend(ctx context.Context, chat opened) {
	for ctx.Err() == nil {
		taken, err := b.cfg.Desk.TakeChatTurn(ctx, chat.Name(), b.cfg.Owner, b.cfg.Turn)
		if err != nil && ctx.Err() == nil {
			b.cfg.Logger.WarnContext(ctx, "take the turn of a chat", "chat", chat.Name(), "error", err)
		}
		if taken {
			b.hold(ctx, chat)
		}
		wait(ctx, b.cfg.Turn/3)
	}
}

// hold listens to a chat and keeps its messages up to date, until ctx ends or the
// turn is another's.
func (b *Bot) hold(ctx context.Context, chat opened) {
	held, lose := context.WithCancel(ctx)
	defer lose()
	var walking sync.WaitGroup
	walking.Go(func() { b.listen(ctx, held, chat) })
	walking.Go(func() { b.keep(held, chat) })
	sure := time.Now() // until two thirds of a turn from then nobody else has it
	tick := time.NewTicker(b.cfg.Turn / 3)
	defer tick.Stop()
	for held.Err() == nil {
		select {
		case <-held.Done():
			continue
		case <-tick.C:
		}
		asked := time.Now()
		asking, cancel := context.WithTimeout(held, b.cfg.Turn/4) // a database that does not answer keeps no turn
		taken, err := b.cfg.Desk.TakeChatTurn(asking, chat.Name(), b.cfg.Owner, b.cfg.Turn)
		cancel()
		switch {
		case err == nil && taken:
			sure = asked
		case err == nil, time.Since(sure) >= b.cfg.Turn*2/3: // another may have it
			lose()
		}
	}
	walking.Wait()
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := b.cfg.Desk.GiveChatTurn(after, chat.Name(), b.cfg.Owner); err != nil {
		b.cfg.Logger.WarnContext(after, "give the turn of a chat back", "chat", chat.Name(), "error", err)
	}
}

// listen takes what a chat sends while held, and does it beside, a few at once.
// What was taken is done even when the turn is lost meanwhile, or the server is
// stopped: no other server gets it.
func (b *Bot) listen(ctx, held context.Context, chat opened) {
	var working sync.WaitGroup
	defer working.Wait()
	places := make(chan struct{}, atOnce)
	each := func(_ context.Context, e Event) {
		select {
		case places <- struct{}{}:
		default:
			select {
			case places <- struct{}{}:
			case <-ctx.Done(): // not held: the chat may know already that we have it
				return
			}
		}
		working.Go(func() {
			defer func() { <-places }()
			ctx, cancel := lasting(ctx)
			defer cancel()
			b.handle(ctx, chat, e)
		})
	}
	pause := time.Second
	for held.Err() == nil {
		began := time.Now()
		err := chat.Listen(held, each, func(is bool) { b.setConnected(chat.Name(), is && held.Err() == nil) })
		b.setConnected(chat.Name(), false)
		if held.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		b.cfg.Logger.WarnContext(held, "listen to a chat", "chat", chat.Name(), "error", err)
		again := pause
		if busy, ok := errors.AsType[*busyError](err); ok {
			again = max(again, min(busy.after, latest))
		}
		wait(held, again)
		pause = min(2*pause, 30*time.Second)
	}
}

// lasting is the time of an event that was begun. It goes on for a while when ctx
// ends, so that a button that was used up does what it says.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleTime)
	forget := context.AfterFunc(ctx, func() { time.AfterFunc(stopTime, cancel) })
	return whole, func() {
		forget()
		cancel()
	}
}
