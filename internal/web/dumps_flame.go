package web

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
)

// Sizes and bounds of a flame graph.
const (
	flameRow   = 19    // pixels from one row to the next
	flameBar   = 18    // pixels of a bar
	flameDepth = 64    // rows that are drawn below the frame that it is about
	flameBars  = 1500  // bars that are drawn
	flameThin  = 0.001 // of the width: what is thinner is left out
	flameNamed = 0.015 // of the width: a bar that is thinner has no name on it
	flameList  = 25    // frames of the table
)

// flameView is merged stacks, drawn from the outermost frame downwards. Each bar
// leads to the same picture of what lies below it; the table says the same.
type flameView struct {
	Bars      []flameBarView
	Height    int
	BarHeight int
	Thin      int // frames that are too thin to be drawn
	Whole     string
	Path      []flameStep // from the outermost frame to the one that it is about
	Widest    []flameRowView
}

type flameBarView struct {
	X, Width, URL, Origin, Text, Title string
	Y                                  int
}

type flameStep struct{ Name, URL string }

type flameRowView struct {
	Origin, URL, Percent string
	Frame                frameLine
	Number, Self         string
}

// flamed draws a flame.
type flamed struct {
	lang  language
	flame *analyse.Flame
	base  string // address of the page
	query url.Values
	view  flameView
	all   int64 // width of what is drawn
}

// drawFlame draws what lies below the frame that at names: the numbers of the
// children on the way to it, with dots between. What at can't mean is the whole.
func drawFlame(l language, f *analyse.Flame, base string, query url.Values, at string) flameView {
	if f == nil || f.Root == nil || f.Root.Total == 0 {
		return flameView{}
	}
	x := &flamed{lang: l, flame: f, base: base, query: query, view: flameView{BarHeight: flameBar}}
	x.view.Whole = x.address("")
	node, path := x.way(at)
	x.all = node.Total
	x.bars(node, path, 0, 0)
	for _, b := range x.view.Bars {
		x.view.Height = max(x.view.Height, b.Y+flameRow)
	}
	x.widest(node, path)
	return x.view
}

func (x *flamed) address(at string) string {
	q := url.Values{}
	maps.Copy(q, x.query)
	if at != "" {
		q.Set("at", at)
	}
	return withQuery(x.base, q) + "#flame"
}

// way goes to the frame that at names, and keeps the frames on the way.
func (x *flamed) way(at string) (node *analyse.FlameNode, path string) {
	node = x.flame.Root
	for step := range strings.SplitSeq(at, ".") {
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(node.Children) {
			break
		}
		node = node.Children[i]
		path = below(path, i)
		x.view.Path = append(x.view.Path, flameStep{Name: shortName(node.Name), URL: x.address(path)})
	}
	if n := len(x.view.Path); n > 0 {
		x.view.Path[n-1].URL = ""
	}
	return node, path
}

func below(path string, child int) string {
	if path == "" {
		return strconv.Itoa(child)
	}
	return path + "." + strconv.Itoa(child)
}

// bars lays a frame and all below it, from a place of the width on.
func (x *flamed) bars(node *analyse.FlameNode, path string, from int64, row int) {
	if node.Name != "" {
		if len(x.view.Bars) == flameBars || row == flameDepth {
			x.view.Thin++
			return
		}
		x.view.Bars = append(x.view.Bars, x.bar(node, path, from, row))
		row++
	}
	for i, child := range node.Children {
		if float64(child.Total) < flameThin*float64(x.all) {
			x.view.Thin++
		} else {
			x.bars(child, below(path, i), from, row)
		}
		from += child.Total
	}
}

func (x *flamed) bar(node *analyse.FlameNode, path string, from int64, row int) flameBarView {
	b := flameBarView{
		X: share(from, x.all), Width: share(node.Total, x.all), Y: row * flameRow, Origin: originClass(node.Origin), URL: x.address(path),
		Title: restart.Escape(shorten(node.Name, maxFrameRow)) + ": " + x.amount(node.Total) + ", " + percentOf(int(node.Total), int(x.flame.Root.Total)),
	}
	if float64(node.Total) >= flameNamed*float64(x.all) {
		b.Text = shortName(node.Name)
	}
	return b
}

// amount says a width: threads, or time.
func (x *flamed) amount(n int64) string {
	if x.flame.Weight == analyse.ByCPU {
		return took(x.lang, time.Duration(n))
	}
	return count(x.lang, "dump.nthreads", int(n))
}

