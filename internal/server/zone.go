package server

import (
	"os"
	"path/filepath"
	"strings"
	"time"
	_ "time/tzdata" // freezes name time zones, and a small machine may have none
)

// localZone gives the IANA name of this machine's time zone, as TZ, or else
// /etc/localtime, says; "UTC" where neither names one.
func localZone() string {
	name := strings.TrimPrefix(os.Getenv("TZ"), ":")
	if name == "" {
		if target, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
			_, name, _ = strings.Cut(target, "/zoneinfo/")
		}
	}
	if _, err := time.LoadLocation(name); err != nil || name == "" || name == "Local" {
		return "UTC"
	}
	return name
}
