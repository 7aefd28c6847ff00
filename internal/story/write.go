package story

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// Write prints a story in English, for a terminal: its own words bare, what
// people wrote in quotes.
func (s Story) Write(w io.Writer) {
	fmt.Fprintf(w, "Run %s: %s\n", word(s.Run), strings.TrimSpace(word(s.Service)+" "+word(s.Environment)))
	if !s.Asked.IsZero() {
		fmt.Fprintf(w, "asked for    by %s, at %s\n", who(s.Actor, s.Origin), at(s.Asked))
	}
	if s.Reason != "" {
		fmt.Fprintf(w, "reason       %s\n", quote(s.Reason))
	}
	if s.Digest != "" {
		fmt.Fprintf(w, "scenario     %s\n", word(s.Digest))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Params)) {
		fmt.Fprintf(w, "parameter    %s=%s\n", word(name), quote(s.Params[name]))
	}
	if !s.Ended.IsZero() {
		fmt.Fprintf(w, "ended        %s at %s", word(s.Outcome), at(s.Ended))
		if !s.Started.IsZero() {
			fmt.Fprintf(w, ", after %s", s.Ended.Sub(s.Started).Round(time.Millisecond))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	for _, f := range s.Findings {
		mark := "!"
		if f.Good {
			mark = "✓"
		}
		fmt.Fprintf(w, "%s %s\n", mark, restart.Escape(f.English))
	}
	fmt.Fprintln(w)
	for _, l := range s.Lines {
		l.write(w)
	}
}

func (l Line) write(w io.Writer) {
	if l.Pause > 0 {
		fmt.Fprintf(w, "             … %s later\n", l.Pause.Round(time.Second))
	}
	fmt.Fprintf(w, "%s  %s\n", at(l.Time), l.said())
	for _, more := range [][2]string{{"reason", l.Said}, {"detail", l.Detail}} {
		if more[1] != "" {
			fmt.Fprintf(w, "             %s %s\n", more[0], quote(more[1]))
		}
	}
}

// said is the first line of a record.
func (l Line) said() string {
	text := Phrase(l.Action).English
	if l.Host != "" {
		text += ": " + word(l.Host)
	}
	if l.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", l.Attempt)
	}
	if l.Outcome != "" {
		text += " → " + word(l.Outcome)
	}
	if l.Took > 0 {
		text += fmt.Sprintf(" after %s", l.Took.Round(time.Millisecond))
	}
	return text + "  (" + who(l.Actor, l.Origin) + "; " + Place(l.Record) + ")"
}

// Place names where a record stands: source/epoch/number.
func Place(r audit.Record) string {
	if r.Seq == 0 {
		return "not in the chain yet"
	}
	return fmt.Sprintf("%s/%d/%d", word(r.Source), r.Epoch, r.Seq)
}

func who(actor, origin string) string {
	if actor == "" {
		actor = "server"
	}
	if origin == "" {
		return word(actor)
	}
	return word(actor) + ", " + word(origin)
}

// bare is what a word may have that stands without quotes.
var bare = regexp.MustCompile(`^[\p{L}\p{N}@._:/-]+( [\p{L}\p{N}@._:/\[\]-]+)?$`)

// word gives a name as it is, and anything else in quotes, so that nobody takes
// it for a word of the story.
func word(s string) string {
	if s == "" || bare.MatchString(s) && restart.Escape(s) == s {
		return s
	}
	return quote(s)
}

func quote(s string) string { return restart.Escape(strconv.Quote(s)) }

func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }
