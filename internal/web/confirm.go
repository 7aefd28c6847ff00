package web

import (
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// namesShown bounds the hosts that the second step names.
const namesShown = 20

// startRun starts a draft over the hosts that are ticked. Where it changes a
// service in production a second step wants the service's name; a plan that is
// not true any more is made anew and shown with the difference.
func (s *site) startRun(w http.ResponseWriter, v *visit) error {
	if err := readForm(w, v, maxPressed); err != nil {
		return err
	}
	run, err := s.run(v)
	if err != nil {
		return err
	}
	form := v.PostForm
	req, err := startOf(form)
	if err != nil {
		return err
	}
	waits := run.State == restart.RunDraft && run.Plan != nil && run.Actor == v.actor.Name // else control says what is the matter
	if waits && form.Has("ticked") {
		d := drawing{run: run, ticked: set(form["hosts"])}
		hosts := d.chosen()
		if len(hosts) == 0 {
			d.sent = refuse(form, "plan", control.FieldHosts, say(v.lang, "plan.none"))
			return s.drawPlan(w, v, http.StatusUnprocessableEntity, d)
		}
		req.Hosts = unlessAll(hosts, *run.Plan)
	}
	if waits && s.cfg.Control.Deliberate(v.Context(), run) && s.cfg.Control.MayStart(v.Context(), v.actor, run) == nil {
		frozen, err := s.cfg.Control.FreezeOn(v.Context(), v.actor, run)
		if err != nil {
			return err
		}
		if typed := strings.TrimSpace(form.Get("typed")); frozen == nil && typed != run.Service {
			return s.confirm(w, v, run, req)
		}
	}
	started, err := s.cfg.Control.Start(v.Context(), v.actor, run.ID, req)
	if restart.CodeOf(err) == restart.CodePlanChanged && waits {
		now, again := s.cfg.Control.Again(v.Context(), v.actor, run.ID, req.Hosts)
		if again != nil {
			return again
		}
		http.Redirect(w, v.Request, "/runs/"+now.ID+"?instead="+run.ID, http.StatusSeeOther)
		return nil
	}
	if err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/runs/"+started.ID, http.StatusSeeOther)
	return nil
}

// startOf reads the version of the plan that was looked at.
func startOf(form url.Values) (wire.StartRequest, error) {
	var req wire.StartRequest
	text := form.Get("version")
	if text == "" {
		return req, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return req, restart.Errorf(restart.CodeInvalid, "%s is no version of a run", restart.Quote(text))
	}
	req.Version = n
	return req, nil
}

// unlessAll gives the hosts, or none where they are those that the plan chooses.
func unlessAll(hosts []string, plan restart.Plan) []string {
	var chosen []string
	for _, h := range plan.Chosen() {
		chosen = append(chosen, h.Name)
	}
	if maps.Equal(set(hosts), set(chosen)) {
		return nil
	}
	return hosts
}

// confirm shows the second step: what will happen, once more and in numbers.
func (s *site) confirm(w http.ResponseWriter, v *visit, run restart.Run, req wire.StartRequest) error {
	plan, err := s.cfg.Control.WouldStart(v.Context(), v.actor, run, req)
	switch {
	case restart.CodeOf(err) == restart.CodePlanChanged:
		plan = *run.Plan // the start itself makes it anew
	case err != nil:
		return err
	}
	chosen := plan.Chosen()
	page := confirmPage{
		layout: s.layout(v, say(v.lang, "confirm.title")), ID: run.ID, Service: run.Service, Environment: run.Environment, Heading: heading(v.lang, run),
		Reason: restart.Escape(run.Reason), Ticked: req.Hosts, More: max(len(chosen)-namesShown, 0), LeftOut: len(plan.Asked()) - len(chosen),
		Version: run.Version, Warnings: said.All(v.lang, warningsOf(&plan)),
	}
	for _, h := range chosen[:min(len(chosen), namesShown)] {
		page.Hosts = append(page.Hosts, h.Name)
	}
	if page.Numbers, err = s.numbers(v, run, plan); err != nil {
		return err
	}
	page.Button, _ = buttonOf(v.lang, run, len(chosen))
	status := http.StatusOK
	if v.PostForm.Has("typed") { // something else than the name
		page.Sent, status = refuse(v.PostForm, "confirm", "typed", say(v.lang, "confirm.failed")), http.StatusUnprocessableEntity
	}
	return s.show(w, v, status, pageConfirm, page)
}

// placeNotes says of a place what stands in the way there, with what to do.
func placeNotes(l language, p control.Place, now moments) []noteLine {
	var out []noteLine
	if e := personalOf(p.Refused); e != nil {
		out = append(out, noteLine{Tone: toneFail, Text: said.In(l, e.Message), Hint: hintWords(l, e.Hint)})
	}
	if p.Frozen != nil {
		out = append(out, noteLine{Tone: toneHold, Text: say(l, "start.frozen", now(p.Frozen.Ends).Short, restart.Escape(p.Frozen.Reason))})
	}
	if p.Held != nil {
		out = append(out, noteLine{Tone: toneNow, Text: say(l, "start.held", restart.Escape(p.Held.Actor), now(p.Held.Since).Short)})
	}
	return out
}
