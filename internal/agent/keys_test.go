package agent_test

import (
	"crypto/ed25519"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent"
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
	obeys("as it was laid", first)
	now := time.Now()
	wantCode(t, r.learn(now, stranger), restart.CodeBadSignature)
	wantCode(t, r.learn(now.Add(time.Hour), first, second), restart.CodeClockSkew)
	wantCode(t, r.learn(now.Add(-time.Minute), first, second), restart.CodeReplay) // before the key was laid
	b.must(r.learn(now, first, second))
	b.must(r.learn(now.Add(-time.Hour), second, first)) // the same keys: nothing to do
	obeys("told of the next", first, second)
	wantCode(t, r.learn(now.Add(-time.Millisecond), first), restart.CodeReplay)
	r.kill()
	r = b.start()
	obeys("after a restart", first, second)
	b.must(r.learn(now.Add(time.Millisecond), second))
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
	// Who lays the key anew has the last word: no list that was made before says
	// anything, whatever the file says of its age. One that is made now does.
	captured := time.Now()
	b.must(pki.SaveEnvelopePublicKey(b.path("envelope.pub"), first.Public().(ed25519.PublicKey)))
	b.must(os.Chtimes(b.path("envelope.pub"), time.Time{}, captured.AddDate(-1, 0, 0)))
	obeys("laid anew", first)
	wantCode(t, r.learn(captured.Add(-time.Second), first, second), restart.CodeReplay)
	obeys("after a captured list", first)
	b.must(r.learn(time.Now(), first, second))
	obeys("after a new list", first, second)
}

// A file that was laid by a clock that was wrong does not keep new keys out.
func TestAKeyLaidInTheFuture(t *testing.T) {
	now := time.Now()
	for changed, want := range map[time.Time]time.Time{
		now.Add(-time.Hour): now.Add(-time.Hour), now: now, now.Add(time.Hour): now.Add(-protocol.MaxSkew),
	} {
		if got := agent.LaidAt(changed, now); !got.Equal(want) {
			t.Errorf("changed %s from now: %s", changed.Sub(now), got.Sub(now))
		}
	}
}
