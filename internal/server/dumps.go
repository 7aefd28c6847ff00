package server

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/archive"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// DumpsConfig sets how thread dumps are kept.
type DumpsConfig struct {
	Keep      Days     `yaml:"keep"`       // 30d; from 1h to 3650d
	MaxBytes  Bytes    `yaml:"max_bytes"`  // 10GB, of all together, compressed; uploads go first, then the oldest
	UploadMax Bytes    `yaml:"upload_max"` // 64MB, of a file that somebody puts into the viewer; 1MB to 256MB
	Redact    []string `yaml:"redact"`     // regular expressions; what they match is taken out before a dump is stored, beside what is built in
}

func defaultDumps() DumpsConfig {
	return DumpsConfig{Keep: Days(archive.DefaultKeep), MaxBytes: archive.DefaultMaxBytes, UploadMax: archive.DefaultUploadMax}
}

func (c DumpsConfig) check() error {
	switch {
	case time.Duration(c.Keep) < time.Hour || time.Duration(c.Keep) > 3650*24*time.Hour:
		return fmt.Errorf("dumps.keep: %s is not from 1h to 3650d", c.Keep)
	case c.MaxBytes < 10_000_000:
		return fmt.Errorf("dumps.max_bytes: %s is less than 10MB", c.MaxBytes)
	case c.UploadMax < 1_000_000 || c.UploadMax > 256_000_000:
		return fmt.Errorf("dumps.upload_max: %s is not from 1MB to 256MB", c.UploadMax)
	}
	if _, err := redact.New(c.Redact); err != nil {
		return fmt.Errorf("dumps.redact: %w", err)
	}
	return nil
}

// newArchive makes the archive of thread dumps. The configuration was checked.
func (s *Server) newArchive() (*archive.Archive, error) {
	c := s.cfg.Dumps
	rules, err := redact.New(c.Redact)
	if err != nil {
		return nil, fmt.Errorf("dumps.redact: %w", err)
	}
	return archive.New(archive.Config{
		Server: s.cfg.Name,
		Store:  s.store, Hosts: s.agents, Keep: time.Duration(c.Keep), MaxBytes: int64(c.MaxBytes), UploadMax: int64(c.UploadMax), Redact: rules, Kept: s.meters.dumpKept, Logger: s.log,
	}), nil
}

// dumpKept is told of each dump that was stored.
func (m *meters) dumpKept(runtime dump.Runtime, origin store.DumpOrigin) {
	label := string(runtime)
	if label == "" {
		label = unknownRuntime
	}
	m.dumps.WithLabelValues(label, string(origin)).Inc()
}

const unknownRuntime = "unknown"

// Days is a time that may be written in days: 30d, or 12h.
type Days time.Duration

// UnmarshalText reads it.
func (d *Days) UnmarshalText(b []byte) error {
	text := string(b)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		*d = Days(time.Duration(n) * 24 * time.Hour)
		if err == nil {
			return nil
		}
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return restart.Errorf(restart.CodeInvalid, "%s is no time", restart.Quote(text)).WithHint("such as 30d or 12h")
	}
	*d = Days(v)
	return nil
}

// MarshalText writes whole days as days.
func (d Days) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Days) String() string {
	if day := Days(24 * time.Hour); d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return time.Duration(d).String()
}

// Bytes is a size that may be written with a unit.
type Bytes = restart.Bytes
