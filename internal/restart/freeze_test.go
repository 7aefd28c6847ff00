package restart_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestParseWeekly(t *testing.T) {
	for in, want := range map[string]string{
		"fri 18:00-mon 08:00": "fri 18:00-mon 08:00", "Friday 18:00 – Monday 8:00": "fri 18:00-mon 08:00", "  sat 00:00 - sun 24:00 ": "sat 00:00-mon 00:00",
		"mon 09:00-mon 08:59": "mon 09:00-mon 08:59", "sun 24:00-mon 01:00": "", "": "", "fri": "", "fri 18:00": "", "fri 18:00-": "", "fr 18:00-mon 08:00": "",
		"fri 25:00-mon 08:00": "", "fri 18:60-mon 08:00": "", "fri 18:0-mon 08:00": "", "fri 18-mon 8": "", "fri 24:30-mon 08:00": "", "fri -1:00-mon 08:00": "",
		"fri 18:00-mon 08:00-tue 09:00": "", "fri 18:00 mon 08:00": "", "funday 18:00-mon 08:00": "", "fri\x1b 18:00-mon 08:00": "",
		strings.Repeat(" ", 80) + "fri 18:00-mon 08:00": "",
	} {
		w, err := restart.ParseWeekly(in)
		if want == "" {
			if restart.CodeOf(err) != restart.CodeInvalid {
				t.Errorf("%q: %v, %v", in, w, err)
			}
			continue
		}
		if err != nil || w.String() != want {
			t.Errorf("%q: %q, %v", in, w, err)
		}
	}
	for _, whole := range []string{"mon 00:00-mon 00:00", "mon 00:00-sun 24:00", "wed 12:30-wed 12:30"} {
		if _, err := restart.ParseWeekly(whole); err == nil || !strings.Contains(err.Error(), "whole week") {
			t.Errorf("%q: %v", whole, err)
		}
	}
}

