package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// A database that is there is moved aside with its journal, and still opens.
func TestRestoreMovesAside(t *testing.T) {
	from, to := storetest.SQLite(t), storetest.SQLite(t)
	fill(t, storetest.Open(t, from))
	b, _ := makeBackup(t, from, store.BackupOptions{})
	path := strings.TrimPrefix(to, "sqlite:")
	s, err := store.Open(t.Context(), store.Config{DSN: to})
	if err != nil {
		t.Fatal(err)
	}
	old := mustCreate(t, s, newRun(1))
	// As a killed server leaves it: what is committed is in the journal only.
	journal, err := os.ReadFile(path + "-wal")
	if err != nil || len(journal) == 0 {
		t.Fatalf("%d bytes of journal, %v", len(journal), err)
	}
	main, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{path: main, path + "-wal": journal, path + ".restore": []byte("left by a restore that was killed")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := store.RestoreOptions{Server: "main", By: "anna"}
	_, err = store.Restore(t.Context(), store.Config{DSN: to}, bytes.NewReader(b), o)
	wantCode(t, err, restart.CodeConflict)
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, main) {
		t.Fatalf("a refused restore has changed the database: %v", err)
	}
	o.Replace = true
	out, err := store.Restore(t.Context(), store.Config{DSN: to}, bytes.NewReader(b), o)
	if err != nil || len(out.Moved) != 2 {
		t.Fatalf("%+v %v", out.Moved, err)
	}
	restored := storetest.Open(t, to)
	if _, err := restored.Run(t.Context(), old.ID); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("the old journal was played into the new database: %v", err)
	}
	restored1(t, restored)
	mustRun(t, storetest.Open(t, "sqlite:"+out.Moved[0]), old.ID)
	left, err := filepath.Glob(path + ".resto*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	// The journal of a database that was deleted is not played into the next one.
	if err := restored.Close(); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	os.Remove(path + "-shm")
	if err := os.WriteFile(path+"-wal", journal, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Replace = false
	if out, err = store.Restore(t.Context(), store.Config{DSN: to}, bytes.NewReader(b), o); err != nil || len(out.Moved) != 1 {
		t.Fatalf("%v %v", out.Moved, err)
	}
	restored1(t, storetest.Open(t, to))
}

// A server does not start on files that a restore was killed in exchanging;
// another restore puts that right.
func TestAnInterruptedRestore(t *testing.T) {
	from, to := storetest.SQLite(t), storetest.SQLite(t)
	fill(t, storetest.Open(t, from))
	b, _ := makeBackup(t, from, store.BackupOptions{})
	mark := strings.TrimPrefix(to, "sqlite:") + ".restoring"
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), store.Config{DSN: to})
	wantCode(t, err, restart.CodeConflict)
	if !strings.Contains(err.Error(), "restartilka restore FILE") {
		t.Error(err)
	}
	if _, err := os.Stat(strings.TrimPrefix(to, "sqlite:")); err == nil {
		t.Error("a database was made all the same")
	}
	if _, err := store.Restore(t.Context(), store.Config{DSN: to}, bytes.NewReader(b), store.RestoreOptions{Server: "main", By: "anna"}); err != nil {
		t.Fatal(err)
	}
	restored1(t, storetest.Open(t, to))
}

// Nothing is made where nothing can be.
func TestRestoreWithoutAFolder(t *testing.T) {
	from := storetest.SQLite(t)
	fill(t, storetest.Open(t, from))
	b, _ := makeBackup(t, from, store.BackupOptions{})
	_, err := store.Restore(t.Context(), store.Config{DSN: "sqlite:" + t.TempDir() + "/absent/x.db"}, bytes.NewReader(b), store.RestoreOptions{Server: "main"})
	wantCode(t, err, restart.CodeUnavailable)
}
