package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// DumpOrigin says how a thread dump came here.
type DumpOrigin string

// The origins.
const (
	DumpOfRun    DumpOrigin = "run"      // a thread-dump scenario took it
	DumpEvidence DumpOrigin = "evidence" // a task, before it touched the host
	DumpBefore   DumpOrigin = "before"   // asked of every host before the first was touched
	DumpAfter    DumpOrigin = "after"    // a task, once the host was healthy again
	DumpUpload   DumpOrigin = "upload"   // somebody put the file in
)

// DumpOrigins lists the origins there are.
func DumpOrigins() []DumpOrigin {
	return []DumpOrigin{DumpOfRun, DumpEvidence, DumpBefore, DumpAfter, DumpUpload}
}

// Dump is a stored thread dump without its bytes. A file may hold several.
type Dump struct {
	ID                                string
	RunID                             string // "" = an upload
	TaskID                            string // "" = no task took it
	Host, Service, Environment, Group string // "" of an upload
	Origin                            DumpOrigin
	Place                             int // in the task, from 1; 0 = no task took it
	Number, Of                        int // in its series, from 1
	Runtime                           dump.Runtime
	Method                            string
	PID                               int
	TakenAt                           time.Time
	Took                              time.Duration
	Size                              int64           // bytes of its text
	Stored                            int64           // bytes as they are stored; 0 = none are: see Error
	Notes                             []string        //
	Verdict                           json.RawMessage // of analyse.Finding; nil = not judged
	Summary                           json.RawMessage // nil = none
	Evidence                          json.RawMessage // what was kept beside it; only Dump and ReadDump give it
	Name, Owner                       string          // of an upload: the file's, and whose it is
	Error                             string          // why there is no dump, or what is wrong with it
	CreatedAt                         time.Time
}

// DumpFilter narrows a list of dumps, the newest first; empty fields do not.
type DumpFilter struct {
	Run, Task, Service, Host string
	Owner                    string // uploads of this person, and nothing else; "" = no uploads
	Before                   string // the cursor that an earlier page returned
	Limit                    int    // 1 to 200; 0 = 50
}

// dumpChunk bounds the bytes of one row.
const dumpChunk = 512 << 10

const dumpColumns = "id, run_id, task_id, host, service, environment, host_group, origin, place, number, series, runtime, method, pid, " +
	"taken_at, took_us, size, stored, notes, verdict, summary, name, owner, error, created_at"

// AddDump stores a dump with its bytes, which are nil where none came. One of
// the same place in the same task, and a second one from before the same run on
// the same host, is CodeConflict; a run that is not there CodeNotFound.
func (s *Store) AddDump(ctx context.Context, d Dump, data []byte, records ...audit.Record) error {
	if err := restart.CheckID(d.ID); err != nil {
		return err
	}
	if !slices.Contains(DumpOrigins(), d.Origin) || (d.Origin == DumpUpload) != (d.RunID == "") || (d.Origin == DumpUpload) != (d.Owner != "") {
		return restart.Errorf(restart.CodeInvalid, "a dump is of a run, or somebody's upload")
	}
	notes, err := toJSON(d.Notes)
	if err != nil {
		return err
	}
	evidence, err := s.packer.pack(d.Evidence)
	if err != nil {
		return err
	}
	args := []any{
		d.ID, noneIfEmpty(d.RunID), d.TaskID, d.Host, d.Service, d.Environment, d.Group, string(d.Origin), d.Place, d.Number, d.Of, string(d.Runtime), d.Method, d.PID,
		micros(d.TakenAt), d.Took.Microseconds(), d.Size, int64(len(data)), notes, string(d.Verdict), string(d.Summary), d.Name, d.Owner, d.Error, micros(d.CreatedAt),
	}
	return s.write(ctx, "store dump "+d.ID, func(ctx context.Context, t tx) error {
		// Its own arguments: a transaction may be tried again, and cleans them in place.
		_, err := t.exec(ctx, "INSERT INTO dumps ("+dumpColumns+", evidence, weight) VALUES ("+marks(len(args)+2)+")", append(slices.Clone(args), maybeBytes(evidence), len(data)+len(evidence))...)
		if err != nil {
			return err
		}
		n := 0
		for chunk := range slices.Chunk(data, dumpChunk) {
			if _, err := t.exec(ctx, "INSERT INTO dump_chunks (dump_id, n, data) VALUES (?, ?, ?)", d.ID, n, chunk); err != nil {
				return err
			}
			n++
		}
		return insertRecords(ctx, t, records, micros(d.CreatedAt))
	})
}

