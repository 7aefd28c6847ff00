package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/backup"
	"github.com/restartilka/restartilka/internal/restart"
)

// RestoreOptions says how a backup is put back.
type RestoreOptions struct {
	Server  string // name: of the server.yaml: the source of the audit record
	By      string // who restores
	Replace bool   // SQLite: move a database that is there aside; PostgreSQL: CodeInvalid
	// Progress is called now and then with the rows that are done; nil = nobody asks.
	Progress func(done, total int64)
}

// Restored tells what has become of a backup.
type Restored struct {
	Manifest backup.Manifest `json:"backup"`
	Digest   string          `json:"sha256"`
	Schema   int             `json:"schema"`                // of the database now
	Epoch    int64           `json:"epoch"`                 // of the audit trail, and the least of each run, from now on
	Paused   []string        `json:"paused"`                // runs that were queued or running
	Drafts   int64           `json:"drafts,omitempty"`      // plans that nobody had confirmed: dropped
	Joins    int64           `json:"join_tokens,omitempty"` // join tokens that were ended
	Moved    []string        `json:"moved,omitempty"`       // SQLite: the files of the database before, where they are now
}

// Restore puts a backup into a database that is empty, brings its schema up to
// date and fences off what the lost database may have done since: see fence.
//
// It is whole or not at all: a SQLite file is built aside and renamed when it
// is on the disk, and a server refuses to start while that is not finished; in
// PostgreSQL it is one transaction. The database is not used by a server
// meanwhile (CodeConflict). CodeInvalid where the backup is damaged,
// CodeConflict where it is newer than this program, or the database is not
// empty.
func Restore(ctx context.Context, c Config, r io.Reader, o RestoreOptions) (out Restored, err error) {
	in, err := backup.NewReader(r)
	if err != nil {
		return out, err
	}
	migrations, err := readMigrations(migrationFiles)
	if err != nil {
		return out, err
	}
	if schema := in.Manifest().Schema; schema > len(migrations) {
		return out, restart.Errorf(restart.CodeConflict, "the backup has schema %d; this program knows schemas up to %d", schema, len(migrations)).
			WithHint("restore it with the restartilka that made it, %s, or a newer one", restart.Quote(in.Manifest().Program))
	}
	if path, isFile := strings.CutPrefix(c.DSN, "sqlite:"); isFile {
		return restoreFile(ctx, path, in, migrations, o)
	}
	if o.Replace {
		return out, restart.Errorf(restart.CodeInvalid, "--replace is for SQLite only: a PostgreSQL database is not moved aside").
			WithHint("make a new database, and name it in the dsn_file")
	}
	s := &Store{log: slog.New(slog.DiscardHandler), source: o.Server}
	if err := s.openPostgres(c.DSN); err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.reach(ctx); err != nil {
		return out, err
	}
	return s.restore(ctx, in, migrations, o)
}

// restore does it all in one transaction, which is never tried again: the
// backup is read once.
func (s *Store) restore(ctx context.Context, in *backup.Reader, migrations []migration, o RestoreOptions) (out Restored, err error) {
	err = s.translate("restore the database", s.transact(ctx, s.writer, nil, func(ctx context.Context, t tx) error {
		out = Restored{Manifest: in.Manifest(), Schema: len(migrations), Paused: []string{}}
		if err := undisturbed(ctx, t); err != nil {
			return err
		}
		if err := makeEmpty(ctx, t, migrations); err != nil {
			return err
		}
		if err := s.applyIn(ctx, t, migrations[:out.Manifest.Schema]); err != nil {
			return err
		}
		if err := copyIn(ctx, t, in, migrations[:out.Manifest.Schema], o.Progress); err != nil {
			return err
		}
		if err := s.applyIn(ctx, t, migrations); err != nil {
			return err
		}
		if err := countOn(ctx, t); err != nil {
			return err
		}
		out.Digest = in.Digest()
		return fence(ctx, t, &out, o)
	}))
	return out, err
}

// makeEmpty refuses a database that holds anything, and drops the tables of
// one that holds nothing: its schema may be newer than the backup's.
func makeEmpty(ctx context.Context, t tx, migrations []migration) error {
	version, there, err := readVersion(ctx, t)
	if err != nil || !there {
		return err
	}
	if version > len(migrations) {
		return notEmpty("it has schema %d, which is newer than this program", version)
	}
	tables := tablesOf(migrations[:version])
	if slices.Contains(tables, "runs") {
		var leased int
		if err := t.row(ctx, "SELECT count(*) FROM runs WHERE owner <> '' AND lease_until > $now").Scan(&leased); err != nil {
			return err
		}
		if leased > 0 {
			return restart.Errorf(restart.CodeConflict, "a server is working on this database: it holds %d runs", leased).
				WithHint("stop every server of it; and restore into a new, empty database")
		}
	}
	for _, table := range tables {
		var rows int
		if err := t.row(ctx, "SELECT count(*) FROM (SELECT 1 FROM "+table+" LIMIT 1) AS found").Scan(&rows); err != nil {
			return err
		}
		if rows > 0 {
			return notEmpty("there are rows in %s", table)
		}
	}
	for _, table := range slices.Backward(append([]string{"schema_version"}, tables...)) {
		if _, err := t.exec(ctx, "DROP TABLE "+table); err != nil {
			return err
		}
	}
	return nil
}

