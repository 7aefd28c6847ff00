package web

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/story"
	"github.com/restartilka/restartilka/internal/wire"
)

// The names of the files in templates/pages.
const (
	pageAudit       = "audit"
	pageAuditRecord = "audit-record"
	pageAuditStory  = "audit-story"
)

// recordsPerPage is how many records one page of the trail has.
const recordsPerPage = 50

// auditRoutes are the audit trail, for who may read it.
func (s *site) auditRoutes() []route {
	return []route{
		{pattern: "GET /audit", policy: signedIn, handle: s.listAudit},
		{pattern: "GET /audit.jsonl", policy: signedIn, handle: s.exportAudit(wire.AuditLines)},
		{pattern: "GET /audit.csv", policy: signedIn, handle: s.exportAudit(wire.AuditTable)},
		{pattern: "GET /audit/records/{number}", policy: signedIn, handle: s.showRecord},
		{pattern: "GET /audit/runs/{id}", policy: signedIn, handle: s.showStory},
	}
}

// auditPage is the trail, narrowed.
type auditPage struct {
	layout
	Filter       auditFilterView
	Records      []auditLine
	Newer, Older string
	Looked       *moment // back to when a page has looked that ended before it was full
	Ways         []wayLine
	Failure      string // why records get no place just now
	Alone        bool   // no place outside has them
}

// auditFilterView is the form, with what was typed.
type auditFilterView struct {
	Text, Person, Service, Host, Run, Action, Since, Until string
	Environments, Areas                                    []option
	Seals                                                  bool
	Sent                                                   filled // of which only what is wrong
	Any                                                    bool   // something is narrowed
	Lines, Table                                           string // addresses of the same as files
}

// auditLine is one record of a list.
type auditLine struct {
	URL, Phrase, Action        string
	Actor, Origin              string
	Service, Environment, Host string
	Run                        string
	Outcome, Code              string // in words; as it stands in the record, where there are none
	Tone                       tone
	Refused                    bool
	At                         moment
	Reason, Detail             string
	Unplaced                   bool
}

// wayLine is one place that records are shipped to.
type wayLine struct {
	Place, Level, Error string
	Tone                tone
	Settled, Backlog    int64
	Oldest              time.Duration
}

// comparedDump is the detail of a look at a dump beside another.
var comparedDump = regexp.MustCompile(`^comparison with [0-9a-z]{26}\b`)

// mostDetail bounds a record's detail in a list, in characters.
const mostDetail = 200

func auditLineOf(l language, e store.AuditEntry, now time.Time) auditLine {
	r := e.Record
	line := auditLine{
		URL: recordURL(e.ID), Phrase: story.Phrase(r.Action).In(string(l)), Action: restart.Escape(string(r.Action)), Actor: restart.Escape(r.Actor), Origin: restart.Escape(r.Origin),
		Service: restart.Escape(r.Service), Environment: restart.Escape(r.Environment), Host: restart.Escape(r.Host), At: momentOf(r.Time, now),
		Reason: restart.Escape(r.Reason), Detail: said.In(l, shorten(r.Detail, mostDetail)), Refused: story.Refused(r), Unplaced: r.Seq == 0,
	}
	if restart.CheckID(r.Run) == nil {
		line.Run = r.Run
	}
	if r.Action == audit.DumpViewed && comparedDump.MatchString(r.Detail) {
		line.Detail = say(l, "audit.compared") // the ids are on the record's page
	}
	line.Tone, line.Outcome, line.Code = outcomeOf(l, r)
	return line
}

// outcomeOf gives an outcome its word and tone.
func outcomeOf(l language, r audit.Record) (t tone, word, code string) {
	code = restart.Escape(r.Outcome)
	switch {
	case story.Refused(r):
		return toneFail, say(l, "audit.refused"), code
	case r.Outcome == "":
		return "", "", ""
	case slices.Contains(restart.RunStates(), restart.RunState(r.Outcome)):
		return toneOfRun(restart.RunState(r.Outcome)), say(l, "runstate."+r.Outcome), ""
	case slices.Contains(restart.TaskStates(), restart.TaskState(r.Outcome)):
		return toneOfTask(restart.TaskState(r.Outcome)), say(l, "taskstate."+r.Outcome), ""
	case r.Action == audit.RunPaused:
		return toneHold, known(l, "cause."+r.Outcome, r.Outcome), ""
	}
	return toneWait, code, ""
}

func (s *site) listAudit(w http.ResponseWriter, v *visit) error {
	query, filter := auditFilterOf(v.lang, v.URL.Query())
	page := auditPage{layout: s.layout(v, say(v.lang, "audit.title")), Filter: filter}
	trail, err := s.cfg.Control.Trail(v.Context(), v.actor)
	if err != nil {
		return err
	}
	page.Alone, page.Failure = trail.Server.NoRemoteLog, said.In(v.lang, trail.Trail.Error)
	page.Ways = waysOf(v.lang, trail.Trail.Sinks, trail.Server.Sinks)
	page.Filter.Environments = environmentChoices(v.lang, s.environments(v), query.Environment)
	if len(filter.Sent.Wrongs) > 0 {
		return s.show(w, v, http.StatusUnprocessableEntity, pageAudit, page)
	}
	entries, next, err := s.cfg.Control.AuditPage(v.Context(), v.actor, query)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	for _, e := range entries {
		page.Records = append(page.Records, auditLineOf(v.lang, e, now))
	}
	address := auditValues(query)
	if query.After != "" {
		page.Newer = withQuery("/audit", address)
	}
	if next != "" {
		address.Set("before", next)
		page.Older = withQuery("/audit", address)
		if at, ok := store.TimeOfAuditCursor(next); ok && len(entries) < recordsPerPage {
			looked := momentOf(at, now)
			page.Looked = &looked
		}
	}
	return s.show(w, v, http.StatusOK, pageAudit, page)
}

