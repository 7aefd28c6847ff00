package dumps

import (
	"database/sql"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// age makes a dump older than it is, in the database of a server that is stopped.
func age(t testing.TB, file, dump string, by time.Duration) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	must(t, err)
	defer db.Close()
	result, err := db.ExecContext(t.Context(), "UPDATE dumps SET created_at = created_at - ? WHERE id = ?", by.Microseconds(), dump)
	must(t, err)
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		t.Fatalf("%d dumps were aged, %v", n, err)
	}
}
