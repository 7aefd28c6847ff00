package restart_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func located(t interface{ Fatal(...any) }, name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestLocalTime(t *testing.T) {
	berlin := located(t, "Europe/Berlin")
	for text, want := range map[string]string{
		"2026-12-24T03:00":          "2026-12-24T02:00:00Z",
		" 2026-07-24 03:00 ":        "2026-07-24T01:00:00Z",
		"2026-07-24T03:00:30":       "2026-07-24T01:00:30Z",
		"2026-12-24T03:00:00+05:00": "2026-12-23T22:00:00Z",
		"2026-03-29T03:00":          "2026-03-29T01:00:00Z", // the first that it shows after the gap
		"2026-10-25T03:00":          "2026-10-25T02:00:00Z", // the first that it shows once, after the overlap
	} {
		if got, err := restart.LocalTime(text, berlin); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %s (%v), want %s", text, got, err, want)
		}
	}
	for text, hint := range map[string]string{
		"2026-03-29T02:00": "the next time that it shows: 2026-03-29T03:00",
		"2026-03-29T02:59": "the next time that it shows: 2026-03-29T03:00",
		"2026-10-25T02:00": "say which: 2026-10-25T02:00:00+02:00 or 2026-10-25T02:00:00+01:00",
		"2026-10-25T02:59": "say which: 2026-10-25T02:59:00+02:00 or 2026-10-25T02:59:00+01:00",
	} {
		_, err := restart.LocalTime(text, berlin)
		if e, ok := err.(*restart.Error); !ok || e.Hint != hint { //nolint:errorlint // it is one
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "tomorrow", "2026-02-30T03:00", "2026-12-24", "2026-12-24T25:00", "\x00"} {
		if at, err := restart.LocalTime(text, berlin); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q is %s (%v)", text, at, err)
		}
	}
}

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Santiago", "Pacific/Apia", "Africa/Cairo"}

// What a clock shows at any moment is that moment, or is refused because the
// clock shows it twice.
func TestLocalTimeIsTheTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z := located(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		at := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "at")/60*60, 0)
		got, err := restart.LocalTime(at.In(z).Format("2006-01-02T15:04"), z)
		if err == nil && !got.Equal(at) {
			t.Fatalf("%s is read as %s", at.In(z), got)
		}
		if err == nil {
			return
		}
		for _, by := range []time.Duration{30 * time.Minute, time.Hour, 24 * time.Hour} {
			for _, other := range []time.Time{at.Add(by), at.Add(-by)} {
				if other.In(z).Format("2006-01-02T15:04") == at.In(z).Format("2006-01-02T15:04") {
					return
				}
			}
		}
		t.Fatalf("%s is refused: %v", at.In(z), err)
	})
}

