package server

import (
	"strings"
	"testing"
	"time"
)

func TestSchedulesConfig(t *testing.T) {
	t.Parallel()
	read := func(text string) (SchedulesConfig, error) {
		c, err := parseConfig([]byte("schedules: " + text + "\n"))
		if err == nil {
			err = c.Schedules.check()
		}
		return c.Schedules, err
	}
	c, err := read("{windows: [{name: nightly, weekly: [\"mon 02:00-mon 05:00\"], environments: [production], services: [\"web-*\"]}]}")
	if err != nil || c.Grace != 15*time.Minute || len(c.Windows) != 1 || !c.Windows[0].For("web-1", "production") {
		t.Fatalf("%+v %v", c, err)
	}
	for text, says := range map[string]string{
		"{grace: 10s}":                    "schedules.grace: 10s is not from 1m to 24h",
		"{grace: 25h}":                    "schedules.grace",
		"{windows: [{name: nightly}]}":    "schedules.windows[0]: window nightly has no time",
		"{windows: [{weekly: [nights]}]}": "schedules.windows[0]",
		"{windows: [{name: x, weekly: [mon 02:00-mon 05:00]}, {name: x, weekly: [mon 02:00-mon 05:00]}]}": "there are two windows x",
		"{window: []}": "window",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
