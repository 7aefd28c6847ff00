package audit

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"
)

// KeyOf makes a key out of a number, the same each time. before are keys by
// which it was named, one after another.
func KeyOf(n byte, before ...byte) *Key {
	k := &Key{private: privateOf(n)}
	for i, b := range before {
		next := k.Public()
		if i+1 < len(before) {
			next = KeyOf(before[i+1]).Public()
		}
		k.changes = append(k.changes, newKeyChange(privateOf(b), next, zeroDay))
	}
	return k
}

var zeroDay = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func privateOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// ScanAgrees fails where scan and Decode differ about a line.
func ScanAgrees(line []byte) error {
	was := bytes.Clone(line)
	r, err := Decode(line)
	s, ok := scan(line)
	if ok != (err == nil) {
		return fmt.Errorf("Decode says %w, scan says %t", err, ok)
	}
	if !ok {
		return nil
	}
	micros := int64(0)
	if !r.Time.IsZero() {
		micros = r.Time.UnixMicro()
	}
	says := func(text []byte) string { return string(unescaped(text)) }
	same := says(s.source) == r.Source && s.epoch == r.Epoch && s.seq == r.Seq && says(s.prev) == r.PrevHash && says(s.hash) == r.Hash &&
		s.micros == micros && says(s.action) == string(r.Action) && says(s.origin) == r.Origin && (s.hashAt > 0) == (r.Hash != "")
	if !same {
		return fmt.Errorf("Decode reads %+v, scan reads %q %q %q %+v", r, s.source, s.action, s.origin, s)
	}
	if s.hashAt > 0 {
		sum := digest{sum: sumWithout(line, s.hashAt), kind: isDigest}
		if sum.same(digestOf(s.hash)) != r.Intact() || !bytes.Equal(line, was) {
			return errors.New("they differ about the hash")
		}
	}
	return nil
}

// SyslogMessage is what a Syslog of that facility makes of r.
func SyslogMessage(facility string, r Record) []byte {
	h, err := newHeader(facility)
	if err != nil {
		return nil
	}
	return h.appendMessage(nil, &r)
}

// Connected tells whether s has a connection.
func (s *Syslog) Connected() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.conn.open != nil
}

// RelpFrames reads frames to the end of the text and writes them again.
func RelpFrames(text []byte) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(text))
	var out []byte
	for {
		f, err := readRelp(r)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = appendRelp(out, f.transaction, f.command, f.data)
	}
}

// CheckBulkAnswer judges the answer to a bulk request.
func CheckBulkAnswer(answer []byte, records []Record) error { return checkBulkAnswer(answer, records) }

// KeyChangeRecord is the record by which a key names the next.
func KeyChangeRecord(before, next *Key, source string, at time.Time) Record {
	c := newKeyChange(before.private, next.Public(), at)
	return c.record(source, at)
}
