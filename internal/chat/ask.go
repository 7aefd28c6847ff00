package chat

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/store"
)

// confirmLife is how long a plan may be looked at here before its button is over.
const confirmLife = 2 * time.Minute

// What a button does.
const (
	actStart   = "start"
	actLeave   = "leave" // not to start
	actPause   = "pause"
	actResume  = "resume"
	actAbort   = "abort"
	actApprove = "approve"
	actReject  = "reject"
)

func (b *Bot) restart(ctx context.Context, v *visit) (string, error) {
	return b.ask(ctx, v, restart.KindRestart)
}

func (b *Bot) dump(ctx context.Context, v *visit) (string, error) {
	return b.ask(ctx, v, restart.KindThreadDump)
}

// ask plans what was asked for, and shows the plan with a button.
func (b *Bot) ask(ctx context.Context, v *visit, kind restart.Kind) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	req, err := b.request(ctx, v, kind)
	if err != nil {
		return "", err
	}
	run, err := b.cfg.Control.Draft(ctx, actor, req, "")
	if err != nil {
		return "", err
	}
	if run, err = b.cfg.Control.Run(ctx, actor, run.ID); err != nil { // with its version
		return "", err
	}
	if b.onPage(run) {
		_, err = v.chat.Post(ctx, v.Place, Message{Text: planText(v.chat.language, run, onPageOnly(v, run)), Link: Link{v.say("link.start"), b.startPage(run)}})
		return "", err
	}
	until := b.cfg.Now().Add(confirmLife)
	return "", b.offer(ctx, v, Message{Text: planText(v.chat.language, run, v.say("plan.life", escape(actor.Name))), Link: b.runPage(v.chat, run)}, run, "", until,
		choice{actStart, ToneGo}, choice{actLeave, TonePlain})
}

// request reads SERVICE [ENV] REASON. Whether the second word is an environment,
// or a group, the inventory says.
func (b *Bot) request(ctx context.Context, v *visit, kind restart.Kind) (restart.Request, error) {
	service, rest := cut(v.cmd.rest)
	if service == "" {
		return restart.Request{}, restart.Errorf(restart.CodeInvalid, "say which service, and why").WithHint("/%s SERVICE [ENVIRONMENT] REASON", v.cmd.verb)
	}
	req := restart.Request{Service: service, Kind: kind, Reason: rest}
	choice, err := b.cfg.Control.Choice(ctx, v.actor, service)
	if err != nil {
		return req, nil //nolint:nilerr // planning says the same, and records it
	}
	second, behind := cut(rest)
	for _, p := range choice.Places {
		switch second {
		case "":
			return req, nil
		case p.Environment:
			req.Environment, req.Reason = second, behind
			return req, nil
		case p.Group:
			req.Group, req.Reason = second, behind
			return req, nil
		}
	}
	return req, nil
}

// onPage tells whether a run may be let go on the page alone: it changes a
// service in an environment that the configuration names.
func (b *Bot) onPage(run restart.Run) bool {
	return run.Kind != restart.KindThreadDump && slices.ContainsFunc(b.cfg.Chats.pageOnly, func(e string) bool { return strings.EqualFold(e, run.Environment) })
}

func onPageOnly(v *visit, run restart.Run) string { return v.say("plan.page", escape(run.Environment)) }

// startPage is the form on the page, filled in.
func (b *Bot) startPage(run restart.Run) string {
	q := url.Values{"service": {run.Service}, "env": {run.Environment}, "scenario": {run.Scenario}, "reason": {run.Reason}}
	if run.Plan != nil && run.Plan.Request.Group != "" {
		q.Set("group", run.Plan.Request.Group)
	}
	return b.cfg.URL + "/start?" + q.Encode()
}

func (b *Bot) runURL(run restart.Run) string { return b.cfg.URL + "/runs/" + run.ID }

func (b *Bot) runPage(chat opened, run restart.Run) Link {
	return Link{say(chat.language, "link.run", run.ID), b.runURL(run)}
}

// choice is a button that a message is to have.
type choice struct {
	act  string
	tone Tone
}

// button makes one with a new secret, of which hash is kept.
func (c choice) button(l said.Language) (b Button, hash string) {
	secret, hash := authn.NewSecret()
	return Button{Label: say(l, "button."+c.act), Secret: secret, Tone: c.tone}, hash
}

// offer sends a message with buttons that are good for one press each, by the one
// who has asked.
func (b *Bot) offer(ctx context.Context, v *visit, m Message, run restart.Run, note string, until time.Time, choices ...choice) error {
	var kept []store.ChatButton
	var hashes []string
	for _, c := range choices {
		button, hash := c.button(v.chat.language)
		m.Buttons = append(m.Buttons, button)
		kept = append(kept, store.ChatButton{Hash: hash, Person: v.Person, Act: c.act, Run: run.ID, Seen: run.Version, Note: note, Once: true, ExpiresAt: until})
		hashes = append(hashes, hash)
	}
	// They are stored before anybody can press them, and good only below the
	// message that they are sent with.
	if err := b.cfg.Desk.PutChatButtons(ctx, v.chat.Name(), v.Place, "", kept); err != nil {
		return err
	}
	id, err := v.chat.Post(ctx, v.Place, m)
	if err != nil {
		return err
	}
	return b.cfg.Desk.BindChatButtons(ctx, id, hashes)
}
