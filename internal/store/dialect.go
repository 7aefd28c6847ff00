package store

import (
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is everything in which the two databases differ, once they are open.
type dialect struct {
	name       string
	now        string            // an expression: microseconds since 1970 by the database's clock
	skipLocked string            // the end of a SELECT that takes rows nobody else is taking
	types      *strings.Replacer // of the types in migrations
	numbered   bool              // placeholders are $1, $2, … instead of ?
	lockSchema string            // a statement that keeps other servers from migrating until the commit; "" where there are none
	lockName   string            // a statement that keeps others from the same name until the commit; "" where one writes at a time
	hasTable   string            // counts the tables of the name given
	patience   string            // a statement that lets this transaction take its time, whatever the cluster's default; "" = it may
	overriding string            // of an INSERT that brings the values of $serial columns itself
	serials    string            // lists table and column of each $serial; "" where they follow what is inserted
}

func sqliteDialect() dialect {
	return dialect{
		name:     "SQLite",
		now:      "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
		types:    strings.NewReplacer("$id", "TEXT", "$blob", "BLOB", "$serial", "INTEGER PRIMARY KEY AUTOINCREMENT"),
		hasTable: "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
	}
}

func postgresDialect() dialect {
	return dialect{
		name:       "PostgreSQL",
		now:        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
		skipLocked: " FOR UPDATE SKIP LOCKED",
		types:      strings.NewReplacer("$id", `TEXT COLLATE "C"`, "$blob", "BYTEA", "$serial", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
		numbered:   true,
		lockSchema: "SELECT pg_advisory_xact_lock(7265737461727469)",
		lockName:   "SELECT pg_advisory_xact_lock(hashtextextended(?, 7265737461727469))",
		hasTable:   "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?",
		patience:   "SELECT set_config('idle_in_transaction_session_timeout', '0', true), set_config('statement_timeout', '0', true)",
		overriding: " OVERRIDING SYSTEM VALUE",
		serials:    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES' ORDER BY table_name",
	}
}

// sql fits the one text to the database: $now, $skip_locked, $blob and the
// placeholders. The text has no question mark and no $ in its literals.
func (d dialect) sql(text string) string {
	if strings.Contains(text, "$") {
		text = strings.ReplaceAll(text, "$now", d.now)
		text = strings.ReplaceAll(text, "$skip_locked", d.skipLocked)
		text = d.types.Replace(text)
	}
	if !d.numbered {
		return text
	}
	var b strings.Builder
	b.Grow(len(text) + 16)
	n := 0
	for {
		i := strings.IndexByte(text, '?')
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		n++
		b.WriteString(text[:i])
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		text = text[i+1:]
	}
}

// fault is what a driver's error means to us.
type fault int

const (
	faultOther       fault = iota
	faultUnique            // a unique constraint refused a row
	faultReference         // a row refers to one that is not there
	faultFull              // no room on the disk
	faultCollision         // two transactions met; the same one may be tried again
	faultUnavailable       // the database, or the way to it, does not work
)

// faultOf reads the codes of both drivers.
func faultOf(err error) fault {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return sqliteFault(e.Code())
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return postgresFault(e.Code)
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || pgconn.SafeToRetry(err) { // no connection, or one that has died
		return faultUnavailable
	}
	return faultOther
}

func sqliteFault(code int) fault {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return faultUnique
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return faultReference
	}
	switch code & 0xff { // the primary code
	case sqlite3.SQLITE_FULL:
		return faultFull
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM:
		return faultUnavailable
	}
	return faultOther
}

// postgresFault reads an SQLSTATE (PostgreSQL manual, appendix A).
func postgresFault(state string) fault {
	switch state {
	case "23505":
		return faultUnique
	case "23503":
		return faultReference
	case "53100":
		return faultFull
	case "40001", "40P01":
		return faultCollision
	}
	switch state[:min(2, len(state))] {
	case "08", "53", "55", "57", "58", "28", "3D", "25", "XX":
		return faultUnavailable
	}
	return faultOther
}
