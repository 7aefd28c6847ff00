package store_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// dumpsMade keeps the ids of dumps in the order in which they are made.
var dumpsMade atomic.Int64

// newDump makes a dump of a task; without one it is an upload of anna's.
func newDump(task *restart.Task, place int) store.Dump {
	d := store.Dump{
		ID: restart.NewID(epochStart.Add(time.Duration(dumpsMade.Add(1)) * time.Millisecond)), Origin: store.DumpUpload, Owner: "anna", Name: "threads.txt", Number: 1, Of: 1, Runtime: dump.JVM, Method: "attach", PID: 4711,
		TakenAt: epochStart, Took: 8 * time.Millisecond, Size: 1000, Notes: []string{"attach was refused; SIGQUIT"}, Verdict: json.RawMessage(`{"kind":"nothing"}`),
		Summary: json.RawMessage(`{"threads":12}`), Evidence: json.RawMessage(`[{"kind":"journal","text":"a line"}]`), Error: "", CreatedAt: epochStart,
	}
	if task != nil {
		d.Origin, d.Owner, d.Name = store.DumpOfRun, "", ""
		d.RunID, d.TaskID, d.Place, d.Host, d.Service, d.Environment, d.Group = task.RunID, task.ID, place, task.Host, "nginx", "production", "nginx-production"
	}
	return d
}

func addDump(t *testing.T, s *store.Store, d store.Dump, data []byte) store.Dump {
	t.Helper()
	if err := s.AddDump(t.Context(), d, data); err != nil {
		t.Fatal(err)
	}
	d.Stored = int64(len(data))
	return d
}

func idsOf(list []store.Dump) (ids []string) {
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

func exerciseDumps(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	ctx := t.Context()
	run := mustCreate(t, s, newRun(2))
	data := make([]byte, 1_200_000) // three rows
	rand.NewChaCha8([32]byte{7}).Read(data)
	first := addDump(t, s, newDump(&run.Tasks[0], 1), data)
	got, bytesOf, err := s.ReadDump(ctx, first.ID)
	if err != nil || !bytes.Equal(bytesOf, data) {
		t.Fatalf("%d bytes come back, %v", len(bytesOf), err)
	}
	if diff := cmp.Diff(first, got); diff != "" {
		t.Error("a dump came back different:\n" + diff)
	}
	second := addDump(t, s, newDump(&run.Tasks[0], 2), nil)
	other := addDump(t, s, newDump(&run.Tasks[1], 1), []byte("x"))
	before := newDump(&run.Tasks[1], 0)
	before.TaskID, before.Origin = "", store.DumpBefore
	before = addDump(t, s, before, []byte("y"))
	upload := addDump(t, s, newDump(nil, 0), []byte("z"))

	again := newDump(&run.Tasks[0], 1)
	wantCode(t, s.AddDump(ctx, again, data), restart.CodeConflict)
	again = before
	again.ID = newID()
	wantCode(t, s.AddDump(ctx, again, nil), restart.CodeConflict)
	again = newDump(&restart.Task{ID: newID(), RunID: newID(), Host: "web1"}, 1)
	wantCode(t, s.AddDump(ctx, again, nil), restart.CodeNotFound)
	again = newDump(nil, 0)
	again.Owner = ""
	wantCode(t, s.AddDump(ctx, again, nil), restart.CodeInvalid)
	if _, err := s.Dump(ctx, newID()); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("a dump that is not there: %v", err)
	}

	for name, c := range map[string]struct {
		f    store.DumpFilter
		want []string
	}{
		"all of runs":    {store.DumpFilter{}, []string{before.ID, other.ID, second.ID, first.ID}},
		"of a run":       {store.DumpFilter{Run: run.ID}, []string{before.ID, other.ID, second.ID, first.ID}},
		"of a task":      {store.DumpFilter{Task: run.Tasks[0].ID}, []string{second.ID, first.ID}},
		"of a host":      {store.DumpFilter{Host: run.Tasks[1].Host}, []string{before.ID, other.ID}},
		"of a service":   {store.DumpFilter{Service: "shop"}, nil},
		"one's own":      {store.DumpFilter{Owner: "anna"}, []string{upload.ID}},
		"somebody's own": {store.DumpFilter{Owner: "vera"}, nil},
	} {
		list, next, err := s.Dumps(ctx, c.f)
		if err != nil || next != "" || !slices.Equal(idsOf(list), c.want) {
			t.Errorf("%s: %v, next %q, %v; want %v", name, idsOf(list), next, err, c.want)
		}
	}
	list, next, err := s.Dumps(ctx, store.DumpFilter{Limit: 3})
	if err != nil || len(list) != 3 || next != second.ID {
		t.Fatalf("a page has %d dumps, next %q, %v", len(list), next, err)
	}
	if list, next, err = s.Dumps(ctx, store.DumpFilter{Limit: 3, Before: next}); err != nil || !slices.Equal(idsOf(list), []string{first.ID}) || next != "" {
		t.Errorf("the last page has %v, next %q, %v", idsOf(list), next, err)
	}
	_, _, err = s.Dumps(ctx, store.DumpFilter{Before: "rubbish"})
	wantCode(t, err, restart.CodeInvalid)
	if places, err := s.TaskDumps(ctx, run.Tasks[0].ID); err != nil || !slices.Equal(places, []int{1, 2}) {
		t.Errorf("the task's places are %v, %v", places, err)
	}
	if hosts, err := s.HostsBefore(ctx, run.ID); err != nil || !slices.Equal(hosts, []string{run.Tasks[1].Host}) {
		t.Errorf("before the run answered %v, %v", hosts, err)
	}
	if total, err := s.DumpBytes(ctx); err != nil || total != int64(len(data))+3+5*evidenceWeight(t, s) {
		t.Errorf("%d bytes, %v", total, err)
	}

	rec := audit.Record{Action: audit.DumpDeleted, Actor: "root", Reason: "it holds a customer's password"}
	if err := s.DeleteDump(ctx, first.ID, epochStart, rec); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.DeleteDump(ctx, first.ID, epochStart, rec), restart.CodeNotFound)
	if found, _, err := s.AuditSearch(ctx, store.AuditFilter{Action: audit.DumpDeleted, Limit: 10}); err != nil || len(found) != 1 {
		t.Errorf("%d records of the deletion, %v", len(found), err)
	}
}

