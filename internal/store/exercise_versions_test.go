package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// newVersion is a proposal whose bytes are its own.
func newVersion(name string, serial int, text string) restart.ScenarioVersion {
	body := fmt.Sprintf("format: 1\nname: %s\nserial: %d\n# %s\n", name, serial, text)
	return restart.ScenarioVersion{
		Digest: digestOf(body), Name: name, Serial: serial, Author: "anna@example.com", Source: restart.SourcePush, ProposedBy: "boris",
		ProposedAt: epochStart, State: restart.VersionProposed, Body: []byte(body),
	}
}

func newSignature(principal, key string) restart.ScenarioSignature {
	return restart.ScenarioSignature{Principal: principal, Fingerprint: key, Armored: []byte("armored " + key), AddedBy: principal, AddedAt: epochStart.Add(time.Second)}
}

func mustAdd(t *testing.T, s *store.Store, v restart.ScenarioVersion) {
	t.Helper()
	added, err := s.AddVersion(t.Context(), v, audit.Record{Action: audit.ScenarioProposed, ScenarioDigest: v.Digest})
	if err != nil || !added {
		t.Fatalf("added %v, %v", added, err)
	}
}

func exerciseVersions(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	marks := map[string]bool{}
	changed := func(what string) {
		t.Helper()
		mark, err := s.VersionsMark(t.Context())
		if err != nil || marks[mark] {
			t.Fatalf("after %s the mark is %q again (%v)", what, mark, err)
		}
		marks[mark] = true
	}
	same := func(what string) {
		t.Helper()
		if mark, err := s.VersionsMark(t.Context()); err != nil || !marks[mark] {
			t.Fatalf("%s changed the mark (%v)", what, err)
		}
	}
	changed("nothing")
	one, two := newVersion("nginx", 1, "a"), newVersion("nginx", 2, "b")
	mustAdd(t, s, one)
	changed("a version")
	mustAdd(t, s, two)
	changed("another")
	if added, err := s.AddVersion(t.Context(), one, audit.Record{Action: audit.ScenarioProposed}); err != nil || added {
		t.Errorf("the same again: %v, %v", added, err)
	}
	same("the same again")
	forged := one
	forged.Body = []byte("other bytes")
	_, err := s.AddVersion(t.Context(), forged)
	wantCode(t, err, restart.CodeInvalid)

	signed := audit.Record{Action: audit.ScenarioSigned, ScenarioDigest: one.Digest}
	olga := newSignature("olga", "SHA256:1")
	if err := s.AddSignature(t.Context(), one.Digest, olga, "", signed); err != nil {
		t.Fatal(err)
	}
	changed("a signature")
	wantCode(t, s.AddSignature(t.Context(), one.Digest, olga, "", signed), restart.CodeConflict)
	again := newSignature("olga", "SHA256:2")
	again.AddedAt = olga.AddedAt.Add(time.Microsecond)
	wantCode(t, s.AddSignature(t.Context(), one.Digest, again, "SHA256:3", signed), restart.CodeConflict)
	same("what was refused")
	if err := s.AddSignature(t.Context(), one.Digest, again, "SHA256:1", signed); err != nil {
		t.Fatal(err)
	}
	changed("a signature in the place of another")
	wantCode(t, s.AddSignature(t.Context(), digestOf("none"), olga, "", signed), restart.CodeNotFound)

	approved := audit.Record{Action: audit.ScenarioApproved, ScenarioDigest: one.Digest}
	for i, want := range []bool{true, false} {
		if moved, err := s.ApproveVersion(t.Context(), one.Digest, epochStart.Add(time.Minute), approved); err != nil || moved != want {
			t.Fatalf("approval %d: %v, %v", i, moved, err)
		}
	}
	changed("an approval")
	rival := newVersion("nginx", 1, "other bytes, same serial")
	mustAdd(t, s, rival)
	_, err = s.ApproveVersion(t.Context(), rival.Digest, epochStart, approved)
	wantCode(t, err, restart.CodeConflict)

	body, sigs, err := s.Version(t.Context(), one.Digest)
	if err != nil || string(body) != string(one.Body) || len(sigs) != 1 || sigs[0].Principal != "olga" || string(sigs[0].Armored) != "armored SHA256:2" {
		t.Errorf("for a host: %q, %+v, %v", body, sigs, err)
	}
	_, _, err = s.Version(t.Context(), digestOf("none"))
	wantCode(t, err, restart.CodeNotFound)

	if err := s.WithdrawVersion(t.Context(), one.Digest, "olga", "it forgets the drain", epochStart.Add(time.Hour), audit.Record{Action: audit.ScenarioWithdrawn}); err != nil {
		t.Fatal(err)
	}
	changed("a withdrawal")
	wantCode(t, s.WithdrawVersion(t.Context(), one.Digest, "olga", "again", epochStart), restart.CodeConflict)
	wantCode(t, s.AddSignature(t.Context(), one.Digest, newSignature("ivan", "SHA256:9"), ""), restart.CodeConflict)
	_, err = s.ApproveVersion(t.Context(), one.Digest, epochStart)
	wantCode(t, err, restart.CodeConflict)

	want := one
	want.State, want.ApprovedAt, want.WithdrawnBy, want.WithdrawnAt, want.Reason = restart.VersionWithdrawn, epochStart.Add(time.Minute), "olga", epochStart.Add(time.Hour), "it forgets the drain"
	want.Signatures = []restart.ScenarioSignature{again}
	list, err := s.Versions(t.Context(), store.VersionFilter{Name: "nginx", Bodies: true})
	if err != nil || len(list) != 3 || list[0].Serial != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	found, err := s.Versions(t.Context(), store.VersionFilter{Digest: one.Digest, Bodies: true})
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	if diff := cmp.Diff(want, found[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if none, err := s.Versions(t.Context(), store.VersionFilter{Name: "other"}); err != nil || len(none) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
	for action, n := range map[audit.Action]int{audit.ScenarioProposed: 3, audit.ScenarioSigned: 2, audit.ScenarioApproved: 1, audit.ScenarioWithdrawn: 1} {
		if records, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: action}); err != nil || len(records) != n {
			t.Errorf("%d records of %s, want %d (%v)", len(records), action, n, err)
		}
	}
}

