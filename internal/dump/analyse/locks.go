package analyse

import (
	"cmp"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// lockTable knows who holds and who waits for what, in one dump. It knows only
// locks with an ID, or whose holder the runtime tells: others can't be told apart.
type lockTable struct {
	locks  map[string]*lock // by ID
	order  []*lock          // by ID
	wants  map[*seen]*lock
	subs   map[*seen]int // threads that wait for one, directly or not: see weigh
	circle map[*seen]int // number of the circle that it is part of, from 1
}

type lock struct {
	LockRef

	owner   *seen // nil = nobody, or not told
	waiters []*seen
}

func newLockTable(s *scene) *lockTable {
	table := &lockTable{locks: map[string]*lock{}, wants: map[*seen]*lock{}, circle: map[*seen]int{}, subs: map[*seen]int{}}
	for _, t := range s.threads {
		if t.WaitsFor != nil && isLock(*t.WaitsFor) {
			table.addWaiter(s, t)
		}
	}
	for _, t := range s.threads {
		table.addHeld(t)
	}
	for _, l := range table.locks {
		table.order = append(table.order, l)
	}
	slices.SortFunc(table.order, func(a, b *lock) int { return strings.Compare(a.ID, b.ID) })
	table.findCircles(s)
	table.weigh()
	return table
}

func (table *lockTable) addWaiter(s *scene, t *seen) {
	w := *t.WaitsFor
	owner := s.byID[w.Owner]
	if w.Owner == "" || w.Owner == t.ID { // to wait for oneself is a moment, and no deadlock
		owner = nil
	}
	if w.ID == "" {
		if owner == nil {
			return
		}
		w.ID = "of " + w.Owner + " " + w.Class
	}
	l, known := table.locks[w.ID]
	if !known {
		l = &lock{LockRef: LockRef{ID: w.ID, Class: w.Class, Kind: w.Kind}}
		table.locks[w.ID] = l
	}
	if l.owner == nil {
		l.owner = owner
	}
	l.waiters = append(l.waiters, t)
	table.wants[t] = l
}

// addHeld takes a thread for the holder of what it holds, unless the runtime
// named another. What a thread waits for it does not hold: a monitor that it
// gave back in Object.wait is still marked below in its stack.
func (table *lockTable) addHeld(t *seen) {
	held := func(id string) {
		l := table.locks[id]
		if l == nil || l.owner != nil || t.WaitsFor != nil && t.WaitsFor.ID == id {
			return
		}
		l.owner = t
	}
	for _, h := range t.Holds {
		held(h.ID)
	}
	gone := map[string]bool{}
	for i := range t.Stack {
		for _, m := range t.Stack[i].Locks {
			switch m.Mark {
			case dump.WaitingOn, dump.WaitingToLock, dump.ParkingFor:
				gone[m.Lock.ID] = true
			case dump.Locked:
				if !gone[m.Lock.ID] {
					held(m.Lock.ID)
				}
			case dump.Eliminated:
			}
		}
	}
}

// next gives whom a thread waits for.
func (table *lockTable) next(t *seen) *seen {
	if l := table.wants[t]; l != nil {
		return l.owner
	}
	return nil
}

// findCircles follows each thread once: nobody waits for more than one lock,
// and no lock has more than one holder, so that each way either ends or comes
// back to itself.
func (table *lockTable) findCircles(s *scene) {
	walk, circles := map[*seen]int{}, 0
	for i, start := range s.threads {
		t := start
		for t != nil && walk[t] == 0 {
			walk[t] = i + 1
			t = table.next(t)
		}
		if t == nil || walk[t] != i+1 {
			continue
		}
		circles++
		for at := t; table.circle[at] == 0; at = table.next(at) {
			table.circle[at] = circles
		}
	}
}

// weigh counts for each thread how many wait for it, directly or not. Threads of
// a circle are ends of their own: who waits behind them is counted for the one
// that they wait for.
func (table *lockTable) weigh() {
	children := map[*seen][]*seen{}
	for t := range table.wants {
		if next := table.next(t); next != nil && table.circle[t] == 0 {
			children[next] = append(children[next], t)
		}
	}
	var order []*seen // each before those that wait for it
	for root := range children {
		if table.next(root) == nil || table.circle[root] != 0 {
			order = append(order, root)
		}
	}
	for i := 0; i < len(order); i++ {
		order = append(order, children[order[i]]...)
	}
	for _, t := range slices.Backward(order) {
		for _, c := range children[t] {
			table.subs[t] += c.number + table.subs[c]
		}
	}
}

// deadlocks gives the circles, with those that the runtime reported.
func (table *lockTable) deadlocks(s *scene) []Deadlock {
	members := map[int][]*seen{}
	for t, n := range table.circle {
		members[n] = append(members[n], t)
	}
	var found []Deadlock
	for _, threads := range members {
		found = append(found, table.deadlock(threads))
	}
	slices.SortFunc(found, compareDeadlocks)
	for _, told := range s.dump.Deadlocks {
		found = addTold(found, told, s)
	}
	slices.SortFunc(found, compareDeadlocks)
	return found
}

func compareDeadlocks(a, b Deadlock) int {
	return cmp.Or(cmp.Compare(b.Behind, a.Behind), cmp.Compare(len(b.Members), len(a.Members)), slices.CompareFunc(a.Members, b.Members, func(x, y Member) int {
		return cmp.Or(compareIDs(x.ID, y.ID), strings.Compare(x.Name, y.Name))
	}))
}

// deadlock tells a circle from its first thread by ID.
func (table *lockTable) deadlock(threads []*seen) Deadlock {
	first := slices.MinFunc(threads, func(a, b *seen) int { return cmp.Or(compareIDs(a.ID, b.ID), cmp.Compare(a.Name, b.Name)) })
	d := Deadlock{Found: true}
	for t := first; ; {
		next := table.next(t)
		d.Members = append(d.Members, Member{ThreadRef: t.ref(), Lock: table.wants[t].LockRef, Owner: next.Name, Frame: t.does.Frame, Own: t.does.Own})
		d.Behind += table.subs[t]
		if t = next; t == first {
			return d
		}
	}
}

// addTold marks the circle that the runtime reported as told, or adds it where
// the threads themselves do not show it.
func addTold(found []Deadlock, told dump.Deadlock, s *scene) []Deadlock {
	names := make([]string, len(told.Threads))
	for i, t := range told.Threads {
		names[i] = t.Name
	}
	slices.Sort(names)
	for i := range found {
		have := make([]string, len(found[i].Members))
		for j, m := range found[i].Members {
			have[j] = m.Name
		}
		slices.Sort(have)
		if slices.Equal(names, have) {
			found[i].Told = true
			return found
		}
	}
	d := Deadlock{Told: true}
	for _, t := range told.Threads {
		m := Member{ThreadRef: ThreadRef{Name: t.Name}, Lock: LockRef{ID: t.Lock.ID, Class: t.Lock.Class, Kind: t.Lock.Kind}, Owner: t.Owner}
		if at := slices.IndexFunc(s.threads, func(s *seen) bool { return s.Name == t.Name && s.WaitsFor != nil }); at >= 0 {
			m.ID, m.Frame, m.Own = s.threads[at].ID, s.threads[at].does.Frame, s.threads[at].does.Own
		}
		d.Members = append(d.Members, m)
	}
	if len(d.Members) == 0 {
		return found
	}
	return append(found, d)
}
