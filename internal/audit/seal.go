package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
)

// Seal is the signature that a record audit.sealed carries: over the records
// First to Last of a chain, by way of the hash of the last of them, and so over
// all that were ever before it. Such a record comes once a minute though nothing
// happens: it is the heartbeat by which a tail that was cut off is missed.
//
// Its params are first, last, head (the hash of record last), key (the public
// key) and signature, both in standard base64. What is signed by Ed25519
// (RFC 8032) is this text, UTF-8, each line ended by one newline:
//
//	restartilka audit seal 1
//	source SOURCE
//	epoch EPOCH
//	first FIRST
//	last LAST
//	head HEAD
//	time TIME
//	key KEY
//
// with source, epoch and time_utc as the record itself has them. It is the
// record behind the one that it ends with, so that Last is its seq less 1 and
// Head its prev_hash; First is the seq of the seal before, 1 without one.
type Seal struct {
	Source    string
	Epoch     int64
	First     int64
	Last      int64
	Head      string
	Time      time.Time
	Key       ed25519.PublicKey
	Signature []byte
}

func (s *Seal) text() []byte {
	return fmt.Appendf(nil, "restartilka audit seal 1\nsource %s\nepoch %d\nfirst %d\nlast %d\nhead %s\ntime %s\nkey %s\n",
		s.Source, s.Epoch, s.First, s.Last, s.Head, s.Time.UTC().Format(timeLayout), encode(s.Key))
}

// Valid tells whether the signature is that of Key.
func (s *Seal) Valid() bool { return ed25519.Verify(s.Key, s.text(), s.Signature) }

// Seal makes the record that seals all up to head, from the seal before, or the
// first record, on. It still has to be linked to head.
func (k *Key) Seal(head Head, first int64, at time.Time) Record {
	s := Seal{
		Source: head.Source, Epoch: max(head.Epoch, 1), First: first, Last: head.Seq, Head: head.Hash,
		Time: at.UTC().Truncate(time.Microsecond), Key: k.Public(),
	}
	s.Signature = ed25519.Sign(k.private, s.text())
	return Record{
		Time: s.Time, Actor: "server:" + head.Source, Origin: "local", Action: AuditSealed,
		Params: map[string]string{
			"first": strconv.FormatInt(s.First, 10), "last": strconv.FormatInt(s.Last, 10), "head": s.Head,
			"key": encode(s.Key), "signature": encode(s.Signature),
		},
	}
}

// ReadSeal takes the seal out of a record audit.sealed. Its signature, and that
// it fits its place, are not checked.
func ReadSeal(r *Record) (Seal, error) {
	if r.Action != AuditSealed {
		return Seal{}, fmt.Errorf("the record is of %s", r.Action)
	}
	s := Seal{Source: r.Source, Epoch: r.Epoch, Time: r.Time, Head: r.Params["head"]}
	if len(r.Params) != 5 {
		return Seal{}, errors.New("its params are not those of a seal")
	}
	var err error
	for name, to := range map[string]*int64{"first": &s.First, "last": &s.Last} {
		if *to, err = strconv.ParseInt(r.Params[name], 10, 64); err != nil || strconv.FormatInt(*to, 10) != r.Params[name] {
			return Seal{}, fmt.Errorf("its params.%s is not a number", name)
		}
	}
	if s.Key, err = decodeKey(r.Params["key"]); err != nil {
		return Seal{}, fmt.Errorf("its params.key %w", err)
	}
	if s.Signature, err = decode(r.Params["signature"], ed25519.SignatureSize); err != nil {
		return Seal{}, fmt.Errorf("its params.signature %w", err)
	}
	return s, nil
}

// KeyChange says, by the word of the key before, which key seals next. Its
// record audit.key_changed has the params key, next, signed_at and signature;
// what is signed by the key before is this text:
//
//	restartilka audit key change 1
//	key KEY
//	next NEXT
//	time SIGNED_AT
//
// It names no source: servers may share a key. Where the key before is lost, there is no signature, and no signed_at: then
// only whoever is told of the new key by people can trust it.
type KeyChange struct {
	Key       ed25519.PublicKey
	Next      ed25519.PublicKey
	Time      time.Time // when it was signed
	Signature []byte    // nil = the key before is lost
}

func (c *KeyChange) text() []byte {
	return fmt.Appendf(nil, "restartilka audit key change 1\nkey %s\nnext %s\ntime %s\n", encode(c.Key), encode(c.Next), c.Time.UTC().Format(timeLayout))
}

// Valid tells whether the key before has signed it.
func (c *KeyChange) Valid() bool { return ed25519.Verify(c.Key, c.text(), c.Signature) }

// newKeyChange has the key before name the next.
func newKeyChange(key ed25519.PrivateKey, next ed25519.PublicKey, at time.Time) KeyChange {
	c := KeyChange{Key: key.Public().(ed25519.PublicKey), Next: next, Time: at.UTC().Truncate(time.Microsecond)}
	c.Signature = ed25519.Sign(key, c.text())
	return c
}

// record tells of the change in the chain of source.
func (c *KeyChange) record(source string, at time.Time) Record {
	r := Record{
		Time: at, Actor: "server:" + source, Origin: "local", Action: AuditKeyChanged,
		Params: map[string]string{"key": encode(c.Key), "next": encode(c.Next)},
		Detail: fmt.Sprintf("from %s to %s", KeyID(c.Key), KeyID(c.Next)),
	}
	if c.Signature == nil {
		r.Detail += ", without the signature of the key before: it is not there any more"
		return r
	}
	r.Params["signed_at"] = c.Time.Format(timeLayout)
	r.Params["signature"] = encode(c.Signature)
	return r
}

// ReadKeyChange takes the change out of a record audit.key_changed. Its
// signature is not checked.
func ReadKeyChange(r *Record) (c KeyChange, err error) {
	if r.Action != AuditKeyChanged {
		return c, fmt.Errorf("the record is of %s", r.Action)
	}
	if c.Key, err = decodeKey(r.Params["key"]); err != nil {
		return c, fmt.Errorf("its params.key %w", err)
	}
	if c.Next, err = decodeKey(r.Params["next"]); err != nil {
		return c, fmt.Errorf("its params.next %w", err)
	}
	if len(r.Params) == 2 {
		return c, nil
	}
	if c.Time, err = time.Parse(timeLayout, r.Params["signed_at"]); err != nil || len(r.Params) != 4 {
		return c, errors.New("its params are not those of a change of the key")
	}
	if c.Signature, err = decode(r.Params["signature"], ed25519.SignatureSize); err != nil {
		return c, fmt.Errorf("its params.signature %w", err)
	}
	return c, nil
}

// KeyID names a public key for people: the first 16 hex digits of its SHA-256.
func KeyID(key ed25519.PublicKey) string { return protocol.KeyID(key) }

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func decodeKey(s string) (ed25519.PublicKey, error) { return decode(s, ed25519.PublicKeySize) }

// decode reads bytes that have one spelling only.
func decode(s string, size int) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != size || encode(b) != s {
		return nil, fmt.Errorf("is not the base64 of %d bytes", size)
	}
	return b, nil
}
