package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// laterForm is the second step of a plan that is for a time to come: it asks
// when, and for the service's name where a start would.
func (s *site) laterForm(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	if run.State != restart.RunDraft || run.Plan == nil || run.Actor != v.actor.Name {
		http.Redirect(w, v.Request, "/runs/"+run.ID, http.StatusSeeOther) // which says what is the matter
		return nil
	}
	var hosts []string
	if only := v.URL.Query().Get("only"); only != "" {
		if hosts, err = hostsAt(*run.Plan, only); err != nil {
			return err
		}
		hosts = unlessAll(hosts, *run.Plan)
	}
	return s.askWhen(w, v, http.StatusOK, run, hosts, filled{})
}

// chosenLater leads from a plan's page to the form, at an address of its own
// which has the hosts by their places.
func (s *site) chosenLater(w http.ResponseWriter, v *visit, run restart.Run, hosts []string) error {
	address := "/runs/" + run.ID + "/later"
	if hosts != nil {
		address = withQuery(address, url.Values{"only": {placesIn(*run.Plan, hosts)}})
	}
	if len(address) > longestURL {
		return s.askWhen(w, v, http.StatusOK, run, hosts, filled{})
	}
	http.Redirect(w, v.Request, address, http.StatusSeeOther)
	return nil
}

// tickedOf gives the hosts that a form of a plan's page has ticked; nil = as the
// plan has them. none: it has ticked none.
func tickedOf(run restart.Run, form url.Values) (hosts []string, none bool) {
	if !form.Has("ticked") {
		return nil, false
	}
	all := drawing{run: run, ticked: set(form["hosts"])}.chosen()
	return unlessAll(all, *run.Plan), len(all) == 0
}

// noneTicked shows the plan again.
func (s *site) noneTicked(w http.ResponseWriter, v *visit, run restart.Run, form url.Values) error {
	d := drawing{run: run, ticked: map[string]bool{}, sent: refuse(form, "plan", control.FieldHosts, say(v.lang, "plan.none"))}
	return s.drawPlan(w, v, http.StatusUnprocessableEntity, d)
}

// planLater keeps a plan for the time that was typed.
func (s *site) planLater(w http.ResponseWriter, v *visit) error {
	if err := readForm(w, v, maxPressed); err != nil {
		return err
	}
	run, err := s.run(v)
	if err != nil {
		return err
	}
	form := v.PostForm
	waits := run.State == restart.RunDraft && run.Plan != nil && run.Actor == v.actor.Name // else control says what is the matter
	var hosts []string
	if waits {
		ticked, none := tickedOf(run, form)
		if none {
			return s.noneTicked(w, v, run, form)
		}
		hosts = ticked
	}
	if waits && !form.Has("when") && !form.Has("at") { // from the plan's page
		return s.chosenLater(w, v, run, hosts)
	}
	if second := waits && s.cfg.Control.Deliberate(v.Context(), run); second && strings.TrimSpace(form.Get("typed")) != run.Service {
		return s.askWhen(w, v, http.StatusUnprocessableEntity, run, hosts, refuse(form, "later", "typed", say(v.lang, "later.failed")))
	}
	planned, err := s.cfg.Control.Later(v.Context(), v.actor, run.ID, whenTyped(form, hosts))
	switch {
	case restart.CodeOf(err) == restart.CodePlanChanged && waits:
		now, again := s.cfg.Control.Again(v.Context(), v.actor, run.ID, hosts)
		if again != nil {
			return s.planAgain(w, v, again)
		}
		http.Redirect(w, v.Request, "/runs/"+now.ID+"?instead="+run.ID, http.StatusSeeOther)
		return nil
	case answers(err) != nil && waits:
		return s.askWhen(w, v, http.StatusUnprocessableEntity, run, hosts, filled{Name: "later", Values: form, Wrongs: []wrong{wrongOf(v.lang, answers(err))}})
	case err != nil:
		return err
	}
	http.Redirect(w, v.Request, "/planned/"+planned.ID, http.StatusSeeOther)
	return nil
}

// whenTyped reads the form.
func whenTyped(form url.Values, hosts []string) wire.LaterRequest {
	req := wire.LaterRequest{Hosts: hosts}
	if form.Get("when") == "window" {
		req.Window = form.Get("window")
		return req
	}
	req.At, req.Zone = strings.TrimSpace(form.Get("at")), strings.TrimSpace(form.Get("zone"))
	return req
}

// askWhen shows the form.
func (s *site) askWhen(w http.ResponseWriter, v *visit, status int, run restart.Run, hosts []string, sent filled) error {
	if run.Parent != "" {
		return restart.Errorf(restart.CodeInvalid, "what another run has left undone can't be planned for later").WithHint("start it now, or ask for a new run")
	}
	page := laterPage{
		layout: s.layout(v, say(v.lang, "later.when")), ID: run.ID, Service: run.Service, Environment: run.Environment, Heading: heading(v.lang, run), Reason: restart.Escape(run.Reason),
		Ticked: hosts, Only: placesIn(*run.Plan, hosts), Hosts: len(run.Plan.Chosen()), Zone: s.cfg.Control.Zone(), Zones: zones(), Second: s.cfg.Control.Deliberate(v.Context(), run), Sent: sent,
	}
	if len(hosts) > 0 {
		page.Hosts = len(hosts)
	}
	windows, err := s.cfg.Control.Windows(v.Context(), v.actor, run.Service, run.Environment)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	for _, m := range windows {
		key := "later.window.next"
		if m.Open {
			key = "later.window.open"
		}
		page.Windows = append(page.Windows, openingChoice{Name: m.Name, Text: say(v.lang, key, m.Name, momentOf(m.Begins, now).Short, momentOf(m.Ends, now).Short), Open: m.Open, Begins: momentOf(m.Begins, now).Machine, Ends: momentOf(m.Ends, now).Machine, Chosen: sent.Has("window", m.Name, false)})
	}
	return s.show(w, v, status, pageLater, page)
}

// mayPlan tells whether a plan's page offers to do it later.
func mayPlan(page *planPage, run restart.Run) bool {
	return page.Mine && page.Denied == nil && page.NoTicket == nil && run.Parent == "" && run.State == restart.RunDraft
}

// calendar is the part of the profile that has it.
func (s *site) calendar(v *visit) (*calendarView, error) {
	c, err := s.cfg.Control.Calendar(v.Context(), v.actor)
	if restart.CodeOf(err) == restart.CodeNotFound {
		return &calendarView{}, nil
	}
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	return &calendarView{Created: new(momentOf(c.CreatedAt, now)), Used: maybeMoment(c.UsedAt, now)}, nil
}

func (s *site) makeCalendar(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	made, err := s.cfg.Control.MakeCalendar(v.Context(), v.actor)
	if err != nil {
		return s.profileRefused(w, v, "calendar", err)
	}
	page, err := s.profilePage(v)
	if err != nil {
		return err
	}
	page.Calendar.URL = made.URL
	return s.show(w, v, http.StatusOK, pageProfile, page)
}

func (s *site) endCalendar(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.EndCalendar(v.Context(), v.actor); err != nil && restart.CodeOf(err) != restart.CodeNotFound { // it is what was wanted
		return err
	}
	http.Redirect(w, v.Request, "/profile", http.StatusSeeOther)
	return nil
}