// noneIfEmpty gives NULL for "".
func noneIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Dump gives one dump without its bytes (CodeNotFound).
func (s *Store) Dump(ctx context.Context, id string) (d Dump, err error) {
	err = s.ask(ctx, "read a dump", func(ctx context.Context, t tx) error {
		d, err = readDump(ctx, t, id)
		return err
	})
	return d, err
}

// ReadDump gives one dump with its bytes (CodeNotFound).
func (s *Store) ReadDump(ctx context.Context, id string) (d Dump, data []byte, err error) {
	err = s.read(ctx, "read a dump", func(ctx context.Context, t tx) error {
		if d, err = readDump(ctx, t, id); err != nil {
			return err
		}
		data = make([]byte, 0, d.Stored)
		rows, err := t.rows(ctx, "SELECT data FROM dump_chunks WHERE dump_id = ? ORDER BY n", id)
		_, err = collect(rows, err, func(r *sql.Rows) (none struct{}, err error) {
			var chunk sql.RawBytes
			err = r.Scan(&chunk)
			data = append(data, chunk...)
			return none, err
		})
		return err
	})
	if err == nil && int64(len(data)) != d.Stored {
		err = fmt.Errorf("read dump %s: %d of its %d bytes are there", id, len(data), d.Stored)
	}
	return d, data, err
}

func readDump(ctx context.Context, t tx, id string) (Dump, error) {
	rows, err := t.rows(ctx, "SELECT "+dumpColumns+", evidence FROM dumps WHERE id = ?", id)
	found, err := collect(rows, err, func(r *sql.Rows) (Dump, error) {
		var packed []byte
		d, err := scanDump(r, &packed)
		if err != nil {
			return d, err
		}
		d.Evidence, err = unpack(packed)
		return d, err
	})
	if err != nil {
		return Dump{}, err
	}
	if len(found) == 0 {
		return Dump{}, notFound("dump", id)
	}
	return found[0], nil
}

func scanDump(r *sql.Rows, more ...any) (d Dump, err error) {
	var run sql.NullString
	var taken, took, created int64
	var notes, verdict, summary string
	into := []any{
		&d.ID, &run, &d.TaskID, &d.Host, &d.Service, &d.Environment, &d.Group, &d.Origin, &d.Place, &d.Number, &d.Of, &d.Runtime, &d.Method, &d.PID,
		&taken, &took, &d.Size, &d.Stored, &notes, &verdict, &summary, &d.Name, &d.Owner, &d.Error, &created,
	}
	if err := r.Scan(append(into, more...)...); err != nil {
		return d, err
	}
	d.RunID, d.TakenAt, d.Took, d.CreatedAt = run.String, fromMicros(taken), time.Duration(took)*time.Microsecond, fromMicros(created)
	d.Verdict, d.Summary = rawOrNil(verdict), rawOrNil(summary)
	return d, json.Unmarshal([]byte(notes), &d.Notes)
}

func rawOrNil(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// Dumps lists dumps, the newest first. next is the cursor of the following
// page, "" at the end.
func (s *Store) Dumps(ctx context.Context, f DumpFilter) (list []Dump, next string, err error) {
	if f.Before != "" && restart.CheckID(f.Before) != nil {
		return nil, "", restart.Errorf(restart.CodeInvalid, "%s is not a cursor", restart.Quote(f.Before)).WithHint("use next of the page before")
	}
	where, args := []string{"owner = ?"}, []any{f.Owner}
	for _, c := range []struct{ text, value string }{
		{"run_id = ?", f.Run}, {"task_id = ?", f.Task}, {"service = ?", f.Service}, {"host = ?", f.Host}, {"id < ?", f.Before},
	} {
		if c.value != "" {
			where, args = append(where, c.text), append(args, c.value)
		}
	}
	limit := page(f.Limit)
	text := "SELECT " + dumpColumns + " FROM dumps WHERE " + strings.Join(where, " AND ") + " ORDER BY id DESC LIMIT ?"
	err = s.ask(ctx, "list dumps", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, text, append(slices.Clone(args), limit+1)...)
		list, err = collect(rows, err, func(r *sql.Rows) (Dump, error) { return scanDump(r) })
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(list) > limit {
		list, next = list[:limit], list[limit-1].ID
	}
	return list, next, nil
}

// TaskDumps tells which places of a task's dumps are stored.
func (s *Store) TaskDumps(ctx context.Context, task string) (places []int, err error) {
	err = s.ask(ctx, "list the dumps of a task", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT place FROM dumps WHERE task_id = ? AND task_id <> '' ORDER BY place", task)
		places, err = collect(rows, err, func(r *sql.Rows) (n int, err error) { return n, r.Scan(&n) })
		return err
	})
	return places, err
}

