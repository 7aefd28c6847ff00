package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/archive"
	"github.com/restartilka/restartilka/internal/server"
)

func TestSizesAndDays(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]server.Bytes{"64MB": 64_000_000, "10GB": archive.DefaultMaxBytes, "1TB": 1e12, "7": 7, "12 KB": 12_000, "0": 0} {
		var b server.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s is %d, %v", text, b, err)
		}
		var again server.Bytes
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%s is written as %s and read as %d, %v", text, b, again, err)
		}
	}
	for text, want := range map[string]time.Duration{"30d": archive.DefaultKeep, "12h": 12 * time.Hour, "0d": 0, "90m": 90 * time.Minute} {
		var d server.Days
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s is %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"", "MB", "-1MB", "1.5GB", "99999999999TB", "1 PB"} {
		var b server.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d bytes", text, b)
		}
	}
	for _, text := range []string{"", "d", "-3d", "a week", "99999999d"} {
		var d server.Days
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %s", text, d)
		}
	}
}

func TestDumpsAreConfigured(t *testing.T) {
	t.Parallel()
	r, _ := initialised(t)
	plain, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[string]string{
		"dumps: {keep: 7d, max_bytes: 1GB, redact: ['customer=(\\S+)'], upload_max: 10MB}": "",
		"dumps: {keep: 1s}":         "dumps.keep",
		"dumps: {max_bytes: 1MB}":   "dumps.max_bytes",
		"dumps: {upload_max: 1TB}":  "dumps.upload_max",
		"dumps: {redact: ['(']}":    "dumps.redact",
		"dumps: {redact: ['x*']}":   "dumps.redact",
		"dumps: {keep: for ever}":   "no time",
		"dumps: {forget: tomorrow}": "forget",
	} {
		path := filepath.Join(t.TempDir(), "server.yaml")
		if err := os.WriteFile(path, append(plain, "\n"+lines+"\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := server.ReadConfig(path)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", lines, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", lines, err)
		case want == "":
			shown, err := c.Show()
			if err != nil || !strings.Contains(string(shown), "keep: 7d") || !strings.Contains(string(shown), "max_bytes: 1GB") {
				t.Errorf("%s, %v", shown, err)
			}
		}
	}
}
