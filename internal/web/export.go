package web

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// Bounds of a file of runs.
const (
	maxExport      = 10_000
	maxExportPages = 100 // that are looked through for it
	exportPatience = 30 * time.Second
)

// exported is one run of a file. Its fields are those of the API.
type exported struct {
	ID          string           `json:"id"`
	State       restart.RunState `json:"state"`
	Cause       restart.Cause    `json:"cause"`
	Kind        restart.Kind     `json:"kind"`
	Scenario    string           `json:"scenario"`
	Service     string           `json:"service"`
	Environment string           `json:"environment"`
	Group       string           `json:"group"`
	Actor       string           `json:"actor"`
	Via         string           `json:"via"`
	Reason      string           `json:"reason"`
	Ticket      string           `json:"ticket"`
	CreatedAt   time.Time        `json:"created_at"`
	StartedAt   *time.Time       `json:"started_at"`
	FinishedAt  *time.Time       `json:"finished_at"`
	Hosts       int              `json:"hosts"`
	Done        int              `json:"done"`
}

var exportHeader = []string{"id", "state", "cause", "kind", "scenario", "service", "environment", "group", "actor", "via", "reason", "ticket", "created_at", "started_at", "finished_at", "hosts", "done"}

func exportOf(run restart.Run) exported {
	latest := restart.Latest(run.Tasks)
	x := exported{
		ID: run.ID, State: run.State, Cause: run.Cause, Kind: run.Kind, Scenario: run.Scenario, Service: run.Service, Environment: run.Environment, Group: run.Group,
		Actor: run.Actor, Via: run.Via, Reason: run.Reason, Ticket: run.Ticket, CreatedAt: run.CreatedAt, StartedAt: run.StartedAt, FinishedAt: run.FinishedAt, Hosts: len(latest),
	}
	for _, t := range latest {
		if t.Done() {
			x.Done++
		}
	}
	return x
}

func (x exported) row() []string {
	at := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	row := []string{
		x.ID, string(x.State), string(x.Cause), string(x.Kind), x.Scenario, x.Service, x.Environment, x.Group, x.Actor, x.Via, x.Reason, x.Ticket,
		at(&x.CreatedAt), at(x.StartedAt), at(x.FinishedAt), strconv.Itoa(x.Hosts), strconv.Itoa(x.Done),
	}
	for i := range row {
		row[i] = restart.SheetCell(row[i])
	}
	return row
}

// export calls write with page after page of what the address asks for. rest
// is the cursor of what the file lacks, "" where it is whole.
func (s *site) export(w http.ResponseWriter, v *visit, query wire.RunQuery, write func([]restart.Run) error) (rest string, err error) {
	query.Limit = wire.MaxPage
	rc := http.NewResponseController(w)
	for pages, rows := 0, 0; pages < maxExportPages; pages++ {
		runs, next, err := s.cfg.Control.FindRuns(v.Context(), v.actor, query)
		if err != nil {
			return query.Cursor, err
		}
		rc.SetWriteDeadline(time.Now().Add(exportPatience)) //nolint:errcheck // where it can't be set, there is none
		if err := write(runs); err != nil {
			return next, err
		}
		if rows += len(runs); next == "" || rows >= maxExport {
			return next, nil
		}
		query.Cursor = next
		rc.Flush()
	}
	return query.Cursor, nil
}

// asked reads the filter of a file; one that is wrong is refused in words.
func asked(v *visit) (wire.RunQuery, error) {
	query, filter := filterOf(v.lang, v.URL.Query())
	if wrongs := filter.Sent.Wrongs; len(wrongs) > 0 {
		return query, restart.Errorf(restart.CodeInvalid, "%s: %s", wrongs[0].Field, wrongs[0].Message)
	}
	_, _, err := query.Bounds()
	return query, err
}

// exportCSV is the list of runs as a table for spreadsheets.
func (s *site) exportCSV(w http.ResponseWriter, v *visit) error {
	query, err := asked(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="runs.csv"`)
	out := csv.NewWriter(w)
	begun := false
	rest, err := s.export(w, v, query, func(runs []restart.Run) error {
		if !begun {
			begun = true
			w.Write([]byte("\xef\xbb\xbf")) //nolint:errcheck // so that spreadsheets read UTF-8; the rows say whether anybody reads
			out.Write(exportHeader)         //nolint:errcheck // Error says it
		}
		for _, run := range runs {
			out.Write(exportOf(run).row()) //nolint:errcheck // Error says it
		}
		out.Flush()
		return out.Error()
	})
	if err != nil && !begun {
		h.Del("Content-Disposition")
		return err
	}
	if err != nil {
		s.cfg.Logger.ErrorContext(v.Context(), "export runs", "request_id", v.id, "actor", v.actor.Name, "error", err)
		out.Write([]string{"# " + say(v.lang, "export.broken")}) //nolint:errcheck // the reader has gone
	} else if rest != "" {
		out.Write([]string{"# " + say(v.lang, "export.more", rest)}) //nolint:errcheck // the reader has gone
	}
	out.Flush()
	return nil
}

// exportJSON is the same as one JSON object: {"items": […], "next": "cursor or empty"}.
func (s *site) exportJSON(w http.ResponseWriter, v *visit) error {
	query, err := asked(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	between := `{"items":[`
	rest, err := s.export(w, v, query, func(runs []restart.Run) error {
		var b []byte
		for _, run := range runs {
			one, err := json.Marshal(exportOf(run))
			if err != nil {
				return err
			}
			b = append(append(b, between...), one...)
			between = ",\n"
		}
		_, err := w.Write(b)
		return err
	})
	if err != nil && between != ",\n" {
		return err
	}
	if err != nil { // an object without its end tells that it is not whole
		s.cfg.Logger.ErrorContext(v.Context(), "export runs", "request_id", v.id, "actor", v.actor.Name, "error", err)
		return nil
	}
	if between != ",\n" {
		w.Write([]byte(between)) //nolint:errcheck // the reader has gone
	}
	next, err := json.Marshal(rest)
	w.Write(append(append([]byte("],\"next\":"), next...), "}\n"...)) //nolint:errcheck // the reader has gone
	return err
}
