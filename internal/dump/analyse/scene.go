package analyse

import (
	"cmp"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// seen is one thread as it was looked at.
type seen struct {
	*dump.Thread

	stack  *stack
	does   Doing
	idle   bool
	number int // threads that it stands for
}

func (t *seen) ref() ThreadRef { return ThreadRef{ID: t.ID, Name: t.Name} }

// scene is one dump as it was looked at. Its threads are in the order of their
// IDs, so that nothing depends on their order in the dump.
type scene struct {
	dump    *dump.Dump
	threads []*seen
	byID    map[string]*seen // the first of each
	total   int
	locks   *lockTable
}

func (l *Lens) scene(d *dump.Dump) *scene {
	s := &scene{dump: d, threads: make([]*seen, len(d.Threads)), byID: make(map[string]*seen, len(d.Threads))}
	all := make([]seen, len(d.Threads))
	for i := range d.Threads {
		t := &d.Threads[i]
		st := l.stackOf(t.Stack)
		all[i] = seen{Thread: t, stack: st, does: doingOf(t, st), number: t.Number()}
		all[i].idle = isIdle(t, all[i].does)
		s.threads[i] = &all[i]
		s.total += all[i].number
	}
	slices.SortStableFunc(s.threads, func(a, b *seen) int {
		return cmp.Or(compareIDs(a.ID, b.ID), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Native, b.Native), cmp.Compare(a.State, b.State), cmp.Compare(a.stack.key(), b.stack.key()))
	})
	for _, t := range s.threads {
		if _, twice := s.byID[t.ID]; !twice {
			s.byID[t.ID] = t
		}
	}
	s.locks = newLockTable(s)
	return s
}

// service gives the threads that are not the runtime's own.
func (s *scene) service() []*seen {
	return slices.DeleteFunc(slices.Clone(s.threads), func(t *seen) bool { return t.Internal })
}

// compareIDs puts numbers in their order, before what is none.
func compareIDs(a, b string) int {
	if isNumber(a) && isNumber(b) {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	}
	if isNumber(a) != isNumber(b) {
		if isNumber(a) {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// count adds up how many threads some stand for.
func count(threads []*seen) int {
	n := 0
	for _, t := range threads {
		n += t.number
	}
	return n
}

// idsOf lists the IDs of threads, at most limit; 0 = all.
func idsOf(threads []*seen, limit int) []string {
	if limit > 0 && len(threads) > limit {
		threads = threads[:limit]
	}
	ids := make([]string, len(threads))
	for i, t := range threads {
		ids[i] = t.ID
	}
	return ids
}

// most gives the doing that most of the threads share, and how many those are:
// by kind and frame. Of equals the first by name.
func most(threads []*seen) (Doing, int) {
	type spot struct {
		kind  DoingKind
		frame string
	}
	counts, example := map[spot]int{}, map[spot]Doing{}
	for _, t := range threads {
		at := spot{t.does.Kind, t.does.Frame}
		counts[at] += t.number
		if d, ok := example[at]; !ok || cmp.Or(cmp.Compare(t.does.Peer, d.Peer), cmp.Compare(t.does.Own, d.Own)) < 0 {
			example[at] = t.does
		}
	}
	best, at := 0, spot{}
	for s, n := range counts {
		if n > best || n == best && cmp.Or(falseFirst(s.frame == "", at.frame == ""), strings.Compare(s.frame, at.frame), cmp.Compare(s.kind, at.kind)) < 0 {
			best, at = n, s
		}
	}
	if best == 0 {
		return Doing{Kind: NotTold}, 0
	}
	return example[at], best
}

// groups puts threads with the same stack together: busy ones first, then by size.
func (l *Lens) groups(s *scene) []StackGroup {
	byStack := map[string][]*seen{}
	var order []string
	for _, t := range s.threads {
		key := t.stack.key()
		if _, known := byStack[key]; !known {
			order = append(order, key)
		}
		byStack[key] = append(byStack[key], t)
	}
	groups := make([]StackGroup, 0, len(order))
	for _, key := range order {
		groups = append(groups, l.group(key, byStack[key]))
	}
	slices.SortFunc(groups, func(a, b StackGroup) int {
		return cmp.Or(falseFirst(a.Idle, b.Idle), cmp.Compare(b.Threads, a.Threads), strings.Compare(a.Key, b.Key))
	})
	return groups
}

func (l *Lens) group(key string, threads []*seen) StackGroup {
	g := StackGroup{Key: key, Threads: count(threads), States: map[dump.State]int{}, Idle: true, Internal: true, Stack: l.frames(threads[0].Stack), IDs: idsOf(threads, 0)}
	for _, t := range threads {
		g.States[t.State] += t.number
		g.Idle = g.Idle && t.idle
		g.Internal = g.Internal && t.Internal
	}
	g.Does, _ = most(threads)
	return g
}

// falseFirst orders what is false before what is true.
func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
