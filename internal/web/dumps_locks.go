package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// Sizes and bounds of the picture of locks, in pixels.
const (
	lockWide   = 230
	lockHigh   = 44
	lockColumn = 290 // from one column to the next
	lockRow    = 56
	lockNodes  = 120 // nodes that are drawn
	lockRows   = 100 // of the table
)

// dumpLocksPage is who waits for whom: a picture, and the same as a table.
type dumpLocksPage struct {
	layout
	Head          dumpHead
	Width, Height int
	Nodes         []lockNodeView
	Edges         []lockEdgeView
	Rows          []lockRowView
	Undrawn       int // threads that are not in the picture
	Unlisted      int // locks that are not in the table
	Deadlocks     []deadlockView
	Chains        []chainView
}

// lockNodeView is a thread, a crowd of threads, or a lock.
type lockNodeView struct {
	X, Y              int
	Kind              string
	Name, Below, Full string
	URL               string
	Deadlock          bool
}

// lockEdgeView is an arrow: from who waits to the lock, from a lock to who
// holds it.
type lockEdgeView struct {
	Path     string
	Deadlock bool
}

type lockRowView struct {
	Lock      string
	Deadlock  bool
	Holders   []threadLink
	Waiters   []threadLink
	Number    int
	NumberURL string
}

func (s *site) showLocks(w http.ResponseWriter, v *visit) error {
	x, err := s.lookAt(v, tabLocks)
	if err != nil {
		return err
	}
	defer x.view.Close()
	page := dumpLocksPage{layout: s.layout(v, say(v.lang, "locks.title")+" · "+x.head.Title), Head: x.head, Undrawn: x.report.Locks.Left}
	page.draw(x, x.report.Locks)
	page.list(x, x.report.Locks)
	page.Deadlocks, page.Chains = x.deadlocks(), x.chains(lockRows)
	x.view.Close()
	return s.show(w, v, http.StatusOK, pageDumpLocks, page)
}

// lockPlan places the nodes of a graph: what is waited for stands left of what
// waits for it.
type lockPlan struct {
	graph   analyse.LockGraph
	nodes   map[string]int
	right   map[string][]string // of a thread, the locks that it holds; of a lock, who waits for it
	columns map[string]int
	rows    map[string]int
	next    int // first row that is free
}

func planLocks(g analyse.LockGraph) *lockPlan {
	p := &lockPlan{graph: g, nodes: map[string]int{}, right: map[string][]string{}, columns: map[string]int{}, rows: map[string]int{}}
	for i, n := range g.Nodes {
		p.nodes[n.ID] = i
	}
	waits := map[string]bool{}
	for _, e := range g.Edges {
		if e.Kind == analyse.WaitsEdge {
			p.right[e.To] = append(p.right[e.To], e.From)
			waits[e.From] = true
		} else {
			p.right[e.From] = append(p.right[e.From], e.To)
			waits[e.To] = true // a lock that is held hangs on who holds it
		}
	}
	for _, deadlocked := range []bool{false, true} { // first what hangs on nothing, then circles
		for _, n := range g.Nodes {
			if _, placed := p.rows[n.ID]; !placed && (!waits[n.ID] || deadlocked && n.Deadlock && n.Kind != analyse.LockedNode) {
				p.place(n.ID, 0)
			}
		}
	}
	for _, n := range g.Nodes {
		if _, placed := p.rows[n.ID]; !placed {
			p.place(n.ID, 0)
		}
	}
	return p
}

// place gives a node and all that hangs on it their places; the first of those
// stands in the same row.
func (p *lockPlan) place(id string, column int) {
	if _, known := p.nodes[id]; !known || len(p.rows) >= lockNodes {
		return
	}
	p.columns[id], p.rows[id] = column, p.next
	first := true
	for _, child := range p.right[id] {
		if _, placed := p.rows[child]; placed {
			continue
		}
		if !first {
			p.next++
		}
		first = false
		p.place(child, column+1)
	}
	if first {
		p.next = max(p.next, p.rows[id])
	}
	if column == 0 {
		p.next++
	}
}

