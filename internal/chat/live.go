package chat

import (
	"context"
	"errors"
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

// steerLife is how long the buttons below a message that follows a run are good
// at most: they are renewed with the message.
const steerLife = 24 * time.Hour

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
	bot     *Bot
	chat    opened
	m       store.ChatMessage
	run     restart.Run
	known   bool     // run is whole
	shown   string   // the text that the message has; "" = not known
	acts    []string // of its buttons
	buttons []Button
}

// walk follows the run until it is over, however often the chat or the database
// is away meanwhile.
func (f *follower) walk(ctx context.Context) {
	pause := f.bot.cfg.Every
	for ctx.Err() == nil {
		err := f.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil, errors.Is(err, errGone), restart.CodeOf(err) == restart.CodeUnauthorised, restart.CodeOf(err) == restart.CodeForbidden, restart.CodeOf(err) == restart.CodeNotFound:
			if err := f.bot.cfg.Desk.EndChatMessage(ctx, f.m); err == nil {
				return
			}
		default:
			f.bot.cfg.Logger.WarnContext(ctx, "keep a message up to date", "chat", f.chat.Name(), "run_id", f.m.Run, "error", err)
		}
		again := pause
		if busy, ok := errors.AsType[*busyError](err); ok {
			again = max(again, min(busy.after, 10*time.Minute))
		}
		wait(ctx, again)
		pause = min(2*pause, time.Minute)
	}
}

// follow shows each change; what changes while it waits comes as one.
func (f *follower) follow(ctx context.Context) error {
	actor, err := f.actor(ctx)
	if err != nil {
		return err
	}
	return f.bot.cfg.Control.Follow(ctx, actor, f.m.Run, -1, func(run restart.Run) error {
		if run.Plan == nil && f.known {
			run.Plan, run.Tasks = f.run.Plan, restart.Merge(f.run.Tasks, run.Tasks)
		}
		f.run, f.known = run, true
		// Who he is is asked again: he may have gone meanwhile.
		actor, err := f.actor(ctx)
		if err != nil {
			return err
		}
		if err := f.put(ctx, actor); err != nil {
			return err
		}
		if !run.State.Final() {
			wait(ctx, f.bot.cfg.Every)
		}
		return nil
	})
}

func (f *follower) actor(ctx context.Context) (restart.Actor, error) {
	return f.bot.cfg.Control.ChatActor(ctx, (&visit{chat: f.chat, Event: Event{Person: f.m.Person}}).person())
}

// put changes the message where what it has to show has changed.
func (f *follower) put(ctx context.Context, actor restart.Actor) error {
	text, link := runText(f.chat.language, f.run), f.bot.runPage(f.chat, f.run)
	if f.run.State.Final() && f.run.Kind == restart.KindThreadDump {
		var verdict string
		if verdict, link = f.bot.verdict(ctx, f.chat, actor, f.run, f.m.Private); verdict != "" {
			text = bounded(text + "\n" + verdict)
		}
	}
	choices := f.choices(ctx, actor)
	var acts []string
	for _, c := range choices {
		acts = append(acts, c.act)
	}
	if text == f.shown && slices.Equal(acts, f.acts) {
		return nil
	}
	// To resume is to go on in spite of what the message shows: the button is of
	// the very version that it shows.
	if f.shown == "" || !slices.Equal(acts, f.acts) || slices.Contains(acts, actResume) {
		if err := f.renew(ctx, choices); err != nil {
			return err
		}
		f.acts = acts
	}
	if err := f.chat.Edit(ctx, f.m.Place, f.m.Message, Message{Text: text, Link: link, Buttons: f.buttons}); err != nil {
		f.shown = "" // nobody knows which it has: its buttons are made anew
		return err
	}
	f.shown = text
	return nil
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

// renew makes new buttons; those before are over.
func (f *follower) renew(ctx context.Context, choices []choice) error {
	person := ""
	if f.m.Private {
		person = f.m.Person
	}
	var kept []store.ChatButton
	f.buttons = nil
	for _, c := range choices {
		button, hash := c.button(f.chat.language)
		f.buttons = append(f.buttons, button)
		kept = append(kept, store.ChatButton{
			Hash: hash, Message: f.m.Message, Person: person, Act: c.act, Run: f.run.ID, Seen: f.run.Version, ExpiresAt: f.bot.cfg.Now().Add(steerLife),
		})
	}
	return f.bot.cfg.Desk.PutChatButtons(ctx, f.m.Chat, f.m.Place, f.m.Message, kept)
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
