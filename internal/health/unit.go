package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	systemctlPath = "/usr/bin/systemctl"
	// systemctlPatience bounds one question to systemd.
	systemctlPatience = 5 * time.Second
	// systemctlOutput bounds what is read of its answer, in bytes.
	systemctlOutput = 64 << 10
)

var invocationID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// shown is what systemd says about a unit.
type shown struct {
	load, active, sub string
	invocationID      string
	mainPID           int
}

// showUnit asks systemd about a unit.
func (s System) showUnit(ctx context.Context, unit string) (shown, error) {
	ctx, cancel := context.WithTimeout(ctx, systemctlPatience)
	defer cancel()
	program := s.Systemctl
	if program == "" {
		program = systemctlPath
	}
	var out, talk bounded
	cmd := exec.CommandContext(ctx, program, "show", "--property=LoadState,ActiveState,SubState,InvocationID,MainPID", "--", unit)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = &out, &talk
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); errors.Is(err, fs.ErrNotExist) {
		return shown{}, restart.Errorf(restart.CodeUnavailable, "systemd does not answer about %s: this host has no %s", unit, program).
			WithHint("without systemd, new_process takes a pid_file or a port; leave unit: out of services.d there")
	} else if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if said := strings.TrimSpace(talk.String()); said != "" {
			err = fmt.Errorf("%s: %w", restart.Quote(said), err)
		}
		return shown{}, unavailable(err, "systemd does not answer about %s", unit)
	}
	state, err := parseShow(out.Bytes())
	if err != nil {
		return shown{}, unavailable(err, "systemd's answer about %s can't be read", unit)
	}
	if state.load == "not-found" {
		return shown{}, restart.Errorf(restart.CodeNotFound, "there is no unit %s on this host", unit).WithHint("systemctl list-units lists what there is")
	}
	return state, nil
}

// parseShow reads the KEY=VALUE lines of systemctl show. Keys that were not
// asked for are ignored; a state must be there.
func parseShow(text []byte) (shown, error) {
	var out shown
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if !ok {
			continue
		}
		switch key {
		case "LoadState":
			out.load = value
		case "ActiveState":
			out.active = value
		case "SubState":
			out.sub = value
		case "InvocationID":
			if value != "" && !invocationID.MatchString(value) {
				return shown{}, fmt.Errorf("invocation id %s", restart.Quote(value))
			}
			out.invocationID = value
		case "MainPID":
			pid, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return shown{}, fmt.Errorf("main pid %s", restart.Quote(value))
			}
			out.mainPID = int(pid)
		}
	}
	if out.active == "" {
		return shown{}, errors.New("it names no state")
	}
	return out, nil
}

// bounded keeps the first systemctlOutput bytes and drops the rest.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, systemctlOutput-b.Len()))])
	return len(p), nil
}
