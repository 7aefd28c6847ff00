package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// RunFilter narrows a list of runs; empty fields do not.
type RunFilter struct {
	Service, Environment, Group string
	Host                        string // a run with a task on this host
	Actor                       string
	States                      []restart.RunState
	Kind                        restart.Kind
	Since, Until                time.Time // asked for from Since on, and before Until
	Text                        string    // words, or parts of words, that reason and ticket have, in any case
	Before                      string    // the cursor that an earlier page returned
	Limit                       int       // 1 to 200; 0 = 50
}

// Bounds of a page of any list.
const (
	defaultPage = 50
	maxPage     = 200
)

// How many runs, or tasks of a host, one page looks through at most where a
// filter is no part of an index. What is older is for the next page. Runs are
// looked through in steps, the first of them whatever it takes, and the others
// as large as lookFor has time for: rows that lie on the disk take fifty times as
// long as those in memory.
const (
	lookThrough      = 8_000
	lookThroughTasks = 400
	lookFirst        = 16
	lookFor          = 10 * time.Millisecond
)

// maxWords is how many words of a text are searched for.
const maxWords = 6

func page(limit int) int {
	if limit <= 0 {
		return defaultPage
	}
	return min(limit, maxPage)
}

// Runs lists runs, newest first, with their tasks and without their plans;
// drafts are left out. next is the cursor of the following page, "" at the end.
// A page may have fewer runs than its limit, or none, and a next all the same:
// then many have been looked through, 8,000 at most, and older ones are still to be.
func (s *Store) Runs(ctx context.Context, f RunFilter) (runs []restart.Run, next string, err error) {
	q, err := f.question()
	if err != nil {
		return nil, "", err
	}
	limit := page(f.Limit)
	err = s.read(ctx, "list runs", func(ctx context.Context, t tx) error {
		if runs, next, err = q.run(ctx, t, s.look.begin(), limit); err != nil {
			return err
		}
		return loadTasks(ctx, t, runs)
	})
	if err != nil {
		return nil, "", err
	}
	return runs, next, nil
}

// condition is one comparison of a row.
type condition struct {
	text string
	args []any
}

// run looks step by step until the page is full.
func (q question) run(ctx context.Context, t tx, p *pace, limit int) (runs []restart.Run, next string, err error) {
	for {
		floor, err := q.floor(ctx, t, p.step(), limit)
		if err != nil {
			return nil, "", err
		}
		text, args := q.text(floor, limit+1-len(runs))
		rows, err := t.rows(ctx, text, args...)
		found, err := collect(rows, err, func(r *sql.Rows) (restart.Run, error) { return scanRun(r) })
		if err != nil {
			return nil, "", err
		}
		runs = append(runs, found...)
		switch {
		case len(runs) > limit:
			return runs[:limit], runs[limit-1].ID, nil
		case floor == "" || q.host != "" || p.over():
			return runs, floor, nil
		}
		q.ids = append(q.ids, condition{"id < ?", []any{floor}})
	}
}

// look is how much one page looks through: see lookThrough.
type look struct {
	runs, tasks, first int
	long               time.Duration
}

// pace is how far one page has looked.
type pace struct {
	look
	began time.Time
	done  int
}

func (l look) begin() *pace { return &pace{look: l, began: time.Now()} }

// step gives how much to look through next: four times as much as so far, or
// what there is time for at the pace until now.
func (p *pace) step() look {
	next := p.first
	if p.done > 0 {
		took := max(time.Since(p.began), time.Microsecond)
		fits := float64(p.done) * float64(p.long-took) / float64(took)
		next = max(int(min(fits, float64(4*p.done))), 1)
	}
	step := look{runs: min(next, p.runs-p.done), tasks: p.tasks}
	p.done += step.runs
	return step
}

// over tells whether the page has looked far enough, or long enough.
func (p *pace) over() bool {
	return p.done >= p.runs || time.Since(p.began) >= p.long*4/5
}

