package audit

import (
	"crypto/ed25519"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	silent      = 3 * time.Minute  // without a heartbeat, which comes every minute
	clockBack   = 30 * time.Second // that are no jump yet
	maxUnsealed = 2 * (sealRecords + 1000)
	maxKeys     = 64 // that are remembered of one source
)

// pubkey is a public key as something to compare.
type pubkey [ed25519.PublicKeySize]byte

func pubkeyOf(k ed25519.PublicKey) pubkey { return pubkey(k) }

func (k pubkey) id() string { return KeyID(k[:]) }

// sealbook is what the verifier knows of the seals of one source. As each
// record holds the hash of the one before, a seal vouches for all records that
// stand before it, however they are sealed themselves.
type sealbook struct {
	count   int64
	last    int64 // seq of the last seal; 0 = none, or it is not known
	sealed  int64 // seq up to which a good seal vouches
	at      int64 // time of that seal, in microseconds since 1970
	key     pubkey
	learned map[pubkey]bool // keys that a trusted one has named
	keys    []SealingKey
	doubted *doubt // seals by a key that nobody has vouched for, since the last good one

	heard   int64 // when the source was last known to be alive; 0 = not known, or it does not seal
	stopped bool  // by its own word
	latest  int64 // the time that records have got to
}

// doubt is a row of seals by a key that is not trusted.
type doubt struct {
	at          spot
	first, last int64
	key         pubkey
}

// see takes the next record of the chain.
func (b *sealbook) see(v *verifier, c *chain, e *entry) {
	b.clock(v, e)
	switch e.action {
	case AuditSealed:
		b.seal(v, c, e)
	case AuditKeyChanged:
		b.change(v, e)
	case ServerStopped:
		b.alive(v, e, "")
		b.stopped = true
	case ServerStarted:
		if !b.stopped {
			b.alive(v, e, "; then the server was started, though it had not said that it stopped")
		}
		b.stopped = false
		if b.heard > 0 {
			b.heard = e.micros
		}
	}
}

// interrupted is called where records are missing: what they said is not known.
func (b *sealbook) interrupted() { b.last, b.heard, b.stopped = 0, 0, false }

// forked is called where a restored source goes on behind record base.
func (b *sealbook) forked(v *verifier, c *chain, base int64) {
	b.settle(v, c)
	b.interrupted()
	b.sealed, b.latest = min(b.sealed, base), 0
}

// clock tells of time that goes backwards. Hosts have clocks of their own.
func (b *sealbook) clock(v *verifier, e *entry) {
	if e.fromHost || e.micros == 0 {
		return
	}
	if back := micros(b.latest - e.micros); b.latest > 0 && back > clockBack {
		v.note(FaultClock, e.source, e.place.seq, "the clock went back by %s, to %s", restart.Span(back.Round(time.Second)), moment(e.micros))
	} else if back > 0 {
		return
	}
	b.latest = e.micros
}

// alive takes a sign of life, and tells of the silence before it.
func (b *sealbook) alive(v *verifier, e *entry, more string) {
	if quiet := micros(e.micros - b.heard); b.heard > 0 && !b.stopped && quiet > silent {
		v.note(FaultSilence, e.source, e.place.seq, "no heartbeat for %s, from %s to %s%s", restart.Span(quiet.Round(time.Second)), moment(b.heard), moment(e.micros), more)
	}
	if b.heard > 0 {
		b.heard = e.micros
	}
}

// seal takes a record audit.sealed.
func (b *sealbook) seal(v *verifier, c *chain, e *entry) {
	if b.heard == 0 {
		b.heard = e.micros
	}
	b.alive(v, e, "")
	before := b.last
	b.count, b.last = b.count+1, e.place.seq
	s, err := ReadSeal(e.record)
	wrong := ""
	switch {
	case err != nil:
		wrong = err.Error()
	case !s.Valid():
		wrong = "its signature is not that of its key"
	case s.Last != e.place.seq-1 || s.Head != e.prev.text():
		wrong = "it does not sign the record before it"
	case before > 0 && s.First != before || s.First < 1 || s.First > s.Last:
		wrong = "it does not begin where the seal before it ends"
	}
	if wrong != "" {
		v.fault(FaultSeal, e.source, e.place.seq, "%s", wrong)
		return
	}
	key := pubkeyOf(s.Key)
	if !b.trusts(v, e, key) {
		if b.doubted == nil || b.doubted.key != key {
			b.settle(v, c)
			b.doubted = &doubt{at: v.at, first: e.place.seq, key: key}
		}
		b.doubted.last = e.place.seq
		b.noteKey(key, e, false)
		return
	}
	b.doubted = nil
	b.key, b.sealed, b.at = key, s.Last, e.micros
	b.noteKey(key, e, true)
}