// waysOf tells how far each place is. names are how the configuration calls them.
func waysOf(l language, sinks []audit.SinkStats, names []string) (out []wayLine) {
	for i, x := range sinks {
		line := wayLine{
			Place: restart.Escape(x.Name), Level: say(l, "auditlevel."+string(x.Level)), Error: said.In(l, x.Error), Tone: toneDone, Settled: x.Settled, Backlog: x.Backlog, Oldest: x.Oldest.Round(time.Second),
		}
		if i < len(names) {
			line.Place = restart.Escape(names[i])
		}
		if x.Error != "" {
			line.Tone = toneFail
		}
		out = append(out, line)
	}
	return out
}

// auditFilterOf reads the filter of an address. Of what is wrong each field says
// it; the query then is not to be asked.
func auditFilterOf(l language, q url.Values) (wire.AuditQuery, auditFilterView) {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	query := wire.AuditQuery{
		Text: get("q"), Actor: get("person"), Service: get("service"), Environment: get("env"), Host: strings.ToLower(get("host")), Run: get("run"), Action: get("action"),
		Area: audit.Area(get("area")), Since: get("since"), Until: get("until"), Seals: get("seals") != "", Newest: true, After: get("before"), Limit: recordsPerPage,
	}
	view := auditFilterView{
		Text: query.Text, Person: query.Actor, Service: query.Service, Host: get("host"), Run: query.Run, Action: query.Action, Since: query.Since, Until: query.Until,
		Seals: query.Seals, Sent: filled{Name: "filter"}, Areas: areaChoices(l, query.Area),
	}
	refuse := func(field, what string) {
		view.Sent.Wrongs = append(view.Sent.Wrongs, wrong{Field: field, Message: say(l, "wrongfilter."+what)})
	}
	if len(query.Text) > 200 || len(strings.Fields(query.Text)) > 6 {
		refuse("q", "text")
	}
	if query.Area != "" && !slices.Contains(audit.Areas(), query.Area) {
		refuse("area", "area")
	}
	since, _, err := wire.AuditQuery{Since: query.Since}.Bounds()
	if err != nil {
		refuse("since", "day")
	}
	_, until, err := wire.AuditQuery{Until: query.Until}.Bounds()
	switch {
	case err != nil:
		refuse("until", "day")
	case !until.IsZero() && until.Before(since):
		refuse("until", "order")
	}
	values := auditValues(query)
	view.Any = len(values) > 0
	view.Lines, view.Table = withQuery("/audit.jsonl", values), withQuery("/audit.csv", values)
	return query, view
}

func areaChoices(l language, chosen audit.Area) []option {
	out := []option{{"", say(l, "filter.any"), chosen == ""}}
	for _, a := range audit.Areas() {
		out = append(out, option{string(a), say(l, "auditarea."+string(a)), chosen == a})
	}
	return out
}

// auditValues gives a query as it stands in the address of a page.
func auditValues(q wire.AuditQuery) url.Values {
	out := url.Values{}
	for name, value := range map[string]string{
		"q": q.Text, "person": q.Actor, "service": q.Service, "env": q.Environment, "host": q.Host, "run": q.Run, "action": q.Action, "area": string(q.Area),
		"since": q.Since, "until": q.Until,
	} {
		if value != "" {
			out.Set(name, value)
		}
	}
	if q.Seals {
		out.Set("seals", "1")
	}
	return out
}

// exportAudit gives out a file. One that breaks off ends the connection, so that
// nobody takes it for whole.
func (s *site) exportAudit(form string) func(http.ResponseWriter, *visit) error {
	return func(w http.ResponseWriter, v *visit) error {
		query, filter := auditFilterOf(v.lang, v.URL.Query())
		if wrongs := filter.Sent.Wrongs; len(wrongs) > 0 {
			return restart.Errorf(restart.CodeInvalid, "%s: %s", wrongs[0].Field, wrongs[0].Message)
		}
		export, err := s.cfg.Control.ExportAudit(v.Context(), v.actor, query, form)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", export.Media)
		w.Header().Set("Content-Disposition", `attachment; filename="`+export.Name+`"`)
		if err := export.Write(v.Context(), patientWriter{w}); err != nil {
			if v.Context().Err() == nil {
				s.cfg.Logger.ErrorContext(v.Context(), "export the audit trail", "request_id", v.id, "actor", v.actor.Name, "error", err)
			}
			breakOff(w)
		}
		return nil
	}
}

// breakOff ends an answer in its middle, so that who reads it knows.
func breakOff(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // where it can't be set, the server has no deadlines
}

// patientWriter waits for each piece to be read.
type patientWriter struct{ http.ResponseWriter }

func (p patientWriter) Write(b []byte) (int, error) {
	http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(exportPatience)) //nolint:errcheck // where it can't be set, there is none
	return p.ResponseWriter.Write(b)
}
