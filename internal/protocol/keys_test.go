package protocol_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestKeyList(t *testing.T) {
	_, first, _ := ed25519.GenerateKey(nil)
	_, second, _ := ed25519.GenerateKey(nil)
	good := map[string]ed25519.PublicKey{}
	public := first.Public().(ed25519.PublicKey)
	good[protocol.KeyID(public)] = public
	s, err := protocol.SealKeys(time.Now(), second, first)
	if err != nil {
		t.Fatal(err)
	}
	list, err := protocol.OpenKeys(s, good)
	if err != nil || len(list.Keys) != 2 || !list.Keys[1].Equal(public) {
		t.Fatalf("%+v, %v", list, err)
	}
	alone, err := protocol.SealKeys(time.Now(), second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := protocol.OpenKeys(alone, good); restart.CodeOf(err) != restart.CodeBadSignature {
		t.Errorf("by a key that is not good: %v", err)
	}
	// An envelope's signature is none of a list, and the other way round.
	sealed, err := protocol.Seal(protocol.Envelope{}, first)
	if err != nil {
		t.Fatal(err)
	}
	forged := protocol.SealedKeys{Payload: sealed.Payload, Signatures: []protocol.KeySignature{{KeyID: sealed.KeyID, Signature: sealed.Signature}}}
	if _, err := protocol.OpenKeys(forged, good); restart.CodeOf(err) != restart.CodeBadSignature {
		t.Errorf("an envelope as a list: %v", err)
	}
	s.Payload[len(s.Payload)-3] ^= 1
	if _, err := protocol.OpenKeys(s, good); restart.CodeOf(err) != restart.CodeBadSignature {
		t.Errorf("a changed list: %v", err)
	}
}

func FuzzOpenKeys(f *testing.F) {
	seed := make([]byte, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed)
	public := key.Public().(ed25519.PublicKey)
	good := map[string]ed25519.PublicKey{protocol.KeyID(public): public}
	s, err := protocol.SealKeys(time.Unix(1e9, 0), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Payload)
	f.Add([]byte(`{"keys":["AAAA"],"at":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		signed := protocol.SealedKeys{Payload: payload, Signatures: []protocol.KeySignature{{
			KeyID: protocol.KeyID(public), Signature: ed25519.Sign(key, append([]byte("restartilka-envelope-keys-v1\x00"), payload...)),
		}}}
		list, err := protocol.OpenKeys(signed, good)
		if err == nil && (len(list.Keys) == 0 || len(list.Keys) > protocol.MaxKeys) {
			t.Fatalf("%d keys", len(list.Keys))
		}
		for _, k := range list.Keys {
			if len(k) != ed25519.PublicKeySize {
				t.Fatalf("a key of %d bytes", len(k))
			}
		}
	})
}
