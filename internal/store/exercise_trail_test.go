package store_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// trailOf stores records of all kinds, told in another order than that in which
// they happened, and gives them as the database has them.
func trailOf(t *testing.T, s *store.Store, n int) []audit.Record {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	actions := []audit.Action{audit.RunRequested, audit.TaskOutcome, audit.SignIn, audit.RulesChanged, "audit.sealed", "later.action"}
	reasons := []string{"Утечка памяти", "502s since the deploy", "100% of the disk", `a_b \ "quoted"`, ""}
	var all []audit.Record
	for i := range n {
		x := audit.Record{Action: pick0(r, actions...), Actor: pick0(r, "anna", "boris"), Reason: pick0(r, reasons...), Task: fmt.Sprint(i)}
		if x.Action == audit.RunRequested || x.Action == audit.TaskOutcome {
			x.Run, x.Service, x.Environment = fmt.Sprint("r", r.IntN(6)), pick0(r, "nginx", "shop"), pick0(r, "production", "testing")
		}
		if x.Action == audit.TaskOutcome {
			x.Host, x.Outcome, x.Params = fmt.Sprintf("h%d.example.com", r.IntN(3)), "succeeded", map[string]string{"mode": "full"}
		}
		x.Time = epochStart.Add(time.Duration(i/3)*time.Minute - time.Duration(r.IntN(10))*time.Minute) // some at the same moment, some told late
		all = append(all, x)
	}
	if err := s.AppendAudit(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	return all
}

// named is the filter, told plainly.
func named(f store.AuditFilter, r audit.Record) bool {
	text := strings.ToLower(strings.Join([]string{string(r.Action), r.Actor, r.Service, r.Environment, r.Host, r.Outcome, r.Reason}, " "))
	for name, value := range r.Params {
		text += " " + name + "=" + value
	}
	for word := range strings.FieldsSeq(strings.ToLower(f.Text)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	equal := func(want, is string) bool { return want == "" || want == is }
	return equal(f.Run, r.Run) && equal(f.Actor, r.Actor) && equal(f.Service, r.Service) && equal(f.Host, r.Host) && equal(f.Environment, r.Environment) &&
		equal(string(f.Action), string(r.Action)) && equal(string(f.Area), string(r.Action.Area())) && (f.Since.IsZero() || !r.Time.Before(f.Since)) &&
		(f.Until.IsZero() || r.Time.Before(f.Until)) && (f.Seals || f.Action != "" || r.Action != "audit.sealed")
}

// expected is what a loop over all records finds.
func expected(f store.AuditFilter, all []audit.Record) (tasks []string) {
	var found []audit.Record
	for _, r := range all {
		if named(f, r) {
			found = append(found, r)
		}
	}
	if !f.Stored {
		slices.SortStableFunc(found, func(a, b audit.Record) int { return a.Time.Compare(b.Time) })
	}
	if f.Newest {
		slices.Reverse(found)
	}
	for _, r := range found {
		tasks = append(tasks, r.Task)
	}
	return tasks
}

// pagesOf reads page after page to the end.
func pagesOf(t *testing.T, s *store.Store, f store.AuditFilter) (tasks []string, short int) {
	t.Helper()
	for range 1000 {
		records, next, err := s.AuditSearch(t.Context(), f)
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		for _, r := range records {
			tasks = append(tasks, r.Task)
		}
		if len(records) < f.Limit && next != "" {
			short++
		}
		if next == "" || f.Stored && !f.Newest && next == f.After {
			return tasks, short
		}
		f.After = next
	}
	t.Fatalf("%+v has no end", f)
	return nil, 0
}

// exerciseSearch compares searches with a loop over all records.
func exerciseSearch(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	store.LookThrough(s, 7) // so that pages end early
	all := trailOf(t, s, 120)
	if _, err := s.Sequence(t.Context(), "main", 40, link); err != nil { // found wherever they are
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	found, short := 0, 0
	for range 250 {
		f := store.AuditFilter{Limit: 1 + r.IntN(9), Newest: r.IntN(2) == 0, Stored: r.IntN(4) == 0}
		for _, set := range []func(){
			func() { f.Run = pick0(r, "r1", "r2", "none") }, func() { f.Actor = pick0(r, "anna", "boris") }, func() { f.Service = pick0(r, "nginx", "shop") },
			func() { f.Host = pick0(r, "h0.example.com", "h1.example.com") }, func() { f.Environment = pick0(r, "production", "testing") },
			func() { f.Action = pick0(r, audit.RunRequested, "audit.sealed") }, func() { f.Area = pick0(r, audit.AreaRuns, audit.AreaPeople, audit.AreaTrail) },
			func() { f.Since = epochStart.Add(time.Duration(r.IntN(40)) * time.Minute) }, func() { f.Until = epochStart.Add(time.Duration(r.IntN(40)) * time.Minute) },
			func() {
				f.Text = pick0(r, "УТЕЧКА памяти", "502S", "100%", "_", `\`, "mode=full", "nothing of the kind", "' OR 1=1 --")
			}, func() { f.Seals = true },
		} {
			if r.IntN(5) == 0 {
				set()
			}
		}
		got, ended := pagesOf(t, s, f)
		if diff := gocmp.Diff(expected(f, all), got); diff != "" {
			t.Fatalf("%+v (-want +got):\n%s", f, diff)
		}
		found, short = found+len(got), short+ended
	}
	if found < 1000 || short < 50 {
		t.Errorf("only %d records were found, only %d pages ended early", found, short)
	}
	for _, f := range []store.AuditFilter{{After: "soon"}, {After: "1"}, {After: "1.2", Stored: true}, {After: "-1.2"}, {After: "1.2.3"}, {Text: "a b c d e f g"}} {
		_, _, err := s.AuditSearch(t.Context(), f)
		wantCode(t, err, restart.CodeInvalid)
	}
}

// exerciseFollow: who goes on from where the trail ended gets what comes later,
// and nothing twice, even where it happened before.
func exerciseFollow(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	f := store.AuditFilter{Stored: true, Actor: "anna"}
	var got []string
	for i, actor := range []string{"anna", "boris", "anna", "boris"} {
		if err := s.AppendAudit(t.Context(), audit.Record{Action: audit.SignIn, Actor: actor, Task: fmt.Sprint(i), Time: epochStart.Add(-time.Duration(i) * time.Hour)}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			records, next, err := s.AuditSearch(t.Context(), f)
			if err != nil || next == "" {
				t.Fatalf("next %q, error %v", next, err)
			}
			for _, r := range records {
				got = append(got, r.Task)
			}
			f.After = next
		}
	}
	if diff := gocmp.Diff([]string{"0", "2"}, got); diff != "" {
		t.Error(diff)
	}
}

// exerciseEntries: one record with its neighbours, and all of a filter in the
// order of their chains.
func exerciseEntries(t *testing.T, newDSN storetest.NewDSN) {
	ctx := t.Context()
	s := storetest.Open(t, newDSN(t))
	trailOf(t, s, 60)
	for _, source := range []string{"second", "first"} {
		if _, err := s.Sequence(ctx, source, 25, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetCursor(ctx, "relp:log", "first", 9); err != nil {
		t.Fatal(err)
	}
	f := store.AuditFilter{Seals: true}
	ids, more, err := s.AuditPlaces(ctx, f, 50)
	if err != nil || more || len(ids) != 50 { // ten have no place yet
		t.Fatalf("%d places, more %t, %v", len(ids), more, err)
	}
	entries, err := s.AuditEntries(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(entries, func(a, b store.AuditEntry) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), cmp.Compare(a.Seq, b.Seq))
	}) || len(entries) != 50 {
		t.Errorf("%d records, not in the order of their chains", len(entries))
	}
	if _, more, err := s.AuditPlaces(ctx, f, 49); err != nil || !more {
		t.Errorf("more %t, %v", more, err)
	}
	if ids, _, err := s.AuditPlaces(ctx, store.AuditFilter{Host: "h0.example.com", Text: "succeeded"}, 50); err != nil || len(ids) == 0 || len(ids) > 20 {
		t.Errorf("of a host: %d, %v", len(ids), err)
	}

	one, err := s.AuditEntry(ctx, entries[8].ID)
	if err != nil || one.Seq != 9 || one.Previous == nil || one.Previous.Hash != one.PrevHash || one.Next == nil || one.Next.Seq != 10 || !slices.Equal(one.Cursors, []store.AuditCursor{{Sink: "relp:log", Seq: 9}}) {
		t.Errorf("%+v, %v", one, err)
	}
	if first, err := s.AuditEntry(ctx, entries[0].ID); err != nil || first.Previous != nil {
		t.Errorf("%+v, %v", first.Previous, err)
	}
	_, err = s.AuditEntry(ctx, 1<<40)
	wantCode(t, err, restart.CodeNotFound)
}

// exerciseBefore0014: records of before are found as those of today are.
func exerciseBefore0014(t *testing.T, newDSN storetest.NewDSN) {
	dsn := newDSN(t)
	old := []audit.Record{
		{Action: audit.TaskOutcome, Actor: "anna", Host: "h1.example.com", Environment: "production", Service: "nginx", Run: "r1", Outcome: "failed", Reason: "Утечка <b> памяти", Time: epochStart},
		{Action: audit.SignIn, Actor: "boris", Params: map[string]string{"a": "b"}, Time: epochStart.Add(time.Second)},
	}
	if err := store.Before0014(context.Background(), dsn, old); err != nil {
		t.Fatal(err)
	}
	s := storetest.Open(t, dsn)
	rows, err := store.Rows(s)
	if err != nil {
		t.Fatal(err)
	}
	fresh := storetest.Open(t, newDSN(t))
	if err := fresh.AppendAudit(t.Context(), old...); err != nil {
		t.Fatal(err)
	}
	want, err := store.Rows(fresh)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(columns(want["audit_records"]), columns(rows["audit_records"])); diff != "" {
		t.Errorf("old records are stored otherwise than new ones (-new +old):\n%s", diff)
	}
	if found, _, err := s.AuditSearch(t.Context(), store.AuditFilter{Host: "h1.example.com", Text: "утечка <B>"}); err != nil || len(found) != 1 {
		t.Errorf("%d records, %v", len(found), err)
	}
}

// columns sorts the columns of a row, which come in another order where they
// were added later.
func columns(rows []string) (out []string) {
	for _, row := range rows {
		fields := strings.Split(row, `" `)
		slices.Sort(fields)
		out = append(out, strings.Join(fields, `" `))
	}
	return out
}
