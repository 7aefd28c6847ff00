package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"
)

// scanned is what the verifier needs of a record, read straight from its
// canonical bytes: much faster than Decode, and of the same opinion on what is
// canonical, which a fuzz test holds against it. Texts are pieces of the line,
// its escapes included.
type scanned struct {
	source, action, origin []byte
	epoch, seq             int64
	prev, hash             []byte
	micros                 int64 // since 1970
	hashAt                 int   // where the comma before the member hash is; 0 = there is none
}

// members are the names of a record's members in their order.
var members = [...]string{
	"source", "epoch", "seq", "prev_hash", "time_utc", "actor", "origin", "action", "run", "task", "attempt", "service",
	"environment", "host", "scenario_digest", "params", "reason", "outcome", "detail", "hash",
}

// The members that are not plain text, by their place in members.
const (
	memberSource  = 0
	memberEpoch   = 1
	memberSeq     = 2
	memberPrev    = 3
	memberTime    = 4
	memberOrigin  = 6
	memberAction  = 7
	memberAttempt = 10
	memberParams  = 15
	memberHash    = 19
)

// scan reads a line. ok is false for everything that Decode does not accept,
// and never for what it does.
func scan(line []byte) (s scanned, ok bool) {
	if len(line) == 0 || line[0] != '{' {
		return s, false
	}
	at, next, seen := 1, 0, false
	for {
		start := at
		if at > 1 {
			if at >= len(line) || line[at] != ',' {
				break
			}
			at++
		}
		var member int
		if member, at, ok = scanKey(line, at, next); !ok {
			return s, false
		}
		next, seen = member+1, seen || member == memberSeq
		if member == memberHash {
			s.hashAt = start
		}
		if at, ok = s.value(line, at, member); !ok {
			return s, false
		}
	}
	return s, seen && at == len(line)-1 && line[at] == '}'
}

// scanKey reads a member's name with its colon. Only members from next on can
// follow.
func scanKey(line []byte, at, next int) (member, after int, ok bool) {
	if at >= len(line) || line[at] != '"' {
		return 0, 0, false
	}
	rest := line[at+1:]
	for member = next; member < len(members); member++ {
		name := members[member]
		if len(rest) > len(name)+1 && rest[len(name)] == '"' && rest[len(name)+1] == ':' && string(rest[:len(name)]) == name {
			return member, at + len(name) + 3, true
		}
	}
	return 0, 0, false
}

// value reads what follows a member's name, and keeps what is wanted of it.
func (s *scanned) value(line []byte, at, member int) (after int, ok bool) {
	switch member {
	case memberEpoch, memberSeq, memberAttempt:
		n, after, ok := scanNumber(line, at)
		switch {
		case !ok || n == 0 && member != memberSeq:
			return 0, false
		case member == memberEpoch:
			s.epoch = n
		case member == memberSeq:
			s.seq = n
		}
		return after, true
	case memberTime:
		s.micros, ok = scanTime(line[at:])
		return at + len(timeLayout) + 2, ok
	case memberParams:
		return scanParams(line, at)
	}
	text, after, ok := scanText(line, at)
	if !ok || len(text) == 0 {
		return 0, false
	}
	switch member {
	case memberSource:
		s.source = text
	case memberPrev:
		s.prev = text
	case memberOrigin:
		s.origin = text
	case memberAction:
		s.action = text
	case memberHash:
		s.hash = text
	}
	return after, true
}

// plain tells of each byte whether it stands for itself in a string.
var plain = func() (table [256]bool) {
	for c := byte(0x20); c < 0x7f; c++ {
		table[c] = c != '"' && c != '\\' && !escaped(rune(c))
	}
	return table
}()

// scanText reads a string; text is what stands between the quotes.
func scanText(line []byte, at int) (text []byte, after int, ok bool) {
	if at >= len(line) || line[at] != '"' {
		return nil, 0, false
	}
	at++
	start := at
	for at < len(line) {
		c := line[at]
		switch {
		case plain[c]:
			at++
		case c == '"':
			return line[start:at], at + 1, true
		case c == '\\':
			n := escapeLen(line[at:])
			if n == 0 {
				return nil, 0, false
			}
			at += n
		case c < utf8.RuneSelf:
			return nil, 0, false
		default:
			r, n := utf8.DecodeRune(line[at:])
			if r == utf8.RuneError && n == 1 || deceptive(r) {
				return nil, 0, false
			}
			at += n
		}
	}
	return nil, 0, false
}

// escapeLen gives the length of an escape that a clean record can have, or 0.
func escapeLen(b []byte) int {
	if len(b) >= 2 && (b[1] == '"' || b[1] == '\\') {
		return 2
	}
	if len(b) >= 6 {
		switch string(b[1:6]) {
		case "u003c", "u003e", "u0026":
			return 6
		}
	}
	return 0
}

