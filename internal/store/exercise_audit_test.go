package store_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func link(head audit.Head, r *audit.Record) { r.Link(head) }

// checkChain fails unless the records are a chain of source from the first on.
func checkChain(t *testing.T, source string, records []audit.Record) {
	t.Helper()
	prev := audit.Head{Source: source}
	for i, r := range records {
		if r.Source != source || r.Seq != int64(i+1) || r.PrevHash != prev.Hash || !r.Intact() {
			t.Fatalf("record %d does not follow: %s", i, r.Canonical())
		}
		prev = r.Head()
	}
}

func exerciseSequence(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	if n, err := s.Sequence(t.Context(), "main", 10, link); n != 0 || err != nil {
		t.Fatalf("an empty trail: %d, %v", n, err)
	}
	if head, err := s.AuditHead(t.Context(), "main"); err != nil || head != (audit.Head{Source: "main", Epoch: 1}) {
		t.Fatalf("head %+v, error %v", head, err)
	}
	var want []string
	for i := range 7 {
		detail := fmt.Sprintf("запись %d\u202e\n", i)
		if err := s.AppendAudit(t.Context(), audit.Record{Action: audit.SignIn, Detail: detail, Time: epochStart, Params: map[string]string{"b": "2", "a": "1"}}); err != nil {
			t.Fatal(err)
		}
		want = append(want, restart.Escape(detail))
	}
	other := audit.Record{Source: "other", Action: audit.ServerStarted}
	if err := s.AppendAudit(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{3, 3, 1, 0} {
		if got, err := s.Sequence(t.Context(), "main", 3, link); got != n || err != nil {
			t.Fatalf("sequenced %d, error %v, want %d", got, err, n)
		}
	}
	records, err := s.Sequenced(t.Context(), "main", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	checkChain(t, "main", records)
	var got []string
	for _, r := range records {
		got = append(got, r.Detail)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("order (-want +got):\n%s", diff)
	}
	if head, err := s.AuditHead(t.Context(), "main"); err != nil || head != records[6].Head() {
		t.Fatalf("head %+v, error %v", head, err)
	}
	if rest, err := s.Sequenced(t.Context(), "main", 5, 1); err != nil || len(rest) != 1 || rest[0].Seq != 6 {
		t.Fatalf("after 5: %+v, error %v", rest, err)
	}
	if n, err := s.Sequence(t.Context(), "other", 0, link); n != 1 || err != nil {
		t.Fatalf("the other source: %d, %v", n, err)
	}

	// One that does not follow is not stored, and is there for the next try.
	if err := s.AppendAudit(t.Context(), audit.Record{Action: audit.SignOut}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sequence(t.Context(), "main", 10, func(h audit.Head, r *audit.Record) { r.Link(h); r.Seq++ }); err == nil {
		t.Fatal("a gap was stored")
	}
	if n, err := s.Sequence(t.Context(), "main", 10, link); n != 1 || err != nil {
		t.Fatalf("after a failed try: %d, %v", n, err)
	}
	_, err = s.Sequence(t.Context(), "", 10, link)
	wantCode(t, err, restart.CodeInvalid)
}

// exerciseSequenceRace sequences two sources while records arrive.
func exerciseSequenceRace(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	const writers, each = 4, 25
	var writing, sequencing sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				if err := s.AppendAudit(t.Context(), audit.Record{Action: audit.SignIn, Actor: fmt.Sprint("writer", w), Attempt: i + 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, source := range []string{"a", "a", "b"} {
		sequencing.Go(func() {
			for ended := false; ; {
				n, err := s.Sequence(t.Context(), source, 10, link)
				if err != nil {
					t.Error(err)
					return
				}
				if n == 0 && ended {
					return
				}
				select {
				case <-done:
					ended = true
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	sequencing.Wait()
	total, last := 0, map[string]int{}
	for _, source := range []string{"a", "b"} {
		records, err := s.Sequenced(t.Context(), source, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		checkChain(t, source, records)
		total += len(records)
		for _, r := range records {
			if r.Attempt <= last[source+r.Actor] {
				t.Errorf("%s: record %d of %s comes after %d", source, r.Attempt, r.Actor, last[source+r.Actor])
			}
			last[source+r.Actor] = r.Attempt
		}
	}
	if total != writers*each {
		t.Fatalf("%d records were sequenced of %d", total, writers*each)
	}
}

// exerciseSources: what a server stores is sequenced in its own trail.
func exerciseSources(t *testing.T, newDSN storetest.NewDSN) {
	s, err := store.Open(t.Context(), store.Config{DSN: newDSN(t), Source: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	run := newRun(1)
	if _, err := s.CreateRun(t.Context(), run, "", nil, []audit.Record{{Action: audit.RunRequested}}); err != nil {
		t.Fatal(err)
	}
	mustApply(t, s, store.Change{RunID: run.ID, Records: []audit.Record{{Action: audit.RunStarted}, {Action: audit.TaskIntent, Source: "other"}}})
	for source, want := range map[string]int{"third": 0, "mine": 2, "other": 1} {
		if n, err := s.Sequence(t.Context(), source, 10, link); n != want || err != nil {
			t.Errorf("%s: %d records, error %v, want %d", source, n, err, want)
		}
	}
}

func exerciseCursors(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	cursor := func(sink, source string, want int64) {
		t.Helper()
		if got, err := s.Cursor(t.Context(), sink, source); got != want || err != nil {
			t.Fatalf("cursor of %s in %s is %d, error %v, want %d", sink, source, got, err, want)
		}
	}
	cursor("syslog", "main", 0)
	for _, seq := range []int64{5, 9, 7} {
		if err := s.SetCursor(t.Context(), "syslog", "main", seq); err != nil {
			t.Fatal(err)
		}
	}
	cursor("syslog", "main", 9)
	cursor("file", "main", 0)
	cursor("syslog", "other", 0)
}

// exerciseSeal puts records behind the head, at once with the others.
func exerciseSeal(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	key, err := audit.MakeKey(filepath.Join(t.TempDir(), "audit.key"), epochStart)
	if err != nil {
		t.Fatal(err)
	}
	seal := func(head audit.Head, last *audit.Record) []audit.Record {
		if head.Seq == 0 {
			return nil
		}
		first := int64(1)
		if last != nil {
			first = last.Seq
		}
		r := key.Seal(head, first, epochStart)
		r.Link(head)
		return []audit.Record{r}
	}
	sealed := func(want int64) {
		t.Helper()
		if got, err := s.Sealed(t.Context(), "main"); err != nil || got != want {
			t.Errorf("sealed up to %d instead of %d, %v", got, want, err)
		}
	}
	if err := s.Seal(t.Context(), "main", seal); err != nil {
		t.Fatal(err)
	}
	sealed(0)
	for range 2 {
		for range 3 {
			if err := s.AppendAudit(t.Context(), audit.Record{Action: audit.SignIn}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Sequence(t.Context(), "main", 2, link); err != nil {
			t.Fatal(err)
		}
		if err := s.Seal(t.Context(), "main", seal); err != nil {
			t.Fatal(err)
		}
	}
	sealed(5) // 1 2 (seal) 4 5 (seal), and two that wait
	if _, err := s.Sequence(t.Context(), "main", 0, link); err != nil {
		t.Fatal(err)
	}
	records, err := s.Sequenced(t.Context(), "main", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	checkChain(t, "main", records)
	var seals []int64
	for _, r := range records {
		if r.Action == audit.AuditSealed {
			seals = append(seals, r.Seq)
			if got, err := audit.ReadSeal(&r); err != nil || !got.Valid() || got.Last != r.Seq-1 {
				t.Errorf("%s: %v", r.Canonical(), err)
			}
		}
	}
	if diff := cmp.Diff([]int64{3, 6}, seals); diff != "" || len(records) != 8 {
		t.Errorf("%d records\n%s", len(records), diff)
	}
	if err := s.Seal(t.Context(), "main", func(head audit.Head, _ *audit.Record) []audit.Record {
		r := key.Seal(head, 1, epochStart)
		head.Seq++
		r.Link(head)
		return []audit.Record{r}
	}); err == nil {
		t.Error("a seal behind a gap is stored")
	}
	if head, err := s.AuditHead(t.Context(), "main"); err != nil || head != records[7].Head() {
		t.Errorf("head %+v, %v", head, err)
	}
	// Searches are for people.
	if found, _, err := s.AuditSearch(t.Context(), store.AuditFilter{}); err != nil || len(found) != 6 {
		t.Errorf("%d records are found, %v", len(found), err)
	}
	if found, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Action: audit.AuditSealed}); err != nil || len(found) != 2 {
		t.Errorf("%d seals are found, %v", len(found), err)
	}
}
