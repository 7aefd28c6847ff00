package web

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
)

// maxRow bounds one row of shown output, in bytes: a longer line goes on in the
// next row.
const maxRow = 2000

// maxColour bounds the escape sequence of a colour, in bytes; what is longer is
// none, and is shown.
const maxColour = 64

// colours are the escape sequences that set colours and nothing else ("select
// graphic rendition" of ECMA-48). They carry no text.
var colours = regexp.MustCompile("\x1b\\[([0-9;:]{0,61})m")

// ink is what the colour sequences so far make of the text that follows. Every
// colour is one of nine: of more a page could not promise that each can be read
// on each ground, by day and by night.
type ink struct {
	text, ground hue
	bold, under  bool
	inverse      bool
}

// hue is a colour of a terminal; the zero hue is the page's own.
type hue uint8

// The hues, in the order in which terminals paramAt eight of them.
const (
	hueNone hue = iota
	hueBlack
	hueRed
	hueGreen
	hueYellow
	hueBlue
	hueMagenta
	hueCyan
	hueWhite
	hueGrey
)

// class gives the classes of a text in this ink: t and the paramAt of its hue,
// g and that of its ground, b for bold, u for underlined; "" = plain.
func (k ink) class() string {
	text, ground := k.text, k.ground
	if k.inverse {
		text, ground = ground, text
		if ground == hueNone {
			ground = hueGrey
		}
	}
	if ground != hueNone && text == ground { // hidden from people, on a terminal
		text = hueNone
	}
	var b strings.Builder
	add := func(when bool, format string, values ...any) {
		if when {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, format, values...)
		}
	}
	add(text != hueNone, "t%d", text)
	add(ground != hueNone, "g%d", ground)
	add(k.bold, "b")
	add(k.under, "u")
	return b.String()
}

// String gives the ink as text, for an address; inkOf reads it again.
func (k ink) String() string {
	flags := 0
	for i, set := range []bool{k.bold, k.under, k.inverse} {
		if set {
			flags |= 1 << i
		}
	}
	return fmt.Sprintf("%d%d%d", k.text, k.ground, flags)
}

// inkOf reads what String wrote; anything else is plain ink.
func inkOf(s string) ink {
	if len(s) != 3 || strings.Trim(s, "0123456789") != "" {
		return ink{}
	}
	flags := s[2] - '0'
	return ink{text: hue(s[0] - '0'), ground: hue(s[1] - '0'), bold: flags&1 != 0, under: flags&2 != 0, inverse: flags&4 != 0}
}

// set follows one colour sequence, whose numbers these are. Numbers that mean
// nothing here, such as those that hide a text, change nothing.
func (k *ink) set(numbers string) {
	numbers = strings.ReplaceAll(strings.ReplaceAll(numbers, ":2::", ":2:"), ":", ";") // no colour space is meant
	params := strings.Split(numbers, ";")
	for i := 0; i < len(params); i++ {
		n := paramAt(params, i)
		if n == 38 || n == 48 {
			h, used := wide(params[i+1:])
			if n == 38 {
				k.text = h
			} else {
				k.ground = h
			}
			i += used
			continue
		}
		k.one(n)
	}
}

// one follows one paramAt of a colour sequence.
func (k *ink) one(n int) {
	switch {
	case n == 0:
		*k = ink{}
	case n == 1 || n == 22:
		k.bold = n == 1
	case n == 4 || n == 24:
		k.under = n == 4
	case n == 7 || n == 27:
		k.inverse = n == 7
	case n >= 30 && n <= 37:
		k.text = hue(n - 29)
	case n == 39:
		k.text = hueNone
	case n >= 40 && n <= 47:
		k.ground = hue(n - 39)
	case n == 49:
		k.ground = hueNone
	case n >= 90 && n <= 97:
		k.text = bright(n - 90)
	case n >= 100 && n <= 107:
		k.ground = bright(n - 100)
	}
}

// bright gives the hue of a bright colour: bright black is grey.
func bright(n int) hue {
	if n == 0 {
		return hueGrey
	}
	return hue(n + 1)
}

