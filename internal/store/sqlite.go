package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/restartilka/restartilka/internal/restart"
)

// readers is how many connections read a SQLite file at once.
const readers = 8

// openSQLite locks and opens the file: one connection that writes, every
// commit on the disk before it is answered, and a pool that reads.
func (s *Store) openSQLite(path string) error {
	s.dialect = sqliteDialect()
	path, err := realPath(path)
	if err != nil {
		return err
	}
	if s.lock, err = lockFile(path + ".lock"); err != nil {
		return err
	}
	if err := checkRestored(path); err != nil {
		return err
	}
	if err := privateFile(path); err != nil {
		return err
	}
	s.writer = openWriter(path, "journal_mode(WAL)", "synchronous(FULL)", "journal_size_limit(67108864)")
	s.reader = openReader(path)
	s.group = newGroup(s.writer, s.dialect, s.source)
	return nil
}

// openWriter prepares the one connection that writes.
func openWriter(path string, pragmas ...string) *sql.DB {
	db := sql.OpenDB(&keeper{name: sqliteName(path, pragmas...)})
	db.SetMaxOpenConns(1)
	return db
}

// openReader prepares the connections that read.
func openReader(path string) *sql.DB {
	db := sql.OpenDB(&keeper{name: sqliteName(path, "query_only(1)")})
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return db
}

// sqliteName is how the driver is told of a file and what is special here.
func sqliteName(path string, pragmas ...string) string {
	q := url.Values{
		"_txlock":   {"immediate"},
		"_dqs":      {"false"},
		"_error_rc": {"true"},
		"_pragma":   append([]string{"busy_timeout(10000)", "foreign_keys(1)"}, pragmas...),
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// realPath makes the path absolute and resolves links, so that one file has
// one lock however it is named.
func realPath(path string) (string, error) {
	if path == "" || strings.HasPrefix(path, ":") {
		return "", restart.Errorf(restart.CodeInvalid, "the address of the database names no file").
			WithHint("sqlite:/var/lib/restartilka/restartilka.db")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", restart.Errorf(restart.CodeUnavailable, "the folder of the database can't be found: %s", restart.Escape(filepath.Dir(path))).
			WithHint("make it, writable for the user that the server runs as").Because(err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// privateFile creates the database file, or narrows one that others could
// read. SQLite gives its journal the mode of the file.
func privateFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return cantOpen(path, err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Close()); err != nil {
		return cantOpen(path, err)
	}
	return nil
}

func cantOpen(path string, err error) error {
	code := restart.CodeUnavailable
	if errors.Is(err, syscall.ENOSPC) {
		code = restart.CodeDiskFull
	}
	cause := err
	if e, ok := errors.AsType[*os.PathError](err); ok {
		cause = e.Err
	}
	return restart.Errorf(code, "the database %s can't be opened: %v", restart.Escape(path), cause).
		WithHint("file and folder have to be writable for the user that the server runs as").Because(err)
}

// fileLock says that this process, and no other, uses a database file. The
// kernel lets go of it when the process ends, however it ends.
type fileLock struct{ f *os.File }

// lockFile takes the lock, or names the process that has it (CodeConflict).
// The file stays when the lock is gone: to remove it would race with the next.
func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, cantOpen(path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close() // nothing was written
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, cantOpen(path, err)
		}
		by := "another process"
		text := make([]byte, 32)
		if n, _ := f.ReadAt(text, 0); n > 0 {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n]))); err == nil {
				by = fmt.Sprintf("process %d", pid)
			}
		}
		return nil, restart.Errorf(restart.CodeConflict, "the database %s is in use by %s", restart.Escape(strings.TrimSuffix(path, ".lock")), by).
			WithHint("stop that server first; several servers need PostgreSQL")
	}
	// The pid only helps people: on a full disk the lock holds without it.
	if err := f.Truncate(0); err == nil {
		f.WriteString(strconv.Itoa(os.Getpid()) + "\n") //nolint:errcheck // see above
	}
	return &fileLock{f}, nil
}

func (l *fileLock) release() error { return l.f.Close() }
