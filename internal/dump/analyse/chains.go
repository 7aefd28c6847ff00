package analyse

import (
	"cmp"
	"slices"
	"strings"
)

// crowd gives how many threads wait for a lock, directly or not.
func (table *lockTable) crowd(l *lock) int {
	n := 0
	for _, t := range l.waiters {
		if table.circle[t] == 0 {
			n += t.number + table.subs[t]
		}
	}
	return n
}

// owned lists the locks that others wait for by their holder, the most crowded first.
func (table *lockTable) owned() map[*seen][]*lock {
	owned := map[*seen][]*lock{}
	for _, l := range table.order {
		if l.owner != nil {
			owned[l.owner] = append(owned[l.owner], l)
		}
	}
	for _, locks := range owned {
		slices.SortStableFunc(locks, func(a, b *lock) int { return cmp.Compare(table.crowd(b), table.crowd(a)) })
	}
	return owned
}

// chains gives the queues, one for each thread at whose end one stands, and one
// for each lock whose holder is not told. Those of deadlocks are not among them.
func (table *lockTable) chains() []Chain {
	owned := table.owned()
	var chains []Chain
	for _, l := range table.order {
		switch {
		case l.owner == nil:
			c := Chain{Does: Doing{Kind: NotTold}}
			table.follow(&c, owned, l)
			chains = append(chains, c)
		case owned[l.owner][0] == l && table.next(l.owner) == nil:
			root := l.owner.ref()
			c := Chain{Root: &root, Does: l.owner.does}
			table.follow(&c, owned, owned[l.owner]...)
			chains = append(chains, c)
		}
	}
	slices.SortFunc(chains, func(a, b Chain) int {
		la, lb := a.Links[len(a.Links)-1], b.Links[len(b.Links)-1]
		return cmp.Or(cmp.Compare(b.Threads, a.Threads), cmp.Compare(b.Depth, a.Depth), strings.Compare(la.Lock.ID, lb.Lock.ID))
	})
	return chains
}

// follow fills a chain from the locks of its end outwards. All who wait count;
// the links are those of the most crowded way.
func (table *lockTable) follow(c *Chain, owned map[*seen][]*lock, ends ...*lock) {
	var waiting []*seen
	for todo := slices.Clone(ends); len(todo) > 0; todo = todo[1:] {
		waiting = append(waiting, todo[0].waiters...)
		for _, t := range todo[0].waiters {
			todo = append(todo, owned[t]...)
		}
	}
	slices.SortStableFunc(waiting, func(a, b *seen) int { return cmp.Or(compareIDs(a.ID, b.ID), cmp.Compare(a.Name, b.Name)) })
	c.Threads, c.IDs = count(waiting), idsOf(waiting, MaxIDs)
	for l := ends[0]; l != nil; {
		c.Links = append(c.Links, linkOf(l))
		busiest := slices.MaxFunc(l.waiters, func(a, b *seen) int { return cmp.Compare(table.subs[a], table.subs[b]) })
		l = nil
		if locks := owned[busiest]; len(locks) > 0 {
			l = locks[0]
		}
	}
	slices.Reverse(c.Links)
	c.Depth = len(c.Links)
}

func linkOf(l *lock) Link {
	link := Link{Lock: l.LockRef, Waiting: count(l.waiters)}
	if l.owner != nil {
		owner := l.owner.ref()
		link.Owner, link.Frame, link.Own = &owner, l.owner.does.Frame, l.owner.does.Own
	}
	return link
}

// maxNodes bounds a lock graph: more can't be drawn so that a person sees anything.
const maxNodes = 80

// drawing is a lock graph in the making.
type drawing struct {
	table *lockTable
	owned map[*seen][]*lock
	graph LockGraph
	known map[string]bool
	waits int // threads drawn that wait
}

