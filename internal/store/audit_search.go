package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// recordColumns are what a row of a record is searched by, and its bytes.
const (
	recordColumns = "source, actor, action, run_id, service, host, environment, area, happened_at, search, body"
	recordWidth   = 11
)

// recordRow gives a clean record as recordColumns have it.
func recordRow(r *audit.Record) []any {
	return []any{
		r.Source, r.Actor, string(r.Action), r.Run, r.Service, r.Host, r.Environment, string(r.Action.Area()), micros(r.Time), searchedRecord(r), r.Canonical(),
	}
}

// searchedRecord is the text in which words are searched for.
func searchedRecord(r *audit.Record) string {
	texts := []string{string(r.Action), r.Actor, r.Origin, r.Service, r.Environment, r.Host, r.Outcome, r.Reason, r.Detail, r.ScenarioDigest}
	for _, name := range sortedNames(r.Params) {
		texts = append(texts, name+"="+r.Params[name])
	}
	return restart.FoldReason(strings.Join(texts, " "))
}

func sortedNames(params map[string]string) []string {
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fillAuditSearch is a step of migration 0014. It reads what it needs of the
// records, and no more: their form is not for it to judge.
func fillAuditSearch(ctx context.Context, t tx) error {
	if t.dialect.patience != "" {
		if _, err := t.exec(ctx, t.dialect.patience); err != nil {
			return err
		}
	}
	for after := int64(0); ; {
		ids, args, err := unfilled(ctx, t, after)
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		_, err = t.exec(ctx, "WITH told (id, host, environment, area, happened_at, search) AS (VALUES "+
			repeat("(CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS TEXT))", len(ids))+`)
			UPDATE audit_records SET host = told.host, environment = told.environment, area = told.area, happened_at = told.happened_at, search = told.search
			FROM told WHERE audit_records.id = told.id`, args...)
		if err != nil {
			return err
		}
	}
}

// unfilled reads some records behind an id, and gives what their rows lack.
func unfilled(ctx context.Context, t tx, after int64) (ids []int64, args []any, err error) {
	rows, err := t.rows(ctx, "SELECT id, body FROM audit_records WHERE id > ? ORDER BY id LIMIT ?", after, taskBatch)
	_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
		var id int64
		var body []byte
		if err := r.Scan(&id, &body); err != nil {
			return struct{}{}, err
		}
		var rec struct {
			Action, Actor, Origin, Service, Environment, Host, Outcome, Reason, Detail string

			Digest string            `json:"scenario_digest"`
			Time   time.Time         `json:"time_utc"`
			Params map[string]string `json:"params"`
		}
		if err := json.Unmarshal(body, &rec); err != nil {
			return struct{}{}, fmt.Errorf("record %d: %w", id, err)
		}
		r2 := audit.Record{
			Action: audit.Action(rec.Action), Actor: rec.Actor, Origin: rec.Origin, Service: rec.Service, Environment: rec.Environment, Host: rec.Host,
			Outcome: rec.Outcome, Reason: rec.Reason, Detail: rec.Detail, ScenarioDigest: rec.Digest, Params: rec.Params,
		}
		ids = append(ids, id)
		args = append(args, id, r2.Host, r2.Environment, string(r2.Action.Area()), micros(rec.Time), searchedRecord(&r2))
		return struct{}{}, nil
	})
	return ids, args, err
}

// AuditFilter narrows a search of the trail; empty fields do not.
type AuditFilter struct {
	Run, Actor, Service string
	Host, Environment   string
	Action              audit.Action
	Area                audit.Area
	Since, Until        time.Time // happened from Since on, and before Until
	Text                string    // words, or parts of words, that the record has, in any case
	Seals               bool      // with the seals, which are left out where they are not asked for by name
	Newest              bool      // newest first; otherwise oldest first
	// Stored is the order in which records were stored, and not that in which
	// things happened: who follows the trail then misses nothing that is told late.
	Stored bool
	After  string // the cursor that an earlier page returned; "" = from the beginning
	Limit  int    // 1 to 200; 0 = 50
}

// AuditEntry is a record with its number in the database, by which it is found again.
type AuditEntry struct {
	ID int64
	audit.Record
}

// AuditSearch is AuditPage without the numbers.
func (s *Store) AuditSearch(ctx context.Context, f AuditFilter) (records []audit.Record, next string, err error) {
	entries, next, err := s.AuditPage(ctx, f)
	for _, e := range entries {
		records = append(records, e.Record)
	}
	return records, next, err
}

