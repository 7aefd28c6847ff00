package web

import (
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
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
	MayEnd                      bool
	Form                        filled // by which it is lifted
}

// glassLine is one run that broke the glass.
type glassLine struct {
	ID, Service, Environment, By, Reason, Outcome string
	Waived                                        sentence
	At                                            moment
	MayReview                                     bool
	Form                                          filled
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
	page, err := s.freezesPage(v)
	if err != nil {
		return err
	}
	return s.show(w, v, http.StatusOK, pageFreezes, page)
}

func (s *site) freezesPage(v *visit) (freezesPage, error) {
	list, err := s.cfg.Control.Freezes(v.Context(), v.actor)
	if err != nil {
		return freezesPage{}, err
	}
	now := s.cfg.Now()
	page := freezesPage{layout: s.layout(v, say(v.lang, "freezes.title"))}
	if key := "done." + v.URL.Query().Get("done"); catalogue[key] != (text{}) {
		page.Done = say(v.lang, key)
	}
	if page.Add, err = s.freezeForm(v); err != nil {
		return page, err
	}
	for _, f := range list {
		line := freezeLine{
			ID: f.ID, Where: whereOf(v.lang, f.Freeze), Reason: restart.Escape(f.Reason), By: f.CreatedBy,
			Applies: f.Applies, Begins: momentOf(f.Begins, now), Ends: momentOf(f.Ends, now),
			MayEnd: page.Add != nil && s.cfg.Control.MayLift(v.Context(), v.actor, f.Freeze),
		}
		if f.Weekly != "" {
			line.Rule = say(v.lang, "freezes.weekly", weeklySaid(v.lang, f.Weekly), f.Zone)
		}
		page.Freezes = append(page.Freezes, line)
	}
	return page, nil
}

// glassForm is the second, deliberate step of a start past a freeze.
func (s *site) glassForm(w http.ResponseWriter, v *visit) error {
	return s.showGlassForm(w, v, nil, nil)
}

// showGlassForm shows it with the hosts that were ticked, and after a start that
// was refused with why.
func (s *site) showGlassForm(w http.ResponseWriter, v *visit, hosts []string, refused *restart.Error) error {
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
		Hosts: len(newBoard(v.lang, run).hosts), Ticked: hosts, Awaiting: run.State == restart.RunAwaitingApproval,
	}
	if len(hosts) > 0 {
		page.Hosts = len(hosts)
	}
	if page.Frozen, err = s.frozen(v, run, s.cfg.Now()); err != nil {
		return err
	}
	page.Late = page.Frozen == nil && s.logHolds()
	if page.Frozen == nil && !page.Late {
		ticket, err := s.cfg.Control.PastTicket(v.Context(), v.actor, run)
		if err != nil {
			return err
		}
		page.NoTicket = ticket != nil
	}
	status := http.StatusOK
	if refused != nil {
		page.Sent, status = filled{Name: "break", Values: v.PostForm, Wrongs: []wrong{wrongOf(v.lang, refused)}}, protocol.StatusOf(refused.Code)
	} else if v.PostForm.Has("service") { // another one's name
		page.Sent, status = refuse(v.PostForm, "break", "service", say(v.lang, "break.failed")), http.StatusUnprocessableEntity
	}
	return s.show(w, v, status, pageBreak, page)
}

// breakGlass starts a draft past its safeguards, over the hosts that are ticked,
// once the service's name has been typed. The plan's own page asks without one.
func (s *site) breakGlass(w http.ResponseWriter, v *visit) error {
	if err := readForm(w, v, maxPressed); err != nil {
		return err
	}
	run, err := s.run(v)
	if err != nil {
		return err
	}
	form := v.PostForm
	hosts := form["hosts"]
	if form.Has("ticked") && run.State == restart.RunDraft && run.Plan != nil {
		d := drawing{run: run, ticked: set(hosts)}
		all := d.chosen()
		if len(all) == 0 {
			d.sent = refuse(form, "plan", control.FieldHosts, say(v.lang, "plan.none"))
			return s.drawPlan(w, v, http.StatusUnprocessableEntity, d)
		}
		hosts = unlessAll(all, *run.Plan)
	}
	if strings.TrimSpace(form.Get("service")) != run.Service {
		return s.showGlassForm(w, v, hosts, nil)
	}
	if _, err := s.cfg.Control.Start(v.Context(), v.actor, run.ID, wire.StartRequest{BreakGlass: true, Hosts: hosts}); err != nil {
		if e := answers(err); e != nil {
			return s.showGlassForm(w, v, hosts, e)
		}
		return err
	}
	http.Redirect(w, v.Request, "/runs/"+run.ID, http.StatusSeeOther)
	return nil
}

func (s *site) listGlass(w http.ResponseWriter, v *visit) error {
	return s.showGlass(w, v, http.StatusOK, filled{})
}

// showGlass lists the runs that wait for a review, with the form that was sent.
func (s *site) showGlass(w http.ResponseWriter, v *visit, status int, sent filled) error {
	list, err := s.cfg.Control.Unreviewed(v.Context(), v.actor)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	page := glassPage{layout: s.layout(v, say(v.lang, "glass.title"))}
	for _, b := range list {
		page.Runs = append(page.Runs, glassLine{
			ID: b.Run, Service: b.Service, Environment: b.Environment, By: b.By, Reason: restart.Escape(b.Reason), Waived: sentenceOf(said.In(v.lang, b.Waived), now),
			Outcome: said.In(v.lang, b.Outcome), At: momentOf(b.At, now), MayReview: s.cfg.Control.MayReview(v.Context(), v.actor, b), Form: sent.For("note-" + b.Run),
		})
	}
	return s.show(w, v, status, pageGlass, page)
}

func (s *site) reviewGlass(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	id := v.PathValue("id")
	if _, err := s.cfg.Control.ReviewGlass(v.Context(), v.actor, id, v.PostForm.Get("note")); restart.FieldOf(err) != "" {
		again, err := refill(v, "note-"+id, err)
		if err != nil {
			return err
		}
		return s.showGlass(w, v, http.StatusUnprocessableEntity, again)
	} else if err != nil {
		return err
	}
	http.Redirect(w, v.Request, "/break-glass", http.StatusSeeOther)
	return nil
}

var weekdays = strings.NewReplacer("mon", "пн", "tue", "вт", "wed", "ср", "thu", "чт", "fri", "пт", "sat", "сб", "sun", "вс")

// weeklySaid gives a weekly window such as fri 18:00-mon 08:00 as people write it.
func weeklySaid(l language, window string) string {
	if l == russian {
		window = weekdays.Replace(window)
	}
	ends := strings.Split(window, "-")
	for i, end := range ends {
		first, size := utf8.DecodeRuneInString(end)
		ends[i] = string(unicode.ToUpper(first)) + end[size:]
	}
	return strings.Join(ends, " – ")
}