// question is a filter as it is asked. The leading conditions are the columns
// of one index, behind which come the ids in order; the states lead, too, where
// there is an index with them, each in a part of its own. The rest is looked up
// row by row, so that the rows are bounded: see floor.
type question struct {
	host    string
	leading []condition
	states  []restart.RunState // that lead; none = a single part
	rest    []condition
	ids     []condition // bounds of the id
}

// question chooses what leads: whatever finds the fewest runs.
func (f RunFilter) question() (q question, err error) {
	if f.Before != "" && restart.CheckID(f.Before) != nil {
		return q, restart.Errorf(restart.CodeInvalid, "%s is not a cursor", restart.Quote(f.Before)).WithHint("use next of the page before")
	}
	if f.Before != "" {
		q.ids = append(q.ids, condition{"id < ?", []any{f.Before}})
	}
	if !f.Until.IsZero() {
		q.ids = append(q.ids, condition{"id < ?", []any{restart.FirstID(f.Until)}})
	}
	if !f.Since.IsZero() {
		q.ids = append(q.ids, condition{"id >= ?", []any{restart.FirstID(f.Since)}})
	}
	q.host = f.Host
	columns := []struct{ name, value string }{
		{"service", f.Service}, {"actor", f.Actor}, {"host_group", f.Group}, {"kind", string(f.Kind)}, {"environment", f.Environment},
	}
	leads := f.leads()
	for _, c := range columns {
		switch {
		case c.value == "":
		case slices.Contains(leads, c.name):
			q.leading = append(q.leading, condition{c.name + " = ?", []any{c.value}})
		default: // as an expression, so that no index is chosen for it
			q.rest = append(q.rest, condition{c.name + " || '' = ?", []any{c.value}})
		}
	}
	if slices.Contains(leads, "state") {
		q.states = f.States
	} else if len(f.States) > 0 {
		args := make([]any, len(f.States))
		for i, s := range f.States {
			args[i] = string(s)
		}
		q.rest = append(q.rest, condition{"state || '' IN (" + marks(len(args)) + ")", args})
	}
	for i, word := range strings.Fields(restart.FoldReason(f.Text)) {
		if i == maxWords {
			return q, restart.Errorf(restart.CodeInvalid, "at most %d words can be searched for at once", maxWords)
		}
		q.rest = append(q.rest, condition{`search LIKE ? ESCAPE '\'`, []any{"%" + likeEscape.Replace(word) + "%"}})
	}
	return q, nil
}

var likeEscape = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

// leads names the columns of the index to go by. Each pair has one.
func (f RunFilter) leads() []string {
	switch {
	case f.Host != "":
		return nil
	case f.Service != "" && f.Actor != "":
		return []string{"service", "actor"}
	case f.Service != "" && len(f.States) > 0:
		return []string{"service", "state"}
	case f.Service != "":
		return []string{"service", "environment"}
	case f.Actor != "":
		return []string{"actor", "state"}
	case f.Group != "":
		return []string{"host_group"}
	case len(f.States) > 0:
		return []string{"state"}
	case f.Kind != "" && f.Kind != restart.KindRestart: // nearly all are restarts
		return []string{"kind"}
	case f.Environment != "":
		return []string{"environment"}
	}
	return []string{"kind"}
}

