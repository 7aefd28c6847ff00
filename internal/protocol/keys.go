package protocol

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// MaxKeys is how many keys for envelopes may be good at once: the one in use,
	// and the one before or after it.
	MaxKeys = 4
	// keysContext separates these signatures from those of envelopes.
	keysContext = "restartilka-envelope-keys-v1\x00"
)

// KeyList says whose envelopes a host is to obey from now on: all of them.
type KeyList struct {
	Keys []ed25519.PublicKey `json:"keys"`
	At   time.Time           `json:"at"` // of two lists the later one counts
}

// SealedKeys is the body of PUT /v1/envelope-keys: a list, signed by each of the
// keys that the server has. It counts where one of them is good on the host now.
type SealedKeys struct {
	Payload    []byte         `json:"payload"`
	Signatures []KeySignature `json:"signatures"`
}

// KeySignature is one key's signature over the payload.
type KeySignature struct {
	KeyID     string `json:"key_id"`
	Signature []byte `json:"signature"`
}

// KeyReport answers it: the keys that are good on the host from here on, by KeyID.
type KeyReport struct {
	Keys []string `json:"keys"`
}

// SealKeys makes the list of a server's keys, signed by all of them.
func SealKeys(at time.Time, keys ...ed25519.PrivateKey) (SealedKeys, error) {
	list := KeyList{At: at.UTC()}
	for _, k := range keys {
		list.Keys = append(list.Keys, k.Public().(ed25519.PublicKey))
	}
	payload, err := json.Marshal(list)
	if err != nil {
		return SealedKeys{}, err
	}
	s := SealedKeys{Payload: payload}
	for i, k := range keys {
		s.Signatures = append(s.Signatures, KeySignature{KeyID(list.Keys[i]), ed25519.Sign(k, append([]byte(keysContext), payload...))})
	}
	return s, nil
}

// OpenKeys verifies a list by one of the keys that are good now (by KeyID), and
// decodes it. CodeBadSignature, CodeInvalid.
func OpenKeys(s SealedKeys, good map[string]ed25519.PublicKey) (KeyList, error) {
	var list KeyList
	if len(s.Payload) > MaxEnvelope || len(s.Signatures) > MaxKeys {
		return list, restart.Errorf(restart.CodeTooLarge, "the list of keys is too long")
	}
	signed := slices.ContainsFunc(s.Signatures, func(sig KeySignature) bool {
		key := good[sig.KeyID]
		return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, append([]byte(keysContext), s.Payload...), sig.Signature)
	})
	if !signed {
		return list, restart.Errorf(restart.CodeBadSignature, "the list of envelope keys is signed by no key that is good on this host").
			WithHint("lay the server's present key on the host: see envelope_keys in agent.yaml")
	}
	dec := json.NewDecoder(bytes.NewReader(s.Payload))
	dec.DisallowUnknownFields()
	err := dec.Decode(&list)
	if err == nil && (len(list.Keys) == 0 || len(list.Keys) > MaxKeys) {
		err = errors.New("it names no keys, or too many")
	}
	for _, k := range list.Keys {
		if err == nil && len(k) != ed25519.PublicKeySize {
			err = errors.New("it names what is no key")
		}
	}
	if err != nil {
		return KeyList{}, restart.Errorf(restart.CodeInvalid, "the list of envelope keys can't be read: %s", restart.Escape(err.Error()))
	}
	return list, nil
}
