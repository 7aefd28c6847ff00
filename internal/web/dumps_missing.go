package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// showMissing shows a dump of which no more is known than that it is there, or
// not even that: why, what was kept beside it, and its text where there is one.
// unread is why a text that is kept can't be read as a dump; nil = there is none.
func (s *site) showMissing(w http.ResponseWriter, v *visit, view *control.DumpView, unread error, sent filled, status int) error {
	head := dumpHeadOf(v.lang, view.Dump, s.cfg.Now())
	page := dumpPage{layout: s.layout(v, head.Title), Head: head, MayDelete: s.mayDelete(v, view), Upload: isUpload(view), Sent: sent}
	if unread == nil {
		page.Missing = notTaken(v.lang, view)
	} else {
		why := view.Error
		if e, ok := errors.AsType[*restart.Error](unread); ok {
			why = cmp.Or(why, e.Message)
		}
		page.Missing = say(v.lang, "dump.notread", said.In(v.lang, shorten(cmp.Or(why, "–"), maxFrameRow)))
		page.Head.Tabs = tabsOf(v.lang, view.ID, 1, tabSummary, tabSummary, tabText)
		page.Downloads = downloadsOf(v.lang, view.ID, "raw")
	}
	for _, n := range view.Notes {
		page.Notes = append(page.Notes, said.In(v.lang, shorten(n, maxFrameRow)))
	}
	page.beside(v.lang, view)
	view.Close()
	return s.show(w, v, status, pageDump, page)
}

// notTaken says why there is no text at all.
func notTaken(l language, view *control.DumpView) string {
	return say(l, "dump.unread", said.In(l, shorten(cmp.Or(view.Error, "–"), maxFrameRow)))
}

func isUpload(view *control.DumpView) bool { return view.Origin == string(store.DumpUpload) }

// mayDelete tells whether the reader may: an admin any, and everybody his own.
func (s *site) mayDelete(v *visit, view *control.DumpView) bool {
	return isUpload(view) || s.cfg.Control.MayAdminister(v.actor)
}

// tabsOf gives views of one dump of a file; all there are where none is named.
func tabsOf(l language, id string, inFile int, here dumpTab, offered ...dumpTab) (out []tabLine) {
	if len(offered) == 0 {
		offered = dumpTabs()
	}
	for _, t := range offered {
		out = append(out, tabLine{Name: say(l, "dumptab."+string(t)), URL: lookAddress(id, inFile, t), Here: t == here})
	}
	return out
}

// textHead gives the head of the page of a dump's text, which is not read as a
// dump for it: what its list of dumps knows of the series is enough.
func (s *site) textHead(v *visit, view *control.DumpView) (dumpHead, *threads, error) {
	x := &threads{lang: v.lang, id: view.ID, inFile: inFileOf(v.URL.Query())}
	head := dumpHeadOf(v.lang, view.Dump, s.cfg.Now())
	if view.Verdict == nil && view.Error != "" { // nobody has understood it: there is nothing else to see
		head.Tabs = tabsOf(v.lang, view.ID, x.inFile, tabText, tabSummary, tabText)
	} else {
		head.Tabs = tabsOf(v.lang, view.ID, x.inFile, tabText)
	}
	series, err := view.Series(v.Context())
	if err != nil {
		return head, x, err
	}
	var first wire.Dump
	for _, d := range series {
		if d.Stored == 0 {
			continue
		}
		for n := 1; n <= dumpsIn(d); n++ {
			line := seriesLine{URL: lookAddress(d.ID, n, tabText), Name: say(v.lang, "dump.number", len(head.Series)+1), Current: d.ID == view.ID && n == x.inFile}
			if len(head.Series) == 0 {
				first = d
			} else if d.ID != first.ID {
				line.After = afterFirst(v.lang, d.TakenAt.Sub(first.TakenAt))
			}
			head.Series = append(head.Series, line)
		}
	}
	if len(head.Series) == 1 {
		head.Series = nil
	}
	return head, x, nil
}

// mostInFile bounds the dumps of one file that are offered by their numbers.
const mostInFile = 100

func dumpsIn(d wire.Dump) int {
	if d.Summary == nil {
		return 1
	}
	return min(max(d.Summary.Dumps, 1), mostInFile)
}

// inFileOf reads which dump of its file an address means; 1 where it can't be read.
func inFileOf(q url.Values) int {
	n, err := strconv.Atoi(q.Get("dump"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}
