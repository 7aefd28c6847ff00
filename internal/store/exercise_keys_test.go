package store_test

import (
	"slices"
	"strconv"
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

func exerciseKeys(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	added := audit.Record{Action: audit.KeyAdded, Actor: "anna"}
	laptop := store.Key{ID: "a", Owner: "anna", Name: "laptop", Kind: "ssh-ed25519", Fingerprint: "SHA256:a", Public: "AAAA", CreatedAt: epochStart, ExpiresAt: epochStart.Add(time.Hour)}
	phone := store.Key{ID: "b", Owner: "anna", Name: "phone", Kind: "ssh-rsa", Fingerprint: "SHA256:b", Public: "BBBB", CreatedAt: epochStart}
	must(s.AddKey(t.Context(), laptop, added))
	must(s.AddKey(t.Context(), phone, added))
	if got, err := s.KeyByFingerprint(t.Context(), "SHA256:a"); err != nil || !cmp.Equal(got, laptop) {
		t.Errorf("%v: %s", err, cmp.Diff(laptop, got))
	}
	if laptop.Valid(epochStart.Add(time.Hour)) || !laptop.Valid(epochStart) || !phone.Valid(time.Now()) {
		t.Error("a key is good until it expires, and one that never does for ever")
	}
	// Nobody has another's key, nor one twice; and nothing is recorded of it.
	for _, owner := range []string{"boris", "anna"} {
		twin := laptop
		twin.ID, twin.Owner = "c", owner
		wantCode(t, s.AddKey(t.Context(), twin, added), restart.CodeConflict)
	}
	if n := countRecords(t, s, audit.KeyAdded); n != 2 {
		t.Errorf("%d keys are recorded", n)
	}
	must(s.AddKey(t.Context(), store.Key{ID: "d", Owner: "boris", Fingerprint: "SHA256:d", CreatedAt: epochStart}))
	ids := func(f store.KeyFilter) (out []string) {
		list, err := s.Keys(t.Context(), f)
		must(err)
		for _, k := range list {
			out = append(out, k.ID)
		}
		return out
	}
	if got := ids(store.KeyFilter{Owner: "anna", Limit: 10}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("anna's: %v", got)
	}
	if got := ids(store.KeyFilter{After: "a", Limit: 2}); !slices.Equal(got, []string{"b", "d"}) {
		t.Errorf("everybody's: %v", got)
	}
	must(s.TouchKey(t.Context(), "a"))
	used, err := s.KeyByID(t.Context(), "a")
	must(err)
	if used.LastUsedAt.IsZero() {
		t.Error("its use is not noted")
	}
	removed := audit.Record{Action: audit.KeyRemoved, Actor: "anna"}
	must(s.RemoveKey(t.Context(), "a", removed))
	wantCode(t, s.RemoveKey(t.Context(), "a", removed), restart.CodeNotFound)
	_, err = s.KeyByFingerprint(t.Context(), "SHA256:a")
	wantCode(t, err, restart.CodeNotFound)
	if n := countRecords(t, s, audit.KeyRemoved); n != 1 {
		t.Errorf("%d removals are recorded", n)
	}
	for i := range store.MaxKeys - 1 {
		must(s.AddKey(t.Context(), store.Key{ID: "m" + strconv.Itoa(i), Owner: "anna", Fingerprint: "SHA256:m" + strconv.Itoa(i), CreatedAt: epochStart}))
	}
	wantCode(t, s.AddKey(t.Context(), store.Key{ID: "z", Owner: "anna", Fingerprint: "SHA256:z", CreatedAt: epochStart}), restart.CodeConflict)
}

// Of many who add one key at a time, one gets it.
func exerciseKeyRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	var racing sync.WaitGroup
	var got atomic.Int64
	for i := range 8 {
		racing.Go(func() {
			id := strconv.Itoa(i)
			err := s.AddKey(t.Context(), store.Key{ID: id, Owner: "person" + id, Fingerprint: "SHA256:same", CreatedAt: epochStart}, audit.Record{Action: audit.KeyAdded})
			switch restart.CodeOf(err) {
			case "":
				got.Add(1)
			case restart.CodeConflict:
			default:
				t.Error(err)
			}
		})
	}
	racing.Wait()
	if n := countRecords(t, s, audit.KeyAdded); got.Load() != 1 || n != 1 {
		t.Errorf("%d have the key, %d are recorded", got.Load(), n)
	}
}
