package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpenRefusesOddAddresses(t *testing.T) {
	for _, dsn := range []string{"", "mysql://x", "/var/lib/x.db", "sqlite:", "sqlite::memory:", "postgres://host:port:/x"} {
		_, err := store.Open(t.Context(), store.Config{DSN: dsn})
		if restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", dsn, err)
		}
	}
	_, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(t.TempDir(), "no", "such", "folder", "x.db")})
	wantCode(t, err, restart.CodeUnavailable)
}

func TestOpenOfAnAbsentPostgres(t *testing.T) {
	const secret = "hunter2"
	_, err := store.Open(t.Context(), store.Config{DSN: "postgres://u:" + secret + "@/db?host=" + t.TempDir()})
	wantCode(t, err, restart.CodeUnavailable)
	if strings.Contains(err.Error(), secret) {
		t.Fatalf("the password is shown: %v", err)
	}
}

func TestSQLiteFileHasOneServer(t *testing.T) {
	dsn := storetest.SQLite(t)
	path := strings.TrimPrefix(dsn, "sqlite:")
	first, err := store.Open(t.Context(), store.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	alias := filepath.Join(t.TempDir(), "alias.db") // by another name it is the same file
	if err := os.Symlink(path, alias); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, alias} {
		_, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + name})
		wantCode(t, err, restart.CodeConflict)
		if !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
			t.Fatalf("the process is not named: %v", err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	storetest.Open(t, "sqlite:"+alias)
}

func TestSQLiteFilesArePrivate(t *testing.T) {
	dsn := storetest.SQLite(t)
	path := strings.TrimPrefix(dsn, "sqlite:")
	if err := os.WriteFile(path, nil, 0o644); err != nil { // as somebody's umask left it
		t.Fatal(err)
	}
	s := storetest.Open(t, dsn)
	mustCreate(t, s, newRun(1))
	for _, end := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + end)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
	}
}

func TestSQLiteWithOddPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder?mode=memory&x=%20#данные")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	storetest.Open(t, "sqlite:"+filepath.Join(dir, "x.db"))
	if _, err := os.Stat(filepath.Join(dir, "x.db-wal")); err != nil {
		t.Fatalf("the database is elsewhere: %v", err)
	}
}

// A server that starts on a file knows that whoever held leases in it is gone.
func TestSQLiteLeasesEndWithTheServer(t *testing.T) {
	dsn := storetest.SQLite(t)
	first, err := store.Open(t.Context(), store.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	run := mustCreate(t, first, newRun(1))
	claimOne(t, first, "a", time.Hour, run.ID)
	mustApply(t, first, store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunRunning}})
	planned := mustAddSchedule(t, first, newSchedule(time.Now().Add(-time.Minute)))
	if due, _, err := first.DueSchedules(t.Context(), time.Hour, 10); err != nil || len(due) != 1 {
		t.Fatalf("due %+v, error %v", due, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := storetest.Open(t, dsn)
	claims, err := second.Claim(t.Context(), "b", time.Hour, 10) // an owner is one life of a server
	if err != nil || len(claims) != 1 || claims[0] != (store.Claim{RunID: run.ID, Epoch: 2, Interrupted: true}) {
		t.Fatalf("claims %+v, error %v", claims, err)
	}
	if due, _, err := second.DueSchedules(t.Context(), time.Hour, 10); err != nil || len(due) != 1 || due[0].ID != planned.ID {
		t.Fatalf("due %+v, error %v", due, err)
	}
}

func TestSQLiteDurability(t *testing.T) {
	s := storetest.Open(t, storetest.SQLite(t))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		if got, err := store.Setting(s, "PRAGMA "+pragma); err != nil || got != want {
			t.Errorf("%s is %q, error %v, want %q", pragma, got, err, want)
		}
	}
}

// A foreign process that keeps the write lock makes writes wait, not fail.
func TestSQLiteWaitsForAForeignWriter(t *testing.T) {
	dsn := storetest.SQLite(t)
	s := storetest.Open(t, dsn)
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(dsn, "sqlite:")+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	backup, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	run := newRun(1)
	created := make(chan error, 1)
	go func() {
		_, err := s.CreateRun(t.Context(), run, "", nil, nil)
		created <- err
	}()
	if err := backup.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-created; err != nil {
		t.Fatal(err)
	}
}

// On a full disk a write is refused as such, the writes that shared its commit
// are not answered as done, and when there is room all goes on.
func TestSQLiteFullDisk(t *testing.T) {
	dsn := storetest.SQLite(t)
	first, err := store.Open(t.Context(), store.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	run := mustCreate(t, first, newRun(40))
	if err := store.LimitPages(first, 1); err != nil {
		t.Fatal(err)
	}
	errs := make([]error, len(run.Tasks))
	var wait sync.WaitGroup
	for i, task := range run.Tasks {
		wait.Go(func() {
			_, errs[i] = first.Apply(t.Context(), store.Change{
				RunID: run.ID, Tasks: []store.TaskChange{{ID: task.ID, Path: toTask(restart.TaskRunning), Envelope: make([]byte, 40<<10)}},
				Records: []audit.Record{{Action: audit.TaskIntent, Run: run.ID, Task: task.ID}},
			})
		})
	}
	wait.Wait()
	got := mustRun(t, first, run.ID)
	full := 0
	for i, err := range errs {
		if err != nil {
			wantCode(t, err, restart.CodeDiskFull)
			full++
		}
		if started := got.Tasks[i].State == restart.TaskRunning; started != (err == nil) {
			t.Errorf("task %d is %s, answered with %v", i, got.Tasks[i].State, err)
		}
	}
	if full == 0 {
		t.Fatal("the disk was not full")
	}
	if err := store.LimitPages(first, 1<<30); err != nil {
		t.Fatal(err)
	}
	for i, task := range run.Tasks {
		if errs[i] != nil {
			mustApply(t, first, store.Change{RunID: run.ID, Tasks: []store.TaskChange{{ID: task.ID, Path: toTask(restart.TaskRunning)}}})
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
}
