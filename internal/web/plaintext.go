package web

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
)

// colours are the escape sequences that set colours and nothing else. They
// carry no text, so they are left out.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// plain makes what a script has printed harmless for a page: its lines and
// tabs stay, colours are left out, everything else that is not printable is
// shown by its number. A carriage return before a line's end goes with it.
func plain(b []byte) string {
	text := strings.ReplaceAll(string(colours.ReplaceAll(b, nil)), "\r\n", "\n")
	var out strings.Builder
	out.Grow(len(text))
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			out.WriteByte('\n')
		}
		for j, piece := range strings.Split(line, "\t") {
			if j > 0 {
				out.WriteByte('\t')
			}
			out.WriteString(restart.Escape(piece))
		}
	}
	return out.String()
}

// tail gives the last n bytes of b, from the start of a line on if one starts
// in their first tenth, else of a character, and how many bytes came before.
func tail(b []byte, n int) ([]byte, int64) {
	if len(b) <= n {
		return b, 0
	}
	cut := len(b) - n
	if i := bytes.IndexByte(b[cut:cut+n/10], '\n'); i >= 0 {
		return b[cut+i+1:], int64(cut + i + 1)
	}
	for i := 0; i < utf8.UTFMax && cut < len(b) && !utf8.RuneStart(b[cut]); i++ {
		cut++
	}
	return b[cut:], int64(cut)
}
