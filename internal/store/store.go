package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Config says which database to open.
type Config struct {
	// DSN is sqlite:PATH or a postgres:// URL.
	DSN string
	// Source is the name under which this server's audit records are
	// sequenced: those that are stored without a source get it, so that no other
	// server takes them. "" = whichever server asks first takes them.
	Source string
	// Logger gets what is worth knowing about the database; nil = slog.Default().
	Logger *slog.Logger
}

// Store is an open database. All methods may be used by many goroutines.
type Store struct {
	dialect dialect
	source  string
	writer  *sql.DB
	reader  *sql.DB // on PostgreSQL the same as writer
	group   *group  // SQLite: makes writes share commits; nil on PostgreSQL
	lock    *fileLock
	log     *slog.Logger
	packer  packer
	look    look // bounds of what one page of a list looks through
	closing sync.Once
	closed  atomic.Bool
	failure error // of closing
}

// Open opens the database and brings its schema up to date. A schema newer
// than this program, and a SQLite file that another process has open, are
// refused with CodeConflict; a database that can't be reached with
// CodeUnavailable; a DSN that is not understood with CodeInvalid.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	s := &Store{log: c.Logger, source: c.Source, look: look{lookThrough, lookThroughTasks, lookFirst, lookFor}}
	var err error
	switch path, isFile := strings.CutPrefix(c.DSN, "sqlite:"); {
	case isFile:
		err = s.openSQLite(path)
	case strings.HasPrefix(c.DSN, "postgres://"), strings.HasPrefix(c.DSN, "postgresql://"):
		err = s.openPostgres(c.DSN)
	default:
		return nil, restart.Errorf(restart.CodeInvalid, "the address of the database is not understood").
			WithHint("sqlite:/var/lib/restartilka/restartilka.db, or postgres://user@host/database")
	}
	if err == nil {
		err = s.reach(ctx)
	}
	if err == nil {
		err = s.migrate(ctx)
	}
	if err == nil && s.lock != nil {
		err = s.endLeases(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// reach connects for the first time. Who starts a server has to see what is
// wrong with the address or the password; neither driver shows a password.
func (s *Store) reach(ctx context.Context) error {
	err := s.writer.PingContext(ctx)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return restart.Errorf(restart.CodeUnavailable, "the database can't be reached: %s", restart.Escape(err.Error())).
		WithHint("is it running, and is the address right?").Because(err)
}

// Close waits for the writes in hand and closes the database. Closing again
// returns what the first call returned.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		var errs []error
		if s.group != nil {
			s.group.close()
		}
		if s.reader != nil && s.reader != s.writer {
			errs = append(errs, s.reader.Close())
		}
		if s.writer != nil {
			errs = append(errs, s.writer.Close()) // last: it folds the journal into the file
		}
		if s.lock != nil {
			errs = append(errs, s.lock.release())
		}
		s.failure = errors.Join(errs...)
	})
	return s.failure
}

// Ping tells whether the database answers: nil or CodeUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.Now(ctx)
	return err
}

// Now gives the database's time, UTC, in microseconds. Leases are measured by it.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now int64
	err := s.ask(ctx, "ask the database for the time", func(ctx context.Context, tx tx) error {
		return tx.row(ctx, "SELECT $now").Scan(&now)
	})
	return fromMicros(now), err
}

// tx is one transaction, or one question, which speaks the common SQL text.
type tx struct {
	querier
	dialect dialect
	source  string // of audit records that have none
}

// querier takes statements: a transaction, or a pool of which any connection will do.
type querier interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row
}

// exec runs a statement and returns how many rows it changed.
func (t tx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	r, err := t.querier.ExecContext(ctx, t.dialect.sql(text), clean(args)...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t tx) rows(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return t.querier.QueryContext(ctx, t.dialect.sql(text), clean(args)...)
}

func (t tx) row(ctx context.Context, text string, args ...any) *sql.Row {
	return t.querier.QueryRowContext(ctx, t.dialect.sql(text), clean(args)...)
}

// clean makes texts storable everywhere: PostgreSQL takes neither a zero byte
// nor invalid UTF-8, both of which an agent's sentence could carry.
func clean(args []any) []any {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
		}
	}
	return args
}

// write runs do in a transaction and commits it, or, where do returns an
// error, leaves nothing of it. do may be called again: it sets its results and
// adds to nothing.
func (s *Store) write(ctx context.Context, doing string, do func(context.Context, tx) error) error {
	if s.group != nil {
		return s.translate(doing, s.group.do(ctx, do))
	}
	const tries = 3
	var err error
	for range tries {
		if err = s.transact(ctx, s.writer, nil, do); faultOf(err) != faultCollision {
			break
		}
	}
	return s.translate(doing, err)
}

// read runs do on one consistent view of the database.
func (s *Store) read(ctx context.Context, doing string, do func(context.Context, tx) error) error {
	options := &sql.TxOptions{ReadOnly: true}
	if s.dialect.numbered {
		options.Isolation = sql.LevelRepeatableRead
	}
	return s.translate(doing, s.transact(ctx, s.reader, options, do))
}

// ask is read where do says one statement, which has one consistent view by
// itself: it takes one round trip to the database instead of three.
func (s *Store) ask(ctx context.Context, doing string, do func(context.Context, tx) error) error {
	if s.closed.Load() {
		return s.translate(doing, errClosed)
	}
	q := &inquiry{DB: s.reader}
	err := do(ctx, tx{q, s.dialect, s.source})
	if err == nil && q.said > 1 {
		err = fmt.Errorf("%d statements in one question: their views differ", q.said)
	}
	return s.translate(doing, err)
}

// inquiry counts the statements of a question.
type inquiry struct {
	*sql.DB
	said int
}

func (q *inquiry) ExecContext(context.Context, string, ...any) (sql.Result, error) {
	return nil, errors.New("a question changes nothing")
}

func (q *inquiry) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	q.said++
	return q.DB.QueryContext(ctx, text, args...)
}

func (q *inquiry) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	q.said++
	return q.DB.QueryRowContext(ctx, text, args...)
}

func (s *Store) transact(ctx context.Context, db *sql.DB, options *sql.TxOptions, do func(context.Context, tx) error) error {
	if s.closed.Load() {
		return errClosed
	}
	t, err := db.BeginTx(ctx, options)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer t.Rollback() //nolint:errcheck // after a commit it does nothing, after an error there is nobody to tell
	if err := do(ctx, tx{t, s.dialect, s.source}); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// collect reads every row by scan, and closes the rows.
func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close() // rows.Err tells
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// marks gives n placeholders: "?, ?, ?".
func marks(n int) string { return repeat("?", n) }

// repeat gives n times s, with commas between.
func repeat(s string, n int) string {
	if n == 0 {
		return ""
	}
	return strings.Repeat(s+", ", n-1) + s
}
