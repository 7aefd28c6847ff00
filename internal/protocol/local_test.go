package protocol_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// What a host seals for itself and what a server seals never pass for each
// other, whatever names their keys are given.
func TestLocalAndServerEnvelopesAreApart(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	e := protocol.Envelope{
		Version: protocol.Version, Task: restart.NewID(now), Run: restart.NewID(now), Attempt: 1, Host: "web1.example.com", Service: "nginx",
		Scenario: "nginx-restart", Digest: "d71f2dedfefc8c85ecd579ff9aae6f5ad76bf175d6801a5007a250f4d4b5e4a6",
		Actor: "anna@web1.example.com", Reason: "502s since 14:00, workers hang", NotBefore: now, Expiry: now.Add(protocol.Lifetime),
	}
	local, err := protocol.SealLocal(e, key)
	if err != nil {
		t.Fatal(err)
	}
	server, err := protocol.Seal(e, key) // even with one key
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]ed25519.PublicKey{protocol.KeyID(public): public, protocol.LocalKeyID(public): public}
	for name, s := range map[string]protocol.Sealed{"local": local, "server": server} {
		if _, err := protocol.Open(s, keys); err != nil || protocol.IsLocal(s) != (name == "local") {
			t.Errorf("%s: %v, local %v", name, err, protocol.IsLocal(s))
		}
	}
	local.KeyID, server.KeyID = server.KeyID, local.KeyID
	for name, s := range map[string]protocol.Sealed{"local as a server's": local, "a server's as local": server} {
		if _, err := protocol.Open(s, keys); restart.CodeOf(err) != restart.CodeBadSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
}
