package chat

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/store"
)

// errGone is the error of an Edit of a message that is there no more, or may not
// be changed any more.
var errGone = errors.New("the message is not there any more")

// busyError is the error of a chat that wants to be left alone for a while.
type busyError struct{ after time.Duration }

func (e *busyError) Error() string { return "the chat wants fewer messages" }

const (
	// steerLife is how long the buttons below a message that follows a run are good:
	// in half of that they are renewed.
	steerLife = 24 * time.Hour
	// latest bounds for how long a chat may want to be left alone.
	latest = time.Hour
)

// show sends a message that follows a run.
func (b *Bot) show(ctx context.Context, v *visit, run restart.Run) error {
	id, err := v.chat.Post(ctx, v.Place, Message{Text: runText(v.chat.language, run), Link: b.runPage(v.chat, run)})
	if err != nil || run.State.Final() && run.Kind != restart.KindThreadDump {
		return err
	}
	return b.follow(ctx, v, id, run)
}

// follow has a message show how a run stands from now on.
func (b *Bot) follow(ctx context.Context, v *visit, message string, run restart.Run) error {
	err := b.cfg.Desk.FollowInChat(ctx, store.ChatMessage{Chat: v.chat.Name(), Place: v.Place, Message: message, Private: v.Private, Run: run.ID, Person: v.Person})
	if err != nil {
		return err
	}
	select {
	case b.wakes[v.chat.Name()] <- struct{}{}:
	default: // it has not looked since the last one
	}
	return nil
}

// keep keeps all messages of a chat up to date, until ctx ends.
func (b *Bot) keep(ctx context.Context, chat opened) {
	following := map[store.ChatMessage]context.CancelFunc{}
	var walking sync.WaitGroup
	defer walking.Wait()
	tick := time.NewTicker(b.cfg.Every / 2)
	defer tick.Stop()
	for {
		list, err := b.cfg.Desk.ChatMessages(ctx, chat.Name())
		if err != nil && ctx.Err() == nil {
			b.cfg.Logger.WarnContext(ctx, "look which messages follow runs", "chat", chat.Name(), "error", err)
		}
		for m, stop := range following {
			if err == nil && !slices.Contains(list, m) {
				stop()
				delete(following, m)
			}
		}
		for _, m := range list {
			if following[m] != nil {
				continue
			}
			one, stop := context.WithCancel(ctx)
			following[m] = stop
			walking.Go(func() {
				defer stop()
				f := &follower{bot: b, chat: chat, m: m}
				f.walk(one)
			})
		}
		select {
		case <-ctx.Done():
			for _, stop := range following {
				stop()
			}
			return
		case <-tick.C:
		case <-b.wakes[chat.Name()]:
		}
	}
}

// follower keeps one message up to date.
type follower struct {
	bot   *Bot
	chat  opened
	m     store.ChatMessage
	run   restart.Run
	known bool          // run is whole
	shown string        // the text that the message has; "" = not known
	row   row           // of buttons that it has, or is to have
	more  bool          // others than those are good still
	pause time.Duration // after the next failure
}

// row is the buttons below a message.
type row struct {
	acts    []string
	seen    int64     // version of the run that one is of
	until   time.Time // they are good; zero = there is no row yet
	buttons []Button
	kept    []store.ChatButton
}

// walk follows the run until it is over, however often the chat or the database
// is away meanwhile.
func (f *follower) walk(ctx context.Context) {
	f.pause = f.bot.cfg.Every
	for ctx.Err() == nil {
		over, err := f.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !over: // buttons are to be renewed
			continue
		case err == nil, errors.Is(err, errGone), restart.CodeOf(err) == restart.CodeUnauthorised, restart.CodeOf(err) == restart.CodeForbidden, restart.CodeOf(err) == restart.CodeNotFound:
			if err := f.bot.cfg.Desk.EndChatMessage(ctx, f.m); err == nil {
				return
			}
		default:
			f.bot.cfg.Logger.WarnContext(ctx, "keep a message up to date", "chat", f.chat.Name(), "run_id", f.m.Run, "error", err)
		}
		again := f.pause
		if busy, ok := errors.AsType[*busyError](err); ok {
			again = max(again, min(busy.after, latest))
		}
		wait(ctx, again)
		f.pause = min(2*f.pause, time.Minute)
	}
}

