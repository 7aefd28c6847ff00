package audit

import (
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
// it is no record. It writes to text meanwhile, and leaves it as it was.
func ReadLine(text []byte) (Line, error) {
	s, ok := scan(text)
	if !ok {
		if _, err := Decode(text); err != nil {
			return Line{}, err
		}
		return Line{}, errNotCanonical // scan and Decode are of one opinion
	}
	line := Line{Head: Head{Source: string(s.source), Epoch: s.epoch, Seq: s.seq, Hash: string(s.hash)}, PrevHash: string(s.prev)}
	if s.hashAt == 0 {
		return line, ErrChanged
	}
	if sum := sumWithout(text, s.hashAt); hex.EncodeToString(sum[:]) != line.Head.Hash {
		return line, ErrChanged
	}
	return line, nil
}