func (p *dumpLocksPage) draw(x *looked, g analyse.LockGraph) {
	plan := planLocks(g)
	at := func(id string) (left, top int) { return plan.columns[id]*lockColumn + 2, plan.rows[id]*lockRow + 2 }
	for _, n := range g.Nodes {
		if _, placed := plan.rows[n.ID]; !placed {
			p.Undrawn += max(n.Threads, 1)
			continue
		}
		view := lockNodeView{Kind: string(n.Kind), Full: restart.Escape(shorten(n.Name, maxFrameRow)), Deadlock: n.Deadlock, Name: shortLock(n)}
		view.X, view.Y = at(n.ID)
		view.Below, view.URL = x.saidOfNode(n)
		p.Width, p.Height = max(p.Width, view.X+lockWide+4), max(p.Height, view.Y+lockHigh+4)
		p.Nodes = append(p.Nodes, view)
	}
	backs := 0
	for _, e := range g.Edges {
		from, to := e.From, e.To
		if e.Kind == analyse.HoldsEdge { // the arrow goes on from the lock to who holds it
			from, to = to, from
		}
		if _, placed := plan.rows[from]; !placed {
			continue
		}
		if _, placed := plan.rows[to]; !placed {
			continue
		}
		fromX, fromY := at(from)
		toX, toY := at(to)
		if fromX <= toX { // where it goes below
			backs++
		}
		p.Edges = append(p.Edges, lockEdgeView{Path: arrow(fromX, fromY, toX, toY, p.Height+8+10*backs), Deadlock: e.Deadlock})
	}
	slices.SortStableFunc(p.Edges, func(a, b lockEdgeView) int { return boolOf(a.Deadlock) - boolOf(b.Deadlock) }) // what is drawn last lies on top
	if backs > 0 {
		p.Height += 16 + 10*backs
	}
}

// arrow leads from the left side of a node to the right side of another. Back to
// the right, where a circle closes, it goes below all nodes, as deep as bottom.
func arrow(fromX, fromY, toX, toY, bottom int) string {
	n := strconv.Itoa
	if fromX > toX {
		fromY, toY = fromY+lockHigh/2, toY+lockHigh/2
		end := toX + lockWide + 2
		middle := (fromX + end) / 2
		return "M" + n(fromX) + " " + n(fromY) + "C" + n(middle) + " " + n(fromY) + " " + n(middle) + " " + n(toY) + " " + n(end) + " " + n(toY)
	}
	fromX, toX, fromY, toY = fromX+lockWide/2, toX+lockWide/2, fromY+lockHigh, toY+lockHigh+2
	return "M" + n(fromX) + " " + n(fromY) + "V" + n(bottom-10) + "Q" + n(fromX) + " " + n(bottom) + " " + n(fromX+10) + " " + n(bottom) +
		"H" + n(toX-10) + "Q" + n(toX) + " " + n(bottom) + " " + n(toX) + " " + n(bottom-10) + "V" + n(toY)
}

// shortLock gives the name of a node, short enough for its box.
func shortLock(n analyse.LockNode) string {
	if n.Kind == analyse.LockedNode {
		return shorten(restart.Escape(lockClass(n.Name)), 30)
	}
	return shorten(restart.Escape(n.Name), 30)
}

// saidOfNode gives the second line of a node, and where it leads.
func (x *looked) saidOfNode(n analyse.LockNode) (text, address string) {
	switch n.Kind {
	case analyse.LockedNode:
		return say(x.lang, "locks.lock"), ""
	case analyse.WaitersNode:
		return count(x.lang, "locks.wait", n.Threads), x.queue(n.Thread)
	}
	text = say(x.lang, "locks.thread")
	if n.Does != nil {
		text = said.Doing(x.lang, *n.Does)
	}
	return text, x.find(n.Thread, n.Name).URL
}

// queue gives the page of the threads that wait for what one of them waits for.
func (x *looked) queue(thread string) string {
	i, ok := x.byID[thread]
	if !ok || x.dump.Threads[i].WaitsFor == nil || x.dump.Threads[i].WaitsFor.ID == "" {
		return x.find(thread, "").URL
	}
	return x.listed(url.Values{"lock": {x.dump.Threads[i].WaitsFor.ID}})
}

// list says the same as the picture: each lock with who holds it and who waits.
func (p *dumpLocksPage) list(x *looked, g analyse.LockGraph) {
	nodes := map[string]analyse.LockNode{}
	for _, n := range g.Nodes {
		nodes[n.ID] = n
	}
	rows := map[string]*lockRowView{}
	var order []string
	for _, n := range g.Nodes {
		if n.Kind == analyse.LockedNode {
			rows[n.ID] = &lockRowView{Lock: restart.Escape(shorten(n.Name, maxFrameRow)), Deadlock: n.Deadlock}
			order = append(order, n.ID)
		}
	}
	for _, e := range g.Edges {
		row := rows[e.To]
		if row == nil {
			continue
		}
		thread := nodes[e.From]
		link := x.find(thread.Thread, thread.Name)
		if e.Kind == analyse.HoldsEdge {
			row.Holders = append(row.Holders, link)
			continue
		}
		row.Number += max(e.Threads, 1)
		if thread.Kind == analyse.WaitersNode {
			row.NumberURL = x.queue(thread.Thread)
		} else if len(row.Waiters) < maxHolders {
			row.Waiters = append(row.Waiters, link)
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return rows[b].Number - rows[a].Number })
	for i, id := range order {
		if i == lockRows {
			p.Unlisted = len(order) - lockRows
			break
		}
		p.Rows = append(p.Rows, *rows[id])
	}
}
