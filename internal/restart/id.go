package restart

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
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

// idTime is how many characters of an id are its time.
const idTime = 10

// FirstID gives the least id that can be made at a moment: ids of before it
// sort before, all others do not.
func FirstID(at time.Time) string {
	ms := uint64(max(at.UnixMilli(), 0))
	var out [26]byte
	for i := range out {
		out[i] = base32[0]
	}
	for i := idTime - 1; i >= 0; i-- {
		out[i] = base32[ms&31]
		ms >>= 5
	}
	return string(out[:])
}

// TimeOfID gives when an id was made, to the millisecond, or for when its run was
// planned; the zero time where it is none.
func TimeOfID(id string) time.Time {
	if CheckID(id) != nil {
		return time.Time{}
	}
	ms := int64(0)
	for i := range idTime {
		digit := strings.IndexByte(base32, id[i])
		if digit < 0 {
			return time.Time{}
		}
		ms = ms<<5 | int64(digit)
	}
	return time.UnixMilli(ms).UTC()
}
