package restart

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

const base32 = "0123456789abcdefghjkmnpqrstvwxyz"

// NewID makes a run or task id: 48 bits of milliseconds since 1970 and 80
// random bits, in 26 characters of Crockford's base32, so that ids sort by the
// time they were made and can't be guessed (the shape of a ULID).
func NewID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	rand.Read(b[6:]) // never fails, by its documentation
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var out [26]byte
	for i := 25; i >= 0; i-- {
		out[i] = base32[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}
