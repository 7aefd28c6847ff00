package protocol_test

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(seed), ed25519.SeedSize)))
}

func trusted(keys ...ed25519.PrivateKey) map[string]ed25519.PublicKey {
	out := map[string]ed25519.PublicKey{}
	for _, k := range keys {
		public := k.Public().(ed25519.PublicKey)
		out[protocol.KeyID(public)] = public
	}
	return out
}

func envelope() protocol.Envelope {
	return protocol.Envelope{
		Version: protocol.Version, Task: restart.NewID(now), Run: restart.NewID(now), Attempt: 1, Host: "web1.example.com",
		Service: "nginx", Environment: "testing", Group: "front-testing", Scenario: "nginx-restart", Digest: strings.Repeat("ab", 32),
		Params: map[string]string{"mode": "soft"}, Actor: "anna", Reason: "502s since the deploy",
		NotBefore: now, Expiry: now.Add(protocol.Lifetime),
	}
}

func seal(t testing.TB, e protocol.Envelope, k ed25519.PrivateKey) protocol.Sealed {
	t.Helper()
	s, err := protocol.Seal(e, k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealAndOpen(t *testing.T) {
	e := envelope()
	got, err := protocol.Open(seal(t, e, key('a')), trusted(key('a'), key('b')))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, got); d != "" {
		t.Error(d)
	}
	want := map[string]string{
		"RESTARTILKA_RUN": e.Run, "RESTARTILKA_TASK": e.Task, "RESTARTILKA_SERVICE": "nginx", "RESTARTILKA_HOST": "web1.example.com",
		"RESTARTILKA_ENVIRONMENT": "testing", "RESTARTILKA_GROUP": "front-testing", "RESTARTILKA_PROJECT": "", "PARAM_MODE": "soft",
	}
	if d := cmp.Diff(want, got.Values()); d != "" {
		t.Error(d)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := seal(t, envelope(), key('a'))
	keys := trusted(key('a'))
	change := func(f func(e *protocol.Envelope)) protocol.Sealed {
		e := envelope()
		f(&e)
		return seal(t, e, key('a'))
	}
	raw := func(payload string) protocol.Sealed {
		public := key('a').Public().(ed25519.PublicKey)
		return protocol.Sealed{
			Payload: []byte(payload), KeyID: protocol.KeyID(public),
			Signature: ed25519.Sign(key('a'), append([]byte("restartilka-envelope-v1\x00"), payload...)),
		}
	}
	text, err := json.Marshal(envelope())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sealed protocol.Sealed
		want   restart.Code
	}{
		"unknown key":         {seal(t, envelope(), key('x')), restart.CodeBadSignature},
		"another's signature": {protocol.Sealed{Payload: good.Payload, KeyID: good.KeyID, Signature: seal(t, envelope(), key('x')).Signature}, restart.CodeBadSignature},
		"changed payload":     {protocol.Sealed{Payload: []byte(strings.Replace(string(good.Payload), "nginx", "mysql", 1)), KeyID: good.KeyID, Signature: good.Signature}, restart.CodeBadSignature},
		"no signature":        {protocol.Sealed{Payload: good.Payload, KeyID: good.KeyID}, restart.CodeBadSignature},
		"signed for another purpose": {protocol.Sealed{
			Payload: good.Payload, KeyID: good.KeyID, Signature: ed25519.Sign(key('a'), good.Payload),
		}, restart.CodeBadSignature},
		"not JSON":               {raw("hello"), restart.CodeInvalid},
		"unknown field":          {raw(strings.Replace(string(text), "{", `{"unit":"sshd.service",`, 1)), restart.CodeInvalid},
		"trailing data":          {raw(string(text) + "{}"), restart.CodeInvalid},
		"too large":              {raw(`{"reason":"` + strings.Repeat("x", protocol.MaxEnvelope) + `"}`), restart.CodeTooLarge},
		"another version":        {change(func(e *protocol.Envelope) { e.Version++ }), restart.CodeInvalid},
		"task id with a path":    {change(func(e *protocol.Envelope) { e.Task = "../../etc/cron.d/x" }), restart.CodeInvalid},
		"service with a path":    {change(func(e *protocol.Envelope) { e.Service = "../../etc/cron.d/x" }), restart.CodeInvalid},
		"service as an option":   {change(func(e *protocol.Envelope) { e.Service = "-rf" }), restart.CodeInvalid},
		"host as an option":      {change(func(e *protocol.Envelope) { e.Host = "-h" }), restart.CodeInvalid},
		"group":                  {change(func(e *protocol.Envelope) { e.Group = "a;b" }), restart.CodeInvalid},
		"digest":                 {change(func(e *protocol.Envelope) { e.Digest = "latest" }), restart.CodeInvalid},
		"parameter name":         {change(func(e *protocol.Envelope) { e.Params = map[string]string{"LD_PRELOAD": "x"} }), restart.CodeInvalid},
		"another step alone":     {change(func(e *protocol.Envelope) { e.Only = "run" }), restart.CodeInvalid},
		"attempt":                {change(func(e *protocol.Envelope) { e.Attempt = 0 }), restart.CodeInvalid},
		"no actor":               {change(func(e *protocol.Envelope) { e.Actor = "" }), restart.CodeInvalid},
		"actor with an escape":   {change(func(e *protocol.Envelope) { e.Actor = "a\x1b[31m" }), restart.CodeInvalid},
		"reason says nothing":    {change(func(e *protocol.Envelope) { e.Reason = "." }), restart.CodeReason},
		"lives too long":         {change(func(e *protocol.Envelope) { e.Expiry = e.Expiry.Add(time.Second) }), restart.CodeInvalid},
		"ends before it begins":  {change(func(e *protocol.Envelope) { e.Expiry = e.NotBefore }), restart.CodeInvalid},
		"empty":                  {protocol.Sealed{}, restart.CodeBadSignature},
		"key id of another form": {protocol.Sealed{Payload: good.Payload, KeyID: "\x1b[2J" + strings.Repeat("k", 500), Signature: good.Signature}, restart.CodeBadSignature},
	} {
		_, err := protocol.Open(c.sealed, keys)
		if restart.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if err != nil && restart.Escape(err.Error()) != err.Error() {
			t.Errorf("%s: the refusal can't be shown: %q", name, err)
		}
	}
}

func TestCheckTime(t *testing.T) {
	e := envelope()
	for name, c := range map[string]struct {
		at   time.Duration
		want restart.Code
	}{
		"at once":                     {0, ""},
		"at the last moment":          {protocol.Lifetime, ""},
		"just over":                   {protocol.Lifetime + time.Nanosecond, restart.CodeReplay},
		"clock within the skew":       {-protocol.MaxSkew, ""},
		"clock behind":                {-protocol.MaxSkew - time.Nanosecond, restart.CodeClockSkew},
		"over, within the skew":       {protocol.Lifetime + protocol.MaxSkew, restart.CodeReplay},
		"replayed much later":         {24 * time.Hour, restart.CodeClockSkew},
		"clock an hour behind":        {-time.Hour, restart.CodeClockSkew},
		"the middle of its lifetime ": {protocol.Lifetime / 2, ""},
	} {
		if got := restart.CodeOf(e.CheckTime(now.Add(c.at))); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A byte changed anywhere in what was signed is found.
func TestAnyChangeIsFound(t *testing.T) {
	good := seal(t, envelope(), key('a'))
	keys := trusted(key('a'))
	rapid.Check(t, func(t *rapid.T) {
		s := protocol.Sealed{Payload: append([]byte(nil), good.Payload...), KeyID: good.KeyID, Signature: append([]byte(nil), good.Signature...)}
		target := s.Payload
		if rapid.Bool().Draw(t, "signature") {
			target = s.Signature
		}
		target[rapid.IntRange(0, len(target)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "with"))
		if e, err := protocol.Open(s, keys); err == nil {
			t.Fatalf("taken: %+v", e)
		}
	})
}

func TestErrorsOverHTTP(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   restart.Code
	}{
		{restart.Errorf(restart.CodeNotReviewed, "no").WithHint("lay it there"), http.StatusForbidden, restart.CodeNotReviewed},
		{restart.Errorf(restart.CodeTombstone, "gone"), http.StatusGone, restart.CodeTombstone},
		{http.ErrBodyNotAllowed, http.StatusInternalServerError, restart.CodeInternal},
	} {
		w := httptest.NewRecorder()
		protocol.WriteError(w, c.err)
		var e restart.Error
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != c.status || e.Code != c.code {
			t.Errorf("%v: %d %s (%v)", c.err, w.Code, w.Body, err)
		}
		if c.code == restart.CodeInternal && strings.Contains(w.Body.String(), "http:") {
			t.Errorf("an internal error is told to the peer: %s", w.Body)
		}
	}
}

func FuzzOpen(f *testing.F) {
	good := seal(f, envelope(), key('a'))
	f.Add(good.Payload)
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := protocol.Sealed{
			Payload: payload, KeyID: good.KeyID, Signature: ed25519.Sign(key('a'), append([]byte("restartilka-envelope-v1\x00"), payload...)),
		}
		e, err := protocol.Open(s, trusted(key('a')))
		if err != nil {
			return
		}
		for name, v := range e.Values() {
			if strings.ContainsAny(name, "=\x00") || name == "" {
				t.Fatalf("environment variable %q = %q", name, v)
			}
		}
		if strings.Contains(e.Service+e.Host+e.Task, "/") || strings.Contains(e.Service, "..") {
			t.Fatalf("a path got through: %+v", e)
		}
		again, err := protocol.Seal(e, key('a'))
		if err != nil {
			t.Fatal(err)
		}
		if second, err := protocol.Open(again, trusted(key('a'))); err != nil || !cmp.Equal(e, second, cmp.Transformer("utc", time.Time.UTC)) {
			t.Fatalf("what was taken is not taken again: %v", err)
		}
	})
}
