package web

import (
	"net/http"
	"net/url"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// runsPerPage is how many runs one page of the list has.
const runsPerPage = 30

// runLine is one run of the list.
type runLine struct {
	ID, Service, Environment, Actor, Reason string
	Tone                                    tone
	State, Cause                            string
	Created                                 moment
	Took                                    time.Duration
	Started, Ticking                        bool
	OnHost                                  bool // begun on the host itself, without a server
	Rehearsal                               bool // no script was run
	Done, Total                             int
	Bar                                     []segment
}

func (s *site) listRuns(w http.ResponseWriter, v *visit) error {
	cursor := v.URL.Query().Get("before")
	runs, next, err := s.cfg.Control.Runs(v.Context(), v.actor, store.RunFilter{Before: cursor, Limit: runsPerPage})
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	page := runsPage{layout: s.layout(v, say(v.lang, "runs.title"))}
	if page.Glass, err = s.cfg.Control.Concerned(v.Context(), v.actor); err != nil {
		return err
	}
	going := false
	for _, run := range runs {
		page.Runs = append(page.Runs, lineOf(v.lang, run, now))
		going = going || !run.State.Final()
	}
	if cursor != "" {
		page.Newer = "/runs"
	}
	if next != "" {
		page.Older = "/runs?before=" + url.QueryEscape(next)
	}
	if going || cursor == "" {
		page.Poll, page.Scripts = v.URL.RequestURI(), true
	}
	return s.show(w, v, http.StatusOK, pageRuns, page)
}

func lineOf(l language, run restart.Run, now time.Time) runLine {
	latest := restart.Latest(run.Tasks)
	counts := tallyOf(latest)
	return runLine{
		ID: run.ID, Service: run.Service, Environment: run.Environment, Actor: run.Actor, Reason: restart.Escape(run.Reason),
		Tone: toneOfRun(run.State), State: say(l, "runstate."+string(run.State)), Cause: causeOf(l, run),
		Created: momentOf(run.CreatedAt, now), Took: lasted(run.StartedAt, run.FinishedAt, now).Round(time.Millisecond),
		Started: run.StartedAt != nil, Ticking: run.StartedAt != nil && run.FinishedAt == nil,
		Done: counts[toneDone], Total: len(latest), Bar: counts.bar(), OnHost: run.OnHost(), Rehearsal: run.Work == restart.WorkRehearse,
	}
}

// causeOf says why a run stands still or ended otherwise than in success.
func causeOf(l language, run restart.Run) string {
	if run.Cause == "" {
		return ""
	}
	key := "cause." + string(run.Cause)
	if _, known := catalogue[key]; !known {
		return restart.Escape(string(run.Cause))
	}
	return say(l, key)
}

// moment is a time as pages show it: exact for programs, short for people.
type moment struct {
	Machine string // RFC 3339
	Exact   string
	Short   string // the clock alone on the day itself
}

func momentOf(t, now time.Time) moment {
	t, now = t.UTC(), now.UTC()
	m := moment{Machine: t.Format("2006-01-02T15:04:05.000Z"), Exact: t.Format("2006-01-02 15:04:05 UTC"), Short: t.Format("2006-01-02 15:04 UTC")}
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		m.Short = t.Format("15:04:05 UTC")
	}
	return m
}

// maybeMoment is momentOf, or nil for a time that is not there.
func maybeMoment(t *time.Time, now time.Time) *moment {
	if t == nil {
		return nil
	}
	m := momentOf(*t, now)
	return &m
}