// evidenceWeight is what the evidence of a dump of newDump takes.
func evidenceWeight(t *testing.T, s *store.Store) int64 {
	t.Helper()
	total := func() int64 {
		n, err := s.DumpBytes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := total()
	d := addDump(t, s, newDump(nil, 0), nil)
	weight := total() - before
	if err := s.DeleteDump(t.Context(), d.ID, epochStart); err != nil {
		t.Fatal(err)
	}
	if weight <= 0 {
		t.Fatalf("evidence takes %d bytes", weight)
	}
	return weight
}

// exerciseDumpWeights: evidence that was stored before weights were kept counts too.
func exerciseDumpWeights(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	ids, err := store.BeforeDumpWeight(t.Context(), dsn, 1000, 2500)
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, dsn)
	if total, err := s.DumpBytes(t.Context()); err != nil || total != 1000+2500+1000 {
		t.Errorf("%d bytes, %v", total, err)
	}
	n, size, err := s.DropDumps(t.Context(), store.Retention{Bytes: 1000})
	if err != nil || n != 1 || size != 3500 {
		t.Errorf("dropped %d dumps of %d bytes, %v", n, size, err)
	}
	if _, err := s.Dump(t.Context(), ids[1]); err != nil {
		t.Errorf("the one that is light enough: %v", err)
	}
}

// exerciseDumpDropping: one transaction drops a number of bytes, and one dump at least.
func exerciseDumpDropping(t *testing.T, newDSN storetest.NewDSN) {
	for name, c := range map[string]struct {
		stored int
		want   int
	}{"light": {30 << 20, 2}, "heavy": {40 << 20, 1}, "too heavy": {100 << 20, 1}} {
		dsn := newDSN(t)
		if _, err := store.BeforeDumpWeight(t.Context(), dsn, c.stored, 0); err != nil {
			t.Fatal(err)
		}
		s := storetest.Open(t, dsn)
		for left := 2; left > 0; left -= c.want {
			n, size, err := store.DropSome(t.Context(), s, store.Retention{Bytes: 1})
			if err != nil || n != c.want || size != int64(n*c.stored) {
				t.Fatalf("%s: %d dumps of %d bytes at once, %v; want %d", name, n, size, err, c.want)
			}
		}
	}
}

func exerciseDumpRetention(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	ctx := t.Context()
	run := mustCreate(t, s, newRun(1))
	const each = 1000
	var all []string
	for i := range 250 { // more than one batch
		d := newDump(&run.Tasks[0], i+1)
		d.Evidence, d.CreatedAt = nil, epochStart.Add(time.Duration(i)*time.Minute)
		all = append(all, addDump(t, s, d, make([]byte, each)).ID)
	}
	upload := newDump(nil, 0)
	upload.Evidence, upload.CreatedAt = nil, epochStart.Add(200*time.Minute)
	addDump(t, s, upload, make([]byte, each))
	drop := func(keep store.Retention, want int) {
		t.Helper()
		n, size, err := s.DropDumps(ctx, keep)
		if err != nil || n != want || size != int64(want*each) {
			t.Fatalf("dropped %d dumps of %d bytes, %v; want %d", n, size, err, want)
		}
	}
	drop(store.Retention{}, 0)
	drop(store.Retention{Bytes: 251 * each}, 0)
	drop(store.Retention{Before: epochStart.Add(120 * time.Minute)}, 120)
	drop(store.Retention{Uploads: epochStart.Add(201 * time.Minute)}, 1)
	late := newDump(nil, 0) // somebody's file puts no evidence out, however new it is
	late.Evidence, late.CreatedAt = nil, epochStart.Add(300*time.Minute)
	addDump(t, s, late, make([]byte, each))
	drop(store.Retention{Bytes: 130 * each}, 1)
	drop(store.Retention{Bytes: 10*each + 1}, 120)
	list, _, err := s.Dumps(ctx, store.DumpFilter{})
	slices.Reverse(all)
	if err != nil || !slices.Equal(idsOf(list), all[:10]) {
		t.Errorf("%d are left, %v: not the newest ten", len(list), err)
	}
	if n := countRecords(t, s, audit.DumpExpired); n != 6 { // one a batch
		t.Errorf("%d records of what was dropped", n)
	}
	if total, err := s.DumpBytes(ctx); err != nil || total != 10*each {
		t.Errorf("%d bytes are left, %v", total, err)
	}
	heavy := newDump(nil, 0) // there is no dump, and much beside it
	heavy.Evidence = json.RawMessage(fmt.Sprintf("[%q]", restart.NewID(epochStart)+strings.Repeat("x", 1<<10)))
	addDump(t, s, heavy, nil)
	n, size, err := s.DropDumps(ctx, store.Retention{Bytes: 10 * each})
	if err != nil || n != 1 || size == 0 {
		t.Errorf("of evidence: dropped %d dumps of %d bytes, %v", n, size, err)
	}
}
