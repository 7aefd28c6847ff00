package web

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

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
		out.WriteString(visible(line))
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