// scanNumber reads a decimal that fits 64 bits, written in one way only.
func scanNumber(line []byte, at int) (n int64, after int, ok bool) {
	start := at
	if at < len(line) && line[at] == '-' {
		at++
	}
	digits := at
	for ; at < len(line) && line[at] >= '0' && line[at] <= '9'; at++ {
		d := int64(line[at] - '0')
		if n < (-1<<63+d)/10 {
			return 0, 0, false
		}
		n = n*10 - d // towards the minimum, which has no opposite
	}
	if at == digits || line[digits] == '0' && (at > digits+1 || digits > start) {
		return 0, 0, false
	}
	if digits == start {
		if n == -1<<63 {
			return 0, 0, false
		}
		n = -n
	}
	return n, at, true
}

// scanTime reads "2006-01-02T15:04:05.000000Z", its quotes included, as
// microseconds since 1970.
func scanTime(b []byte) (micros int64, ok bool) {
	const shape = `"0000-00-00T00:00:00.000000Z"`
	if len(b) < len(shape) {
		return 0, false
	}
	for i, c := range []byte(shape) {
		if c == '0' && (b[i] < '0' || b[i] > '9') || c != '0' && b[i] != c {
			return 0, false
		}
	}
	number := func(from, to int) (n int64) {
		for _, c := range b[from:to] {
			n = n*10 + int64(c-'0')
		}
		return n
	}
	year, month, day := number(1, 5), number(6, 8), number(9, 11)
	hour, minute, second := number(12, 14), number(15, 17), number(18, 20)
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	micros = ((daysSince1970(year, month, day)*24+hour)*60+minute)*60 + second
	micros = micros*1e6 + number(21, 27)
	return micros, micros != zeroTime
}

// zeroTime is the time that a record without a time has, which is not written.
const zeroTime = -62135596800 * 1_000_000

func daysIn(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts by the proleptic Gregorian calendar; years begin with
// March, so that the day of a leap year is the last.
func daysSince1970(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := (year + 400) / 400 // year 0 can become -1
	of := year + 400 - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return (era-1)*146097 + of*365 + of/4 - of/100 + dayOfYear - 719468
}

// scanParams reads an object of strings whose names ascend.
func scanParams(line []byte, at int) (after int, ok bool) {
	if at >= len(line) || line[at] != '{' {
		return 0, false
	}
	at++
	var last []byte
	for first := true; ; first = false {
		name, after, ok := scanText(line, at)
		if !ok || !first && bytes.Compare(unescaped(last), unescaped(name)) >= 0 || after >= len(line) || line[after] != ':' {
			return 0, false
		}
		if _, after, ok = scanText(line, after+1); !ok || after >= len(line) {
			return 0, false
		}
		last = name
		switch line[after] {
		case ',':
			at = after + 1
		case '}':
			return after + 1, true
		default:
			return 0, false
		}
	}
}

// unescaped gives what a scanned text stands for.
func unescaped(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		i++
		if text[i] != 'u' {
			out = append(out, text[i])
			continue
		}
		out = append(out, nibble(text[i+3])<<4|nibble(text[i+4]))
		i += 4
	}
	return out
}

// digest is a hash as bytes.
type digest struct {
	sum  [sha256.Size]byte
	kind digestKind
}

type digestKind byte

const (
	noDigest  digestKind = iota // the member is absent
	isDigest                    //
	oddDigest                   // a text that is no hash
)

func digestOf(text []byte) (d digest) {
	if len(text) == 0 {
		return d
	}
	if len(text) != 2*sha256.Size {
		return digest{kind: oddDigest}
	}
	for i := range d.sum {
		high, low := nibble(text[2*i]), nibble(text[2*i+1])
		if high|low > 15 {
			return digest{kind: oddDigest}
		}
		d.sum[i] = high<<4 | low
	}
	d.kind = isDigest
	return d
}

// same tells whether both are absent, or the same hash.
func (d digest) same(o digest) bool { return d == o && d.kind != oddDigest }

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// text is the hex of d, as records have it.
func (d digest) text() string {
	if d.kind != isDigest {
		return ""
	}
	return hex.EncodeToString(d.sum[:])
}

// sumWithout hashes a line without its last member, which begins at the comma
// at hashAt. The line is as before when it returns.
func sumWithout(line []byte, hashAt int) [sha256.Size]byte {
	was := line[hashAt]
	line[hashAt] = '}'
	sum := sha256.Sum256(line[:hashAt+1])
	line[hashAt] = was
	return sum
}
