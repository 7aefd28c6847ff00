package evidence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump/redact"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	journalctlPath = "/usr/bin/journalctl"
	// DefaultLines of the journal are taken where the scenario names no number.
	DefaultLines = 200
	// MaxLines of the journal are taken whatever the scenario says.
	MaxLines = 10_000
)

// journal takes the last lines of a unit's journal, the newest of them where
// they are over MaxText, without what looks like a secret.
func (s System) journal(ctx context.Context, unit string, lines int) (text string, truncated int64, err error) {
	if unit == "" {
		return "", 0, errors.New("the service has no unit, so there is no journal of it")
	}
	if err := restart.CheckUnit(unit); err != nil {
		return "", 0, err
	}
	if lines <= 0 {
		lines = DefaultLines
	}
	program := s.Journalctl
	if program == "" {
		program = journalctlPath
	}
	var out, talk lastBytes
	cmd := exec.CommandContext(ctx, program, "-u", unit, "-n", strconv.Itoa(min(lines, MaxLines)), "--no-pager", "-o", "short-iso")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = &out, &talk
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch said := strings.TrimSpace(string(talk.kept)); {
	case ctx.Err() != nil:
		err = errors.New("the journal was not read in time")
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("this host has no journal: there is no %s", program)
	case err != nil && said != "":
		err = fmt.Errorf("the journal can't be read: %s: %w", restart.Quote(said), err)
	case err != nil:
		err = fmt.Errorf("the journal can't be read: %w", err)
	}
	text, truncated = tail(clean(string(redact.Defaults().Text(out.kept))))
	return text, truncated + out.dropped, err
}

// lastBytes keeps at least the last MaxText bytes written to it, and at most
// twice that, and counts what it dropped.
type lastBytes struct {
	kept    []byte
	dropped int64
}

func (l *lastBytes) Write(p []byte) (int, error) {
	l.kept = append(l.kept, p...)
	if over := len(l.kept) - MaxText; over > MaxText {
		l.dropped += int64(over)
		l.kept = append(l.kept[:0], l.kept[over:]...)
	}
	return len(p), nil
}
