package agent_test

import (
	"crypto/ed25519"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func (r *running) learn(at time.Time, keys ...ed25519.PrivateKey) error {
	r.t.Helper()
	list, err := protocol.SealKeys(at, keys...)
	r.must(err)
	return r.call(http.MethodPut, "/v1/envelope-keys", list, nil)
}

// A new key is learned by the word of one that is good, and an old one goes the
// same way; nobody else's word counts, and no older word.
func TestEnvelopeKeysAreChanged(t *testing.T) {
	b := newBed(t)
	digest := b.script("true")
	first := b.key
	second, err := pki.GenerateEnvelopeKey()
	b.must(err)
	stranger, err := pki.GenerateEnvelopeKey()
	b.must(err)
	r := b.start()
	obeys := func(when string, want ...ed25519.PrivateKey) {
		t.Helper()
		for name, key := range map[string]ed25519.PrivateKey{"first": first, "second": second, "stranger": stranger} {
			b.key = key
			e := b.envelope(digest)
			_, err := r.put(b.seal(e), e.Task)
			good := slices.ContainsFunc(want, func(k ed25519.PrivateKey) bool { return k.Equal(key) })
			if good != (err == nil) || !good && restart.CodeOf(err) != restart.CodeBadSignature {
				t.Errorf("%s, the %s key: %v", when, name, err)
			}
			if err == nil {
				r.until(e.Task, done)
			}
		}
		var report protocol.CheckReport
		b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, &report))
		if len(report.EnvelopeKeys) != len(want) {
			t.Errorf("%s, the host says that it obeys %v", when, report.EnvelopeKeys)
		}
	}
	now := time.Now()
	obeys("as it was laid", first)
	wantCode(t, r.learn(now, stranger), restart.CodeBadSignature)
	wantCode(t, r.learn(now.Add(time.Hour), first, second), restart.CodeClockSkew)
	b.must(r.learn(now.Add(-time.Minute), first, second))
	b.must(r.learn(now.Add(-time.Hour), second, first)) // the same keys: nothing to do
	obeys("told of the next", first, second)
	wantCode(t, r.learn(now.Add(-2*time.Minute), first), restart.CodeReplay)
	r.kill()
	r = b.start()
	obeys("after a restart", first, second)
	b.must(r.learn(now, second))
	obeys("the old one dropped", second)
	wantCode(t, r.learn(now.Add(time.Second), first), restart.CodeBadSignature)
	text, err := os.ReadFile(b.path("envelope.pub"))
	b.must(err)
	if strings.Count(string(text), "BEGIN PUBLIC KEY") != 1 {
		t.Errorf("the file has %s", text)
	}
	learned, refused := 0, 0
	for _, rec := range b.asked() {
		switch rec.Action {
		case audit.EnvelopeKeysLearned:
			learned++
		case audit.TaskRefused:
			refused++
		}
	}
	if learned != 2 || refused < 4 {
		t.Errorf("the host's own record has %d changes and %d refusals", learned, refused)
	}
	// Who lays the key anew has the last word.
	b.must(pki.SaveEnvelopePublicKey(b.path("envelope.pub"), first.Public().(ed25519.PublicKey)))
	obeys("laid anew", first)
	b.must(r.learn(now.Add(-24*time.Hour), first, second)) // nothing that was said before counts
}
