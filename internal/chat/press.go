package chat

import (
	"context"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// press does what a button says, in the name of whoever has pressed it.
func (b *Bot) press(ctx context.Context, v *visit) (string, error) {
	actor, button, err := b.cfg.Control.PressInChat(ctx, v.person(), v.Place, v.Message, v.Secret)
	v.actor = actor
	if err != nil {
		return "", err
	}
	switch button.Act {
	case actPause, actAbort, actResume:
		return b.steer(ctx, v, actor, button)
	}
	// One of the message's buttons is used up, and so the others are over.
	if err := b.cfg.Desk.PutChatButtons(ctx, button.Chat, button.Place, button.Message, nil); err != nil {
		return "", err
	}
	run, err := b.settle(ctx, actor, button)
	if err != nil {
		return "", b.notDone(ctx, v, button, err)
	}
	if button.Act == actLeave {
		return "", v.chat.Edit(ctx, v.Place, v.Message, Message{Text: v.say("undone.leave", escape(actor.Name))})
	}
	if err := b.follow(ctx, v, v.Message, run); err != nil { // what was done is done: nobody is to ask for it again
		b.cfg.Logger.ErrorContext(ctx, "have a message follow a run", "chat", v.chat.Name(), "run_id", run.ID, "error", err)
		return b.unfollowed(ctx, v, button, run), nil
	}
	return "", nil
}

// unfollowed says what was done in place of a message that is to follow the run,
// and where to look at it.
func (b *Bot) unfollowed(ctx context.Context, v *visit, button store.ChatButton, run restart.Run) string {
	text := v.say("done."+button.Act, run.ID, escape(v.actor.Name)) + "\n" + v.say("unfollowed", run.ID)
	if err := v.chat.Edit(ctx, v.Place, v.Message, Message{Text: text, Link: b.runPage(v.chat, run)}); err != nil {
		b.cfg.Logger.WarnContext(ctx, "change a message in a chat", "chat", v.chat.Name(), "error", err)
	}
	return text
}

// settle starts what a plan shows, or says what was thought of somebody else's.
func (b *Bot) settle(ctx context.Context, actor restart.Actor, button store.ChatButton) (restart.Run, error) {
	if button.Act == actLeave {
		return restart.Run{}, nil
	}
	if button.Act == actReject {
		return b.cfg.Control.Reject(ctx, actor, button.Run, wire.ApprovalRequest{Reason: button.Note, Seen: wire.Seen{Version: button.Seen}})
	}
	run, err := b.cfg.Control.Run(ctx, actor, button.Run)
	if err != nil {
		return run, err
	}
	if b.onPage(run) { // the configuration may say so since the button was made
		return run, restart.Errorf(restart.CodeForbidden, "nothing is started in %s from a chat", run.Environment).WithHint("%s", b.runURL(run))
	}
	if button.Act == actApprove {
		return b.cfg.Control.Approve(ctx, actor, button.Run, wire.ApprovalRequest{Reason: button.Note, Seen: wire.Seen{Version: button.Seen}})
	}
	return b.cfg.Control.Start(ctx, actor, button.Run, wire.StartRequest{Seen: wire.Seen{Version: button.Seen}})
}

// notDone takes the buttons from a message whose button was used up for nothing,
// and says why there.
func (b *Bot) notDone(ctx context.Context, v *visit, button store.ChatButton, why error) error {
	text := v.say("undone."+button.Act) + "\n" + b.sentence(ctx, v, why)
	if err := v.chat.Edit(ctx, v.Place, v.Message, Message{Text: text}); err != nil {
		b.cfg.Logger.WarnContext(ctx, "change a message in a chat", "chat", v.chat.Name(), "error", err)
	}
	return why
}

// steer stops a run or has it go on. Its buttons stay until the message shows
// what has come of it: pressed twice they do the same once.
func (b *Bot) steer(ctx context.Context, v *visit, actor restart.Actor, button store.ChatButton) (string, error) {
	var run restart.Run
	var err error
	switch button.Act {
	case actPause:
		run, err = b.cfg.Control.Pause(ctx, actor, button.Run, 0)
	case actAbort:
		run, err = b.cfg.Control.Abort(ctx, actor, button.Run, 0)
	default:
		if run, err = b.cfg.Control.Run(ctx, actor, button.Run); err != nil {
			return "", err
		}
		if b.onPage(run) {
			return "", restart.Errorf(restart.CodeForbidden, "in %s a run goes on from the page alone", run.Environment).WithHint("%s", b.runURL(run))
		}
		run, err = b.cfg.Control.Resume(ctx, actor, button.Run, button.Seen)
	}
	if err != nil {
		return "", err
	}
	return v.say("done."+button.Act, run.ID, escape(actor.Name)), nil
}