// trusts tells whether a seal by key is a good one. Without given keys that is
// the first key, and whatever key it has named.
func (b *sealbook) trusts(v *verifier, e *entry, key pubkey) bool {
	if len(v.trusted) > 0 {
		return v.trusted[key] || b.learned[key]
	}
	if b.key == (pubkey{}) || b.key == key || b.learned[key] {
		return true
	}
	v.fault(FaultKey, e.source, e.place.seq, "it is sealed by key %s and not by %s, which has not named it: somebody has made the chain anew, or the key was lost; if you know both to be good, give both with --key", key.id(), b.key.id())
	return true // told once
}

// change takes a record audit.key_changed.
func (b *sealbook) change(v *verifier, e *entry) {
	k, err := ReadKeyChange(e.record)
	if err != nil {
		v.fault(FaultSeal, e.source, e.place.seq, "%s", err)
		return
	}
	key, next := pubkeyOf(k.Key), pubkeyOf(k.Next)
	good := v.trusted[key] || b.learned[key] || len(v.trusted) == 0 && (b.key == key || b.key == pubkey{})
	switch {
	case k.Signature != nil && !k.Valid():
		v.fault(FaultSeal, e.source, e.place.seq, "the change of the key is not signed by the key before")
	case k.Signature != nil && good:
		if b.learned == nil {
			b.learned = map[pubkey]bool{}
		}
		if len(b.learned) < maxKeys {
			b.learned[next] = true
		}
		v.note(FaultKey, e.source, e.place.seq, "the key was changed from %s to %s, signed by the key before", key.id(), next.id())
	case v.trusted[next]:
		v.note(FaultKey, e.source, e.place.seq, "the key was changed from %s to %s, which was given", key.id(), next.id())
	}
}

// settle reports seals that nobody has vouched for.
func (b *sealbook) settle(v *verifier, c *chain) {
	if d := b.doubted; d != nil {
		v.faultAt(d.at, FaultKey, c.report.Source, d.first, "the seals from here to record %d are by key %s, which is none of those given and was named by none of them: the chain was made anew, or the key was changed and lost before; then give its public half too", d.last, d.key.id())
		b.doubted = nil
	}
}

func (b *sealbook) noteKey(key pubkey, e *entry, trusted bool) {
	if n := len(b.keys); n > 0 && b.keys[n-1].Key == key.id() {
		k := &b.keys[n-1]
		k.Last, k.Seals, k.Good = e.place.seq, k.Seals+1, trusted
		return
	}
	if len(b.keys) < maxKeys {
		b.keys = append(b.keys, SealingKey{Key: key.id(), Public: encode(key[:]), First: e.place.seq, Last: e.place.seq, Seals: 1, Good: trusted})
	}
}

// close reports what stands behind the last good seal.
func (b *sealbook) close(v *verifier, c *chain) {
	b.settle(v, c)
	r := &c.report
	r.Seals, r.Sealed, r.Keys = b.count, b.sealed, b.keys
	if b.count == 0 {
		if len(v.trusted) > 0 && !isHost(r.Source) {
			v.fault(FaultUnsealed, r.Source, 0, "none of its records is sealed")
		}
		return
	}
	r.Unsealed = c.last.seq
	if b.sealed > 0 {
		r.Unsealed = max(c.last.seq-b.sealed-1, 0) // the seal itself needs none
		at := time.UnixMicro(b.at).UTC()
		r.SealedAt = &at
	}
	switch {
	case r.Unsealed == 0:
	case b.at > 0 && micros(b.latest-b.at) > silent:
		v.fault(FaultUnsealed, r.Source, c.last.seq-r.Unsealed+1, "%s not sealed, since %s: a seal comes every minute", are(r.Unsealed), moment(b.at))
	case r.Unsealed > maxUnsealed:
		v.fault(FaultUnsealed, r.Source, c.last.seq-r.Unsealed+1, "%s not sealed: a seal comes after %d", are(r.Unsealed), sealRecords)
	}
	if len(v.trusted) == 0 {
		v.note(FaultKey, r.Source, 0, "no public key was given: a chain that was made anew with another key would look the same. --key FILE tells; the key is %s", b.key.id())
	}
	if !v.now.IsZero() {
		b.tail(v, c)
	}
}

// tail tells of the silence between the end of the trail and now. Only a good
// seal is a sign of life there: what else stands at the end may be forged.
func (b *sealbook) tail(v *verifier, c *chain) {
	quiet := v.now.Sub(time.UnixMicro(b.at))
	if b.at == 0 || quiet <= silent {
		return
	}
	why := "a heartbeat comes every minute: the tail may be cut off, or the server is down or can't deliver"
	if b.stopped {
		why = "it had said that it stops: if it has been started since, the tail is cut off"
	}
	v.fault(FaultSilence, c.report.Source, c.last.seq, "nothing was heard for %s, since %s; %s", restart.Span(quiet.Round(time.Second)), moment(b.at), why)
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// moment is a time for people, of microseconds since 1970.
func moment(micros int64) string { return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05Z") }