// floor gives the id down to which a page looks, "" where it may look at
// everything: all that leads is part of an index, and what is found is shown.
func (q question) floor(ctx context.Context, t tx, most look, limit int) (string, error) {
	if q.host != "" {
		if len(q.rest) == 0 { // more than a few attempts for each run of the page there are hardly
			most.tasks = min(most.tasks, 4*(limit+1))
		}
		where, args := allOf(append([]condition{{"host = ?", []any{q.host}}}, renamed(q.ids, "run_id")...))
		return oldest(ctx, t, "SELECT run_id FROM tasks WHERE "+where+" ORDER BY run_id DESC LIMIT 1 OFFSET ?", append(args, most.tasks-1)...)
	}
	if len(q.rest) == 0 {
		return "", nil
	}
	floor := ""
	states := q.parts()
	for _, state := range states {
		where, args := allOf(slices.Concat(q.leading, leading(state), q.ids))
		id, err := oldest(ctx, t, "SELECT id FROM runs WHERE "+where+" ORDER BY id DESC LIMIT 1 OFFSET ?", append(args, max(most.runs/len(states)-1, 0))...)
		if err != nil {
			return "", err
		}
		floor = max(floor, id) // down to there every state has been looked through
	}
	return floor, nil
}

func oldest(ctx context.Context, t tx, text string, args ...any) (id string, err error) {
	if err = t.row(ctx, text, args...).Scan(&id); errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// parts are the states that are asked for each by itself, so that each part is
// read from an index in the order of the page, however long the history is.
func (q question) parts() []restart.RunState {
	if len(q.states) == 0 {
		return []restart.RunState{""}
	}
	return q.states
}

func leading(state restart.RunState) []condition {
	if state == "" {
		return nil
	}
	return []condition{{"state = ?", []any{string(state)}}}
}

// text is the whole question, newest first, for so many runs not older than floor.
func (q question) text(floor string, limit int) (text string, args []any) {
	ids := q.ids
	if floor != "" {
		ids = append(slices.Clone(ids), condition{"id >= ?", []any{floor}})
	}
	if q.host != "" {
		where, values := allOf(append([]condition{{"host = ?", []any{q.host}}}, renamed(ids, "run_id")...))
		ids = append(slices.Clone(ids), condition{"id IN (SELECT run_id FROM tasks WHERE " + where + ")", values})
	}
	var parts []string
	for _, state := range q.parts() {
		where, values := allOf(slices.Concat([]condition{{"state <> 'draft'", nil}}, q.leading, leading(state), q.rest, ids))
		parts = append(parts, "SELECT * FROM (SELECT * FROM runs WHERE "+where+" ORDER BY id DESC LIMIT ?) AS part")
		args = append(append(args, values...), limit)
	}
	return "SELECT " + runColumns + " FROM (" + strings.Join(parts, " UNION ALL ") + ") AS runs ORDER BY id DESC LIMIT ?", append(args, limit)
}

// allOf joins conditions; none are always true.
func allOf(conditions []condition) (text string, args []any) {
	if len(conditions) == 0 {
		return "1 = 1", nil
	}
	texts := make([]string, len(conditions))
	for i, c := range conditions {
		texts[i], args = c.text, append(args, c.args...)
	}
	return strings.Join(texts, " AND "), args
}

// renamed gives bounds of the id as those of another column.
func renamed(ids []condition, column string) []condition {
	out := make([]condition, len(ids))
	for i, c := range ids {
		out[i] = condition{column + strings.TrimPrefix(c.text, "id"), c.args}
	}
	return out
}

// loadTasks fetches the tasks of a whole page in one query.
func loadTasks(ctx context.Context, t tx, runs []restart.Run) error {
	if len(runs) == 0 {
		return nil
	}
	at := make(map[string]int, len(runs))
	ids := make([]any, len(runs))
	for i := range runs {
		runs[i].Tasks = []restart.Task{}
		ids[i], at[runs[i].ID] = runs[i].ID, i
	}
	rows, err := t.rows(ctx, "SELECT "+taskColumns+" FROM tasks WHERE run_id IN ("+marks(len(ids))+") ORDER BY run_id, position, attempt", ids...)
	tasks, err := collect(rows, err, scanTask)
	if err != nil {
		return fmt.Errorf("tasks of the page: %w", err)
	}
	for _, task := range tasks {
		run := &runs[at[task.RunID]]
		run.Tasks = append(run.Tasks, task)
	}
	return nil
}
