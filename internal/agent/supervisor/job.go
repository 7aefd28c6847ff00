package supervisor

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// Verb is the hidden verb of restartilka-agent that Main serves.
	Verb = "supervise"
	// LockFD is the descriptor on which a supervisor inherits its lock.
	LockFD = 3

	maxJob = 256 << 10
)

// Job is what an agent hands to a supervisor, as JSON on its standard input.
// What is to be done is not in it: that comes from the spool and the host's own
// files.
type Job struct {
	Task   string                       `json:"task"`
	Spool  string                       `json:"spool"`
	Host   host.Host                    `json:"host"`
	Keys   map[string]ed25519.PublicKey `json:"keys"`             // by protocol.KeyID
	Cgroup string                       `json:"cgroup,omitempty"` // below which cgroups may be made; "" = process groups
	Grace  time.Duration                `json:"grace"`            // between TERM and KILL, in ns
}

func readJob(r io.Reader) (Job, error) {
	var j Job
	b, err := io.ReadAll(io.LimitReader(r, maxJob))
	if err != nil {
		return j, fmt.Errorf("read the job: %w", err)
	}
	if err := json.Unmarshal(b, &j); err != nil { // an agent that died half-way, too
		return j, fmt.Errorf("read the job: %w", err)
	}
	return j, restart.CheckID(j.Task)
}
