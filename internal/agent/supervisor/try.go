package supervisor

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
)

// TryVerb is the hidden verb of restartilka-agent that TryMain serves.
const TryVerb = "try"

// Try is one health command to run outside of any task, for a probe. It is run
// by a process of its own, so that ending its tree can't touch the agent's
// other children.
type Try struct {
	Text   string            `json:"text"`
	Shell  string            `json:"shell,omitempty"`
	User   host.User         `json:"user"`
	Values map[string]string `json:"values"`
	Cgroup string            `json:"cgroup,omitempty"`
	Grace  time.Duration     `json:"grace"` // ns
}

// Tried is how it went.
type Tried struct {
	Exit   int    `json:"exit"`
	Output string `json:"output"`          // its end, at most 4 KiB
	Error  string `json:"error,omitempty"` // it was not run, or ended
}

// TryMain is the whole life of the process that runs a Try: it comes on stdin,
// the Tried goes to stdout. SIGTERM ends the script's tree.
func TryMain() int {
	return answer(func(ctx context.Context, t Try) Tried { return t.run(ctx) })
}

func (t Try) run(ctx context.Context) Tried {
	var out bounded
	r := &runner{
		task: "probe-" + strconv.Itoa(os.Getpid()), cgroup: t.Cgroup, grace: t.Grace, warn: func(string) {},
		scratch: func() (*os.File, error) {
			return nil, errors.New("this kernel has no sealed memory, and a probe has no other place")
		},
	}
	exit, err := r.run(ctx, script{name: "health", text: t.Text, shell: t.Shell, user: t.User, values: t.Values, output: &out})
	if err != nil {
		return Tried{Error: err.Error(), Output: out.String()}
	}
	return Tried{Exit: exit, Output: out.String()}
}
