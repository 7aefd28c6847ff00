package control

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// viaChat is the Via of whoever asks by a chat.
const viaChat = "chat"

// ChatPerson is an account of a chat that has said or pressed something, as the
// chat itself tells.
type ChatPerson struct {
	Chat string // telegram, slack, mattermost
	ID   string // the chat's own id of the account
	Name string // as the chat calls it now, which anybody may call himself
}

// from is what records say of it: telegram:12345.
func (p ChatPerson) from() string { return p.Chat + ":" + p.ID }

// stranger starts a record of an account that is nobody's here.
func (c *Control) stranger(p ChatPerson, action audit.Action) audit.Record {
	return c.record(restart.Actor{Name: clip(p.from()), Via: viaChat, From: clip(p.from())}, action)
}

func linkNamed(l store.ChatLink) string {
	return clip(strings.TrimSpace(l.Chat + ":" + l.Person + " (" + l.Name + ") of " + l.Owner))
}

// ChatActor gives who an account of a chat is here, with the rights that he has
// now: the roles that he had when he linked it, as far as he has them still.
// CodeUnauthorised where it is nobody, or somebody who can't sign in any more.
func (c *Control) ChatActor(ctx context.Context, p ChatPerson) (restart.Actor, error) {
	link, err := c.cfg.Store.ChatLinkOf(ctx, p.Chat, p.ID)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return restart.Actor{}, restart.Errorf(restart.CodeUnauthorised, "I do not know you here yet").
			WithHint("make a code on your profile page, %s/profile, and send me /link CODE in a private chat", c.cfg.URL)
	}
	if err != nil {
		return restart.Actor{}, err
	}
	who, err := c.cfg.People.Present(ctx, link.Owner)
	if restart.CodeOf(err) == restart.CodeNotFound { // a program, which is as long as it has tokens
		who, err = c.cfg.People.Person(ctx, link.Owner)
		if err == nil && len(who.Roles) == 0 {
			err = restart.Errorf(restart.CodeUnauthorised, "%s can't sign in any more", link.Owner)
		}
	}
	if err != nil {
		return restart.Actor{}, err
	}
	actor := restart.Actor{Name: link.Owner, Teams: who.Teams, Former: who.Former, Method: who.Method, Via: viaChat, From: p.from()}
	actor.Roles = slices.DeleteFunc(slices.Clone(link.Roles), func(r restart.Role) bool { return !authn.Covers(who, r) })
	return actor, nil
}

// LinkChat links an account of a chat to whoever made the code, and gives his
// name. After some wrong codes of an account none is looked at for a while, which
// is not on record: the wrong ones are.
func (c *Control) LinkChat(ctx context.Context, p ChatPerson, code string) (owner string, err error) {
	rec := c.stranger(p, audit.ChatLinked)
	if err := c.guesses.Try(p.ID, p.from()); err != nil {
		return "", err
	}
	link := store.ChatLink{ID: restart.NewID(c.now()), Chat: p.Chat, Person: p.ID, Name: clip(p.Name), CreatedAt: c.now()}
	link, err = c.cfg.Store.UseChatCode(ctx, authn.Hash(authn.TidyCode(code)), link, func(l store.ChatLink) audit.Record {
		done := c.record(restart.Actor{Name: l.Owner, Via: viaChat, From: p.from()}, audit.ChatLinked)
		done.Detail = linkNamed(l)
		return done
	})
	if restart.CodeOf(err) == restart.CodeNotFound {
		c.guesses.Failed(p.ID, p.from())
	}
	if err != nil {
		return "", c.refused(ctx, rec, err)
	}
	c.guesses.Succeeded(p.ID, p.from())
	c.cfg.Committed()
	return link.Owner, nil
}

// VoidChatCode ends a code that was sent where others could read it.
func (c *Control) VoidChatCode(ctx context.Context, p ChatPerson, code string) error {
	_, err := c.cfg.Store.VoidChatCode(ctx, authn.Hash(authn.TidyCode(code)), func(owner string) audit.Record {
		rec := c.stranger(p, audit.ChatCodeVoided)
		rec.Detail = clip("a code of " + owner)
		return rec
	})
	if err == nil {
		c.cfg.Committed()
	}
	return err
}

