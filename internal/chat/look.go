package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

const helpText = `/restart SERVICE [ENVIRONMENT] REASON
/dump SERVICE [ENVIRONMENT] REASON
/runs [SERVICE]
/status RUN
/approvals
/approve RUN WHAT YOU HAVE LOOKED AT
/reject RUN WHAT STANDS IN THE WAY
/whoami
/link CODE (a code from your profile page; in a private chat)
/unlink

A restart or a dump shows its plan first, and starts when you press its button.
The reason is 10 characters at least.`

func (*Bot) help(context.Context, *visit) (string, error) { return helpText, nil }

// link says whose this account is.
func (b *Bot) link(ctx context.Context, v *visit) (string, error) {
	code, _ := cut(v.cmd.rest)
	if !v.Private {
		if code != "" { // others have read it
			if err := b.cfg.Control.VoidChatCode(ctx, v.person(), code); err != nil {
				return "", err
			}
		}
		return "", restart.Errorf(restart.CodeForbidden, "accounts are linked in a private chat with me, and this code is over now").
			WithHint("make another on your profile page, %s/profile", b.cfg.URL)
	}
	if code == "" {
		return "", restart.Errorf(restart.CodeInvalid, "the code is missing").WithHint("your profile page makes one, %s/profile: /link CODE", b.cfg.URL)
	}
	owner, err := b.cfg.Control.LinkChat(ctx, v.person(), code)
	if err != nil {
		return "", err
	}
	return "You are " + owner + " here from now on. /help says what I do; /unlink ends it.", nil
}

func (b *Bot) unlink(ctx context.Context, v *visit) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	if err := b.cfg.Control.UnlinkOwnChat(ctx, actor, v.person()); err != nil {
		return "", err
	}
	return "This account is nobody's any more.", nil
}

func (b *Bot) whoami(ctx context.Context, v *visit) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	if actor, err = b.cfg.Control.Whoami(ctx, actor); err != nil {
		return "", err
	}
	text := "You are " + actor.Name
	if len(actor.Roles) > 0 {
		text += ", " + joined(actor.Roles)
	}
	if len(actor.Teams) > 0 {
		text += "; teams: " + escape(strings.Join(actor.Teams, ", "))
	}
	if len(actor.Former) > 0 {
		text += "; teams that count again when you sign in on the page: " + escape(strings.Join(actor.Former, ", "))
	}
	return bounded(text + "."), nil
}

func joined(roles []restart.Role) string {
	var out []string
	for _, r := range roles {
		out = append(out, string(r))
	}
	return strings.Join(out, ", ")
}

// runs lists the newest.
func (b *Bot) runs(ctx context.Context, v *visit) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	service, _ := cut(v.cmd.rest)
	const shown = 8
	list, _, err := b.cfg.Control.Runs(ctx, actor, store.RunFilter{Service: service, Limit: shown})
	if err != nil {
		return "", err
	}
	list = slices.DeleteFunc(list, func(r restart.Run) bool { return r.State == restart.RunDraft })
	if len(list) == 0 {
		return "There are no runs" + of(service) + ".", nil
	}
	lines := []string{}
	for _, r := range list {
		lines = append(lines, fmt.Sprintf("%s %s%s: %s, %s\n  %s: %s", workOf(r), escape(r.Service), in(r.Environment), stateOf(r), r.CreatedAt.UTC().Format("2006-01-02 15:04 UTC"), escape(r.Actor), escape(r.Reason)),
			"  /status "+r.ID)
	}
	return bounded(strings.Join(lines, "\n")), nil
}

func of(service string) string {
	if service == "" {
		return ""
	}
	return " of " + restart.Quote(service)
}

// status shows a run in a message that follows it.
func (b *Bot) status(ctx context.Context, v *visit) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	id, _ := cut(v.cmd.rest)
	if id == "" {
		return "", restart.Errorf(restart.CodeInvalid, "say which run").WithHint("/status RUN; /runs lists them")
	}
	run, err := b.cfg.Control.Run(ctx, actor, strings.ToLower(id))
	if err != nil {
		return "", err
	}
	if run.State == restart.RunDraft {
		return "", restart.Errorf(restart.CodeConflict, "run %s is a plan that nobody has started", run.ID).WithHint("%s", b.runPage(run).URL)
	}
	return "", b.show(ctx, v, run)
}

// approvals lists what waits for somebody.
func (b *Bot) approvals(ctx context.Context, v *visit) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	list, err := b.cfg.Control.Approvals(ctx, actor)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "Nothing waits for an approval.", nil
	}
	var lines []string
	for _, a := range list {
		line := fmt.Sprintf("%s%s, %d hosts, until %s\n  %s: %s", escape(a.Service), in(a.Environment), a.Hosts, a.Until.UTC().Format("15:04 UTC"), escape(a.Actor), escape(a.Reason))
		if a.MayDecide {
			line += "\n  /approve " + a.Run + " WHAT YOU HAVE LOOKED AT"
		} else {
			line += "\n  may approve: " + escape(a.Who)
		}
		lines = append(lines, line)
	}
	return bounded(strings.Join(lines, "\n")), nil
}

func (b *Bot) approve(ctx context.Context, v *visit) (string, error) {
	return b.decide(ctx, v, choice{actApprove, "Approve", ToneGo})
}

func (b *Bot) reject(ctx context.Context, v *visit) (string, error) {
	return b.decide(ctx, v, choice{actReject, "Reject", ToneStop})
}

// decide shows the plan that waits for an approval to somebody who may decide
// about it and has said why, with a button.
func (b *Bot) decide(ctx context.Context, v *visit, do choice) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	id, note := cut(v.cmd.rest)
	if id == "" {
		return "", restart.Errorf(restart.CodeInvalid, "say which run, and a sentence").WithHint("/%s RUN SENTENCE; /approvals lists what waits", v.cmd.verb)
	}
	run, err := b.cfg.Control.Run(ctx, actor, strings.ToLower(id))
	if err != nil {
		return "", err
	}
	if run.State != restart.RunAwaitingApproval || run.Plan == nil {
		return "", restart.Errorf(restart.CodeConflict, "run %s is %s: it waits for no approval", run.ID, run.State)
	}
	if do.act == actApprove && b.onPage(run) {
		_, err := v.chat.Post(ctx, v.Place, Message{Text: planText(run, onPageOnly(run)), Link: Link{"Approve it on the page", b.runPage(run).URL}})
		return "", err
	}
	if err := b.cfg.Control.MustDecideApproval(ctx, actor, run); err != nil {
		return "", err
	}
	if note, err = restart.CheckReason(note); err != nil {
		return "", err
	}
	until := b.cfg.Now().Add(confirmLife)
	m := Message{Text: planText(run, "Asked for by "+escape(run.Actor)+". You say: "+note+"\nGood for two minutes, for "+actor.Name+" alone."), Link: b.runPage(run)}
	return "", b.offer(ctx, v, m, run, note, until, do)
}
