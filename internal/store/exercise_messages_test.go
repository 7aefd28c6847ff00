package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// exerciseMessageOrder: what is told of a run comes to each receiver in order,
// however many servers take messages; one that is given up holds up nobody.
func exerciseMessageOrder(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	run, other := mustCreate(t, s, newRun(1)), newRun(1)
	other.Service = "shop"
	mustCreate(t, s, other)
	leave := func(run restart.Run, bodies ...string) {
		t.Helper()
		var all []store.Message
		for _, b := range bodies { // the ids are in no order
			all = append(all, store.Message{ID: newID(), Event: "run-paused", Subject: run.ID, Channels: []string{"one", "two"}, Body: json.RawMessage(`"` + b + `"`)})
		}
		mustApply(t, s, store.Change{RunID: run.ID, At: epochStart, Messages: all})
	}
	due := func(channel string) map[string]store.Delivery {
		t.Helper()
		got, err := s.DueMessages(t.Context(), []string{channel}, -time.Second, 10)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]store.Delivery{}
		for _, d := range got {
			out[string(d.Body)] = d
		}
		return out
	}
	leave(run, "a", "b")
	leave(other, "x")
	leave(run, "c")
	for _, step := range []struct {
		due  []string
		ends string
		done func(d store.Delivery) error
	}{
		{[]string{`"a"`, `"x"`}, `"a"`, func(d store.Delivery) error { d.Post = "p1"; return s.MessageDelivered(t.Context(), d) }},
		{[]string{`"b"`, `"x"`}, `"b"`, func(d store.Delivery) error { return s.MessageFailed(t.Context(), d, "for now", 0) }},
		{[]string{`"b"`, `"x"`}, `"b"`, func(d store.Delivery) error { return s.MessageFailed(t.Context(), d, "for good", -1) }},
		{[]string{`"c"`, `"x"`}, `"x"`, func(d store.Delivery) error { return s.MessageDelivered(t.Context(), d) }},
	} {
		got := due("one")
		if len(got) != len(step.due) {
			t.Fatalf("due are %v, want %v", got, step.due)
		}
		d, ok := got[step.ends]
		if !ok {
			t.Fatalf("due are %v, want %v", got, step.due)
		}
		if err := step.done(d); err != nil {
			t.Fatal(err)
		}
	}
	last := due("one")[`"c"`]
	post, earlier, err := s.Told(t.Context(), last)
	if err != nil || post != "p1" || len(earlier) != 1 || string(earlier[0]) != `"a"` {
		t.Errorf("told before: %q, %s, %v", post, earlier, err)
	}
	if post, earlier, err := s.Told(t.Context(), due("two")[`"a"`]); err != nil || post != "" || len(earlier) != 0 {
		t.Errorf("told another: %q, %s, %v", post, earlier, err)
	}
	waiting, err := s.WaitingMessages(t.Context())
	if want := map[string]store.Waiting{"one": {Messages: 1, Since: epochStart}, "two": {Messages: 4, Since: epochStart}}; err != nil || gocmp.Diff(want, waiting) != "" {
		t.Errorf("waiting: %v, %v", waiting, err)
	}
	if err := s.MessageFailed(t.Context(), last, "no answer", time.Hour); err != nil {
		t.Fatal(err)
	}
	if waiting, err := s.WaitingMessages(t.Context()); err != nil || waiting["one"].Failure != "no answer" {
		t.Errorf("waiting: %v, %v", waiting, err)
	}
}

// exerciseDigests: one of several servers keeps a week's, and what it is made
// from are the runs that statistics count.
func exerciseDigests(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	var kept atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			m := []store.Message{{ID: newID(), Event: "digest", Channels: []string{"one"}, Body: json.RawMessage(`{}`)}}
			first, err := s.KeepDigest(t.Context(), "one", "2026-11-23", epochStart, m)
			if err != nil {
				t.Error(err)
			}
			if first {
				kept.Add(1)
			}
		})
	}
	all.Wait()
	due, err := s.DueMessages(t.Context(), []string{"one"}, 0, 10)
	if err != nil || len(due) != 1 || kept.Load() != 1 {
		t.Errorf("%d kept it, %d messages, %v", kept.Load(), len(due), err)
	}
	for channel, want := range map[string]bool{"one": true, "two": false} {
		if made, err := s.DigestMade(t.Context(), channel, "2026-11-23"); err != nil || made != want {
			t.Errorf("made for %s: %v, %v", channel, made, err)
		}
	}

	p := newPast(t, s, 60)
	since, until := p.now.AddDate(0, 0, -20), p.now.AddDate(0, 0, -1)
	var want, got []string
	for _, r := range p.runs {
		if r.FinishedAt != nil && r.StartedAt != nil && r.Work == "" && !r.FinishedAt.Before(since) && r.FinishedAt.Before(until) {
			want = append(want, fmt.Sprintln(r.ID, r.Service, r.Environment, r.Kind, r.State, r.Actor, r.Reason, r.FinishedAt))
		}
	}
	runs, err := s.EndedRuns(t.Context(), since, until)
	for i, r := range runs {
		got = append(got, fmt.Sprintln(r.Run, r.Service, r.Environment, r.Kind, r.State, r.Actor, r.Reason, &r.At))
		if r.ReasonKey == "" || i > 0 && r.At.Before(runs[i-1].At) {
			t.Errorf("run %d: %+v", i, r)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := gocmp.Diff(want, got); err != nil || diff != "" || len(got) == 0 {
		t.Errorf("%d runs, %v (-want +got):\n%s", len(got), err, diff)
	}
}

// exerciseAddresses: of people by name, and of all members of a team, once each;
// of nobody who is disabled.
func exerciseAddresses(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	for _, u := range []store.User{
		{Name: "anna", Mail: "anna@example.com", Groups: []string{"web"}}, {Name: "boris", Mail: "boris@example.com", Groups: []string{"db", "web"}}, {Name: "carl", Groups: []string{"web"}},
		{Name: "dora", Mail: "dora@example.com", Groups: []string{"web"}, DisabledAt: epochStart}, {Name: "emil", Mail: "anna@example.com", Groups: []string{"web"}},
	} {
		u.Method, u.GroupsAt, u.CreatedAt = "ldap", epochStart, epochStart
		if err := s.CreateUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	for asked, want := range map[string][]string{
		"anna": {"anna@example.com"}, "team:web": {"anna@example.com", "boris@example.com"}, "team:db": {"boris@example.com"}, "carl": nil, "dora": nil, "web": nil, "team:anna": nil,
	} {
		if got, err := s.MailOf(t.Context(), []string{asked}); err != nil || gocmp.Diff(want, got) != "" {
			t.Errorf("%s: %q, %v", asked, got, err)
		}
	}
}
