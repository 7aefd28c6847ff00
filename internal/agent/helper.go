package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

// helper is a process of this program that does one thing for the agent, which
// comes to it as JSON on its standard input.
type helper struct {
	*exec.Cmd
	said words
}

// newHelper makes one that has not started yet. Once ctx is over it is asked to
// give up what it has begun, and has grace for that.
func newHelper(ctx context.Context, verb string, in any, grace time.Duration) (*helper, error) {
	input, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode what is wanted: %w", err)
	}
	h := &helper{Cmd: exec.CommandContext(ctx, self, verb)}
	h.Args[0] = "restartilka-agent"
	h.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	h.Stdin, h.Stderr = bytes.NewReader(input), &h.said
	h.Cancel = func() error { return h.Process.Signal(unix.SIGTERM) }
	h.WaitDelay = grace
	return h, nil
}

// explain adds to an error of one that has ended what it complained about.
func (h *helper) explain(err error) error {
	if said := strings.TrimSpace(string(h.said)); said != "" {
		return fmt.Errorf("%w: %s", err, restart.Quote(said))
	}
	return err
}

// words keeps the first that are written to it.
type words []byte

func (w *words) Write(p []byte) (int, error) {
	const most = 500 // bytes
	*w = append(*w, p[:min(len(p), most-len(*w))]...)
	return len(p), nil
}