// UnlinkOwnChat ends the link of the account that asks for it.
func (c *Control) UnlinkOwnChat(ctx context.Context, actor restart.Actor, p ChatPerson) error {
	link, err := c.cfg.Store.ChatLinkOf(ctx, p.Chat, p.ID)
	if err != nil {
		return c.refused(ctx, c.record(actor, audit.ChatUnlinked), err)
	}
	return c.UnlinkChat(ctx, actor, link.ID)
}

// PressInChat judges the press of a button below a message, and gives who has
// pressed it and what the button does. What it does is to be asked for in that
// actor's name: here nobody's rights to it are looked at. Each refusal is one
// sentence, and on record.
func (c *Control) PressInChat(ctx context.Context, p ChatPerson, place, message, secret string) (restart.Actor, store.ChatButton, error) {
	var none store.ChatButton
	actor, err := c.ChatActor(ctx, p)
	if err != nil {
		return restart.Actor{}, none, c.refused(ctx, c.stranger(p, audit.ChatPressRefused), err)
	}
	press := store.ChatPress{Hash: authn.Hash(secret), Chat: p.Chat, Place: place, Message: message, Person: p.ID}
	b, how, err := c.cfg.Store.PressChatButton(ctx, press)
	for tries := 20; err == nil && how == store.PressUnsent && tries > 0; tries-- {
		// The chat has not told us yet that it has the message: whoever presses may
		// be quicker.
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		b, how, err = c.cfg.Store.PressChatButton(ctx, press)
	}
	if err != nil {
		return restart.Actor{}, none, err
	}
	if how == store.PressGood {
		return actor, b, nil
	}
	rec := c.record(actor, audit.ChatPressRefused)
	rec.Run, rec.Detail = b.Run, clip(strings.TrimSpace(b.Act+" "+string(how)))
	return restart.Actor{}, none, c.refused(ctx, rec, badPress(how))
}

// badPress says why a press does nothing.
func badPress(how store.Pressed) error {
	switch how {
	case store.PressOther:
		return restart.Errorf(restart.CodeForbidden, "this button is somebody else's").WithHint("ask for your own: /restart SERVICE REASON")
	case store.PressAgain:
		return restart.Errorf(restart.CodeConflict, "this button has been pressed already: it is good for one press")
	case store.PressLate:
		return restart.Errorf(restart.CodeConflict, "this button is too old").WithHint("ask anew: what it showed may not be true any more")
	case store.PressMoved:
		return restart.Errorf(restart.CodeForbidden, "this button belongs to another message").WithHint("press the one below the message that I have sent")
	case store.PressUnsent:
		return restart.Errorf(restart.CodeConflict, "that was too quick: press once more")
	}
	return restart.Errorf(restart.CodeNotFound, "this button does nothing any more").WithHint("look at the message as it is now, or ask anew")
}

// MustDecideApproval refuses who may not approve or reject a run, before he is
// asked to confirm that he does.
func (c *Control) MustDecideApproval(ctx context.Context, actor restart.Actor, run restart.Run) error {
	err := c.mayDecideApproval(ctx, actor, run)
	if err == nil {
		return nil
	}
	return c.refused(ctx, about(c.record(actor, audit.RunApproved), run), err)
}

// MayActInChat tells which buttons a message about a run is to have for somebody:
// to stop it, and to have it go on.
func (c *Control) MayActInChat(ctx context.Context, actor restart.Actor, run restart.Run) (stop, goOn bool) {
	if run.State == restart.RunAwaitingApproval && ownRequest(actor, run) {
		return true, false
	}
	stop = c.mayControl(ctx, actor, run, authz.Control) == nil
	return stop, run.State == restart.RunPaused && c.mayAct(ctx, actor, run) == nil
}
