package web

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// Bounds of the page that shows a dump as it was written.
const (
	linesPerPage = 500
	maxTextLine  = 2000 // bytes of one line
)

// dumpTextPage is a dump as the runtime wrote it, with the numbers of its lines.
type dumpTextPage struct {
	layout
	Head                 dumpHead
	Lines                []textLine
	First, Last, All     int
	Previous, Next       string
	Start, End           string
	Asked, From, Through int // lines that were asked for; 0 = none
	Empty                bool
	InFile               int // which dump of the file the reader came from
}

type textLine struct {
	Number int
	Text   string
	Marked bool
}

// textAt gives the address where lines of the dump stand.
func (x *threads) textAt(s dump.Span) string {
	if s.First == 0 {
		return ""
	}
	return withQuery("/dumps/"+x.id+"/text", x.kept(url.Values{"line": {strconv.Itoa(s.First)}, "to": {strconv.Itoa(s.Last)}})) + "#L" + strconv.Itoa(s.First)
}

// showDumpText shows any text that is kept, whether or not it is understood.
func (s *site) showDumpText(w http.ResponseWriter, v *visit) error {
	view, err := s.openDump(v, tabText)
	if err != nil {
		return err
	}
	defer view.Close()
	if view.Stored == 0 {
		return restart.Errorf(restart.CodeNotFound, "%s", notTaken(v.lang, view))
	}
	head, x, err := s.textHead(v, view)
	if err != nil {
		return err
	}
	number := func(name string) int {
		n, err := strconv.Atoi(strings.TrimSpace(v.URL.Query().Get(name)))
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	page := dumpTextPage{layout: s.layout(v, say(v.lang, "dumptext.title")+" · "+head.Title), Head: head, InFile: x.inFile, Asked: number("line"), From: number("line"), Through: number("to")}
	if err := view.Text(v.Context(), page.fill); err != nil {
		return err
	}
	here := "/dumps/" + x.id + "/text"
	goTo := func(line int) string { return withQuery(here, x.kept(url.Values{"line": {strconv.Itoa(line)}})) }
	if page.First > 1 {
		page.Start, page.Previous = withQuery(here, x.kept(nil)), goTo(max(page.First-linesPerPage, 1))
	}
	if page.Last < page.All {
		page.Next, page.End = goTo(page.Last+1), goTo(page.All)
	}
	view.Close()
	return s.show(w, v, http.StatusOK, pageDumpText, page)
}

// fill takes the page of lines that has the one that was asked for.
func (p *dumpTextPage) fill(raw []byte) {
	raw = bytes.TrimSuffix(raw, []byte("\n"))
	p.All = bytes.Count(raw, []byte("\n")) + 1
	if len(raw) == 0 {
		p.All, p.Empty = 0, true
		return
	}
	at := min(max(p.Asked, 1), p.All)
	p.First = (at-1)/linesPerPage*linesPerPage + 1
	p.Last = min(p.First+linesPerPage-1, p.All)
	for range p.First - 1 {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	for n := p.First; n <= p.Last; n++ {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte("\n"))
		text := string(line[:min(len(line), maxTextLine+4)])
		p.Lines = append(p.Lines, textLine{Number: n, Text: visible(strings.TrimSuffix(shorten(text, maxTextLine), "\r")), Marked: p.From > 0 && n >= p.From && n <= max(p.Through, p.From)})
	}
}
