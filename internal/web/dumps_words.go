package web

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// maxSentence bounds what a page says of one finding, in bytes: names in it come
// from the dump.
const maxSentence = 1500

// findingView is what dumps say about one thing. How grave it is has a word, a
// shape and a colour.
type findingView struct {
	Tone tone
	Word string
	Text []saidPart // the sentence
	More []saidPart // what to do about it; none = the sentence is all
	URL  string     // of the threads that it is about
	Link string     // what to call that; "" = its threads
}

// saidPart is a piece of a sentence; a name out of the dump is code.
type saidPart struct {
	Text string
	Code bool
}

func toneOfSeverity(f analyse.Finding) tone {
	switch {
	case f.Severity == analyse.Alarm:
		return toneFail
	case f.Severity == analyse.Warning:
		return toneWarn
	case f.Kind == analyse.Nothing:
		return toneDone
	}
	return toneSkip
}

func severityWord(l language, f analyse.Finding) string {
	if f.Kind == analyse.Nothing {
		return say(l, "severity.nothing")
	}
	return known(l, "severity."+string(f.Severity), string(f.Severity))
}

// findingOf gives a finding in words.
func findingOf(l language, f analyse.Finding) findingView {
	view := findingView{Tone: toneOfSeverity(f), Word: severityWord(l, f)}
	view.Text, view.More = saidParts(said.Finding(l, f))
	return view
}

// saidParts takes a text apart: its first sentence and the others, each with the
// names that stand between backquotes.
func saidParts(text string) (first, others []saidPart) {
	at := &first
	for i, piece := range strings.Split(shorten(text, maxSentence), "`") {
		code := i%2 == 1
		if end := strings.Index(piece, ". "); !code && at == &first && end >= 0 {
			first = append(first, saidPart{Text: restart.Escape(piece[:end+1])})
			at, piece = &others, piece[end+2:]
		}
		if piece != "" {
			*at = append(*at, saidPart{Text: restart.Escape(piece), Code: code})
		}
	}
	return first, others
}

// plainText gives parts of a sentence without marks.
func plainText(parts []saidPart) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

// finding is findingOf with the way to its threads.
func (x *looked) finding(number int, f analyse.Finding) findingView {
	view := findingOf(x.lang, f)
	switch {
	case f.Kind == analyse.HotThread && len(f.IDs) == 1:
		view.URL = x.find(f.IDs[0], f.Subject).URL
	case f.Key != "" && len(f.IDs) < f.Threads: // its list of threads is bounded, that of the group is not
		view.URL = x.listed(url.Values{"group": {f.Key}})
	case len(f.IDs) > 0:
		view.URL = x.listed(url.Values{"finding": {strconv.Itoa(number)}})
	case f.HolderID != "":
		view.URL = x.find(f.HolderID, f.Holder).URL
	}
	return view
}

// deviationOf says in what a host differs from its neighbours.
func deviationOf(l language, d analyse.Deviation) []saidPart {
	first, others := saidParts(said.Deviation(l, d))
	return append(first, others...)
}

// eachDoes says what each of some threads does.
func eachDoes(l language, threads int, d analyse.Doing) string {
	if threads < 2 {
		return said.Doing(l, d)
	}
	return say(l, "dump.each", said.Doing(l, d))
}
