package parse

import (
	"strings"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/dump"
)

const (
	maxName   = 4 << 10 // bytes of one name, of whatever it is
	maxKept   = 1 << 20 // different names that are kept to be found again
	frameRoom = 4096    // frames that are made at once
)

// names keeps each text once: a dump of 2,000 threads says the same some
// hundred names again and again. What it gives is valid UTF-8, and not a part of
// the text that is read, which can be forgotten.
type names struct {
	kept   map[string]string
	frames map[string]dump.Frame // by the whole line
	room   []dump.Frame
}

func newNames() *names {
	return &names{kept: map[string]string{}, frames: map[string]dump.Frame{}}
}

// text gives b as a string, cut if it is longer than any name is.
func (n *names) text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > maxName {
		return clean(b, maxName)
	}
	if s, ok := n.kept[string(b)]; ok {
		return s
	}
	s := clean(b, maxName)
	if len(n.kept) < maxKept {
		n.kept[string(b)] = s
	}
	return s
}

// frame gives the frame that a line says, read by the function if the line is new.
func (n *names) frame(line []byte, read func([]byte) dump.Frame) dump.Frame {
	if f, ok := n.frames[string(line)]; ok {
		return f
	}
	f := read(line)
	if len(n.frames) < maxKept && len(line) <= maxName {
		n.frames[string(line)] = f
	}
	return f
}

// stack gives a copy of frames that is no longer than they are.
func (n *names) stack(frames []dump.Frame) []dump.Frame {
	if len(frames) == 0 {
		return nil
	}
	if len(frames) > frameRoom/4 {
		return append([]dump.Frame(nil), frames...)
	}
	if len(n.room) < len(frames) {
		n.room = make([]dump.Frame, frameRoom)
	}
	copied := n.room[:len(frames):len(frames)]
	n.room = n.room[len(frames):]
	copy(copied, frames)
	return copied
}

// clean gives b as valid UTF-8 of at most limit bytes, and a mark where it was cut.
func clean(b []byte, limit int) string {
	end := ""
	if len(b) > limit {
		b = b[:limit]
		for i := 1; i < utf8.UTFMax && i < len(b); i++ {
			if utf8.RuneStart(b[len(b)-i]) {
				if !utf8.FullRune(b[len(b)-i:]) {
					b = b[:len(b)-i]
				}
				break
			}
		}
		end = "…"
	}
	return strings.ToValidUTF8(string(b), "\uFFFD") + end
}
