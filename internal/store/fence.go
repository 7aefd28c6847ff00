package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// EpochJump is the least by which a restore raises the epoch and the version
// of each run. A restored run's epoch is the greater of that and the restore's
// time in milliseconds since 1970.
//
// It has to be above whatever the lost database has given out since the backup,
// and agents may hold: there, each takeover raised a run's epoch by one, and a
// run is taken at most a few times a second. So a million stands for days of
// nothing but takeovers. The time stands for the backup that is restored a
// second time, which would give the same epochs again: it gains a thousand a
// second, more than takeovers ever can.
const EpochJump = restart.RestoredEpoch

// fence separates the restored database from the future that it has lost:
//
//   - Every run gets an epoch above all that agents may hold, so that a server
//     that still works on the lost database is refused by every agent that has
//     heard of the new one. Leases are void.
//   - Runs that were queued or running are paused: their hosts may have been
//     touched since. Tasks in flight are left to the orchestrator, which asks
//     the agents what became of them and never sends them again.
//   - What was to be used once, and may have been, is gone: plans that nobody
//     had confirmed, and join tokens. Runs that waited for an approval may have
//     been approved since, and begun: their time is over at once. So is that of
//     runs planned for later, which may have begun, too, or been cancelled.
//   - The audit trail of every source goes on in a new epoch, as sinks have
//     records that the database has forgotten.
func fence(ctx context.Context, t tx, out *Restored, o RestoreOptions) error {
	var now int64
	if err := t.row(ctx, "SELECT $now").Scan(&now); err != nil {
		return err
	}
	out.Epoch = now / 1000
	since := fmt.Sprintf("the database was restored from a backup of %s, and hosts may have been touched since", stamp(out.Manifest.MadeAt))
	var err error
	if out.Drafts, err = t.exec(ctx, "DELETE FROM runs WHERE state = 'draft'"); err != nil {
		return err
	}
	records, err := interrupted(ctx, t, out, since)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		text string
		args []any
	}{
		{`UPDATE runs SET owner = '', lease_until = 0, version = version + ?, epoch = CASE WHEN epoch + ? > ? THEN epoch + ? ELSE ? END`,
			[]any{EpochJump, EpochJump, out.Epoch, EpochJump, out.Epoch}},
		{`UPDATE runs SET explanation = CASE WHEN explanation = '' THEN ? ELSE explanation || '; ' || ? END WHERE state IN ('paused', 'awaiting_approval')`,
			[]any{since, since}},
		{`UPDATE runs SET state = 'paused', cause = 'interrupted', explanation = ?, control = CASE WHEN control = 'pause' THEN '' ELSE control END
			WHERE state IN ('queued', 'running')`, []any{since}},
		{`UPDATE runs SET approval_until = ? WHERE state = 'awaiting_approval'`, []any{now}},
		{`UPDATE schedules SET restored = 1 WHERE ended_at = 0`, nil},
		// Who follows a run is told of every task of it again.
		{`UPDATE tasks SET version = (SELECT version FROM runs WHERE runs.id = tasks.run_id)
			WHERE run_id IN (SELECT id FROM runs WHERE state IN ('paused', 'awaiting_approval'))`, nil},
		{`UPDATE audit_heads SET epoch = CASE WHEN epoch + 1 > ? THEN epoch + 1 ELSE ? END`, []any{out.Epoch, out.Epoch}},
		// So that there is one to take the epoch from, for sources that come later.
		{`INSERT INTO audit_heads (source, epoch, seq, hash) VALUES (?, COALESCE((SELECT MAX(epoch) FROM audit_heads), ?), 0, '') ON CONFLICT (source) DO NOTHING`,
			[]any{o.Server, out.Epoch}},
	} {
		if _, err := t.exec(ctx, step.text, step.args...); err != nil {
			return err
		}
	}
	if out.Joins, err = t.exec(ctx, "UPDATE join_tokens SET revoked_at = ? WHERE revoked_at = 0", now); err != nil {
		return err
	}
	return insertRecords(ctx, t, append([]audit.Record{{
		Time: fromMicros(now), Actor: o.By, Origin: "local", Action: audit.ServerRestored,
		Detail: fmt.Sprintf("backup of %s, made by %s with %s, sha256 %s; %d runs paused", stamp(out.Manifest.MadeAt), out.Manifest.Server,
			out.Manifest.Program, out.Digest, len(out.Paused)),
	}}, records...), now)
}

// interrupted makes the record of each run that is about to be paused.
func interrupted(ctx context.Context, t tx, out *Restored, why string) ([]audit.Record, error) {
	rows, err := t.rows(ctx, "SELECT id, service, environment, actor, via, digest, reason FROM runs WHERE state IN ('queued', 'running') ORDER BY id")
	records, err := collect(rows, err, func(r *sql.Rows) (rec audit.Record, err error) {
		rec.Action, rec.Outcome, rec.Detail = audit.RunPaused, string(restart.CauseInterrupted), why
		err = r.Scan(&rec.Run, &rec.Service, &rec.Environment, &rec.Actor, &rec.Origin, &rec.ScenarioDigest, &rec.Reason)
		return rec, err
	})
	for _, rec := range records {
		out.Paused = append(out.Paused, rec.Run)
	}
	return records, err
}
