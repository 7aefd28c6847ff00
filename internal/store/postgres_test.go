package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// Connections that PostgreSQL ends are an error that says so, at most, and new
// ones are made.
func TestPostgresEndsConnections(t *testing.T) {
	dsn := storetest.StartPostgres(t).NewDSN(t)
	s := storetest.Open(t, dsn)
	run := mustCreate(t, s, newRun(1))
	db := raw(t, dsn)
	for range 3 {
		if _, err := db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'restartilka'"); err != nil {
			t.Fatal(err)
		}
		answered := false
		for range 30 { // at most one try for each connection of the pool
			_, err := s.SetControl(t.Context(), run.ID, restart.ControlPause)
			if answered = err == nil; answered {
				break
			}
			wantCode(t, err, restart.CodeUnavailable)
		}
		if !answered {
			t.Fatal("no new connection was made")
		}
	}
}

// A cluster whose defaults are others does not change what is promised.
func TestPostgresSettings(t *testing.T) {
	dsn := storetest.StartPostgres(t).NewDSN(t)
	for _, setting := range []string{"default_transaction_isolation = 'serializable'", "synchronous_commit = 'off'", "statement_timeout = '30s'"} {
		if _, err := raw(t, dsn).Exec("ALTER ROLE restartilka SET " + setting); err != nil {
			t.Fatal(err)
		}
	}
	s := storetest.Open(t, dsn)
	for setting, want := range map[string]string{"transaction_isolation": "read committed", "synchronous_commit": "on"} {
		if got, err := store.Setting(s, "SHOW "+setting); err != nil || got != want {
			t.Errorf("%s is %q, error %v, want %q", setting, got, err, want)
		}
	}
	// A migration of a long history takes as long as it takes.
	if err := store.ApplyNext(t.Context(), s, "SELECT 1 / (CASE current_setting('statement_timeout') WHEN '0' THEN 1 ELSE 0 END)"); err != nil {
		t.Errorf("a migration has a limit of time: %v", err)
	}
}

// Of two changes that wait for each other PostgreSQL ends one; the store tries
// it again, and gives up where that goes on.
func TestPostgresCollision(t *testing.T) {
	s := storetest.Open(t, storetest.StartPostgres(t).NewDSN(t))
	for _, state := range []string{"40P01", "40001"} {
		for collisions, code := range map[int]restart.Code{0: "", 2: "", 3: restart.CodeUnavailable} {
			calls := 0
			err := store.Write(s, func() error {
				if calls++; calls <= collisions {
					return &pgconn.PgError{Code: state}
				}
				return nil
			})
			if restart.CodeOf(err) != code || calls != min(collisions+1, 3) {
				t.Errorf("%s: %d collisions: %d calls, error %v", state, collisions, calls, err)
			}
		}
	}
}
