package web

import (
	"net/http"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

type (
	locksPage struct {
		adminPage
		Locks []lockLine
	}
	lockLine struct {
		Service, Where, Run, Actor, State string
		Tone                              tone
		Since                             moment
		Why                               string // it can't be released now; "" = it can
		Form                              filled
	}
	deliveryPage struct {
		adminPage
		Source, Failure, Require string
		Deadline                 time.Duration // 0 = nothing is waited for
		Spool                    string        // what waits for the remote log; "" = nothing is shipped
		NoRemote                 bool
		Sinks                    []sinkLine
		Unplaced, Messages       int
		Last                     *recordLine
	}
	sinkLine struct {
		Place, Level, Error string
		Tone                tone
		Settled, Backlog    int64
		Oldest              time.Duration
		Since, Shipped      *moment
	}
	recordLine struct {
		Action, Actor string
		At            moment
	}
	configurationPage struct {
		adminPage
		Name, Version, Database, Text string
		Started                       moment
		Up                            time.Duration
	}
)

func (s *site) adminLocks(w http.ResponseWriter, v *visit) error {
	page, err := s.locksPage(v)
	if err != nil {
		return err
	}
	return s.show(w, v, http.StatusOK, pageAdminLocks, page)
}

func (s *site) locksPage(v *visit) (locksPage, error) {
	list, err := s.cfg.Control.HeldLocks(v.Context(), v.actor)
	if err != nil {
		return locksPage{}, err
	}
	page := locksPage{adminPage: s.adminLayout(v, say(v.lang, "adminlocks.title"))}
	for _, l := range list {
		line := lockLine{
			Service: l.Service, Where: l.Environment, Run: l.Run, Actor: l.Actor, State: say(v.lang, "runstate."+string(l.State)), Tone: toneOfRun(l.State), Since: momentOf(l.Since, s.cfg.Now()),
		}
		if l.Group != "" {
			line.Where += " · " + l.Group
		}
		if e, ok := asProblem(l.Why); ok {
			line.Why = said.In(v.lang, e.Message)
		}
		page.Locks = append(page.Locks, line)
	}
	return page, nil
}

func (s *site) releaseLock(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	id := v.PostForm.Get("run")
	locks, err := s.cfg.Control.ReleaseLock(v.Context(), v.actor, id, v.PostForm.Get("reason"))
	if err == nil {
		return done(w, v, "/admin/locks", howReleased(locks))
	}
	again, err := refill(v, "release", err)
	if err != nil {
		return err
	}
	page, err := s.locksPage(v)
	if err != nil {
		return err
	}
	page.Form = again
	for i := range page.Locks {
		if page.Locks[i].Run == id {
			page.Locks[i].Form, page.Form = again, filled{}
		}
	}
	return s.show(w, v, http.StatusUnprocessableEntity, pageAdminLocks, page)
}

// howReleased gives the word for what became of a run's locks.
func howReleased(locks []wire.Lock) string {
	for _, l := range locks {
		if slices.ContainsFunc(l.Outside, func(o wire.OutsideLock) bool { return o.State == wire.OutsideLeft }) {
			return "lockleft"
		}
	}
	return "lock"
}

func (s *site) adminDelivery(w http.ResponseWriter, v *visit) error {
	d, err := s.cfg.Control.Delivery(v.Context(), v.actor)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	page := deliveryPage{
		adminPage: s.adminLayout(v, say(v.lang, "admindelivery.title")), Source: d.Trail.Source, Failure: said.In(v.lang, d.Trail.Error), Require: restart.Escape(d.Server.Require),
		NoRemote: d.Server.NoRemoteLog, Unplaced: int(d.Unplaced), Messages: int(d.Messages),
	}
	if d.Log.Level != audit.LevelSpool {
		page.Deadline = d.Log.Deadline
	}
	if d.Log.Limit > 0 {
		page.Spool = say(v.lang, "admindelivery.of", size(d.Log.Used), size(d.Log.Limit), d.Log.Percent())
	}
	for i, x := range d.Trail.Sinks {
		line := sinkLine{
			Place: restart.Escape(x.Name), Level: say(v.lang, "auditlevel."+string(x.Level)), Error: said.In(v.lang, x.Error), Tone: toneDone, Settled: x.Settled, Backlog: x.Backlog,
			Oldest: x.Oldest.Round(time.Second), Since: lined(x.Since, now), Shipped: lined(x.Shipped, now),
		}
		if i < len(d.Server.Sinks) {
			line.Place = restart.Escape(d.Server.Sinks[i])
		}
		if x.Error != "" {
			line.Tone = toneFail
		}
		page.Sinks = append(page.Sinks, line)
	}
	if d.Last != nil {
		page.Last = recordOf(*d.Last, now)
	}
	return s.show(w, v, http.StatusOK, pageAdminDelivery, page)
}

func recordOf(r audit.Record, now time.Time) *recordLine {
	return &recordLine{Action: restart.Escape(string(r.Action)), Actor: restart.Escape(r.Actor), At: momentOf(r.Time, now)}
}

func (s *site) adminConfiguration(w http.ResponseWriter, v *visit) error {
	facts, text, err := s.cfg.Control.Configuration(v.actor)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	return s.show(w, v, http.StatusOK, pageAdminConfig, configurationPage{
		adminPage: s.adminLayout(v, say(v.lang, "adminconfig.title")), Name: restart.Escape(facts.Name), Version: restart.Escape(facts.Version), Database: restart.Escape(facts.Database),
		Text: scriptText(text), Started: momentOf(facts.Started, now), Up: max(now.Sub(facts.Started), 0).Round(time.Second),
	})
}
