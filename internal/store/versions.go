package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario/signing"
)

const versionColumns = "v.digest, v.name, v.serial, v.author, v.source, v.proposed_by, v.proposed_at, v.state, v.approved_at, v.withdrawn_by, v.withdrawn_at, v.reason"

// VersionFilter chooses versions; what is not set does not narrow.
type VersionFilter struct {
	Name   string
	Digest string
	Bodies bool // bytes too
}

// AddVersion keeps a version for ever, with its bytes and the signatures that
// came with it. added is false where it was there: then only signatures of
// principals that have none yet are added, and no record is made.
func (s *Store) AddVersion(ctx context.Context, v restart.ScenarioVersion, records ...audit.Record) (added bool, err error) {
	if err := checkScenario(v.Digest, v.Body); err != nil {
		return false, err
	}
	err = s.write(ctx, "store version "+v.Digest, func(ctx context.Context, t tx) error {
		if err := s.putScenario(ctx, t, v.Digest, v.Name, v.Serial, v.Body); err != nil {
			return err
		}
		n, err := t.exec(ctx, "INSERT INTO scenario_versions (digest, name, serial, author, source, proposed_by, proposed_at, state, approved_at, withdrawn_by, withdrawn_at, reason) "+
			"VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, '', 0, '') ON CONFLICT (digest) DO NOTHING",
			v.Digest, v.Name, v.Serial, v.Author, string(v.Source), v.ProposedBy, micros(v.ProposedAt), string(restart.VersionProposed))
		if err != nil {
			return err
		}
		added = n == 1
		for _, sig := range v.Signatures {
			if _, err := addSignature(ctx, t, v.Digest, sig); err != nil {
				return err
			}
		}
		if !added {
			return nil
		}
		return insertRecords(ctx, t, records, micros(v.ProposedAt))
	})
	return added && err == nil, err
}

func addSignature(ctx context.Context, t tx, digest string, sig restart.ScenarioSignature) (int64, error) {
	return t.exec(ctx, "INSERT INTO scenario_signatures (digest, principal, fingerprint, armored, added_by, added_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (digest, principal) DO NOTHING",
		digest, sig.Principal, sig.Fingerprint, sig.Armored, sig.AddedBy, micros(sig.AddedAt))
}

// AddSignature lays a signature beside a version that is not withdrawn. In the
// place of one by the same principal it comes only where replaces is that one's
// fingerprint; CodeConflict otherwise. CodeNotFound: there is no such version.
func (s *Store) AddSignature(ctx context.Context, digest string, sig restart.ScenarioSignature, replaces string, records ...audit.Record) error {
	return s.write(ctx, "store a signature under "+digest, func(ctx context.Context, t tx) error {
		state, err := lockVersion(ctx, t, digest)
		if err != nil {
			return err
		}
		if state == restart.VersionWithdrawn {
			return restart.Errorf(restart.CodeConflict, "version %s is withdrawn: nobody signs it any more", digest)
		}
		if replaces != "" {
			if _, err := t.exec(ctx, "DELETE FROM scenario_signatures WHERE digest = ? AND principal = ? AND fingerprint = ?", digest, sig.Principal, replaces); err != nil {
				return err
			}
		}
		n, err := addSignature(ctx, t, digest, sig)
		if err != nil {
			return err
		}
		if n == 0 {
			return restart.Errorf(restart.CodeConflict, "%s has signed this version already", restart.Quote(sig.Principal))
		}
		return insertRecords(ctx, t, records, micros(sig.AddedAt))
	})
}

// lockVersion takes the row of a version until the commit, and gives its state.
func lockVersion(ctx context.Context, t tx, digest string) (restart.VersionState, error) {
	n, err := t.exec(ctx, "UPDATE scenario_versions SET digest = digest WHERE digest = ?", digest)
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", notFound("scenario version", digest)
	}
	var state string
	err = t.row(ctx, "SELECT state FROM scenario_versions WHERE digest = ?", digest).Scan(&state)
	return restart.VersionState(state), err
}