// exerciseVersionRace: of many approvals of one name and serial one is made,
// and of many warnings one is sent, over connections of their own.
func exerciseVersionRace(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	stores := []*store.Store{storetest.Open(t, dsn)}
	if other, err := store.Open(t.Context(), store.Config{DSN: dsn}); err == nil {
		t.Cleanup(func() { other.Close() })
		stores = append(stores, other)
	}
	var digests []string
	for i := range 8 {
		v := newVersion("nginx", 7, fmt.Sprint(i))
		mustAdd(t, stores[0], v)
		digests = append(digests, v.Digest)
	}
	var approved, warned atomic.Int32
	var all sync.WaitGroup
	for i, digest := range digests {
		all.Go(func() {
			if moved, err := stores[i%len(stores)].ApproveVersion(t.Context(), digest, epochStart); moved {
				approved.Add(1)
			} else if err == nil {
				t.Error("neither approved nor refused")
			}
			first, err := stores[i%len(stores)].WarnedOf(t.Context(), digests[0], 30, epochStart, []store.Message{{ID: newID(), Event: "scenario-expires", Channels: []string{"pager"}, Body: []byte(`{}`)}})
			if err != nil {
				t.Error(err)
			}
			if first {
				warned.Add(1)
			}
		})
	}
	all.Wait()
	due, err := stores[0].DueMessages(t.Context(), []string{"pager"}, time.Minute, 100)
	if approved.Load() != 1 || warned.Load() != 1 || len(due) != 1 || err != nil {
		t.Errorf("%d approved, %d warned, %d messages, %v", approved.Load(), warned.Load(), len(due), err)
	}
	if first, err := stores[0].WarnedOf(t.Context(), digests[0], 14, epochStart, nil); err != nil || !first {
		t.Errorf("the next threshold: %v, %v", first, err)
	}
}
