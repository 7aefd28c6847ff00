package storetest

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/internal/store"
)

// NewDSN gives the address of a database that nobody has used.
type NewDSN func(t testing.TB) string

// SQLite gives the address of a new file, which goes with the test.
func SQLite(t testing.TB) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
}

// Open opens a store and closes it with the test.
func Open(t testing.TB, dsn string) *store.Store {
	t.Helper()
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		migrated(t, path)
	}
	s, err := store.Open(t.Context(), store.Config{DSN: dsn, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

// template is a file that has the schema and nothing else, made once: to make it
// for every test anew would be much of the time of all of them.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "restartilka-template-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "test.db")
	s, err := store.Open(context.Background(), store.Config{DSN: "sqlite:" + path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// migrated lays the schema where there is no file yet.
func migrated(t testing.TB, path string) {
	t.Helper()
	if strings.ContainsAny(path, "?%") { // as an address has it
		return
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	schema, err := template()
	if err == nil {
		err = os.WriteFile(path, schema, 0o600)
	}
	if err != nil {
		t.Fatalf("lay the schema: %v", err)
	}
}

// Each runs a test on every kind of database, in a subtest each.
func Each(t *testing.T, test func(t *testing.T, newDSN NewDSN)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite) })
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("SKIPPED: the second database is left to make test")
		}
		test(t, StartPostgres(t).NewDSN)
	})
}