// The clocks of Berlin go forward at 02:00 on 2026-03-29, and back at 03:00 on
// 2026-10-25.
func TestWeeklyOverAChangeOfClocks(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, c := range []struct{ weekly, now, from, to string }{
		{"fri 18:00-mon 08:00", "2026-03-28T12:00:00Z", "2026-03-27T17:00:00Z", "2026-03-30T06:00:00Z"}, // 61 hours
		{"fri 18:00-mon 08:00", "2026-10-24T12:00:00Z", "2026-10-23T16:00:00Z", "2026-10-26T07:00:00Z"}, // 63 hours
		{"sun 02:30-sun 05:00", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"}, // its beginning is skipped
		{"sat 20:00-sun 02:30", "2026-03-28T12:00:00Z", "2026-03-28T19:00:00Z", "2026-03-29T01:00:00Z"}, // its end is skipped
		{"sun 02:30-sun 05:00", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T04:00:00Z"}, // the first 02:30
		{"sat 20:00-sun 02:30", "2026-10-24T12:00:00Z", "2026-10-24T18:00:00Z", "2026-10-25T01:30:00Z"}, // the second 02:30
		{"fri 18:00-mon 08:00", "2026-03-30T06:00:00Z", "2026-04-03T16:00:00Z", "2026-04-06T06:00:00Z"}, // over: the next
	} {
		w, err := restart.ParseWeekly(c.weekly)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		got := w.Window(now, berlin)
		if f, to := got.From.UTC().Format(time.RFC3339), got.To.UTC().Format(time.RFC3339); f != c.from || to != c.to {
			t.Errorf("%s at %s: %s to %s, want %s to %s", c.weekly, c.now, f, to, c.from, c.to)
		}
	}
}

// reading is what the wall clock shows, as if it were UTC.
func reading(at time.Time, zone *time.Location) time.Time {
	_, offset := at.In(zone).Zone()
	return at.UTC().Add(time.Duration(offset) * time.Second)
}

// Window is compared with walking minute by minute through the weeks around a
// moment, in zones that change their clocks by an hour, by half an hour, at
// midnight, and in one that skipped a whole day.
func TestWeeklyAgainstEveryMinute(t *testing.T) {
	type place struct {
		zone *time.Location
		near time.Time
	}
	var places []place
	for _, p := range []struct{ zone, near string }{
		{"Europe/Berlin", "2026-03-29"}, {"Europe/Berlin", "2026-10-25"}, {"America/New_York", "2026-11-01"}, {"Australia/Lord_Howe", "2026-04-05"},
		{"Australia/Lord_Howe", "2026-10-04"}, {"America/Havana", "2026-03-08"}, {"America/Havana", "2026-11-01"}, {"Asia/Kathmandu", "2026-06-01"},
		{"Pacific/Apia", "2011-12-30"}, {"Africa/Casablanca", "2026-02-15"}, {"UTC", "2026-01-01"}, {"America/Sao_Paulo", "2018-11-04"},
	} {
		near, err := time.Parse(time.DateOnly, p.near)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, place{zone(t, p.zone), near})
	}
	rapid.Check(t, func(rt *rapid.T) {
		p := rapid.SampledFrom(places).Draw(rt, "place")
		w := restart.Weekly{From: rapid.IntRange(0, 7*24*60-1).Draw(rt, "from"), To: rapid.IntRange(0, 7*24*60-1).Draw(rt, "to")}
		change := int(p.near.Weekday()+6) % 7 * 24 * 60 // edges in the hours in which clocks change
		switch rapid.IntRange(0, 2).Draw(rt, "at the change") {
		case 0:
			w.From = change + rapid.IntRange(0, 240).Draw(rt, "edge")
		case 1:
			w.To = change + rapid.IntRange(0, 240).Draw(rt, "edge")
		}
		if w.From == w.To {
			return
		}
		length := time.Duration((w.To-w.From+7*24*60)%(7*24*60)) * time.Minute
		now := p.near.Add(time.Duration(rapid.IntRange(-3*24*60, 4*24*60).Draw(rt, "now")) * time.Minute)
		// Every minute of five weeks, each with what the clock shows.
		const weeks = 35 * 24 * 60
		first := now.Add(-weeks / 2 * time.Minute).Truncate(time.Minute)
		shown := make([]time.Time, weeks)
		for i := range shown {
			shown[i] = reading(first.Add(time.Duration(i)*time.Minute), p.zone)
		}
		// Of each week's window: the first minute that shows its beginning or more,
		// and the last that shows less than its end.
		monday := shown[0].AddDate(0, 0, -int(shown[0].Weekday()+6)%7).Truncate(24 * time.Hour)
		frozen := func(from, to time.Time) (restart.Window, bool) {
			begin, last := -1, -1
			for i, s := range shown {
				if begin < 0 && !s.Before(from) {
					begin = i
				}
				if s.Before(to) {
					last = i
				}
			}
			if begin < 1 || last < 0 || last == weeks-1 {
				return restart.Window{}, false // not wholly among these weeks
			}
			return restart.Window{From: first.Add(time.Duration(begin) * time.Minute), To: first.Add(time.Duration(last+1) * time.Minute)}, true
		}
		for week := range 6 {
			from := monday.AddDate(0, 0, 7*week).Add(time.Duration(w.From) * time.Minute)
			want, whole := frozen(from, from.Add(length))
			if !whole || !now.Before(want.To) {
				continue
			}
			if got := w.Window(now, p.zone); !got.From.Equal(want.From) || !got.To.Equal(want.To) {
				rt.Fatalf("%s in %s at %s: %s to %s, every minute says %s to %s", w, p.zone, now, got.From, got.To, want.From.In(p.zone), want.To.In(p.zone))
			}
			return
		}
		rt.Fatalf("no window was found")
	})
}

func TestFreezeNames(t *testing.T) {
	for _, c := range []struct {
		freeze               restart.Freeze
		service, environment string
		want                 bool
	}{
		{restart.Freeze{Environments: []string{"production"}}, "shop", "production", true},
		{restart.Freeze{Environments: []string{"production"}}, "shop", "testing", false},
		{restart.Freeze{Environments: []string{"production", "testing"}}, "shop", "testing", true},
		{restart.Freeze{Environments: []string{restart.EveryEnvironment}}, "shop", "", true},
		{restart.Freeze{Environments: []string{restart.EveryEnvironment}, Services: []string{"bare"}}, "shop", "testing", false},
		{restart.Freeze{Environments: []string{"testing"}, Services: []string{"bare", "shop"}}, "shop", "testing", true},
		{restart.Freeze{}, "shop", "", false},
	} {
		if got := c.freeze.Names(c.service, c.environment); got != c.want {
			t.Errorf("%+v names %s in %q: %v", c.freeze, c.service, c.environment, got)
		}
	}
}

func TestFreezeByDate(t *testing.T) {
	from, to := time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 27, 0, 0, 0, 0, time.UTC)
	f := restart.Freeze{From: &from, To: &to}
	for now, want := range map[time.Time][2]bool{ // it will be or is, it is
		from.Add(-1): {true, false}, from: {true, true}, to.Add(-1): {true, true}, to: {false, false},
	} {
		w, there, err := f.Window(now, time.UTC)
		if err != nil || there != want[0] || there && w.Holds(now) != want[1] {
			t.Errorf("at %s: %v %v %v", now, w, there, err)
		}
	}
	for _, broken := range []restart.Freeze{{}, {From: &from}, {Weekly: "soon"}} {
		if _, _, err := broken.Window(from, time.UTC); err == nil {
			t.Errorf("%+v has a window", broken)
		}
	}
}

func TestBreakGlassWaives(t *testing.T) {
	for _, s := range []restart.Safeguard{restart.SafeguardFreeze, restart.SafeguardApproval, restart.SafeguardRemoteLog, restart.SafeguardTicket, restart.SafeguardMonitoring, restart.SafeguardLockKeeper} {
		if (restart.Run{}).Waives(s) || !(restart.Run{BreakGlass: true}).Waives(s) {
			t.Errorf("%s", s)
		}
	}
	if (restart.Run{BreakGlass: true}).Waives("review") {
		t.Error("reviewed bytes are waived")
	}
	whole, undrain := restart.WorkWhole, restart.WorkUndrain
	if restart.FreezeBinds(restart.KindThreadDump, whole) || !restart.FreezeBinds(restart.KindRestart, whole) || !restart.FreezeBinds(restart.KindCustom, whole) {
		t.Error("freezes bind all but thread dumps")
	}
	if restart.FreezeBinds(restart.KindRestart, undrain) || restart.FreezeBinds(restart.KindCustom, undrain) {
		t.Error("a freeze keeps a drained host from being put back")
	}
}

func FuzzParseWeekly(f *testing.F) {
	f.Add("fri 18:00-mon 08:00")
	f.Add("sat 00:00 – sun 24:00")
	f.Fuzz(func(t *testing.T, s string) {
		w, err := restart.ParseWeekly(s)
		if err != nil {
			return
		}
		again, err := restart.ParseWeekly(w.String())
		if err != nil || again != w {
			t.Errorf("%q gives %v, whose own text gives %v, %v", s, w, again, err)
		}
		if at := time.Unix(1_700_000_000, 0); !at.Before(w.Window(at, time.UTC).To) {
			t.Errorf("%q: its window is over", s)
		}
	})
}
