package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Statistics are numbers for monitoring, of the whole database: every server
// on it gives the same ones, but for Records.
type Statistics struct {
	OpenRuns map[restart.RunState]int64 // of every state that is not final, and only of those
	Paused   map[restart.Cause]int64    // paused runs by cause, every cause of a pause among them
	// PausedSince is when the run was paused that has been waiting longest;
	// zero = none is.
	PausedSince time.Time
	Sessions    int64 // sign-ins that still hold
	Waiting     int64 // audit records that have no place in a trail yet
	Records     int64 // audit records that this server's trail holds
	Hosts       CertificateCounts
	Unreviewed  int64 // runs that broke the glass and that nobody has looked at
	Messages    int64 // messages that their receivers have not taken yet
}

// CertificateCounts count the holders of certificates of our own CA by the end
// of the newest one that is not revoked.
type CertificateCounts struct{ Good, Expiring, Expired int64 }

// Statistics counts. idle is how long a session may rest before it is over;
// expiring is how long before its end a certificate counts as expiring.
func (s *Store) Statistics(ctx context.Context, idle, expiring time.Duration) (out Statistics, err error) {
	err = s.read(ctx, "count", func(ctx context.Context, t tx) error {
		out = Statistics{}
		if err := countRuns(ctx, t, &out); err != nil {
			return err
		}
		if out.PausedSince, err = pausedSince(ctx, t, out.OpenRuns[restart.RunPaused]); err != nil {
			return err
		}
		if err := t.row(ctx, "SELECT count(*) FROM sessions WHERE expires_at > $now AND last_seen_at >= $now - ?", idle.Microseconds()).Scan(&out.Sessions); err != nil {
			return err
		}
		if err := t.row(ctx, "SELECT count(*) FROM audit_records WHERE seq IS NULL").Scan(&out.Waiting); err != nil {
			return err
		}
		if err := t.row(ctx, "SELECT COALESCE(MAX(seq), 0) FROM audit_heads WHERE source = ?", t.source).Scan(&out.Records); err != nil {
			return err
		}
		if err := t.row(ctx, "SELECT count(*) FROM broken_glass WHERE reviewed_at = 0").Scan(&out.Unreviewed); err != nil {
			return err
		}
		if err := t.row(ctx, "SELECT count(*) FROM messages WHERE delivered_at = 0 AND given_up_at = 0").Scan(&out.Messages); err != nil {
			return err
		}
		c := &out.Hosts
		err := t.row(ctx, `SELECT COALESCE(SUM(CASE WHEN ends > $now + ? THEN 1 ELSE 0 END), 0),
				COALESCE(SUM(CASE WHEN ends > $now AND ends <= $now + ? THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN ends <= $now THEN 1 ELSE 0 END), 0)
			FROM (SELECT MAX(not_after) AS ends FROM certificates WHERE revoked_at = 0 GROUP BY host) AS newest`,
			expiring.Microseconds(), expiring.Microseconds()).Scan(&c.Good, &c.Expiring, &c.Expired)
		return err
	})
	if err != nil {
		return Statistics{}, err
	}
	return out, nil
}

// countRuns counts the runs that are not over. Those that are may be millions,
// and are counted as they end, by the one who ends them.
func countRuns(ctx context.Context, t tx, out *Statistics) error {
	out.OpenRuns, out.Paused = map[restart.RunState]int64{}, map[restart.Cause]int64{}
	var open []any
	for _, state := range restart.RunStates() {
		if !state.Final() {
			out.OpenRuns[state] = 0
			open = append(open, string(state))
		}
	}
	for _, cause := range restart.PauseCauses() {
		out.Paused[cause] = 0
	}
	type group struct {
		state restart.RunState
		cause restart.Cause
		n     int64
	}
	rows, err := t.rows(ctx, "SELECT state, cause, count(*) FROM runs WHERE state IN ("+marks(len(open))+") GROUP BY state, cause", open...)
	groups, err := collect(rows, err, func(r *sql.Rows) (g group, err error) {
		err = r.Scan(&g.state, &g.cause, &g.n)
		return g, err
	})
	if err != nil {
		return err
	}
	for _, g := range groups {
		out.OpenRuns[g.state] += g.n
		if _, known := out.Paused[g.cause]; known && g.state == restart.RunPaused {
			out.Paused[g.cause] += g.n
		}
	}
	return nil
}

// pausedSince asks the audit trail when the paused runs were paused last: the
// runs' own rows do not say.
func pausedSince(ctx context.Context, t tx, paused int64) (time.Time, error) {
	if paused == 0 {
		return time.Time{}, nil
	}
	var body []byte
	// action is compared as an expression, so that the records are found by their
	// run, not among all pauses there ever were.
	err := t.row(ctx, `SELECT body FROM audit_records WHERE id = (SELECT MIN(pause) FROM
		(SELECT (SELECT MAX(id) FROM audit_records WHERE run_id = runs.id AND action || '' = ?) AS pause FROM runs WHERE state = ?) AS pauses)`,
		string(audit.RunPaused), string(restart.RunPaused)).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	record, err := audit.Decode(body)
	return record.Time, err
}

// SchemaFits returns nil while the database has the schema of this program. A
// newer server on the same database may have changed it: CodeConflict.
func (s *Store) SchemaFits(ctx context.Context) error {
	migrations, err := readMigrations(migrationFiles)
	if err != nil {
		return err
	}
	version := 0
	err = s.ask(ctx, "ask for the schema", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&version)
	})
	if err == nil && version != len(migrations) {
		return restart.Errorf(restart.CodeConflict, "the database has schema %d; this program works with schema %d", version, len(migrations)).
			WithHint("a newer server has changed it: upgrade this one too")
	}
	return err
}

// Pool is the state of the connections to the database.
type Pool struct {
	InUse, Idle, Max int
	Waits            int64         // how often one had to be waited for
	Waited           time.Duration // for how long in all
}

// Pool tells of the connections; of SQLite, the one that writes among them.
func (s *Store) Pool() Pool {
	var out Pool
	for i, db := range []*sql.DB{s.writer, s.reader} {
		if i > 0 && db == s.writer {
			continue
		}
		st := db.Stats()
		out.InUse, out.Idle, out.Max = out.InUse+st.InUse, out.Idle+st.Idle, out.Max+st.MaxOpenConnections
		out.Waits, out.Waited = out.Waits+st.WaitCount, out.Waited+st.WaitDuration
	}
	return out
}

// File is the path of a SQLite database; "" = the database is elsewhere.
func (s *Store) File() string {
	if s.lock == nil {
		return ""
	}
	return strings.TrimSuffix(s.lock.f.Name(), ".lock")
}

// Size is how many bytes the files of a SQLite database take, its journal
// included; 0 where the database is elsewhere.
func (s *Store) Size() (int64, error) {
	if s.lock == nil {
		return 0, nil
	}
	info, err := os.Stat(s.File())
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if journal, err := os.Stat(s.File() + "-wal"); err == nil {
		size += journal.Size()
	}
	return size, nil
}