// HostsBefore names the hosts of a run that have said something before it.
func (s *Store) HostsBefore(ctx context.Context, run string) (hosts []string, err error) {
	err = s.ask(ctx, "list what was kept before a run", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT host FROM dumps WHERE run_id = ? AND origin = 'before' ORDER BY host", run)
		hosts, err = collect(rows, err, func(r *sql.Rows) (h string, err error) { return h, r.Scan(&h) })
		return err
	})
	return hosts, err
}

// DeleteDump removes a dump with its bytes (CodeNotFound).
func (s *Store) DeleteDump(ctx context.Context, id string, at time.Time, records ...audit.Record) error {
	return s.write(ctx, "delete dump "+id, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "DELETE FROM dumps WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound("dump", id)
		}
		return insertRecords(ctx, t, records, micros(at))
	})
}

// DumpBytes gives how many bytes all dumps take, with the evidence beside them.
func (s *Store) DumpBytes(ctx context.Context) (total int64, err error) {
	err = s.ask(ctx, "add up the dumps", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT COALESCE(SUM(weight), 0) FROM dumps").Scan(&total)
	})
	return total, err
}

// Retention says which dumps are to go. The zero value of each is no bound.
type Retention struct {
	Before  time.Time // those made before it
	Uploads time.Time // and uploads made before it
	Bytes   int64     // and the oldest, until no more are left: uploads first, so that nobody can put evidence out by them
	By      string    // who drops them, for the audit trail
}

// What one transaction drops at most: others wait to write meanwhile.
const (
	dropBatch = 100      // dumps
	dropBytes = 64 << 20 // of theirs, but for a single one that has more
)

// DropDumps drops what a retention does not keep, the oldest first, and tells
// how many dumps and bytes that was.
func (s *Store) DropDumps(ctx context.Context, keep Retention) (dropped int, bytes int64, err error) {
	for {
		n, size, err := s.dropSome(ctx, keep)
		dropped, bytes = dropped+n, bytes+size
		if err != nil || n == 0 {
			return dropped, bytes, err
		}
	}
}

func (s *Store) dropSome(ctx context.Context, keep Retention) (n int, bytes int64, err error) {
	type old struct {
		id     string
		weight int64
	}
	err = s.write(ctx, "drop old dumps", func(ctx context.Context, t tx) error {
		n, bytes = 0, 0
		var ids []string
		rows, err := t.rows(ctx, "SELECT id, weight FROM dumps WHERE created_at < ? OR origin = 'upload' AND created_at < ? ORDER BY created_at, id LIMIT ?",
			micros(keep.Before), micros(keep.Uploads), dropBatch)
		scan := func(r *sql.Rows) (o old, err error) { return o, r.Scan(&o.id, &o.weight) }
		gone, err := collect(rows, err, scan)
		if err != nil {
			return err
		}
		if len(gone) == 0 && keep.Bytes > 0 {
			var total int64
			if err := t.row(ctx, "SELECT COALESCE(SUM(weight), 0) FROM dumps").Scan(&total); err != nil || total <= keep.Bytes {
				return err
			}
			rows, err := t.rows(ctx, "SELECT id, weight FROM dumps ORDER BY CASE origin WHEN 'upload' THEN 0 ELSE 1 END, created_at, id LIMIT ?", dropBatch)
			if gone, err = collect(rows, err, scan); err != nil {
				return err
			}
			enough := 0
			for over := total - keep.Bytes; enough < len(gone) && over > 0; enough++ {
				over -= gone[enough].weight
			}
			gone = gone[:enough]
		}
		for _, o := range gone {
			if n > 0 && bytes+o.weight > dropBytes {
				break
			}
			if _, err := t.exec(ctx, "DELETE FROM dumps WHERE id = ?", o.id); err != nil {
				return err
			}
			n, bytes, ids = n+1, bytes+o.weight, append(ids, o.id)
		}
		if n == 0 {
			return nil
		}
		return insertRecords(ctx, t, []audit.Record{{
			Actor: keep.By, Origin: "local", Action: audit.DumpExpired, Detail: fmt.Sprintf("%d dumps, %d bytes: %s", n, bytes, strings.Join(ids, " ")),
		}}, 0)
	})
	return n, bytes, err
}
