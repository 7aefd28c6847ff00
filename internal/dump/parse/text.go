package parse

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"

	"github.com/restartilka/restartilka/internal/restart"
)

// sample is how much of a text is looked at to tell whether it is one, in bytes.
const sample = 64 << 10

// packed are the first bytes of files that hold a dump within.
var packed = []struct{ name, magic, command string }{
	{"gzip", "\x1f\x8b", "gunzip"},
	{"zstd", "\x28\xb5\x2f\xfd", "unzstd"},
	{"zip", "PK\x03\x04", "unzip"},
	{"xz", "\xfd7zXZ\x00", "unxz"},
	{"bzip2", "BZh", "bunzip2"},
}

// asText gives b as text, or says why it is none.
func asText(b []byte) ([]byte, error) {
	for _, p := range packed {
		if bytes.HasPrefix(b, []byte(p.magic)) {
			return nil, restart.Errorf(restart.CodeInvalid, "this is a file packed by %s, not a thread dump", p.name).
				WithHint("unpack it first, with %s", p.command)
		}
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	b = fromUTF16(b)
	if len(bytes.TrimSpace(b[:min(len(b), sample)])) == 0 && len(bytes.TrimSpace(b)) == 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "the thread dump is empty").
			WithHint("look whether the command that wrote it said why")
	}
	if isBinary(b[:min(len(b), sample)]) {
		return nil, restart.Errorf(restart.CodeInvalid, "this is a binary file, not a thread dump").
			WithHint("a dump of the heap or a core is something else: take a thread dump, with restartilka dump SERVICE, jstack or jcmd PID Thread.print")
	}
	return b, nil
}

// fromUTF16 gives text that was written as UTF-16, as redirecting on Windows
// does, in UTF-8.
func fromUTF16(b []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	default:
		return b
	}
	b = b[2:]
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// isBinary tells whether too many bytes are none that a text has. Some are let
// pass: a thread's name may hold anything.
func isBinary(b []byte) bool {
	odd := 0
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != '\b' && c != 0x1b {
			odd++
		}
	}
	return odd*20 > len(b)
}