func TestMaintenanceWindow(t *testing.T) {
	m := restart.MaintenanceWindow{Name: "nightly", Weekly: []string{"sun 02:00-sun 03:00", "wed 22:00-thu 02:00"}, Zone: "Europe/Berlin", Environments: []string{"production"}, Services: []string{"web-*", "nginx"}}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ now, from, to string }{
		{"2026-11-23T10:00:00Z", "2026-11-25T22:00:00+01:00", "2026-11-26T02:00:00+01:00"},
		{"2026-11-25T23:30:00Z", "2026-11-25T22:00:00+01:00", "2026-11-26T02:00:00+01:00"}, // open
		{"2026-11-26T01:00:00Z", "2026-11-29T02:00:00+01:00", "2026-11-29T03:00:00+01:00"}, // just closed
		{"2026-03-28T12:00:00Z", "2026-04-01T22:00:00+02:00", "2026-04-02T02:00:00+02:00"}, // the clock skips all of Sunday's
		{"2026-10-24T12:00:00Z", "2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+01:00"}, // two hours
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Next(now)
		if from, to := got.From.Format(time.RFC3339), got.To.Format(time.RFC3339); err != nil || from != c.from || to != c.to {
			t.Errorf("at %s: %s to %s (%v), want %s to %s", c.now, from, to, err, c.from, c.to)
		}
	}
	for where, want := range map[[2]string]bool{{"nginx", "production"}: true, {"web-1", "production"}: true, {"shop", "production"}: false, {"nginx", "testing"}: false} {
		if m.For(where[0], where[1]) != want {
			t.Errorf("for %v: %t", where, !want)
		}
	}
	if !(restart.MaintenanceWindow{}).For("any", "") {
		t.Error("a window for all is not for all")
	}
	for name, bad := range map[string]restart.MaintenanceWindow{
		"name": {Weekly: m.Weekly}, "a path": {Name: "../x", Weekly: m.Weekly}, "no time": {Name: "x"}, "time": {Name: "x", Weekly: []string{"nights"}}, "zone": {Name: "x", Weekly: m.Weekly, Zone: "Europe/Belin"},
		"local": {Name: "x", Weekly: m.Weekly, Zone: "Local"}, "environment": {Name: "x", Weekly: m.Weekly, Environments: []string{"-x"}}, "glob": {Name: "x", Weekly: m.Weekly, Services: []string{"[a"}}, "no glob": {Name: "x", Weekly: m.Weekly, Services: []string{""}},
	} {
		if err := bad.Check(); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A window is never empty, never over, and open at now if any of its times is.
func TestNextWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := restart.MaintenanceWindow{Name: "x", Zone: rapid.SampledFrom(zones).Draw(t, "zone")}
		now := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "now"), 0)
		open := false
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			w := restart.Weekly{From: rapid.IntRange(0, 7*24*60-1).Draw(t, "from"), To: rapid.IntRange(0, 7*24*60-1).Draw(t, "to")}
			if w.From == w.To {
				continue
			}
			m.Weekly = append(m.Weekly, w.String())
			open = open || w.Window(now, located(t, m.Zone)).Holds(now)
		}
		if len(m.Weekly) == 0 {
			return
		}
		got, err := m.Next(now)
		if err != nil || !got.From.Before(got.To) || !now.Before(got.To) || got.Holds(now) != open || got.From.Sub(now) > 15*24*time.Hour {
			t.Fatalf("at %s: %s to %s, open %t (%v)", now, got.From, got.To, open, err)
		}
	})
}

// Every pair of states: an end is an end, and nothing starts that waits for an
// approval.
func TestScheduleStates(t *testing.T) {
	allowed := map[[2]restart.ScheduleState]bool{}
	for _, to := range []restart.ScheduleState{restart.ScheduleMissed, restart.ScheduleRefused, restart.ScheduleCancelled} {
		allowed[[2]restart.ScheduleState{restart.ScheduleAwaiting, to}] = true
		allowed[[2]restart.ScheduleState{restart.ScheduleWaiting, to}] = true
	}
	allowed[[2]restart.ScheduleState{restart.ScheduleAwaiting, restart.ScheduleWaiting}] = true
	allowed[[2]restart.ScheduleState{restart.ScheduleAwaiting, restart.ScheduleRejected}] = true
	allowed[[2]restart.ScheduleState{restart.ScheduleWaiting, restart.ScheduleStarted}] = true
	for _, from := range restart.ScheduleStates() {
		if from.Open() != (from == restart.ScheduleAwaiting || from == restart.ScheduleWaiting) {
			t.Errorf("%s: open %t", from, from.Open())
		}
		for _, to := range restart.ScheduleStates() {
			if err := from.Transition(to); (err == nil) != allowed[[2]restart.ScheduleState{from, to}] {
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
}

func FuzzLocalTime(f *testing.F) {
	for _, s := range []string{"2026-12-24T03:00", "2026-10-25 02:30", "2026-12-24T03:00:00+01:00", "9999-99-99T99:99", "-1-01-01T00:00"} {
		f.Add(s)
	}
	berlin := located(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, s string) {
		at, err := restart.LocalTime(s, berlin)
		if err != nil && restart.CodeOf(err) != restart.CodeInvalid {
			t.Fatalf("%q: %v", s, err)
		}
		if err == nil {
			if again, err := restart.LocalTime(at.Format(time.RFC3339Nano), time.UTC); err != nil || !again.Equal(at) {
				t.Fatalf("%q: %s, and then %s (%v)", s, at, again, err)
			}
		}
	})
}
