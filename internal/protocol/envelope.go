package protocol

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// Version of these messages. It rises when an old peer would misread a new one.
	Version = 1
	// Lifetime of an envelope: an agent starts its task within it or never.
	Lifetime = 30 * time.Second
	// MaxSkew between the clocks of server and host, in either direction.
	MaxSkew = 30 * time.Second
	// MaxEnvelope bounds an envelope's bytes.
	MaxEnvelope = 64 << 10
	// OnlyUndrain asks for the undrain step of the scenario alone.
	OnlyUndrain = "undrain"
	// OnlyRehearse asks for everything but the scripts of the scenario.
	OnlyRehearse = "rehearse"
	// signContext separates these signatures from any other use of the key.
	signContext = "restartilka-envelope-v1\x00"
)

// Envelope is what the server asks of one host, signed once. Everything that
// the script can see of the request is in it.
type Envelope struct {
	Version     int               `json:"version"`
	Task        string            `json:"task"`
	Run         string            `json:"run"`
	Attempt     int               `json:"attempt"`
	Host        string            `json:"host"`
	Service     string            `json:"service"`
	Environment string            `json:"environment,omitempty"`
	Project     string            `json:"project,omitempty"`
	Group       string            `json:"group,omitempty"`
	Scenario    string            `json:"scenario"`
	Digest      string            `json:"digest"`
	Params      map[string]string `json:"params,omitempty"`
	Actor       string            `json:"actor"`
	Reason      string            `json:"reason"`
	Only        string            `json:"only,omitempty"` // OnlyUndrain: that step and no other; OnlyRehearse: no step; "" = the whole scenario
	NotBefore   time.Time         `json:"not_before"`
	Expiry      time.Time         `json:"expiry"`
}

// Sealed is an envelope's exact bytes with the signature over them. Sending it
// again means sending the same bytes; it is never signed twice.
type Sealed struct {
	Payload   []byte `json:"payload"`
	KeyID     string `json:"key_id"`
	Signature []byte `json:"signature"`
}

// KeyID names a public key: the first 16 hex digits of its SHA-256.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Seal encodes and signs an envelope.
func Seal(e Envelope, key ed25519.PrivateKey) (Sealed, error) {
	payload, err := json.Marshal(e)
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{
		Payload:   payload,
		KeyID:     KeyID(key.Public().(ed25519.PublicKey)),
		Signature: ed25519.Sign(key, append([]byte(signContext), payload...)),
	}, nil
}

// Open verifies the signature by one of the keys (by KeyID) and decodes the
// envelope. It checks the form of every name in it, not its time or host: see
// CheckTime. Errors carry CodeBadSignature or CodeInvalid.
func Open(s Sealed, keys map[string]ed25519.PublicKey) (Envelope, error) {
	if len(s.Payload) > MaxEnvelope {
		return Envelope{}, restart.Errorf(restart.CodeTooLarge, "the envelope has %d bytes; at most %d are read", len(s.Payload), MaxEnvelope)
	}
	key, ok := keys[s.KeyID]
	if !ok {
		return Envelope{}, restart.Errorf(restart.CodeBadSignature, "the envelope is signed by key %s, which this host does not know", restart.Quote(s.KeyID)).
			WithHint("lay the server's envelope key on the host: see envelope_keys in agent.yaml")
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, append(contextOf(s), s.Payload...), s.Signature) {
		return Envelope{}, restart.Errorf(restart.CodeBadSignature, "the envelope's signature does not verify")
	}
	return decode(s.Payload)
}

func decode(payload []byte) (Envelope, error) {
	var e Envelope
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return Envelope{}, restart.Errorf(restart.CodeInvalid, "the envelope can't be read: %v", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Envelope{}, restart.Errorf(restart.CodeInvalid, "the envelope is followed by other data")
	}
	return e, e.check()
}

func (e Envelope) check() error {
	if e.Version != Version {
		return restart.Errorf(restart.CodeInvalid, "the envelope has version %d; this program reads version %d", e.Version, Version)
	}
	optional := func(check func(string) error, s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
	for _, err := range []error{
		restart.CheckID(e.Task), restart.CheckID(e.Run), restart.CheckHost(e.Host), restart.CheckServiceName(e.Service),
		restart.CheckScenarioName(e.Scenario), restart.CheckDigest(e.Digest),
		optional(restart.CheckEnvironment, e.Environment), optional(restart.CheckProject, e.Project), optional(restart.CheckGroupName, e.Group),
	} {
		if err != nil {
			return err
		}
	}
	for name := range e.Params {
		if err := restart.CheckParamName(name); err != nil {
			return err
		}
	}
	if e.Only != "" && e.Only != OnlyUndrain && e.Only != OnlyRehearse {
		return restart.Errorf(restart.CodeInvalid, "the envelope asks for %s alone; only %s and %s can be asked for by themselves", restart.Quote(e.Only), OnlyUndrain, OnlyRehearse)
	}
	if e.Attempt < 1 {
		return restart.Errorf(restart.CodeInvalid, "the envelope's attempt is %d; it counts from 1", e.Attempt)
	}
	if e.Actor == "" || restart.Escape(e.Actor) != e.Actor {
		return restart.Errorf(restart.CodeInvalid, "the envelope names no actor that can be shown")
	}
	if _, err := restart.CheckReason(e.Reason); err != nil {
		return err
	}
	if d := e.Expiry.Sub(e.NotBefore); d <= 0 || d > Lifetime {
		return restart.Errorf(restart.CodeInvalid, "the envelope lives for %s; at most %s is allowed", restart.Span(d), restart.Span(Lifetime))
	}
	return nil
}

// CheckTime tells whether the task may start at now, by the host's clock.
// A clock further off than MaxSkew gives CodeClockSkew, an envelope that is
// over gives CodeReplay.
func (e Envelope) CheckTime(now time.Time) error {
	switch {
	case now.Before(e.NotBefore.Add(-MaxSkew)):
		return restart.Errorf(restart.CodeClockSkew, "the host's clock is %s behind the server's", restart.Span(e.NotBefore.Sub(now).Round(time.Second))).
			WithHint("set the clocks (chrony, systemd-timesyncd); more than %s is refused", restart.Span(MaxSkew))
	case now.After(e.Expiry.Add(MaxSkew)):
		return restart.Errorf(restart.CodeClockSkew, "the envelope was over %s ago: it is old, or the host's clock is ahead of the server's", restart.Span(now.Sub(e.Expiry).Round(time.Second))).
			WithHint("set the clocks (chrony, systemd-timesyncd); more than %s is refused", restart.Span(MaxSkew))
	case now.After(e.Expiry):
		return restart.Errorf(restart.CodeReplay, "the envelope expired %s ago", restart.Span(now.Sub(e.Expiry))).
			WithHint("nothing was started; ask again")
	}
	return nil
}

// Values gives the request's own values to scripts, as the exact environment
// they see: PARAM_NAME for each parameter and RESTARTILKA_* for the rest.
func (e Envelope) Values() map[string]string {
	out := map[string]string{
		"RESTARTILKA_RUN": e.Run, "RESTARTILKA_TASK": e.Task, "RESTARTILKA_SERVICE": e.Service, "RESTARTILKA_HOST": e.Host,
		"RESTARTILKA_ENVIRONMENT": e.Environment, "RESTARTILKA_GROUP": e.Group, "RESTARTILKA_PROJECT": e.Project,
	}
	for name, v := range e.Params {
		out["PARAM_"+strings.ToUpper(name)] = v
	}
	return out
}
