package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// frozenNotice says that a run is frozen now.
type frozenNotice struct {
	What, Reason string
	Until        moment
	Still        bool // it has paused the run already, or another freeze has
}

// freezeLine is one freeze of the list.
type freezeLine struct {
	ID, Where, Rule, Reason, By string
	Applies                     bool
	Begins, Ends                moment
}

// glassLine is one run that broke the glass.
type glassLine struct {
	ID, Service, Environment, By, Reason, Waived, Outcome string
	At                                                    moment
	MayReview                                             bool
}

// frozen gives the freeze that stands in a run's way now, where that matters:
// before it has ended.
func (s *site) frozen(v *visit, run restart.Run, now time.Time) (*frozenNotice, error) {
	if run.State.Final() {
		return nil, nil
	}
	f, err := s.cfg.Control.FreezeOn(v.Context(), v.actor, run)
	if err != nil || f == nil {
		return nil, err
	}
	return &frozenNotice{What: whereOf(v.lang, f.Freeze), Reason: restart.Escape(f.Reason), Until: momentOf(f.Ends, now), Still: run.Cause == restart.CauseFreeze}, nil
}

func whereOf(l language, f restart.Freeze) string {
	where := strings.Join(f.Environments, ", ")
	if where == restart.EveryEnvironment {
		where = say(l, "freezes.every")
	}
	if len(f.Services) > 0 {
		where = strings.Join(f.Services, ", ") + " · " + where
	}
	return where
}

func (s *site) listFreezes(w http.ResponseWriter, v *visit) error {
	list, err := s.cfg.Control.Freezes(v.Context(), v.actor)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	page := freezesPage{layout: s.layout(v, say(v.lang, "freezes.title"))}
	for _, f := range list {
		line := freezeLine{
			ID: f.ID, Where: whereOf(v.lang, f.Freeze), Reason: restart.Escape(f.Reason), By: f.CreatedBy,
			Applies: f.Applies, Begins: momentOf(f.Begins, now), Ends: momentOf(f.Ends, now),
		}
		if f.Weekly != "" {
			line.Rule = say(v.lang, "freezes.weekly", f.Weekly, f.Zone)
		}
		page.Freezes = append(page.Freezes, line)
	}
	return s.show(w, v, http.StatusOK, pageFreezes, page)
}

// glassForm is the second, deliberate step of a start past a freeze.
func (s *site) glassForm(w http.ResponseWriter, v *visit) error {
	return s.showGlassForm(w, v, http.StatusOK, false)
}

func (s *site) showGlassForm(w http.ResponseWriter, v *visit, status int, failed bool) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	if run.State != restart.RunDraft && run.State != restart.RunAwaitingApproval {
		http.Redirect(w, v.Request, "/runs/"+run.ID, http.StatusSeeOther)
		return nil
	}
	page := breakPage{
		layout: s.layout(v, say(v.lang, "break.title")), ID: run.ID, Service: run.Service, Environment: run.Environment,
		Hosts: len(newBoard(v.lang, run).hosts), Failed: failed, Awaiting: run.State == restart.RunAwaitingApproval,
	}
	if page.Frozen, err = s.frozen(v, run, s.cfg.Now()); err != nil {
		return err
	}
	return s.show(w, v, status, pageBreak, page)
}

// breakGlass starts a draft past its safeguards, once the service's name has
// been typed.
func (s *site) breakGlass(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	v.Body = http.MaxBytesReader(w, v.Body, maxForm)
	if strings.TrimSpace(v.PostFormValue("service")) != run.Service {
		return s.showGlassForm(w, v, http.StatusUnprocessableEntity, true)
	}
	if _, err := s.cfg.Control.Start(v.Context(), v.actor, run.ID, wire.StartRequest{BreakGlass: true}); err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/runs/"+run.ID, http.StatusSeeOther)
	return nil
}

func (s *site) listGlass(w http.ResponseWriter, v *visit) error {
	list, err := s.cfg.Control.Unreviewed(v.Context(), v.actor)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	page := glassPage{layout: s.layout(v, say(v.lang, "glass.title"))}
	for _, b := range list {
		page.Runs = append(page.Runs, glassLine{
			ID: b.Run, Service: b.Service, Environment: b.Environment, By: b.By, Reason: restart.Escape(b.Reason), Waived: restart.Escape(b.Waived),
			Outcome: outcomeOf(v.lang, b), At: momentOf(b.At, now), MayReview: s.cfg.Control.MayReview(v.Context(), v.actor, b),
		})
	}
	return s.show(w, v, http.StatusOK, pageGlass, page)
}

// outcomeOf says what became of a run, with its counts in English only: they
// come as a sentence.
func outcomeOf(l language, b wire.BrokenGlass) string {
	if l == english {
		return restart.Escape(b.Outcome)
	}
	return known(l, "runstate."+string(b.State), string(b.State))
}

func (s *site) reviewGlass(w http.ResponseWriter, v *visit) error {
	v.Body = http.MaxBytesReader(w, v.Body, maxForm)
	if _, err := s.cfg.Control.ReviewGlass(v.Context(), v.actor, v.PathValue("id"), v.PostFormValue("note")); err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/break-glass", http.StatusSeeOther)
	return nil
}
