package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// parsed is one connection to a new database, by which a test works alone.
func parsed(t *testing.T) (db *sql.DB, kept func() int) {
	t.Helper()
	db = sql.OpenDB(&keeper{name: "file:" + filepath.Join(t.TempDir(), "x.db")})
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	do(t, db, "CREATE TABLE x (n INTEGER PRIMARY KEY)")
	return db, func() (n int) {
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Raw(func(raw any) error {
			n = len(raw.(*keeping).kept)
			return nil
		})
		return n
	}
}

type speaker interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

func do(t *testing.T, db speaker, text string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
		t.Fatalf("%.60s: %v", text, err)
	}
}

func numbers(t *testing.T, db speaker, text string, args ...any) []int {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text, args...)
	out, err := collect(rows, err, func(r *sql.Rows) (n int, err error) { return n, r.Scan(&n) })
	if err != nil {
		t.Fatalf("%.60s: %v", text, err)
	}
	return out
}

func TestAStatementIsParsedOnce(t *testing.T) {
	db, kept := parsed(t)
	before := kept()
	for i := range 20 {
		do(t, db, "INSERT INTO x (n) VALUES (?)", i)
		if got := numbers(t, db, "SELECT n FROM x WHERE n >= ? ORDER BY n", i); !slices.Equal(got, []int{i}) {
			t.Fatalf("after %d: %v", i, got)
		}
	}
	if n := kept() - before; n != 2 {
		t.Errorf("%d statements are kept for two texts", n)
	}
}

// Rows that are being read are not disturbed by the same question.
func TestTheSameQuestionWithinItsOwnRows(t *testing.T) {
	db, _ := parsed(t)
	do(t, db, "INSERT INTO x (n) VALUES (1), (2), (3)")
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	const text = "SELECT n FROM x WHERE n > ? ORDER BY n"
	rows, err := tx.QueryContext(t.Context(), text, 0)
	outer, err := collect(rows, err, func(r *sql.Rows) (n int, err error) {
		if inner := numbers(t, tx, text, 1); !slices.Equal(inner, []int{2, 3}) {
			t.Errorf("within: %v", inner)
		}
		return n, r.Scan(&n)
	})
	if err != nil || !slices.Equal(outer, []int{1, 2, 3}) {
		t.Errorf("outside: %v %v", outer, err)
	}
}

func TestOnlySoManyStatementsAreKept(t *testing.T) {
	db, kept := parsed(t)
	for range 2 {
		for i := range 3 * mostStatements {
			if got := numbers(t, db, fmt.Sprintf("SELECT %d", i)); !slices.Equal(got, []int{i}) {
				t.Fatalf("SELECT %d gives %v", i, got)
			}
		}
	}
	before := kept()
	if before > mostStatements {
		t.Errorf("%d are kept; %d should be at most", before, mostStatements)
	}
	do(t, db, "INSERT INTO x (n) VALUES (1)"+strings.Repeat(", (NULL)", longestKept/8))
	if n := kept(); n != before {
		t.Errorf("%d after a long one, %d before", n, before)
	}
}

// What has failed leaves nothing behind that the next use would meet, and a
// changed table is seen as it is.
func TestAStatementAfterAnErrorAndAfterAChange(t *testing.T) {
	db, _ := parsed(t)
	const insert, all = "INSERT INTO x (n) VALUES (?)", "SELECT * FROM x"
	do(t, db, insert, 1)
	if _, err := db.ExecContext(t.Context(), insert, 1); faultOf(err) != faultUnique {
		t.Errorf("the same again: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), insert); err == nil {
		t.Error("a value is missing, and it was done")
	}
	do(t, db, insert, 2)
	if got := numbers(t, db, all); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("%v", got)
	}
	do(t, db, "ALTER TABLE x ADD COLUMN more TEXT NOT NULL DEFAULT 'and more'")
	var n int
	var more string
	if err := db.QueryRowContext(t.Context(), all).Scan(&n, &more); err != nil || more != "and more" {
		t.Errorf("%d %q %v", n, more, err)
	}
}
