package web

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// Bounds of the page that compares two dumps.
const (
	shownChanges = 40 // groups that grew or shrank
	shownMoves   = 60 // threads that are elsewhere
)

// dumpComparePage is what changed from one dump to another.
type dumpComparePage struct {
	layout
	Before, After     comparedView
	Verdict           findingView
	Restarted         bool
	Fixed, New, Still []findingView
	States            []stateChange
	Groups            []groupChange
	MoreGroups        int
	Counts            []param
	Moves             []moveView
	MoreMoves         int
}

// comparedView is one of the two dumps.
type comparedView struct {
	dumpLine
	Threads int
	States  statesView
	Verdict findingView
}

type stateChange struct {
	stateMark
	Before, After int
	Change        string
}

type groupChange struct {
	Frame         frameLine
	HasFrame      bool
	Does          string
	Before, After int
	Change        string
	Grew          bool
}

type moveView struct {
	Name, Kind      string
	Before, After   frameLine
	WasHere, IsHere bool
	From, To        stateMark
}

func (s *site) compareDumps(w http.ResponseWriter, v *visit) error {
	before, after := v.PathValue("id"), v.PathValue("other")
	for _, id := range []string{before, after} {
		if restart.CheckID(id) != nil {
			return restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "dump.none", restart.Quote(id)))
		}
	}
	c, err := s.cfg.Control.CompareDumps(v.Context(), v.actor, before, after)
	if err != nil {
		return err
	}
	d := c.Difference
	page := dumpComparePage{
		layout: s.layout(v, say(v.lang, "compare.title")), Restarted: d.Restarted, Before: s.compared(v.lang, c.Before, d.Before), After: s.compared(v.lang, c.After, d.After),
		Verdict: changeOf(v.lang, d.Verdict()), MoreGroups: max(len(d.Groups)-shownChanges, 0), MoreMoves: max(d.Moved+d.Appeared+d.Gone-shownMoves, 0),
	}
	for _, list := range []struct {
		from []analyse.Finding
		to   *[]findingView
	}{{d.Fixed, &page.Fixed}, {d.New, &page.New}, {d.Still, &page.Still}} {
		for _, f := range list.from {
			*list.to = append(*list.to, findingOf(v.lang, f))
		}
	}
	for i := range page.Fixed { // it is over, however grave it was
		page.Fixed[i].Tone, page.Fixed[i].Word = toneSkip, say(v.lang, "compare.was", strings.ToLower(page.Fixed[i].Word))
	}
	page.fill(v.lang, d)
	return s.show(w, v, http.StatusOK, pageDumpCompare, page)
}

func (s *site) compared(l language, d wire.Dump, side analyse.Side) comparedView {
	x := &threads{lang: l}
	view := comparedView{dumpLine: s.dumpLineOf(l, d), Threads: side.Threads, States: x.states(side.States), Verdict: findingOf(l, side.Verdict)}
	view.Verdict.More = nil // its own page has it
	return view
}

func (p *dumpComparePage) fill(l language, d *analyse.Difference) {
	for _, s := range dump.States() {
		if before, after := d.Before.States[s], d.After.States[s]; before+after > 0 {
			p.States = append(p.States, stateChange{stateMark: stateOf(l, s), Before: before, After: after, Change: signed(after - before)})
		}
	}
	for _, g := range d.Groups[:min(len(d.Groups), shownChanges)] {
		line := groupChange{Does: eachDoes(l, max(g.Before, g.After), g.Does), Before: g.Before, After: g.After, Change: signed(g.After - g.Before), Grew: g.After > g.Before}
		line.Frame, line.HasFrame = topOf(g.Does)
		p.Groups = append(p.Groups, line)
	}
	for _, c := range []struct {
		key string
		n   int
	}{{"same", d.Same}, {"moved", d.Moved}, {"appeared", d.Appeared}, {"gone", d.Gone}} {
		p.Counts = append(p.Counts, param{say(l, "compare."+c.key), strconv.Itoa(c.n)})
	}
	for _, m := range d.Threads[:min(len(d.Threads), shownMoves)] {
		line := moveView{Name: restart.Escape(shorten(cmp.Or(m.Name, "#"+m.ID), maxFrameRow)), Kind: known(l, "move."+string(m.Kind), string(m.Kind))}
		if m.Before != nil {
			line.Before, line.WasHere = topOf(*m.Before)
			line.From = stateOf(l, m.State)
		}
		if m.After != nil {
			line.After, line.IsHere = topOf(*m.After)
			line.To = stateOf(l, m.Now)
		}
		p.Moves = append(p.Moves, line)
	}
}

// signed writes a change with its sign.
func signed(n int) string {
	switch {
	case n > 0:
		return "+" + strconv.Itoa(n)
	case n < 0:
		return "−" + strconv.Itoa(-n)
	}
	return "0"
}

// changeOf gives in words what became of the gravest finding.
func changeOf(l language, c analyse.Change) findingView {
	view := findingView{Tone: toneSkip, Word: say(l, "change."+string(c.Kind))}
	switch c.Kind {
	case analyse.ChangeFixed:
		view.Tone = toneDone
	case analyse.ChangeNew, analyse.ChangeStill:
		view.Tone = toneWarn
		if c.Finding != nil {
			view.Tone = toneOfSeverity(*c.Finding)
		}
	}
	view.Text, view.More = saidParts(said.Change(l, c))
	return view
}
