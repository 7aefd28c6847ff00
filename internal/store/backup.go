package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/backup"
	"github.com/restartilka/restartilka/internal/restart"
)

// BackupOptions says what a backup is to hold, and to say of itself.
type BackupOptions struct {
	Server        string // name of the server.yaml
	Program       string // version of this program
	WithoutOutput bool   // leave out what scripts printed, and thread dumps
	// Progress is called now and then with the rows that are done; nil = nobody asks.
	Progress func(done, total int64)
}

// Tables that are not in a backup, or not in one without output.
var (
	neverKept   = []string{"sessions", "login_requests", "chat_links", "chat_codes", "chat_buttons", "chat_messages", "chat_updates", "chat_turns"}
	outputKept  = []string{"outputs", "output_chunks", "dumps", "dump_chunks"}
	progressRow = int64(1000) // rows between two calls of Progress
)

// Backup writes one consistent view of the whole database: what was committed
// when it began, and nothing that came later. Servers may work meanwhile; on
// SQLite their journal grows until it is done. The schema may be older than
// this program, not newer (CodeConflict). CodeNotFound where there is no
// database, CodeUnavailable where it does not answer.
func Backup(ctx context.Context, c Config, w io.Writer, o BackupOptions) (m backup.Manifest, digest string, err error) {
	s, err := openToRead(c)
	if err != nil {
		return m, "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.reach(ctx); err != nil {
		return m, "", err
	}
	err = s.read(ctx, "back up the database", func(ctx context.Context, t tx) error {
		if m, err = describe(ctx, t, o); err != nil {
			return err
		}
		digest, err = copyOut(ctx, t, w, m, o.Progress)
		return err
	})
	return m, digest, err
}

// openToRead opens the database without the lock of a server and without
// changing its schema.
func openToRead(c Config) (*Store, error) {
	s := &Store{log: slog.New(slog.DiscardHandler)}
	path, isFile := strings.CutPrefix(c.DSN, "sqlite:")
	if !isFile {
		if err := s.openPostgres(c.DSN); err != nil {
			return nil, err
		}
		return s, nil
	}
	path, err := realPath(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, restart.Errorf(restart.CodeNotFound, "there is no database %s", restart.Escape(path)).WithHint("database: in server.yaml names it").Because(err)
	}
	if err := checkRestored(path); err != nil {
		return nil, err
	}
	s.dialect = sqliteDialect()
	s.reader = openReader(path)
	s.writer = s.reader
	return s, nil
}

// describe looks what there is.
func describe(ctx context.Context, t tx, o BackupOptions) (backup.Manifest, error) {
	m := backup.Manifest{Server: o.Server, Program: o.Program, Database: t.dialect.name, WithoutOutput: o.WithoutOutput}
	if t.dialect.patience != "" {
		if _, err := t.exec(ctx, t.dialect.patience); err != nil {
			return m, err
		}
	}
	migrations, err := readMigrations(migrationFiles)
	if err != nil {
		return m, err
	}
	var there bool
	if m.Schema, there, err = readVersion(ctx, t); err != nil {
		return m, err
	}
	if !there || m.Schema == 0 {
		return m, restart.Errorf(restart.CodeNotFound, "the database is empty: there is nothing to back up")
	}
	if m.Schema > len(migrations) {
		return m, restart.Errorf(restart.CodeConflict, "the database has schema %d; this program knows schemas up to %d", m.Schema, len(migrations)).
			WithHint("back it up with the newer restartilka that made it")
	}
	var now int64
	if err := t.row(ctx, "SELECT $now").Scan(&now); err != nil {
		return m, err
	}
	m.MadeAt = fromMicros(now)
	for _, name := range tablesOf(migrations[:m.Schema]) {
		if slices.Contains(neverKept, name) || o.WithoutOutput && slices.Contains(outputKept, name) {
			continue
		}
		table := backup.Table{Name: name}
		if table.Columns, err = columnsOf(ctx, t, name); err != nil {
			return m, err
		}
		if err := t.row(ctx, "SELECT count(*) FROM "+name).Scan(&table.Rows); err != nil {
			return m, err
		}
		m.Tables = append(m.Tables, table)
	}
	return m, nil
}

// columnsOf names the columns of a table in their order.
func columnsOf(ctx context.Context, t tx, table string) ([]string, error) {
	rows, err := t.rows(ctx, "SELECT * FROM "+table+" WHERE 1 = 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close() // rows.Err tells
	columns, err := rows.Columns()
	return columns, errors.Join(err, rows.Err())
}

// copyOut writes every table, row by row, by its first column, so that the
// same rows make the same bytes.
func copyOut(ctx context.Context, t tx, w io.Writer, m backup.Manifest, progress func(done, total int64)) (string, error) {
	out, err := backup.NewWriter(w, m)
	if err != nil {
		return "", err
	}
	done, total := int64(0), m.Rows()
	for _, table := range m.Tables {
		if err := out.Table(table.Name); err != nil {
			return "", err
		}
		err := each(ctx, t, table, func(row []any) error {
			if done++; progress != nil && done%progressRow == 0 {
				progress(done, total)
			}
			return out.Row(row)
		})
		if err != nil {
			return "", fmt.Errorf("table %s: %w", table.Name, err)
		}
	}
	return out.Close()
}

// each reads a table. The row is good until do returns.
func each(ctx context.Context, t tx, table backup.Table, do func(row []any) error) error {
	rows, err := t.rows(ctx, "SELECT "+strings.Join(table.Columns, ", ")+" FROM "+table.Name+" ORDER BY 1")
	if err != nil {
		return err
	}
	defer rows.Close() // rows.Err tells
	row, into := make([]any, len(table.Columns)), make([]any, len(table.Columns))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := do(row); err != nil {
			return err
		}
	}
	return rows.Err()
}
