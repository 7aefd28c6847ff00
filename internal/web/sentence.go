package web

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// sentence is one for people, cut where a page shows something in its own way:
// a time in the reader's zone, a run as a link.
type sentence []piece

// piece is a part of a sentence: At, or else Text, which with a URL is a link.
type piece struct {
	Text, URL string
	At        *moment
}

// shownOtherwise are the moments of UTC, with the weekday that belongs to them
// there alone, and the numbers of runs, as sentences have them.
var shownOtherwise = regexp.MustCompile(`(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|пн|вт|ср|чт|пт|сб|вс) )?\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z| UTC)|\b[0-9][0-9a-z]{25}\b`)

// ofPlanned ends what stands before the number of something planned, and not of a run.
var ofPlanned = regexp.MustCompile(`(planned already, as|уже запланирован:) $`)

// sentenceOf cuts a text.
func sentenceOf(text string, now time.Time) sentence {
	var out sentence
	rest := 0
	for _, at := range shownOtherwise.FindAllStringIndex(text, -1) {
		p, ok := pieceOf(text[at[0]:at[1]], now)
		if !ok {
			continue
		}
		if p.URL != "" && ofPlanned.MatchString(text[:at[0]]) {
			p.URL = "/planned/" + p.Text
		}
		if at[0] > rest {
			out = append(out, piece{Text: text[rest:at[0]]})
		}
		out, rest = append(out, p), at[1]
	}
	if rest < len(text) {
		out = append(out, piece{Text: text[rest:]})
	}
	return out
}

func pieceOf(text string, now time.Time) (piece, bool) {
	if restart.CheckID(text) == nil {
		return piece{Text: text, URL: "/runs/" + text}, true
	}
	if r, size := utf8.DecodeRuneInString(text); !unicode.IsDigit(r) { // its weekday
		_, text, _ = strings.Cut(text[size:], " ")
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 UTC", "2006-01-02 15:04 UTC"} {
		if t, err := time.Parse(layout, text); err == nil {
			return piece{At: new(momentOf(t, now))}, true
		}
	}
	return piece{}, false
}

// whole begins a sentence that stands by itself with a capital. A name that it
// begins with stays as it is: names are those of the page, and whatever is not
// a word.
func whole(text string, names ...string) string {
	first, _, _ := strings.Cut(text, " ")
	first = strings.TrimRight(first, ",:;")
	if first == "" || slices.Contains(names, first) || strings.ContainsFunc(first, func(r rune) bool { return !unicode.IsLetter(r) }) {
		return text
	}
	r, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[size:]
}

// saidWhole tells a sentence of the program that stands by itself on a page.
func saidWhole(l language, text string, now time.Time, names ...string) sentence {
	return sentenceOf(whole(said.In(l, text), names...), now)
}

// hintSentences gives the words of a hint so, and the lines that have commands.
func hintSentences(l language, hint string, now time.Time, names ...string) (out []sentence, shell []string) {
	words, shell := hintOf(l, hint)
	for _, line := range words {
		out = append(out, sentenceOf(whole(line, names...), now))
	}
	return out, shell
}
