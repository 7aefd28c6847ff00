package notify

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

var verb = regexp.MustCompile(`%[a-z]`)

// Every text is there in both languages, with the same values in the same order.
func TestTextsAreComplete(t *testing.T) {
	for key, text := range texts {
		if text[0] == "" || text[1] == "" || !slices.Equal(verb.FindAllString(text[0], -1), verb.FindAllString(text[1], -1)) {
			t.Errorf("%s: %q", key, text)
		}
		if !strings.ContainsFunc(text[1], func(r rune) bool { return r >= 'а' && r <= 'я' }) && text[1] != "%s" && text[1] != "%s, %s, %s: %s" {
			t.Errorf("%s is not Russian: %q", key, text[1])
		}
	}
	for _, c := range restart.PauseCauses() {
		if _, ok := texts["cause."+string(c)]; !ok {
			t.Errorf("no text for the cause %s", c)
		}
	}
	for _, s := range restart.TaskStates() {
		if _, ok := texts["task."+string(s)]; !ok {
			t.Errorf("no text for the state %s", s)
		}
	}
	for _, w := range []restart.Work{restart.WorkUndrain, restart.WorkRehearse} {
		if _, ok := texts["title."+string(w)]; !ok {
			t.Errorf("no text for %s", w)
		}
	}
}

// Every event, kind and verdict is told in words, and no key or verb of a format
// is left.
func TestEveryEventIsTold(t *testing.T) {
	leftover := regexp.MustCompile(`%!|\b(state|title|fact|list|link|task|cause)\.[a-z]`)
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, l := range said.Languages() {
		for _, event := range append(Events(), wire.EventTest) {
			for _, kind := range restart.Kinds() {
				for _, verdict := range restart.ApprovalVerdicts() {
					n := wire.Notification{
						Event: event, At: now, Kind: kind, Verdict: verdict, Service: "shop", Environment: "production", Scenario: "shop-restart", Actor: "anna", Reason: "it hangs", By: "boris", Who: "root",
						Until: &now, ExpiresAt: &now, PlannedFor: &now, State: restart.RunAborted, Cause: restart.CauseGate, Hosts: []string{"a", "b"}, HostCount: 9, Tasks: map[restart.TaskState]int{restart.TaskFailed: 1},
						Week: map[bool]*wire.Week{true: {From: now, Until: now, Runs: 1, Services: []wire.WeekService{{}}, Again: []wire.WeekRun{{}}, Reasons: []wire.WeekReason{{}}}}[event == wire.EventDigest],
					}
					c := teller{l, time.UTC}.card(n, []wire.Notification{n})
					if text := mailText(c); leftover.MatchString(text) || c.mark == "" || c.title == "" || c.state == "" || c.link == "" {
						t.Errorf("%s, %s, %s, %s:\n%s", l, event, kind, verdict, text)
					}
				}
			}
		}
	}
}

// calm changes nothing but what would call, and nothing that is read.
func TestCalm(t *testing.T) {
	for text, want := range map[string]string{
		"@all":                 "@\u200ball",
		"ask (@anna)":          "ask (@\u200banna)",
		"anna@example.com":     "anna@example.com",
		"https://example.com/": "https://example.com/",
		"/restart nginx":       "/\u200brestart nginx",
		"/var/log and a/b":     "/\u200bvar/log and a/b",
		"x/@anna":              "x/@\u200banna",
		"_@all, -_@here":       "_@\u200ball, -_@\u200bhere",
		"a_/b and a_b@c.de":    "a_/b and a_b@c.de",
		"@ /":                  "@ /",
	} {
		if got := calm(text, "@/"); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	calls := regexp.MustCompile(`(^|[^\pL\p{Nd}@])@[A-Za-z0-9]|(^|[^\pL\p{Nd}_/@])/[A-Za-z0-9]`)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("@/ab_Ж9 .:(")), 0, 12, -1).Draw(t, "text")
		got := calm(text, "@/")
		if strings.ReplaceAll(got, "\u200b", "") != text || calls.MatchString(got) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// The last time a digest was due is the right hour of the right day by the clock
// on the wall, summer or winter, and never ahead.
func TestWhenADigestIsDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"}).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		d := digestTime{day: time.Weekday(rapid.IntRange(0, 6).Draw(t, "day")), hour: rapid.IntRange(4, 23).Draw(t, "hour"), minute: rapid.IntRange(0, 59).Draw(t, "minute"), zone: zone}
		now := time.Unix(rapid.Int64Range(1_767_225_600, 1_893_456_000).Draw(t, "now"), 0)
		due := d.last(now)
		if due.After(now) || now.Sub(due) > 7*24*time.Hour+time.Hour || due.Weekday() != d.day || due.Hour() != d.hour || due.Minute() != d.minute {
			t.Fatalf("at %s it was due %s", now.In(zone), due)
		}
	})
}
