// Package calendar writes calendars as files that calendar programs subscribe
// to (RFC 5545): lines end with CR LF and have at most 75 octets, longer ones are
// folded, and text can't end its line or property, whatever is in it.
package calendar

import (
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is one entry. Text may hold anything.
type Event struct {
	UID         string // the same for as long as it is the same event
	Summary     string
	Description string // may have several lines
	URL         string
	From, To    time.Time
	Changed     time.Time
	Tentative   bool // it may not take place
}

// Write writes a calendar of events as of a time.
func Write(w io.Writer, name string, now time.Time, events []Event) error {
	var b strings.Builder
	line := func(property, value string) { fold(&b, property+":"+value) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//restartilka//planned//EN")
	line("CALSCALE", "GREGORIAN")
	line("METHOD", "PUBLISH")
	line("NAME", text(name))
	line("X-WR-CALNAME", text(name))
	line("REFRESH-INTERVAL;VALUE=DURATION", "PT15M")
	for _, e := range events {
		line("BEGIN", "VEVENT")
		line("UID", text(e.UID))
		line("DTSTAMP", instant(now))
		line("LAST-MODIFIED", instant(e.Changed))
		line("DTSTART", instant(e.From))
		line("DTEND", instant(e.To))
		line("SUMMARY", text(e.Summary))
		line("DESCRIPTION", text(e.Description))
		if e.URL != "" {
			line("URL", address(e.URL))
		}
		status := "CONFIRMED"
		if e.Tentative {
			status = "TENTATIVE"
		}
		line("STATUS", status)
		line("TRANSP", "TRANSPARENT")
		line("END", "VEVENT")
	}
	line("END", "VCALENDAR")
	_, err := io.WriteString(w, b.String())
	return err
}

func instant(t time.Time) string { return t.UTC().Format("20060102T150405Z") }

// text escapes a value as section 3.3.11 says. Other control characters, and
// what is no UTF-8, no value can have.
func text(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n")
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\\' || c == ';' || c == ',':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c < 0x20 && c != '\t', c == 0x7f:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// address leaves of a URL what one can have.
func address(s string) string {
	return strings.Map(func(c rune) rune {
		if c <= 0x20 || c >= 0x7f {
			return -1
		}
		return c
	}, s)
}

// longest is how many octets a line has at most, without its end.
const longest = 75

// fold writes a line, over several where it is too long: each further one begins
// with a space. No character is torn.
func fold(b *strings.Builder, line string) {
	room := longest
	for len(line) > room {
		cut := room
		for cut > 0 && !utf8.RuneStart(line[cut]) {
			cut--
		}
		b.WriteString(line[:cut] + "\r\n ")
		line, room = line[cut:], longest-1
	}
	b.WriteString(line + "\r\n")
}
