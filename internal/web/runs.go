package web

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// runsPerPage is how many runs one page of the list has.
const runsPerPage = 30

// runsPage is the history.
type runsPage struct {
	layout
	Filter filterView
	Runs   []runLine
	Newer  string  // address of the newest runs, on later pages
	Older  string  // address of the next page; "" = this is the last
	Looked *moment // back to when a page has looked that ended before it was full
	Poll   string  // address to ask again while a run goes on; "" = nothing goes on
	Glass  int     // runs that broke the glass, and that the reader should know of
}

// runLine is one run of a list.
type runLine struct {
	ID, Service, Environment, Group, Actor, Reason string
	Scenario, Kind                                 string
	Tone                                           tone
	State, Cause                                   string
	Created                                        moment
	Took                                           time.Duration
	Started, Ticking                               bool
	OnHost                                         bool // begun on the host itself, without a server
	Rehearsal                                      bool // no script was run
	Own                                            bool // of the reader, on his first page
	Done, Total                                    int
	Bar                                            []segment
}

func (s *site) listRuns(w http.ResponseWriter, v *visit) error {
	query, filter := filterOf(v.lang, v.URL.Query())
	page := runsPage{layout: s.layout(v, say(v.lang, "runs.title")), Filter: filter}
	page.Files = []string{"filter.js"}
	page.Filter.Environments = environmentChoices(v.lang, s.environments(v), query.Environment)
	if len(filter.Sent.Wrongs) > 0 {
		return s.show(w, v, http.StatusUnprocessableEntity, pageRuns, page)
	}
	runs, next, err := s.cfg.Control.FindRuns(v.Context(), v.actor, query)
	if err != nil {
		return err
	}
	if page.Glass, err = s.cfg.Control.Concerned(v.Context(), v.actor); err != nil {
		return err
	}
	page.Runs = s.lines(v, runs)
	address := filter.address(query)
	if query.Cursor != "" {
		page.Newer = withQuery("/runs", address)
	}
	if next != "" {
		address.Set("before", next)
		page.Older = withQuery("/runs", address)
		if at := restart.TimeOfID(next); len(runs) < runsPerPage && !at.IsZero() {
			looked := momentOf(at, s.cfg.Now())
			page.Looked = &looked
		}
	}
	if query.Cursor == "" || slices.ContainsFunc(runs, func(r restart.Run) bool { return !r.State.Final() }) {
		page.Poll, page.Scripts, page.Reload = v.URL.RequestURI(), true, formReload
	}
	return s.show(w, v, http.StatusOK, pageRuns, page)
}

// lines gives runs as lists show them.
func (s *site) lines(v *visit, runs []restart.Run) (out []runLine) {
	now := s.cfg.Now()
	for _, run := range runs {
		out = append(out, lineOf(v.lang, run, now))
	}
	return out
}

// recent gives the newest runs that a query names.
func (s *site) recent(v *visit, q wire.RunQuery) ([]runLine, error) {
	q.Limit = recentRuns
	runs, _, err := s.cfg.Control.FindRuns(v.Context(), v.actor, q)
	return s.lines(v, runs), err
}

// recentRuns is how many runs a page shows that is of something else.
const recentRuns = 10

// environments lists those of the inventory; none while it can't be read.
func (s *site) environments(v *visit) []string {
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	if err != nil {
		s.unread(v.Context(), v, err)
		return nil
	}
	return statisticsEnvironments(now)
}

// unread logs that a page lacks what the inventory would tell.
func (s *site) unread(ctx context.Context, v *visit, err error) {
	if ctx.Err() == nil {
		s.cfg.Logger.WarnContext(ctx, "read the inventory for a page", "request_id", v.id, "error", err)
	}
}

func lineOf(l language, run restart.Run, now time.Time) runLine {
	latest := restart.Latest(run.Tasks)
	counts := tallyOf(latest)
	return runLine{
		ID: run.ID, Service: run.Service, Environment: run.Environment, Group: run.Group, Actor: run.Actor, Reason: restart.Escape(run.Reason),
		Scenario: run.Scenario, Kind: known(l, "kind."+string(run.Kind), string(run.Kind)),
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
	Clock   string // the clock, with its seconds, on whichever day
}

// exact writes a moment so that a sentence's is found again: see sentenceOf.
func exact(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func momentOf(t, now time.Time) moment {
	t, now = t.UTC(), now.UTC()
	m := moment{Machine: t.Format("2006-01-02T15:04:05.000Z"), Exact: exact(t), Short: t.Format("2006-01-02 15:04 UTC"), Clock: t.Format("15:04:05 UTC")}
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		m.Short = m.Clock
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
