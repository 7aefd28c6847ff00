package web

import (
	"net/url"
	"strconv"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/said"
)

// stateMark is a thread's state as pages show it: a word, and a swatch that has
// a colour and a pattern of its own.
type stateMark struct{ State, Word string }

func stateOf(l language, s dump.State) stateMark {
	return stateMark{State: swatchOf(s), Word: said.ThreadState(l, s)}
}

// swatchOf names the swatch of a state: of what comes from a host, nothing but
// what is known becomes part of a page's names.
func swatchOf(s dump.State) string {
	for _, k := range dump.States() {
		if s == k {
			return string(k)
		}
	}
	return string(dump.Unclear)
}

// statesView is how many threads are in which state, as a bar and as a table.
type statesView struct {
	Total int
	Parts []statePart
}

type statePart struct {
	stateMark
	Number   int
	X, Width int    // of the bar, in threads
	Percent  string // of all
	URL      string // its threads
}

// statesView lays the states side by side, the most telling first.
func (x *threads) states(counts map[dump.State]int) statesView {
	var out statesView
	for _, n := range counts {
		out.Total += n
	}
	at := 0
	for _, s := range dump.States() {
		n := counts[s]
		if n == 0 {
			continue
		}
		out.Parts = append(out.Parts, statePart{
			stateMark: stateOf(x.lang, s), Number: n, X: at, Width: n, Percent: percentOf(n, out.Total), URL: x.listed(url.Values{"state": {string(s)}}),
		})
		at += n
	}
	return out
}

// percentOf says a share; one that is there is never said to be none.
func percentOf(n, all int) string {
	switch {
	case all == 0 || n == 0:
		return "0 %"
	case n*100 < all:
		return "< 1 %"
	case n < all && n*200 >= all*199:
		return "> 99 %"
	}
	return strconv.Itoa((n*100+all/2)/all) + " %"
}
