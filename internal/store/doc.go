// Package store keeps what restartilka must not forget: runs and their tasks,
// who holds which service, the audit trail until and after it is shipped,
// tokens, sessions, scenario versions, certificates and the output of tasks.
// It is the only package that speaks SQL, and speaks one text of it to two
// databases: SQLite, in one file for one server, and PostgreSQL, for any
// number of servers. What differs between them is in dialect.go.
//
// # The one write path of a run
//
// After CreateRun, every change of a run goes through Apply: one transaction
// that holds the run's row, checks the fence (who may still write), checks
// every step against the tables of package restart, changes the rows on
// condition of the state they were in, and lays the audit records beside them:
//
//	   claim ──► epoch+1, lease
//	                │
//	┌───────────────▼──────────────── one transaction ─┐
//	│ run row locked, fence (owner, epoch) compared    │
//	│ run:   From? ── table allows? ── To              │──► a new version of
//	│ tasks: From? ── each step of Path allowed?       │    the run, or an
//	│ service lock taken or given back                 │    error and nothing
//	│ audit records, unsequenced; messages             │
//	└──────────────────────────────────────────────────┘
//
// Two things are held by the database and not by care: a service in a group,
// or in a whole environment, is held by at most one run, where whoever takes a
// lock takes the row of its place in lock_places first; and, by a constraint, a
// service on a host is worked on by at most one task.
//
// Messages to receivers outside are stored as the change that they tell of is,
// one row a receiver, and taken by DueMessages under a hold that the database's
// clock measures: each is delivered at least once, under the same id.
//
// # Leases
//
// A server claims runs for a time that the database's clock measures. Each
// claim raises the run's epoch, so that a server that was stopped for longer
// than its lease can write nothing when it wakes: its fence is stale. A SQLite
// file has one server at a time, which a lock beside the file enforces; so
// opening it ends every lease at once.
//
// # The audit trail
//
// Records are stored without a place in the trail, in the transaction of what
// they tell of. Later Sequence, one server at a time for a source, gives each
// the next number and hash, in the order in which they were stored. Sinks have
// cursors, which only move on.
//
// # Backup and restore
//
// Backup writes the rows of one moment as package backup has them, Restore puts
// them into an empty database of either kind, brings the schema up to date and
// fences off what the lost database may have done since: fence.go says how.
//
// # Commits
//
// On SQLite, writes that arrive while a commit is being made durable share the
// next one: each in its own savepoint, so that one that is refused takes no
// other with it, and none is answered before the common commit is on the disk.
//
// # Errors
//
// Errors for people are *restart.Error: CodeNotFound, CodeConflict (not in a
// state that allows this), CodeLocked (held by another run, which is named),
// CodeStaleEpoch (another server has the run), CodeDiskFull, and
// CodeUnavailable where the database does not answer. After CodeUnavailable a
// change may or may not have been made; asking again is safe, because changes
// are conditional.
package store
