package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// TestPlanInNumbers: what a strategy means for the hosts, as a person reads it.
func TestPlanInNumbers(t *testing.T) {
	minutes := restart.Duration(time.Minute)
	for want, p := range map[string]restart.Plan{
		"healthy: 2 now; min_available sets no limit\n": {Resolved: &restart.Resolved{Healthy: 2}},
		"healthy: 4 now; at least 3 of them stay healthy (min_available N-1)\n": {
			Strategy: restart.Strategy{MinAvailable: "N-1"}, Resolved: &restart.Resolved{Healthy: 4, Keep: 3},
		},
		"healthy: none now, so min_available 3 has nothing to keep\n": {Strategy: restart.Strategy{MinAvailable: "3"}, Resolved: &restart.Resolved{Keep: 3}},
		"down:    when_down is used: no host is healthy\n":            {Resolved: &restart.Resolved{WhenDown: restart.WhenDownUsed}},
		"down:    when_down is not used: healthy hosts: 2\n":          {Resolved: &restart.Resolved{Healthy: 2, WhenDown: restart.WhenDownSomeHealthy}},
		"down:    when_down is not used: no host is known to be healthy, but some could not be asked\n": {
			Resolved: &restart.Resolved{WhenDown: restart.WhenDownSomeUnknown},
		},
		"time:    each host healthy within 2m; at most 1h30m in all, waiting for people not counted\n": {
			Deadline: 2 * minutes, Resolved: &restart.Resolved{Longest: 90 * minutes},
		},
		"time:    nothing checks health; at most 1m30s in all, waiting for people not counted\n": {Resolved: &restart.Resolved{Longest: minutes * 3 / 2}},
		"healthy: not checked\n": {Resolved: &restart.Resolved{}},
		"time:    nothing checks health; at most 1m in all, waiting for people not counted\n": {
			Work: restart.WorkUndrain, Deadline: minutes, Resolved: &restart.Resolved{Longest: minutes},
		},
		"beside:  2 other hosts of the group, not touched, but counted\n": {
			Hosts: []restart.PlannedHost{{}, {LeftOut: true, Beside: true}, {LeftOut: true, Beside: true}},
		},
		"warning: it is wide\n": {Resolved: &restart.Resolved{Warnings: []string{"it is wide"}}},
	} {
		var out bytes.Buffer
		writePlan(&out, p)
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	var out bytes.Buffer
	writePlan(&out, restart.Plan{})
	if strings.Contains(out.String(), "time:") {
		t.Errorf("a plan of an older server:\n%s", out.String())
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h", time.Hour + time.Minute: "1h1m",
		time.Hour + 10*time.Second: "1h0m10s", 20 * time.Minute: "20m", 10 * time.Hour: "10h",
	} {
		if got := span(restart.Duration(d)); got != want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}
