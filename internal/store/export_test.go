package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

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

// Before0002 makes a database as it was before the second migration, with one
// certificate in it.
func Before0002(ctx context.Context, dsn string, c Certificate) (err error) {
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
	if err := s.apply(ctx, all[:1]); err != nil {
		return err
	}
	return s.write(ctx, "store an old certificate", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "INSERT INTO certificates (serial, host, issued_at, not_after, revoked_at) VALUES (?, ?, ?, ?, 0)", c.Serial, c.Host, micros(c.IssuedAt), micros(c.NotAfter))
		return err
	})
}

// Before0005 makes a database as it was before the fifth migration, with a run
// in it that holds its service.
func Before0005(ctx context.Context, dsn string, run restart.Run, since time.Time) (err error) {
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
	if err := s.apply(ctx, all[:4]); err != nil {
		return err
	}
	return s.write(ctx, "store an old run", func(ctx context.Context, t tx) error {
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