// graph draws the deadlocks and the most crowded queues.
func (table *lockTable) graph(s *scene) LockGraph {
	d := &drawing{table: table, owned: table.owned(), known: map[string]bool{}}
	ends := slices.Clone(table.order)
	slices.SortStableFunc(ends, func(a, b *lock) int {
		return cmp.Or(cmp.Compare(min(1, table.circleOf(b)), min(1, table.circleOf(a))), cmp.Compare(table.crowd(b), table.crowd(a)))
	})
	for _, l := range ends {
		switch {
		case l.owner == nil:
			d.lock(l)
		case table.circleOf(l) != 0 || table.next(l.owner) == nil:
			d.thread(l.owner)
		}
	}
	all := 0
	for _, t := range s.threads {
		if table.wants[t] != nil {
			all += t.number
		}
	}
	d.graph.Left = all - d.waits
	return d.graph
}

// circleOf gives the number of the circle whose part a lock is; 0 = none.
func (table *lockTable) circleOf(l *lock) int {
	if l.owner == nil {
		return 0
	}
	return table.circle[l.owner]
}

func (d *drawing) full() bool { return len(d.graph.Nodes) >= maxNodes }

// thread draws a thread with all that it holds, and gives its node.
func (d *drawing) thread(t *seen) (string, bool) {
	id := "thread " + t.ID
	if d.known[id] {
		return id, true
	}
	if d.full() {
		return "", false
	}
	d.known[id] = true
	does := t.does
	d.graph.Nodes = append(d.graph.Nodes, LockNode{ID: id, Kind: ThreadNode, Name: t.Name, Thread: t.ID, Threads: t.number, Does: &does, Deadlock: d.table.circle[t] != 0})
	for _, l := range d.owned[t] {
		if to, drawn := d.lock(l); drawn {
			dead := d.table.circle[t] != 0 && slices.ContainsFunc(l.waiters, func(w *seen) bool { return d.table.circle[w] != 0 })
			d.graph.Edges = append(d.graph.Edges, LockEdge{From: id, To: to, Kind: HoldsEdge, Threads: t.number, Deadlock: dead})
		}
	}
	return id, true
}

// lock draws a lock with all who wait for it: those that others wait for one by
// one, the rest as a crowd.
func (d *drawing) lock(l *lock) (string, bool) {
	id := "lock " + l.ID
	if d.known[id] {
		return id, true
	}
	if d.full() {
		return "", false
	}
	d.known[id] = true
	at := len(d.graph.Nodes)
	d.graph.Nodes = append(d.graph.Nodes, LockNode{ID: id, Kind: LockedNode, Name: cmp.Or(l.Class, l.ID)})
	var crowd []*seen
	for _, t := range l.waiters {
		if len(d.owned[t]) == 0 {
			crowd = append(crowd, t)
			continue
		}
		if from, drawn := d.thread(t); drawn {
			dead := d.table.circle[t] != 0
			d.graph.Nodes[at].Deadlock = d.graph.Nodes[at].Deadlock || dead
			d.edge(LockEdge{From: from, To: id, Kind: WaitsEdge, Threads: t.number, Deadlock: dead})
		}
	}
	if len(crowd) == 1 {
		if from, drawn := d.thread(crowd[0]); drawn {
			d.edge(LockEdge{From: from, To: id, Kind: WaitsEdge, Threads: crowd[0].number})
		}
	} else if len(crowd) > 1 && !d.full() {
		does, _ := most(crowd)
		node := LockNode{ID: "waiters " + l.ID, Kind: WaitersNode, Name: crowd[0].Name, Thread: crowd[0].ID, Threads: count(crowd), Does: &does}
		d.graph.Nodes = append(d.graph.Nodes, node)
		d.edge(LockEdge{From: node.ID, To: id, Kind: WaitsEdge, Threads: node.Threads})
	}
	return id, true
}

func (d *drawing) edge(e LockEdge) {
	d.waits += e.Threads
	d.graph.Edges = append(d.graph.Edges, e)
}
