package web

import (
	"context"
	"net/http"
	"path"
	"strconv"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// maxPressed bounds what a form may send, in bytes: a reason, and the names of
// 10,000 hosts.
const maxPressed = 1 << 20

// pressed is a form of a run's page, read.
type pressed struct {
	run, key, reason, host string
	verdict                restart.Verdict
	hosts                  []string
	seen                   int64
}

// press makes the handler of a form on a run's page. What was asked for gives
// the run whose page is shown next.
func (s *site) press(ask func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error)) func(http.ResponseWriter, *visit) error {
	return func(w http.ResponseWriter, v *visit) error {
		if err := readForm(w, v, maxPressed); err != nil {
			return err
		}
		if restart.CheckID(v.PathValue("id")) != nil {
			_, err := s.run(v) // says that there is none
			return err
		}
		form := v.PostForm
		p := pressed{
			run: v.PathValue("id"), key: form.Get("key"), reason: form.Get("reason"), host: form.Get("host"),
			verdict: restart.Verdict(form.Get("verdict")), hosts: form["hosts"],
		}
		if text := form.Get("version"); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < 0 {
				return restart.Errorf(restart.CodeInvalid, "%s is no version of a run", restart.Quote(text))
			}
			p.seen = n
		}
		run, err := ask(v.Context(), v.actor, p)
		if err != nil {
			return s.pressAgain(w, v, err)
		}
		http.Redirect(w, v.Request, "/runs/"+run.ID, http.StatusSeeOther)
		return nil
	}
}

// pressAgain shows the run with the form that was refused. What is no answer to
// a form that the page has is given back.
func (s *site) pressAgain(w http.ResponseWriter, v *visit, refused error) error {
	if answers(refused) == nil {
		return refused
	}
	run, err := s.run(v)
	if err != nil || run.State == restart.RunDraft {
		return refused
	}
	return s.drawRun(w, v, run, refused)
}

// formPressed names the form of a run's page that was sent.
func formPressed(v *visit) string {
	name := path.Base(v.URL.Path)
	if name == "decide" {
		name += "-" + v.PostForm.Get("host")
	}
	return name
}

// presses are the routes of the forms. A pause or an abort is wanted whatever
// has happened meanwhile; what starts or kills something is meant for what is
// shown.
func (s *site) presses() []route {
	c := s.cfg.Control
	form := func(name string, ask func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error)) route {
		return route{pattern: "POST /runs/{id}/" + name, policy: signedIn, handle: s.press(ask)}
	}
	return []route{
		form("approve", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.Approve(ctx, actor, p.run, wire.ApprovalRequest{Reason: p.reason, Seen: wire.Seen{Version: p.seen}})
		}),
		form("reject", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.Reject(ctx, actor, p.run, wire.ApprovalRequest{Reason: p.reason, Seen: wire.Seen{Version: p.seen}})
		}),
		form("pause", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.Pause(ctx, actor, p.run, 0)
		}),
		form("abort", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.Abort(ctx, actor, p.run, 0)
		}),
		form("resume", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.Resume(ctx, actor, p.run, p.seen)
		}),
		form("force-abort", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.ForceAbort(ctx, actor, p.run, p.seen)
		}),
		form("decide", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.Decide(ctx, actor, p.run, wire.DecideRequest{Host: p.host, Verdict: p.verdict, Reason: p.reason, Seen: wire.Seen{Version: p.seen}})
		}),
		form("retry", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.Retry(ctx, actor, p.run, wire.RetryRequest{Reason: p.reason, Seen: wire.Seen{Version: p.seen}}, p.key)
		}),
		form("undrain", func(ctx context.Context, actor restart.Actor, p pressed) (restart.Run, error) {
			return c.Undrain(ctx, actor, p.run, wire.UndrainRequest{Hosts: p.hosts, RetryRequest: wire.RetryRequest{Reason: p.reason, Seen: wire.Seen{Version: p.seen}}}, p.key)
		}),
	}
}
