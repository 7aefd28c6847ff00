package web

import (
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0\u00a0ms", 0: "0\u00a0ms", 340 * time.Millisecond: "340\u00a0ms", 1240 * time.Millisecond: "1.2\u00a0s", 42 * time.Second: "42\u00a0s",
		125 * time.Second: "2\u00a0min 5\u00a0s", 3*time.Hour + 4*time.Minute: "3\u00a0h 4\u00a0min", 50 * time.Hour: "50\u00a0h", 24 * time.Minute: "24\u00a0min",
	} {
		if got := took(english, d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// Words of a language and its numbers go together.
func TestWordsAndNumbersOfALanguage(t *testing.T) {
	for got, want := range map[string]string{
		took(russian, 1240*time.Millisecond): "1,2\u00a0с", percentOfCore(russian, 7.25): "7,2 %", percentOfCore(english, 7.25): "7.2 %",
		toldVersion("unknown"): "", toldVersion("0.1.0"): "0.1.0", machineAgentOf(russian, wire.HostCheck{Report: &protocol.CheckReport{Program: "unknown"}}, time.Now()).Program: "неизвестно",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 3, 29, 0, 30, 0, 0, time.FixedZone("", 2*3600)) // the 28th, in UTC
	m := momentOf(time.Date(2026, 3, 28, 14, 3, 12, 7e6, time.UTC), now)
	if m != (moment{Machine: "2026-03-28T14:03:12.007Z", Exact: "2026-03-28 14:03:12 UTC", Short: "14:03:12 UTC", Clock: "14:03:12 UTC"}) {
		t.Errorf("today: %+v", m)
	}
	if m := momentOf(time.Date(2025, 3, 28, 14, 3, 12, 0, time.UTC), now); m.Short != "2025-03-28 14:03 UTC" {
		t.Errorf("a year ago: %+v", m)
	}
}

func TestCommonDomain(t *testing.T) {
	for want, hosts := range map[string][]string{
		"":                 {"web1.example.com"},
		".example.com":     {"web1.example.com", "web2.example.com"},
		".com":             {"web1.example.com", "web1.example2.com"},
		".ams.example.com": {"a.ams.example.com", "b.c.ams.example.com"},
	} {
		if got := commonDomain(hosts); got != want {
			t.Errorf("%v: %q, want %q", hosts, got, want)
		}
	}
	if got := commonDomain([]string{"a", "b"}); got != "" {
		t.Errorf("names without a domain: %q", got)
	}
}

func TestBarHoldsEveryHost(t *testing.T) {
	var tasks []restart.Task
	for _, s := range restart.TaskStates() {
		tasks = append(tasks, restart.Task{State: s})
	}
	x := 0
	for _, s := range tallyOf(tasks).bar() {
		if s.X != x || s.Width < 1 {
			t.Errorf("%+v does not begin at %d", s, x)
		}
		x += s.Width
	}
	if x != len(tasks) {
		t.Errorf("the bar has %d hosts of %d", x, len(tasks))
	}
}
