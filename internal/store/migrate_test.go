package store

import (
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestMigrationsAreNumbered(t *testing.T) {
	if _, err := readMigrations(migrationFiles); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"0002_x.sql"}, {"0001_x.sql", "0003_y.sql"}, {"first.sql"}} {
		files := fstest.MapFS{}
		for _, name := range names {
			files["migrations/"+name] = &fstest.MapFile{Data: []byte("SELECT 1;"), Mode: fs.ModePerm}
		}
		if _, err := readMigrations(files); err == nil {
			t.Errorf("%v was accepted", names)
		}
	}
}

func TestStatementsAreSplit(t *testing.T) {
	m := migration{text: "-- about; this\nCREATE TABLE a (\n  b TEXT -- no end; here\n);\n\nDROP TABLE a;\nSELECT 1"}
	got := m.statements()
	if len(got) != 3 || !strings.HasPrefix(got[0], "CREATE") || got[1] != "DROP TABLE a" || got[2] != "SELECT 1" {
		t.Fatalf("%q", got)
	}
}

// A migration that fails in its middle leaves nothing, and can be tried again.
func TestMigrationIsWholeOrNothing(t *testing.T) {
	s, err := Open(t.Context(), Config{DSN: "sqlite:" + t.TempDir() + "/x.db"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	known, err := readMigrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	next := migration{version: len(known) + 1, name: "next", text: "CREATE TABLE half (x TEXT);\nCREATE TABLE nonsense nonsense;"}
	if err := s.apply(t.Context(), append(known, next)); err == nil {
		t.Fatal("nonsense was applied")
	}
	next.text = "CREATE TABLE half (x TEXT);\nCREATE TABLE whole (x TEXT);"
	for range 2 { // the second time there is nothing to do
		if err := s.apply(t.Context(), append(known, next)); err != nil {
			t.Fatal(err)
		}
	}
	err = s.migrate(t.Context())
	if restart.CodeOf(err) != restart.CodeConflict {
		t.Fatalf("a schema that is newer: %v", err)
	}
}

// What is old is counted where something is old: a database that is just being made
// to hold a backup has the backup's schema, which today's counts need not fit.
func TestAnEmptyDatabaseHasNoHistory(t *testing.T) {
	s := &Store{log: slog.New(slog.DiscardHandler)}
	if err := s.openSQLite(t.TempDir() + "/x.db"); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	known, err := readMigrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	other := migration{version: len(known) + 1, name: "other", text: "DROP TABLE host_counts;"}
	if err := s.apply(t.Context(), append(known, other)); err != nil {
		t.Error(err)
	}
}

// The index that holds one active task per host names the states as the
// domain does.
func TestIndexKnowsTheActiveStates(t *testing.T) {
	migrations, err := readMigrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	if want := "ON tasks (service, host) WHERE state IN (" + activeStates() + ")"; !strings.Contains(migrations[0].text, want) {
		t.Fatalf("the schema does not have: %s", want)
	}
}

func TestDialects(t *testing.T) {
	const text = "SELECT a FROM b WHERE c = ? AND d <= $now AND e = ?$skip_locked"
	if got := sqliteDialect().sql(text); got != "SELECT a FROM b WHERE c = ? AND d <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) AND e = ?" {
		t.Error(got)
	}
	if got := postgresDialect().sql(text); !strings.HasPrefix(got, "SELECT a FROM b WHERE c = $1 AND d <= CAST(") || !strings.HasSuffix(got, "AND e = $2 FOR UPDATE SKIP LOCKED") {
		t.Error(got)
	}
}

func TestFaults(t *testing.T) {
	for state, want := range map[string]fault{
		"23505": faultUnique, "23503": faultReference, "53100": faultFull, "40P01": faultCollision, "40001": faultCollision,
		"57P01": faultUnavailable, "08006": faultUnavailable, "42601": faultOther, "": faultOther,
	} {
		if got := postgresFault(state); got != want {
			t.Errorf("SQLSTATE %q is %d, want %d", state, got, want)
		}
	}
	for code, want := range map[int]fault{
		2067: faultUnique, 1555: faultUnique, 787: faultReference, 13: faultFull, 5: faultUnavailable, 1034: faultUnavailable, 522: faultUnavailable, 1: faultOther, 275: faultOther,
	} {
		if got := sqliteFault(code); got != want {
			t.Errorf("SQLite's %d is %d, want %d", code, got, want)
		}
	}
}

func TestPacking(t *testing.T) {
	var p packer
	for _, n := range []int{0, 1, packFrom - 1, packFrom, 100_000} {
		want := strings.Repeat("x", n)
		packed, err := p.pack([]byte(want))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := unpack(packed); err != nil || string(got) != want {
			t.Errorf("%d bytes came back as %d, error %v", n, len(got), err)
		}
		if n > 1000 && len(packed) > n/10 {
			t.Errorf("%d bytes took %d", n, len(packed))
		}
	}
	if b, err := unpack(nil); b != nil || err != nil {
		t.Errorf("nothing came back as %q, %v", b, err)
	}
	if _, err := unpack([]byte{9, 1}); err == nil {
		t.Error("an unknown form was read")
	}
}
