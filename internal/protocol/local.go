package protocol

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
)

// Work that root has begun on a host itself, while no server could be asked,
// is sealed by a key of that host alone. Its name carries a mark, its
// signature another context, and it is never read from the network: a server
// can't make it, and it can't pass for a server's.
const (
	localMark    = "local-"
	localContext = "restartilka-local-v1\x00"
)

// LocalKeyID names a host's own key.
func LocalKeyID(key ed25519.PublicKey) string { return localMark + KeyID(key) }

// IsLocal tells whether an envelope says that it was sealed on its own host.
func IsLocal(s Sealed) bool { return strings.HasPrefix(s.KeyID, localMark) }

// SealLocal encodes and signs an envelope with a host's own key.
func SealLocal(e Envelope, key ed25519.PrivateKey) (Sealed, error) {
	payload, err := json.Marshal(e)
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{
		Payload:   payload,
		KeyID:     LocalKeyID(key.Public().(ed25519.PublicKey)),
		Signature: ed25519.Sign(key, append([]byte(localContext), payload...)),
	}, nil
}

// contextOf gives what is signed before the payload.
func contextOf(s Sealed) []byte {
	if IsLocal(s) {
		return []byte(localContext)
	}
	return []byte(signContext)
}

// ChainHead is where a host's own chain of records stands: see package ledger
// of the agent. It goes with every status and report, so that a server sees
// that something was done on the host, and that nothing was taken back. What it
// names is on the host's disk for good.
type ChainHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// Bounds of one answer to GET /v1/local?after=SEQ.
const (
	MaxLocalTasks   = 20
	MaxLocalRecords = 200
)

// LocalReport answers GET /v1/local?after=SEQ: what was done on the host
// itself. Tasks are those that no server has taken over yet (DELETE
// /v1/tasks/{id} says that one has), oldest first; Records are the host's
// chain behind SEQ, each in its canonical form (package audit).
type LocalReport struct {
	Host    string            `json:"host"`
	Head    ChainHead         `json:"head"`
	Records []json.RawMessage `json:"records"`
	Tasks   []LocalTask       `json:"tasks"`
	More    bool              `json:"more,omitempty"` // there are more of either
}

// LocalTask is one task that was begun on its host.
type LocalTask struct {
	Envelope Envelope        `json:"envelope"`
	Kind     string          `json:"kind,omitempty"` // of its scenario; "" = that is no longer on the host
	Status   TaskStatus      `json:"status"`
	Intent   json.RawMessage `json:"intent,omitempty"`  // its records, in their canonical form
	Outcome  json.RawMessage `json:"outcome,omitempty"` // absent until it is done
}
