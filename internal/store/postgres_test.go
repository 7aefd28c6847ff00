package store_test

import (
	"database/sql"
	"testing"

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

// A cluster whose default isolation is another does not change what is promised.
func TestPostgresIsolation(t *testing.T) {
	dsn := storetest.StartPostgres(t).NewDSN(t)
	if _, err := raw(t, dsn).Exec("ALTER ROLE restartilka SET default_transaction_isolation = 'serializable'"); err != nil {
		t.Fatal(err)
	}
	exerciseServiceLockRace(t, func(testing.TB) string { return dsn })
}

// Two changes that wait for each other: PostgreSQL ends one of them, and the
// store tries it again.
func TestPostgresDeadlock(t *testing.T) {
	dsn := storetest.StartPostgres(t).NewDSN(t)
	s := storetest.Open(t, dsn+"&deadlock_timeout=10ms")
	one, two := mustCreate(t, s, newRun(2)), mustCreate(t, s, newRun(2))
	db := raw(t, dsn)
	other, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback()
	start := func(task restart.Task) {
		t.Helper()
		if _, err := other.Exec("UPDATE tasks SET state = 'running' WHERE id = $1", task.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.Exec("SET LOCAL deadlock_timeout = '1h'"); err != nil { // so that it is not the one that is ended
		t.Fatal(err)
	}
	start(one.Tasks[1])
	applied := make(chan error, 1)
	go func() {
		_, err := s.Apply(t.Context(), store.Change{RunID: two.ID, Tasks: []store.TaskChange{
			{ID: two.Tasks[0].ID, Path: toTask(restart.TaskRunning)}, {ID: two.Tasks[1].ID, Path: toTask(restart.TaskRunning)},
		}})
		applied <- err
	}()
	untilWaiting(t, db)
	start(one.Tasks[0])
	if err := other.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-applied; err != nil {
		t.Fatal(err)
	}
}

// untilWaiting returns once some transaction waits for another.
func untilWaiting(t *testing.T, db *sql.DB) {
	t.Helper()
	for waiting := 0; waiting == 0; {
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
}