// AuditPage finds records, sequenced or not yet. next is the cursor of the
// following page: "" at the end, but in the order of storing from the oldest on:
// then it is where the trail ends now, to be asked again. A page may have fewer records than its
// limit, or none, and a next all the same: then many records have been looked
// through, 8,000 at most, and others are still to be.
func (s *Store) AuditPage(ctx context.Context, f AuditFilter) (entries []AuditEntry, next string, err error) {
	q, err := f.question()
	if err != nil {
		return nil, "", err
	}
	limit := page(f.Limit)
	err = s.read(ctx, "search audit trail", func(ctx context.Context, t tx) error {
		for p := s.look.begin(); ; {
			end, bounded, err := q.end(ctx, t, p.step().runs)
			if err != nil {
				return err
			}
			found, after, err := readEntries(ctx, t, q, end, limit-len(entries))
			entries, next = append(entries, found...), after
			switch {
			case err != nil || next != "":
				return err
			case bounded && len(entries) < limit && !p.over():
				q.bounds = append(q.bounds, q.behind(end))
				continue
			case bounded || q.follows() && end != (auditPlace{}):
				next = q.cursor(end)
			case q.follows():
				next = f.After
			}
			return nil
		}
	})
	if err != nil {
		return nil, "", err
	}
	return entries, next, nil
}

// readEntries gives up to limit records, and the cursor behind them where there
// are more.
func readEntries(ctx context.Context, t tx, q auditQuestion, end auditPlace, limit int) (entries []AuditEntry, next string, err error) {
	var places []auditPlace
	text, args := q.text("id, happened_at, body", end, limit+1)
	rows, err := t.rows(ctx, text, args...)
	entries, err = collect(rows, err, func(r *sql.Rows) (AuditEntry, error) {
		var at auditPlace
		e, err := scanEntry(r, &at.happened)
		at.id = e.ID
		places = append(places, at)
		return e, err
	})
	if err == nil && len(entries) > limit {
		entries, next = entries[:limit], q.cursor(places[limit-1])
	}
	return entries, next, err
}

// scanEntry reads id, some columns more, and body.
func scanEntry(r *sql.Rows, more ...any) (e AuditEntry, err error) {
	var body []byte
	if err := r.Scan(append(append([]any{&e.ID}, more...), &body)...); err != nil {
		return e, err
	}
	e.Record, err = audit.Decode(body)
	return e, err
}

// auditPlace is where a record stands in the order of a search.
type auditPlace struct{ happened, id int64 }

// auditQuestion is a filter as it is asked: leading is the column of an index,
// behind which come the records in order; rest is looked up row by row.
type auditQuestion struct {
	leading, rest, bounds []condition
	stored, newest        bool
}

func (f AuditFilter) question() (q auditQuestion, err error) {
	q.stored, q.newest = f.Stored, f.Newest
	if err := q.after(f.After); err != nil {
		return q, err
	}
	columns := []struct{ name, value string }{ // the first of them leads: it finds the fewest
		{"run_id", f.Run}, {"host", f.Host}, {"actor", f.Actor}, {"action", string(f.Action)}, {"service", f.Service}, {"environment", f.Environment}, {"area", string(f.Area)},
	}
	lead := ""
	for _, c := range columns {
		switch {
		case c.value == "":
		case lead == "" && !q.stored:
			lead = c.name
			q.leading = append(q.leading, condition{c.name + " = ?", []any{c.value}})
			if c.name == "host" || c.name == "environment" { // as their indexes say
				q.leading = append(q.leading, condition{c.name + " <> ''", nil})
			}
		default: // as an expression, so that no index is chosen for it
			q.rest = append(q.rest, condition{c.name + " || '' = ?", []any{c.value}})
		}
	}
	if !f.Seals && f.Action == "" {
		unsealed := condition{"action <> 'audit.sealed'", nil}
		if slices.Contains([]string{"actor", "area"}, lead) || q.stored { // which seals have, too
			q.rest = append(q.rest, unsealed)
		} else {
			q.leading = append(q.leading, unsealed)
		}
	}
	times := &q.bounds
	if q.stored {
		times = &q.rest
	}
	if !f.Since.IsZero() {
		*times = append(*times, condition{"happened_at >= ?", []any{micros(f.Since)}})
	}
	if !f.Until.IsZero() {
		*times = append(*times, condition{"happened_at < ?", []any{micros(f.Until)}})
	}
	for i, word := range strings.Fields(restart.FoldReason(f.Text)) {
		if i == maxWords {
			return q, restart.Errorf(restart.CodeInvalid, "at most %d words can be searched for at once", maxWords)
		}
		q.rest = append(q.rest, condition{`search LIKE ? ESCAPE '\'`, []any{"%" + likeEscape.Replace(word) + "%"}})
	}
	return q, nil
}

