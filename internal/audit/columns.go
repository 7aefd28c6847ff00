package audit

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Columns names the columns of Row.
func Columns() []string {
	return []string{
		"time_utc", "actor", "origin", "action", "outcome", "service", "environment", "host", "run", "task", "attempt",
		"scenario_digest", "params", "reason", "detail", "source", "epoch", "seq", "hash",
	}
}

// Row gives a record as a line of a table: each cell one line of text that no
// spreadsheet takes for a formula.
func (r *Record) Row() []string {
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	var params []string
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		params = append(params, name+"="+strconv.Quote(r.Params[name])) // quoted, so that no value looks like another parameter
	}
	row := []string{
		r.Time.UTC().Format(timeLayout), r.Actor, r.Origin, string(r.Action), r.Outcome, r.Service, r.Environment, r.Host, r.Run, r.Task, number(int64(r.Attempt)),
		r.ScenarioDigest, strings.Join(params, " "), r.Reason, r.Detail, r.Source, number(r.Epoch), number(r.Seq), r.Hash,
	}
	for i, cell := range row {
		row[i] = restart.SheetCell(cell)
	}
	return row
}
