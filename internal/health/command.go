package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const defaultCommandTimeout = 10 * time.Second

// commandCheck holds where a reviewed script ends with exit status 0 in time.
// Of what it printed the last line is shown.
func commandCheck(probe restart.CommandProbe, run Runner) check {
	timeout := orDefault(probe.Timeout, defaultCommandTimeout)
	return func(ctx context.Context) (string, error) {
		if run == nil {
			return "", errors.New("the health command can't be run here")
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		exit, output, err := run(ctx, probe.Script)
		switch {
		case ctx.Err() != nil:
			return "", fmt.Errorf("the health command did not end within %s", restart.Span(timeout))
		case err != nil:
			return "", fmt.Errorf("the health command did not run: %w", err)
		case exit != 0:
			return "", fmt.Errorf("the health command ended with %d%s", exit, lastLine(output))
		}
		return "the health command ended with 0", nil
	}
}

func lastLine(output string) string {
	output = strings.TrimSpace(output)
	if output == "" {
		return ""
	}
	return " and said " + restart.Quote(output[strings.LastIndexByte(output, '\n')+1:])
}