func notEmpty(format string, args ...any) error {
	return restart.Errorf(restart.CodeConflict, "the database is not empty: "+format, args...).
		WithHint("a restore goes into an empty one: make a new database (createdb) and name it in the dsn_file; nothing was changed")
}

// Bounds of one INSERT.
const (
	restoreRows  = 200
	restoreBytes = 4 << 20
	restoreArgs  = 10_000
)

// copyIn reads the backup to its end, sum included, and inserts its rows.
func copyIn(ctx context.Context, t tx, in *backup.Reader, migrations []migration, progress func(done, total int64)) error {
	known := tablesOf(migrations)
	for _, table := range slices.Backward(known) { // what migrations have put there is in the backup
		if _, err := t.exec(ctx, "DELETE FROM "+table); err != nil {
			return err
		}
	}
	for _, table := range in.Manifest().Tables {
		if err := fits(ctx, t, known, table); err != nil {
			return err
		}
	}
	done, total := int64(0), in.Manifest().Rows()
	var waiting insertion
	for {
		table, row, err := in.Next()
		if err != nil {
			return err
		}
		if row == nil || waiting.full(table) {
			if err := waiting.flush(ctx, t); err != nil {
				return fmt.Errorf("table %s: %w", waiting.table.Name, err)
			}
		}
		if row == nil {
			return nil
		}
		waiting.add(table, row)
		if done++; progress != nil && done%progressRow == 0 {
			progress(done, total)
		}
	}
}

// fits tells whether a table of a backup is one of the schema that it names.
func fits(ctx context.Context, t tx, known []string, table backup.Table) error {
	if !slices.Contains(known, table.Name) || slices.Contains(neverKept, table.Name) {
		return restart.Errorf(restart.CodeInvalid, "the backup has a table %s, which its schema does not have", table.Name).WithHint("nothing was changed")
	}
	columns, err := columnsOf(ctx, t, table.Name)
	if err != nil {
		return err
	}
	for _, c := range table.Columns {
		if !slices.Contains(columns, c) {
			return restart.Errorf(restart.CodeInvalid, "the backup has a column %s of %s, which its schema does not have", c, table.Name).WithHint("nothing was changed")
		}
	}
	return nil
}

// insertion gathers rows of one table for one statement.
type insertion struct {
	table backup.Table
	args  []any
	rows  int
	bytes int
}

// full tells whether a row of the table has to wait for the next statement.
func (w *insertion) full(next backup.Table) bool {
	return w.rows > 0 && (w.table.Name != next.Name || w.rows >= restoreRows || w.bytes >= restoreBytes || len(w.args)+len(next.Columns) > restoreArgs)
}

func (w *insertion) add(table backup.Table, row []any) {
	w.table = table
	w.args = append(w.args, row...)
	w.rows++
	for _, v := range row {
		switch v := v.(type) {
		case string:
			w.bytes += len(v)
		case []byte:
			w.bytes += len(v)
		}
	}
}

func (w *insertion) flush(ctx context.Context, t tx) error {
	if w.rows == 0 {
		return nil
	}
	_, err := t.exec(ctx, "INSERT INTO "+w.table.Name+" ("+strings.Join(w.table.Columns, ", ")+")"+t.dialect.overriding+
		" VALUES "+repeat("("+marks(len(w.table.Columns))+")", w.rows), w.args...)
	w.args, w.rows, w.bytes = w.args[:0], 0, 0
	return err
}

// countOn makes columns that number their rows go on behind the rows that are there.
func countOn(ctx context.Context, t tx) error {
	if t.dialect.serials == "" {
		return nil
	}
	type column struct{ table, name string }
	rows, err := t.rows(ctx, t.dialect.serials)
	columns, err := collect(rows, err, func(r *sql.Rows) (c column, err error) {
		err = r.Scan(&c.table, &c.name)
		return c, err
	})
	if err != nil {
		return err
	}
	for _, c := range columns {
		if _, err := t.exec(ctx, "SELECT setval(pg_get_serial_sequence(?, ?), COALESCE(MAX("+c.name+"), 0) + 1, false) FROM "+c.table, c.table, c.name); err != nil {
			return err
		}
	}
	return nil
}

// stamp is how a time is told to people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