// widest lists the frames that say something: those of one's own code, and
// those where stacks part or end. What is called twice in one stack counts once.
func (x *flamed) widest(node *analyse.FlameNode, path string) {
	type line struct {
		node        *analyse.FlameNode
		path        string
		total, self int64
	}
	lines := map[string]*line{}
	var names []string
	var walk func(n *analyse.FlameNode, path string, above []string)
	walk = func(n *analyse.FlameNode, path string, above []string) {
		passes := len(n.Children) == 1 && n.Children[0].Total == n.Total
		if n.Name != "" && (n.Origin == analyse.FromOwn || !passes) {
			l := lines[n.Name]
			if l == nil {
				l = &line{node: n, path: path}
				lines[n.Name] = l
				names = append(names, n.Name)
			}
			if l.self += n.Self; !slices.Contains(above, n.Name) {
				l.total += n.Total
			}
			above = append(above, n.Name)
		}
		for i, child := range n.Children {
			walk(child, below(path, i), slices.Clip(above))
		}
	}
	walk(node, path, nil)
	rank := map[analyse.Origin]int{analyse.FromOwn: 0, analyse.FromLibrary: 1}
	slices.SortStableFunc(names, func(a, b string) int {
		first, second := lines[a], lines[b]
		rankOf := func(l *line) int {
			if r, ok := rank[l.node.Origin]; ok {
				return r
			}
			return len(rank)
		}
		return cmp.Or(cmp.Compare(second.total, first.total), cmp.Compare(rankOf(first), rankOf(second)), cmp.Compare(a, b))
	})
	for _, name := range names[:min(len(names), flameList)] {
		l := lines[name]
		row := flameRowView{
			Origin: originClass(l.node.Origin), URL: x.address(l.path), Percent: percentOf(int(l.total), int(x.flame.Root.Total)),
			Number: x.figure(l.total), Self: x.figure(l.self),
		}
		row.Frame.Qualifier, row.Frame.Call = splitName(name)
		x.view.Widest = append(x.view.Widest, row)
	}
}

func (x *flamed) figure(n int64) string {
	if x.flame.Weight == analyse.ByCPU {
		return took(x.lang, time.Duration(n))
	}
	return strconv.FormatInt(n, 10)
}

// originClass names whose code a frame is, for its colour.
func originClass(o analyse.Origin) string {
	switch o {
	case analyse.FromOwn, analyse.FromLibrary, analyse.FromRuntime:
		return "o-" + string(o)
	}
	return "o-pool"
}

// splitName is splitFunction, harmless to be shown.
func splitName(name string) (qualifier, call string) {
	qualifier, call = splitFunction(shorten(name, maxFrameRow))
	return restart.Escape(qualifier), restart.Escape(call)
}

// shortName gives what people call a frame.
func shortName(name string) string {
	_, call := splitName(name)
	return call
}

// share gives a part of a whole in per cent, for the geometry of a picture.
func share[T int | int64](part, all T) string {
	if all == 0 {
		return "0%"
	}
	return fmt.Sprintf("%.3f%%", 100*float64(part)/float64(all))
}

// dumpFlamePage is the stacks of one dump, merged.
type dumpFlamePage struct {
	layout
	Head    dumpHead
	Flame   flameView
	Choices []tabLine // with those that wait for work, or without
}

func (s *site) showFlame(w http.ResponseWriter, v *visit) error {
	x, err := s.lookAt(v, tabFlame)
	if err != nil {
		return err
	}
	defer x.view.Close()
	q := v.URL.Query()
	all := q.Get("threads") == "all"
	page := dumpFlamePage{layout: s.layout(v, say(v.lang, "flame.title")+" · "+x.head.Title), Head: x.head}
	base := "/dumps/" + x.id + "/flame"
	kept := url.Values{}
	if x.inFile > 1 {
		kept.Set("dump", strconv.Itoa(x.inFile))
	}
	page.Choices = []tabLine{{Name: say(v.lang, "flame.busy"), URL: withQuery(base, kept), Here: !all}}
	everything := maps.Clone(kept)
	everything.Set("threads", "all")
	page.Choices = append(page.Choices, tabLine{Name: say(v.lang, "flame.all"), URL: withQuery(base, everything), Here: all})
	if all {
		kept = everything
	}
	flame := analyse.FlameOf([]*dump.Dump{x.dump}, analyse.FlameOptions{Busy: !all})
	page.Flame = drawFlame(v.lang, flame, base, kept, q.Get("at"))
	x.view.Close()
	return s.show(w, v, http.StatusOK, pageDumpFlame, page)
}