// follow shows each change; what changes while it waits comes as one. over is
// false where it is to be asked again, since buttons are to be renewed.
func (f *follower) follow(ctx context.Context) (over bool, err error) {
	actor, err := f.actor(ctx)
	if err != nil {
		return false, err
	}
	ctx, stop := context.WithTimeout(ctx, f.bot.cfg.Resume/4)
	defer stop()
	err = f.bot.cfg.Control.Follow(ctx, actor, f.m.Run, -1, func(run restart.Run) error {
		if run.Plan == nil && f.known {
			run.Plan, run.Tasks = f.run.Plan, restart.Merge(f.run.Tasks, run.Tasks)
		}
		f.run, f.known = run, true
		// Who he is is asked again: he may have gone meanwhile.
		actor, err := f.actor(ctx)
		if err != nil {
			return err
		}
		changed, err := f.put(ctx, actor)
		if err != nil {
			return err
		}
		f.pause, over = f.bot.cfg.Every, run.State.Final()
		if changed && !over {
			wait(ctx, f.bot.paces.book(f.m.Chat+" "+f.m.Place, f.gap()))
		}
		return nil
	})
	if ctx.Err() != nil && !over {
		return false, nil
	}
	return over, err
}

// gap is how long a conversation has peace after a change of a message. Where
// many read, chats take few: Telegram some 20 a minute, answers among them.
func (f *follower) gap() time.Duration {
	if f.m.Private {
		return f.bot.cfg.Every
	}
	return 2 * f.bot.cfg.Every
}

func (f *follower) actor(ctx context.Context) (restart.Actor, error) {
	return f.bot.cfg.Control.ChatActor(ctx, (&visit{chat: f.chat, Event: Event{Person: f.m.Person}}).person())
}

// put changes the message where what it has to show has changed, or its buttons
// are to be renewed. Those that it has stay good until the chat has taken others:
// who sees a button can press it.
func (f *follower) put(ctx context.Context, actor restart.Actor) (changed bool, err error) {
	text, link := runText(f.chat.language, f.run), f.bot.runPage(f.chat, f.run)
	if f.run.State.Final() && f.run.Kind == restart.KindThreadDump {
		var verdict string
		if verdict, link = f.bot.verdict(ctx, f.chat, actor, f.run, f.m.Private); verdict != "" {
			text = bounded(text + "\n" + verdict)
		}
	}
	renewed, err := f.renew(ctx, f.choices(ctx, actor))
	if err != nil {
		return false, err
	}
	if renewed || text != f.shown {
		f.shown = "" // until the chat says that it has taken it nobody knows
		if err := f.chat.Edit(ctx, f.m.Place, f.m.Message, Message{Text: text, Link: link, Buttons: f.row.buttons}); err != nil {
			return false, err
		}
		f.shown, changed = text, true
	}
	if f.more {
		if err := f.bot.cfg.Desk.PutChatButtons(ctx, f.m.Chat, f.m.Place, f.m.Message, f.row.kept); err != nil {
			return changed, err
		}
		f.more = false
	}
	return changed, nil
}

