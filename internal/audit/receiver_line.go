package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// ErrChanged is a record whose hash is not that of its contents.
var ErrChanged = errors.New("its hash is not that of its contents")

// Line is what a receiver has to know of a record: its place and its links.
type Line struct {
	Head     Head
	PrevHash string
}

// ReadLine reads one record as Decode does, without a newline at its end, and
// checks its hash: ErrChanged, with the line as it is. Any other error says why
// it is no record.
func ReadLine(text []byte) (Line, error) {
	r, err := Decode(text)
	if err != nil {
		return Line{}, err
	}
	line := Line{Head: r.Head(), PrevHash: r.PrevHash}
	if !intactLine(text, r.Hash) {
		return line, ErrChanged
	}
	return line, nil
}

// intactLine tells whether hash is that of a canonical line, which ends with
// the member of that value: the hash is of the line without it.
func intactLine(text []byte, hash string) bool {
	end := len(text) - len(`,"hash":""}`) - len(hash)
	if hash == "" || end < 0 {
		return false
	}
	h := sha256.New()
	h.Write(text[:end])
	h.Write([]byte("}"))
	var sum [sha256.Size]byte
	var digits [2 * sha256.Size]byte
	hex.Encode(digits[:], h.Sum(sum[:0]))
	return bytes.Equal(digits[:], []byte(hash))
}