// wide reads what follows 38 or 48: 5 and one of 256 colours, or 2 and red,
// green and blue. It tells how many numbers that took.
func wide(params []string) (h hue, used int) {
	switch paramAt(params, 0) {
	case 5:
		return of256(paramAt(params, 1)), min(2, len(params))
	case 2:
		return nearest(paramAt(params, 1), paramAt(params, 2), paramAt(params, 3)), min(4, len(params))
	}
	return hueNone, min(1, len(params))
}

// paramAt reads the parameter of an index: what is missing, or left empty, is 0.
func paramAt(params []string, i int) int {
	if i >= len(params) {
		return 0
	}
	n, err := strconv.Atoi(params[i])
	if err != nil {
		return 0
	}
	return min(n, 255)
}

// of256 gives the hue of one of 256 colours: sixteen named ones, a cube of six
// steps each of red, green and blue, and greys.
func of256(n int) hue {
	switch {
	case n < 8:
		return hue(n + 1)
	case n < 16:
		return bright(n - 8)
	case n < 232:
		n -= 16
		return nearest(n/36*51, n/6%6*51, n%6*51)
	}
	grey := (n-232)*10 + 8
	return nearest(grey, grey, grey)
}

// nearest gives the hue of a colour, each part from 0 to 255.
func nearest(r, g, b int) hue {
	most, least := max(r, g, b), min(r, g, b)
	if most-least < 48 { // hardly any colour
		switch {
		case most < 64:
			return hueBlack
		case most < 176:
			return hueGrey
		}
		return hueWhite
	}
	middle := (most + least) / 2
	of := map[[3]bool]hue{
		{true, false, false}: hueRed, {false, true, false}: hueGreen, {true, true, false}: hueYellow,
		{false, false, true}: hueBlue, {true, false, true}: hueMagenta, {false, true, true}: hueCyan,
	}
	return of[[3]bool{r > middle, g > middle, b > middle}]
}

// span is a text in one ink.
type span struct{ Text, Class string }

// row is what one line of a page shows of an output.
type row []span

// rowsOf makes rows of whole lines: harmless, since only what is printable and
// tabs are left as they are. Colours become classes; each other character, so
// every other escape sequence too, is shown by its paramAt. A carriage return
// begins a new row, as what comes after it would be written over what is there.
func rowsOf(data string, k *ink) []row {
	data = strings.ReplaceAll(data, "\r\n", "\n")
	ended := strings.HasSuffix(data, "\n")
	data = strings.TrimSuffix(data, "\n")
	if data == "" && !ended {
		return nil
	}
	var out []row
	for line := range strings.SplitSeq(data, "\n") {
		for part := range strings.SplitSeq(strings.TrimSuffix(line, "\r"), "\r") {
			out = append(out, lineRows(part, k)...)
		}
	}
	return out
}

// lineRows makes rows of one line: one, unless it is too long.
func lineRows(line string, k *ink) []row {
	var out []row
	now, room := row{}, maxRow
	put := func(text string) {
		for text != "" {
			n := cutAt(text, room)
			if n > 0 {
				now = append(now, span{visible(text[:n]), k.class()})
			}
			text, room = text[n:], room-n
			if text != "" {
				out, now, room = append(out, now), row{}, maxRow
			}
		}
	}
	at := 0
	for _, m := range colours.FindAllStringSubmatchIndex(line, -1) {
		put(line[at:m[0]])
		k.set(line[m[2]:m[3]])
		at = m[1]
	}
	put(line[at:])
	return append(out, now)
}

// cutAt gives where to cut a text that is longer than n bytes: not within a
// character, if there is one.
func cutAt(text string, n int) int {
	if len(text) <= n {
		return len(text)
	}
	for i := n; i > max(n-utf8.UTFMax, 0); i-- {
		if utf8.RuneStart(text[i]) {
			return i
		}
	}
	return n
}

// visible gives a text with all that is not printable shown by its paramAt, but
// for tabs.
func visible(text string) string {
	if !strings.ContainsRune(text, '\t') {
		return restart.Escape(text)
	}
	pieces := strings.Split(text, "\t")
	for i, p := range pieces {
		pieces[i] = restart.Escape(p)
	}
	return strings.Join(pieces, "\t")
}
