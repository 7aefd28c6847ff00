package storetest

import (
	"log/slog"
	"path/filepath"
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

// Each runs a test on every kind of database, in a subtest each.
func Each(t *testing.T, test func(t *testing.T, newDSN NewDSN)) {
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite) })
	t.Run("postgres", func(t *testing.T) { test(t, StartPostgres(t).NewDSN) })
}