// cursor names a place: by the number alone in the order of storing.
func (q auditQuestion) cursor(at auditPlace) string {
	if q.stored {
		return strconv.FormatInt(at.id, 10)
	}
	return fmt.Sprintf("%d.%d", at.happened, at.id)
}

// after reads a cursor, and goes on behind it.
func (q *auditQuestion) after(cursor string) error {
	if cursor == "" {
		return nil
	}
	var numbers []int64
	for text := range strings.SplitSeq(cursor, ".") {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			numbers = nil
			break
		}
		numbers = append(numbers, n)
	}
	switch {
	case q.stored && len(numbers) == 1:
		q.bounds = append(q.bounds, q.behind(auditPlace{id: numbers[0]}))
	case !q.stored && len(numbers) == 2:
		q.bounds = append(q.bounds, q.behind(auditPlace{numbers[0], numbers[1]}))
	default:
		return restart.Errorf(restart.CodeInvalid, "%s is not a cursor", restart.Quote(cursor)).WithHint("use next of the page before")
	}
	return nil
}

// behind bounds the records to those that come after a place.
func (q auditQuestion) behind(at auditPlace) condition { return q.compared(at, ">", "<") }

// until bounds them to those that come before it, and the one there.
func (q auditQuestion) until(at auditPlace) condition { return q.compared(at, "<=", ">=") }

func (q auditQuestion) compared(at auditPlace, forward, backward string) condition {
	than := forward
	if q.newest {
		than = backward
	}
	if q.stored {
		return condition{"id " + than + " ?", []any{at.id}}
	}
	return condition{"(happened_at, id) " + than + " (?, ?)", []any{at.happened, at.id}}
}

// follows tells whether what comes later is to be asked for, too.
func (q auditQuestion) follows() bool { return q.stored && !q.newest }

func (q auditQuestion) order() string {
	switch {
	case q.stored && q.newest:
		return "id DESC"
	case q.stored:
		return "id"
	case q.newest:
		return "happened_at DESC, id DESC"
	}
	return "happened_at, id"
}

// end gives the place up to which a page looks, and whether that is before all
// has been looked at; the zero place where it may look at everything. Who follows
// the trail gets the last record there is, if no other.
func (q auditQuestion) end(ctx context.Context, t tx, most int) (at auditPlace, bounded bool, err error) {
	where, args := allOf(slices.Concat(q.leading, q.bounds))
	if len(q.rest) > 0 {
		at, err = placeOf(ctx, t, "SELECT happened_at, id FROM audit_records WHERE "+where+" ORDER BY "+q.order()+" LIMIT 1 OFFSET ?", append(args, most-1)...)
		if err != nil || at != (auditPlace{}) {
			return at, true, err
		}
	}
	if q.follows() {
		at, err = placeOf(ctx, t, "SELECT happened_at, id FROM audit_records WHERE "+where+" ORDER BY id DESC LIMIT 1", args...)
	}
	return at, false, err
}

func placeOf(ctx context.Context, t tx, text string, args ...any) (at auditPlace, err error) {
	if err = t.row(ctx, text, args...).Scan(&at.happened, &at.id); errors.Is(err, sql.ErrNoRows) {
		return at, nil
	}
	return at, err
}

// text is the whole question, for so many records up to a place.
func (q auditQuestion) text(columns string, end auditPlace, limit int) (string, []any) {
	conditions := slices.Concat(q.leading, q.rest, q.bounds)
	if end != (auditPlace{}) {
		conditions = append(conditions, q.until(end))
	}
	where, args := allOf(conditions)
	return "SELECT " + columns + " FROM audit_records WHERE " + where + " ORDER BY " + q.order() + " LIMIT ?", append(args, limit)
}

// TimeOfAuditCursor tells up to when a search has looked that goes on with a
// cursor; false for one in the order of storing.
func TimeOfAuditCursor(cursor string) (time.Time, bool) {
	text, _, found := strings.Cut(cursor, ".")
	n, err := strconv.ParseInt(text, 10, 64)
	return fromMicros(n), found && err == nil
}
