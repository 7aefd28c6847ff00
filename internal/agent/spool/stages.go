package spool

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Bounds of the files, in bytes. What is longer is not ours.
const (
	maxReceived = 256 << 10
	maxStarted  = 4 << 10
	maxStatus   = 64 << 10
	maxEvidence = 4 << 20
	maxSmall    = 4 << 10
	maxBaseline = 64 << 10
)

// Received is the file that makes a task exist (R18).
type Received struct {
	Sealed     protocol.Sealed `json:"sealed"`
	Epoch      int64           `json:"epoch"`
	ReceivedAt time.Time       `json:"received_at"`
	BootID     string          `json:"boot_id"`

	envelope *protocol.Envelope // as the file had it; nil = it did not come from a file
}

// Envelope reads the envelope back. Its signature was verified before the file
// was made, by keys that may have changed since.
func (r Received) Envelope() (protocol.Envelope, error) {
	var e protocol.Envelope
	if r.envelope != nil {
		return *r.envelope, nil
	}
	if err := json.Unmarshal(r.Sealed.Payload, &e); err != nil {
		return e, err
	}
	for _, err := range []error{restart.CheckID(e.Task), restart.CheckID(e.Run), restart.CheckServiceName(e.Service)} {
		if err != nil {
			return e, err
		}
	}
	return e, nil
}

// Same tells whether two submissions are the same bytes.
func (r Received) Same(s protocol.Sealed) bool {
	return r.Sealed.KeyID == s.KeyID && bytes.Equal(r.Sealed.Payload, s.Payload) && bytes.Equal(r.Sealed.Signature, s.Signature)
}

// Started is the file that gives the right to run to exactly one process.
type Started struct {
	At     time.Time `json:"at"`
	BootID string    `json:"boot_id"`
	PID    int       `json:"pid,omitempty"`
	Void   bool      `json:"void,omitempty"` // made by the agent, so that the task never runs
	// Scriptless: no script is run for it. Whatever crashes, nothing is left that
	// could still run, and nothing was changed.
	Scriptless bool `json:"scriptless,omitempty"`
}

// Tombstone is what is remembered of an id that never runs (again).
type Tombstone struct {
	protocol.Tombstone
	Run     string `json:"run"`
	Epoch   int64  `json:"epoch"`
	Service string `json:"service,omitempty"` // "" = the task was never seen here
	// ReceivedAt is when the task came; zero = never seen here.
	ReceivedAt time.Time `json:"received_at,omitzero"`
	At         time.Time `json:"at"`
}

// Record is all that the spool knows of one task.
type Record struct {
	ID       string
	Received *Received // nil: the file is absent, or broken (see Err)
	Started  *Started
	Progress *protocol.TaskStatus
	Done     *protocol.TaskStatus
	Epoch    int64 // the highest shown for this task
	Err      error // a durable file makes no sense: nothing is known for sure
}

// The readers are lenient about unknown fields: another version of this
// program may have written them.

func decodeReceived(b []byte) (*Received, error) {
	var r Received
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	e, err := r.Envelope()
	if err != nil {
		return nil, err
	}
	r.envelope = &e
	return &r, nil
}

func decodeStarted(b []byte) (*Started, error) {
	var s Started
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

func decodeStatus(b []byte) (*protocol.TaskStatus, error) {
	var s protocol.TaskStatus
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

func decodeTombstone(b []byte) (Tombstone, error) {
	var t Tombstone
	if err := json.Unmarshal(b, &t); err != nil {
		return t, err
	}
	return t, restart.CheckID(t.Task)
}
