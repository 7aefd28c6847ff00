package server

import (
	"testing"
	"time"
)

func TestLocalZone(t *testing.T) {
	for tz, want := range map[string]string{"Europe/Berlin": "Europe/Berlin", ":Asia/Kathmandu": "Asia/Kathmandu", "CET-1CEST": "UTC", "../etc/passwd": "UTC", "Local": "UTC"} {
		t.Setenv("TZ", tz)
		if got := localZone(); got != want {
			t.Errorf("TZ=%s: %s, want %s", tz, got, want)
		}
	}
	t.Setenv("TZ", "")
	if _, err := time.LoadLocation(localZone()); err != nil {
		t.Error(err)
	}
}