// choices are the buttons that the run's state allows, to who asked for the
// message. Others may press them too, where others read it: each press asks for
// the rights of who presses.
func (f *follower) choices(ctx context.Context, actor restart.Actor) []choice {
	if f.run.State.Final() || f.run.State == restart.RunDraft {
		return nil
	}
	stop, goOn := f.bot.cfg.Control.MayActInChat(ctx, actor, f.run)
	var out []choice
	if f.run.State == restart.RunPaused && goOn && !f.bot.onPage(f.run) {
		out = append(out, choice{actResume, ToneGo})
	}
	asked := f.run.Control
	if stop && asked == restart.ControlNone && (f.run.State == restart.RunRunning || f.run.State == restart.RunQueued) {
		out = append(out, choice{actPause, TonePlain})
	}
	if stop && asked != restart.ControlAbort && asked != restart.ControlForceAbort {
		out = append(out, choice{actAbort, ToneStop})
	}
	return out
}

// renew makes new buttons where others are due, beside those that there are. To
// resume is to go on in spite of what the message shows: that button is of the
// very version that it shows, and good for a short while, as a press may come
// late.
func (f *follower) renew(ctx context.Context, choices []choice) (renewed bool, err error) {
	now, next, person := f.bot.cfg.Now(), row{seen: f.run.Version}, ""
	life := steerLife
	for _, c := range choices {
		next.acts = append(next.acts, c.act)
	}
	resumes := slices.Contains(next.acts, actResume)
	if resumes {
		life = f.bot.cfg.Resume
	}
	if !f.row.until.IsZero() && slices.Equal(next.acts, f.row.acts) && (!resumes || f.row.seen == next.seen) && (len(choices) == 0 || now.Before(f.row.until.Add(-life/2))) {
		return false, nil
	}
	if f.m.Private {
		person = f.m.Person
	}
	next.until = now.Add(life)
	for _, c := range choices {
		button, hash := c.button(f.chat.language)
		until := next.until
		if c.act != actResume {
			until = now.Add(steerLife)
		}
		next.buttons = append(next.buttons, button)
		next.kept = append(next.kept, store.ChatButton{
			Hash: hash, Message: f.m.Message, Person: person, Act: c.act, Run: f.run.ID, Seen: next.seen, ExpiresAt: until,
		})
	}
	// They are stored before anybody can press them.
	if err := f.bot.cfg.Desk.AddChatButtons(ctx, f.m.Chat, f.m.Place, f.m.Message, next.kept); err != nil {
		return false, err
	}
	f.row, f.more = next, true
	return true, nil
}

// verdict says what the dumps of a run say together, to who may look at them and
// where nobody else reads it; and where they are.
func (b *Bot) verdict(ctx context.Context, chat opened, actor restart.Actor, run restart.Run, private bool) (string, Link) {
	l := chat.language
	link := Link{say(l, "link.dumps", run.ID), b.runURL(run) + "/dumps"}
	if !private {
		return say(l, "dumps.page"), link
	}
	dumps, err := b.cfg.Control.OpenRunDumps(ctx, actor, run.ID, "", "verdict, in a chat,")
	switch restart.CodeOf(err) {
	case "":
		defer dumps.Close()
		return say(l, "dumps.verdict", escape(said.Finding(l, dumps.Report.Verdict()))), link
	case restart.CodeNotFound:
		return say(l, "dumps.none"), b.runPage(chat, run)
	case restart.CodeForbidden:
		return say(l, "dumps.refused"), b.runPage(chat, run)
	}
	b.cfg.Logger.WarnContext(ctx, "look at the dumps of a run for a chat", "run_id", run.ID, "error", err)
	return say(l, "dumps.away"), link
}

// wait waits for a time, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// paces has each conversation changed no oftener than its chat takes it, by
// however many messages.
type paces struct {
	mu   sync.Mutex
	next map[string]time.Time // by conversation: until then it has peace
}

// book gives how long to wait so that a conversation has had peace for gap since
// all that were booked before.
func (p *paces) book(place string, gap time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.next) >= mostKnown {
		maps.DeleteFunc(p.next, func(_ string, at time.Time) bool { return at.Before(now) })
	}
	at := p.next[place]
	if at.Before(now) {
		at = now
	}
	at = at.Add(gap)
	p.next[place] = at
	return at.Sub(now)
}
