package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// overShown is how many planned runs that are over are listed.
const overShown = 30

func (s *site) listPlanned(w http.ResponseWriter, v *visit) error {
	page := plannedPage{layout: s.layout(v, say(v.lang, "later.title")), Poll: "/planned"}
	for _, over := range []bool{false, true} {
		list, err := s.cfg.Control.Planned(v.Context(), v.actor, over)
		if err != nil {
			return err
		}
		page.Most = page.Most || !over && len(list) == wire.MaxPage
		for _, p := range list {
			entry := plannedEntryOf(v.lang, p, s.cfg.Now())
			if !over {
				page.Open = append(page.Open, entry)
			} else if len(page.Over) < overShown {
				page.Over = append(page.Over, entry)
			}
		}
	}
	page.Scripts = true
	return s.show(w, v, http.StatusOK, pagePlanned, page)
}

// plannedTones has the tone of each state.
var plannedTones = map[restart.ScheduleState]tone{
	restart.ScheduleAwaiting: toneHold, restart.ScheduleWaiting: toneWait, restart.ScheduleStarted: toneDone, restart.ScheduleMissed: toneFail,
	restart.ScheduleRefused: toneFail, restart.ScheduleRejected: toneSkip, restart.ScheduleCancelled: toneSkip,
}

func plannedEntryOf(l language, p wire.Planned, now time.Time) plannedEntry {
	e := plannedEntry{
		ID: p.ID, Service: p.Service, Environment: p.Environment, By: p.Actor, Reason: restart.Escape(p.Request.Reason), Window: p.Window,
		Tone: plannedTones[p.State], State: say(l, "laterstate."+string(p.State)), Why: said.In(l, p.Why), Hosts: p.Hosts, At: momentOf(p.At, now),
	}
	if p.State == restart.ScheduleStarted {
		e.Run = p.Run
	}
	return e
}

func (s *site) showPlanned(w http.ResponseWriter, v *visit) error {
	return s.drawPlanned(w, v, http.StatusOK, filled{})
}

// drawPlanned shows one planned run, with the form that was refused.
func (s *site) drawPlanned(w http.ResponseWriter, v *visit, status int, sent filled) error {
	id := v.PathValue("id")
	if restart.CheckID(id) != nil {
		return restart.Errorf(restart.CodeNotFound, "there is no such page")
	}
	p, err := s.cfg.Control.PlannedOne(v.Context(), v.actor, id)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	run := control.PlannedRun(p.Schedule)
	page := plannedOnePage{
		layout: s.layout(v, say(v.lang, "later.one", p.Service)), plannedEntry: plannedEntryOf(v.lang, p, now), Heading: strings.TrimSuffix(heading(v.lang, run), "?"), Only: onlyOf(v.lang, run), Zone: p.Zone,
		Created: momentOf(p.CreatedAt, now), Until: momentOf(p.Until, now), EndedAt: maybeMoment(p.EndedAt, now), EndedBy: p.EndedBy, Who: said.In(v.lang, p.Who),
		Approval: approvalOf(v.lang, run, now), MayCancel: p.MayCancel, MayDecide: p.MayDecide, Sent: sent, Facts: newBoard(v.lang, run).facts(run, now),
	}
	page.Facts.ID, page.Facts.Warnings = "", nil // there is no such run yet, and its warnings stand above
	if zone, err := time.LoadLocation(p.Zone); err == nil {
		page.Local = p.At.In(zone).Format("2006-01-02 15:04")
	}
	for _, w := range p.Plan.Warnings {
		page.Warnings = append(page.Warnings, saidWhole(v.lang, w, now, p.Service))
	}
	page.Lines, page.More = approvedHosts(v.lang, p.Plan)
	if page.Steps, err = s.plannedSteps(v, p.Schedule); err != nil {
		return err
	}
	return s.show(w, v, status, pagePlannedOne, page)
}

func (s *site) cancelPlanned(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if _, err := s.cfg.Control.CancelLater(v.Context(), v.actor, v.PathValue("id")); err != nil {
		return s.plannedAgain(w, v, err)
	}
	http.Redirect(w, v.Request, "/planned/"+v.PathValue("id"), http.StatusSeeOther)
	return nil
}

// plannedAgain shows what is planned as it is now, with why a form of its page
// was refused: somebody else may have decided meanwhile.
func (s *site) plannedAgain(w http.ResponseWriter, v *visit, refused error) error {
	e := answers(refused)
	if e == nil {
		return refused
	}
	status := protocol.StatusOf(e.Code)
	if restart.FieldOf(e) != "" {
		status = http.StatusUnprocessableEntity
	}
	return s.drawPlanned(w, v, status, filled{Name: formPressed(v), Values: v.PostForm, Wrongs: []wrong{wrongOf(v.lang, e)}})
}

// decidePlanned is the form of an approval, or of a rejection.
func (s *site) decidePlanned(decide func(ctx context.Context, actor restart.Actor, id string, req wire.DecideLaterRequest) (restart.Schedule, error)) func(http.ResponseWriter, *visit) error {
	return func(w http.ResponseWriter, v *visit) error {
		if err := s.form(w, v); err != nil {
			return err
		}
		_, err := decide(v.Context(), v.actor, v.PathValue("id"), wire.DecideLaterRequest{Reason: v.PostForm.Get("reason")})
		if err != nil {
			return s.plannedAgain(w, v, err)
		}
		http.Redirect(w, v.Request, "/planned/"+v.PathValue("id"), http.StatusSeeOther)
		return nil
	}
}