// ApproveVersion notes that a proposed version has its quorum. moved is false
// where it was noted before. CodeConflict: another version of that name and
// serial is approved, or this one is withdrawn.
func (s *Store) ApproveVersion(ctx context.Context, digest string, at time.Time, records ...audit.Record) (moved bool, err error) {
	err = s.write(ctx, "approve version "+digest, func(ctx context.Context, t tx) error {
		moved = false
		state, err := lockVersion(ctx, t, digest)
		if err != nil || state == restart.VersionApproved {
			return err
		}
		if err := state.Transition(restart.VersionApproved); err != nil {
			return err
		}
		_, err = t.exec(ctx, "UPDATE scenario_versions SET state = ?, approved_at = ? WHERE digest = ?", string(restart.VersionApproved), micros(at), digest)
		if faultOf(err) == faultUnique {
			return restart.Errorf(restart.CodeConflict, "another version with the same name and serial is approved already").WithHint("raise the serial, and propose it again")
		}
		if err != nil {
			return err
		}
		moved = true
		return insertRecords(ctx, t, records, micros(at))
	})
	return moved && err == nil, err
}

// WithdrawVersion ends a version for ever. CodeConflict: it is withdrawn.
func (s *Store) WithdrawVersion(ctx context.Context, digest, by, reason string, at time.Time, records ...audit.Record) error {
	return s.write(ctx, "withdraw version "+digest, func(ctx context.Context, t tx) error {
		state, err := lockVersion(ctx, t, digest)
		if err != nil {
			return err
		}
		if err := state.Transition(restart.VersionWithdrawn); err != nil {
			return restart.Errorf(restart.CodeConflict, "version %s is withdrawn already", digest)
		}
		_, err = t.exec(ctx, "UPDATE scenario_versions SET state = ?, withdrawn_by = ?, withdrawn_at = ?, reason = ? WHERE digest = ?",
			string(restart.VersionWithdrawn), by, micros(at), reason, digest)
		if err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(at))
	})
}

// Versions lists versions by name, the highest serial first, with their
// signatures.
func (s *Store) Versions(ctx context.Context, f VersionFilter) (out []restart.ScenarioVersion, err error) {
	err = s.read(ctx, "list scenario versions", func(ctx context.Context, t tx) error {
		where, args := "1 = 1", []any{}
		if f.Name != "" {
			where, args = where+" AND v.name = ?", append(args, f.Name)
		}
		if f.Digest != "" {
			where, args = where+" AND v.digest = ?", append(args, f.Digest)
		}
		text := "SELECT " + versionColumns + " FROM scenario_versions v WHERE "
		if f.Bodies {
			text = "SELECT " + versionColumns + ", s.body FROM scenario_versions v JOIN scenarios s ON s.digest = v.digest WHERE "
		}
		rows, err := t.rows(ctx, text+where+" ORDER BY v.name, v.serial DESC, v.proposed_at DESC, v.digest", append([]any{}, args...)...)
		out, err = collect(rows, err, func(r *sql.Rows) (restart.ScenarioVersion, error) { return scanVersion(r, f.Bodies) })
		if err != nil || len(out) == 0 {
			return err
		}
		return addSignatures(ctx, t, out, where, args)
	})
	return out, err
}

func scanVersion(r *sql.Rows, body bool) (v restart.ScenarioVersion, err error) {
	var proposed, approved, withdrawn int64
	var packed []byte
	into := []any{&v.Digest, &v.Name, &v.Serial, &v.Author, &v.Source, &v.ProposedBy, &proposed, &v.State, &approved, &v.WithdrawnBy, &withdrawn, &v.Reason}
	if body {
		into = append(into, &packed)
	}
	if err := r.Scan(into...); err != nil {
		return v, err
	}
	v.ProposedAt, v.ApprovedAt, v.WithdrawnAt = fromMicros(proposed), fromMicros(approved), fromMicros(withdrawn)
	v.Body, err = unpack(packed)
	return v, err
}

