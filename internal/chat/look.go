package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/store"
)

func (*Bot) help(_ context.Context, v *visit) (string, error) { return v.say("help"), nil }

// link says whose this account is. It is asked for in private alone: see answer.
func (b *Bot) link(ctx context.Context, v *visit) (string, error) {
	code, _ := cut(v.cmd.rest)
	if code == "" {
		return "", restart.Errorf(restart.CodeInvalid, "the code is missing").WithHint("your profile page makes one, %s/profile: /link CODE", b.cfg.URL)
	}
	owner, err := b.cfg.Control.LinkChat(ctx, v.person(), code)
	if err != nil {
		return "", err
	}
	return v.say("linked", escape(owner)), nil
}

func (b *Bot) unlink(ctx context.Context, v *visit) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	if err := b.cfg.Control.UnlinkOwnChat(ctx, actor, v.person()); err != nil {
		return "", err
	}
	return v.say("unlinked"), nil
}

func (b *Bot) whoami(ctx context.Context, v *visit) (string, error) {
	actor, err := b.who(ctx, v)
	if err != nil {
		return "", err
	}
	if actor, err = b.cfg.Control.Whoami(ctx, actor); err != nil {
		return "", err
	}
	text := v.say("whoami", escape(actor.Name))
	if len(actor.Roles) > 0 {
		text += ", " + joined(actor.Roles)
	}
	if len(actor.Teams) > 0 {
		text += "; " + v.say("whoami.teams", escape(strings.Join(actor.Teams, ", ")))
	}
	if len(actor.Former) > 0 {
		text += "; " + v.say("whoami.former", escape(strings.Join(actor.Former, ", ")))
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
	l := v.chat.language
	switch {
	case len(list) > 0:
	case service == "":
		return v.say("runs.none"), nil
	default:
		return v.say("runs.none.of", line(l.Quote(service))), nil
	}
	lines := []string{}
	for _, r := range list {
		lines = append(lines, fmt.Sprintf("%s: %s, %s\n  %s: %s", titleOf(l, r), stateOf(l, r), r.CreatedAt.UTC().Format("2006-01-02 15:04 UTC"), escape(r.Actor), escape(r.Reason)),
			"  /status "+r.ID)
	}
	return bounded(strings.Join(lines, "\n")), nil
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
		return "", restart.Errorf(restart.CodeConflict, "run %s is a plan that nobody has started", run.ID).WithHint("%s", b.runURL(run))
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
		return v.say("approvals.none"), nil
	}
	l, lines := v.chat.language, []string{}
	for _, a := range list {
		lines = append(lines,
			in(l, escape(a.Service), a.Environment)+", "+count(l, a.Hosts, "approvals.one", a.Hosts)+", "+v.say("approvals.till", a.Until.UTC().Format("15:04 UTC")),
			"  "+escape(a.Actor)+": "+escape(a.Reason))
		if a.PlannedFor != nil {
			lines = append(lines, "  "+v.say("approvals.planned", a.PlannedFor.UTC().Format("2006-01-02 15:04 UTC"), b.cfg.URL+a.Path()))
		}
		switch {
		case a.MayDecide && a.Schedule != "":
			lines = append(lines, "  "+v.say("approvals.later", a.Schedule))
		case a.MayDecide:
			lines = append(lines, "  "+v.say("approvals.do", a.Run))
		default:
			lines = append(lines, "  "+v.say("approvals.who", said.In(l, a.Who)))
		}
	}
	return bounded(strings.Join(lines, "\n")), nil
}

func (b *Bot) approve(ctx context.Context, v *visit) (string, error) {
	return b.decide(ctx, v, choice{actApprove, ToneGo})
}

func (b *Bot) reject(ctx context.Context, v *visit) (string, error) {
	return b.decide(ctx, v, choice{actReject, ToneStop})
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
		_, err := v.chat.Post(ctx, v.Place, Message{Text: planText(v.chat.language, run, onPageOnly(v, run)), Link: Link{v.say("link.approve"), b.runURL(run)}})
		return "", err
	}
	if err := b.cfg.Control.MustDecideApproval(ctx, actor, run); err != nil {
		return "", err
	}
	if note, err = restart.CheckReason(note); err != nil {
		return "", err
	}
	until := b.cfg.Now().Add(confirmLife)
	tail := v.say("plan.opinion", escape(run.Actor), escape(note)) + "\n" + v.say("plan.life", escape(actor.Name))
	m := Message{Text: planText(v.chat.language, run, tail), Link: b.runPage(v.chat, run)}
	return "", b.offer(ctx, v, m, run, note, until, do)
}
