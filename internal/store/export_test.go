package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/backup"
	"github.com/restartilka/restartilka/internal/restart"
)

// LimitPages makes the disk of a SQLite store full at so many pages, or at
// the number in use where that is more.
func LimitPages(s *Store, pages int) error {
	return s.write(context.Background(), "limit pages", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		return err
	})
}

// Setting reads what one value says in a writing transaction.
func Setting(s *Store, query string) (value string, err error) {
	err = s.write(context.Background(), "read setting", func(ctx context.Context, t tx) error {
		return t.row(ctx, query).Scan(&value)
	})
	return value, err
}

// Write runs a function in a writing transaction.
func Write(s *Store, do func() error) error {
	return s.write(context.Background(), "test", func(context.Context, tx) error { return do() })
}

// Ask asks so many statements in one question.
func Ask(s *Store, statements int) error {
	return s.ask(context.Background(), "test", func(ctx context.Context, t tx) error {
		for range statements {
			var n int
			if err := t.row(ctx, "SELECT 1").Scan(&n); err != nil {
				return err
			}
		}
		return nil
	})
}

// ChangeByAsking changes something in a question.
func ChangeByAsking(s *Store) error {
	return s.ask(context.Background(), "test", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "DELETE FROM runs")
		return err
	})
}

// Before0002 makes a database as it was before the second migration, with one
// certificate in it.
func Before0002(ctx context.Context, dsn string, c Certificate) error {
	return before(ctx, dsn, 2, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "INSERT INTO certificates (serial, host, issued_at, not_after, revoked_at) VALUES (?, ?, ?, ?, 0)", c.Serial, c.Host, micros(c.IssuedAt), micros(c.NotAfter))
		return err
	})
}

// Before0005 makes a database as it was before the fifth migration, with a run
// in it that holds its service.
func Before0005(ctx context.Context, dsn string, run restart.Run, since time.Time) error {
	return before(ctx, dsn, 5, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, `INSERT INTO runs (id, state, cause, explanation, control, scenario, digest, kind, service, environment, project,
			host_group, params, actor, via, reason, ticket, idempotency_key, epoch, version, owner, lease_until, acknowledged, held, created_at)
			VALUES (?, 'running', '', '', '', 's', 'd', 'restart', ?, ?, '', '', 'null', ?, 'cli', 'r', '', '', 0, 1, '', 0, 0, 0, ?)`,
			run.ID, run.Service, run.Environment, run.Actor, micros(since))
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, "INSERT INTO service_locks (service, environment, run_id, since) VALUES (?, ?, ?, ?)", run.Service, run.Environment, run.ID, micros(since))
		return err
	})
}

// BeforeDumpWeight makes a database as it was before dumps had weights, with two
// uploads of so many bytes in it; the first has evidence of so many, too.
func BeforeDumpWeight(ctx context.Context, dsn string, stored, evidence int) (ids [2]string, err error) {
	all, err := readMigrations(migrationFiles)
	if err != nil {
		return ids, err
	}
	weight := slices.IndexFunc(all, func(m migration) bool { return strings.HasSuffix(m.name, "_dump_weight.sql") }) + 1
	kept := [][]byte{make([]byte, evidence), nil}
	err = before(ctx, dsn, weight, func(ctx context.Context, t tx) error {
		for i := range ids {
			at := time.Date(2026, 11, 20, 9, i, 0, 0, time.UTC)
			ids[i] = restart.NewID(at)
			if _, err := t.exec(ctx, "INSERT INTO dumps ("+dumpColumns+", evidence) VALUES ("+marks(26)+")",
				ids[i], nil, "", "", "", "", "", "upload", 0, 1, 1, "jvm", "", 0, micros(at), 0, 0, stored, "[]", "", "", "a", "anna", "", micros(at), maybeBytes(kept[i])); err != nil {
				return err
			}
		}
		return nil
	})
	return ids, err
}

// DropSome drops what one transaction of DropDumps does.
func DropSome(ctx context.Context, s *Store, keep Retention) (n int, bytes int64, err error) {
	return s.dropSome(ctx, keep)
}

// ApplyNext applies one migration more than there are.
func ApplyNext(ctx context.Context, s *Store, text string) error {
	all, err := readMigrations(migrationFiles)
	if err != nil {
		return err
	}
	return s.apply(ctx, append(all, migration{version: len(all) + 1, name: "next", text: text}))
}

// before makes a database as it was before a migration, with some rows in it.
func before(ctx context.Context, dsn string, migration int, insert func(context.Context, tx) error) (err error) {
	s := &Store{log: slog.New(slog.DiscardHandler)}
	defer func() { err = errors.Join(err, s.Close()) }()
	if path, isFile := strings.CutPrefix(dsn, "sqlite:"); isFile {
		err = s.openSQLite(path)
	} else {
		err = s.openPostgres(dsn)
	}
	if err != nil {
		return err
	}
	all, err := readMigrations(migrationFiles)
	if err != nil {
		return err
	}
	if err := s.apply(ctx, all[:migration-1]); err != nil {
		return err
	}
	return s.write(ctx, "store old rows", insert)
}

// Rows gives every row of every table as text, in no order that means anything.
func Rows(s *Store) (map[string][]string, error) {
	out := map[string][]string{}
	err := s.read(context.Background(), "dump", func(ctx context.Context, t tx) error {
		all, err := readMigrations(migrationFiles)
		if err != nil {
			return err
		}
		for _, name := range tablesOf(all) {
			columns, err := columnsOf(ctx, t, name)
			if err != nil {
				return err
			}
			err = each(ctx, t, backup.Table{Name: name, Columns: columns}, func(row []any) error {
				var line []string
				for i, v := range row {
					line = append(line, fmt.Sprintf("%s=%q", columns[i], fmt.Sprint(v)))
				}
				out[name] = append(out[name], strings.Join(line, " "))
				return nil
			})
			if err != nil {
				return err
			}
			slices.Sort(out[name])
		}
		return nil
	})
	return out, err
}

// Tables names the tables that there really are.
func Tables(s *Store) (names []string, err error) {
	text := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
	if s.dialect.numbered {
		text = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
	}
	err = s.read(context.Background(), "list tables", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, text)
		names, err = collect(rows, err, func(r *sql.Rows) (name string, err error) {
			err = r.Scan(&name)
			return name, err
		})
		return err
	})
	return names, err
}

// TablesOfMigrations names the tables that the migrations say there are.
func TablesOfMigrations() []string {
	all, err := readMigrations(migrationFiles)
	if err != nil {
		return nil
	}
	return tablesOf(all)
}

// Do runs a statement.
func Do(s *Store, text string, args ...any) error {
	return s.write(context.Background(), "test", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, text, args...)
		return err
	})
}

// LookThrough makes pages of lists look through fewer runs.
func LookThrough(s *Store, runs int) { s.look = look{runs, runs, runs, 0} }

// Before0014 makes a database as it was before records could be searched by
// host, with some in it.
func Before0014(ctx context.Context, dsn string, records []audit.Record) error {
	return before(ctx, dsn, 14, func(ctx context.Context, t tx) error {
		for _, r := range records {
			r.Clean()
			if _, err := t.exec(ctx, "INSERT INTO audit_records (source, actor, action, run_id, service, body) VALUES (?, ?, ?, ?, ?, ?)", r.Source, r.Actor, string(r.Action), r.Run, r.Service, r.Canonical()); err != nil {
				return err
			}
		}
		return nil
	})
}