// addSignatures fills in the signatures of the versions that were found.
func addSignatures(ctx context.Context, t tx, versions []restart.ScenarioVersion, where string, args []any) error {
	type one struct {
		digest string
		restart.ScenarioSignature
	}
	rows, err := t.rows(ctx, "SELECT g.digest, g.principal, g.fingerprint, g.armored, g.added_by, g.added_at FROM scenario_signatures g JOIN scenario_versions v ON v.digest = g.digest WHERE "+
		where+" ORDER BY g.added_at, g.principal", args...)
	all, err := collect(rows, err, func(r *sql.Rows) (o one, err error) {
		var added int64
		err = r.Scan(&o.digest, &o.Principal, &o.Fingerprint, &o.Armored, &o.AddedBy, &added)
		o.AddedAt = fromMicros(added)
		return o, err
	})
	if err != nil {
		return err
	}
	at := make(map[string]int, len(versions))
	for i, v := range versions {
		at[v.Digest] = i
	}
	for _, o := range all {
		if i, ok := at[o.digest]; ok {
			versions[i].Signatures = append(versions[i].Signatures, o.ScenarioSignature)
		}
	}
	return nil
}

// Version gives what a host needs to trust a version: its bytes and signatures.
// CodeNotFound: there is none of that digest.
func (s *Store) Version(ctx context.Context, digest string) (body []byte, sigs []signing.Signature, err error) {
	list, err := s.Versions(ctx, VersionFilter{Digest: digest, Bodies: true})
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, notFound("scenario version", digest)
	}
	for _, sig := range list[0].Signatures {
		sigs = append(sigs, signing.Signature{Principal: sig.Principal, Armored: sig.Armored})
	}
	return list[0].Body, sigs, nil
}

// VersionsMark is a text that is another one whenever any version or signature
// has changed: so that who keeps them in memory knows when to read them again.
func (s *Store) VersionsMark(ctx context.Context) (mark string, err error) {
	err = s.ask(ctx, "look whether scenario versions have changed", func(ctx context.Context, t tx) error {
		return t.row(ctx, "SELECT (SELECT CAST(count(*) AS TEXT) || ' ' || CAST(COALESCE(sum(CASE WHEN state = 'withdrawn' THEN 1 ELSE 0 END), 0) AS TEXT) || ' ' || "+
			"CAST(COALESCE(sum(CASE WHEN approved_at <> 0 THEN 1 ELSE 0 END), 0) AS TEXT) FROM scenario_versions) || ' ' || "+
			"(SELECT CAST(count(*) AS TEXT) || ' ' || CAST(COALESCE(max(added_at), 0) AS TEXT) FROM scenario_signatures)").Scan(&mark)
	})
	return mark, err
}

// VersionState gives how far the review of one version has come, and why it was
// withdrawn and by whom; "" where the version is not known.
func (s *Store) VersionState(ctx context.Context, digest string) (state restart.VersionState, by, reason string, err error) {
	err = s.ask(ctx, "look at a scenario version", func(ctx context.Context, t tx) error {
		err := t.row(ctx, "SELECT state, withdrawn_by, reason FROM scenario_versions WHERE digest = ?", digest).Scan(&state, &by, &reason)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return state, by, reason, err
}

// WarnedOf notes that the end of a version was warned of so many days ahead,
// with the messages that say it. first is false where that was noted before,
// and then nothing is stored: of several servers one warns.
func (s *Store) WarnedOf(ctx context.Context, digest string, days int, at time.Time, messages []Message, records ...audit.Record) (first bool, err error) {
	if err := checkMessages(messages); err != nil {
		return false, err
	}
	err = s.write(ctx, "note a warning", func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "INSERT INTO scenario_warnings (digest, days, warned_at) VALUES (?, ?, ?) ON CONFLICT (digest, days) DO NOTHING", digest, days, micros(at))
		first = n == 1
		if err != nil || !first {
			return err
		}
		if err := insertMessages(ctx, t, messages, micros(at)); err != nil {
			return err
		}
		return insertRecords(ctx, t, records, micros(at))
	})
	return first && err == nil, err
}
