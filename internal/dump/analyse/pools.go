package analyse

import (
	"cmp"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// poolOf gives the pool that a thread belongs to: the container that the runtime
// names, else what its name says; "" = none.
func poolOf(t *dump.Thread) string {
	switch {
	case t.Internal:
		return ""
	case t.Pool != "" && !strings.HasPrefix(t.Pool, "<root>"):
		return t.Pool
	}
	return poolOfName(t.Name)
}

// poolOfName takes the number off the end of a name. A name that is given to any
// thread that has none, "Thread-7", says nothing.
func poolOfName(name string) string {
	if _, queue, ok := strings.Cut(name, "ExecuteThread: '"); ok { // WebLogic
		if _, queue, ok = strings.Cut(queue, "' for queue: '"); ok {
			return strings.TrimSuffix(queue, "'")
		}
	}
	prefix := strings.TrimRight(name, "0123456789")
	if prefix == name || prefix == "" {
		return ""
	}
	pool := strings.TrimRight(prefix, "-_#: ")
	if pool == prefix && !strings.HasSuffix(strings.ToLower(pool), "thread") && !strings.HasSuffix(strings.ToLower(pool), "worker") {
		return "" // "utf8", "node1"
	}
	switch strings.ToLower(pool) {
	case "", "thread", "dummy", "virtual", "goroutine":
		return ""
	}
	return pool
}

// minPool is the size from which threads with like names are a pool.
const minPool = 2

// pools gives the pools of the picture. One is exhausted when all its threads
// are busy, in each of the scenes that has it.
func pools(picture *scene, all []*scene) []Pool {
	members := poolMembers(picture)
	var found []Pool
	for name, threads := range members {
		if count(threads) < minPool {
			continue
		}
		p := Pool{Name: name, Threads: count(threads), IDs: idsOf(threads, 0), Virtual: threads[0].Virtual}
		busy := slices.DeleteFunc(slices.Clone(threads), func(t *seen) bool { return t.idle })
		p.Busy = count(busy)
		p.Idle = p.Threads - p.Busy
		p.Exhausted = p.Idle == 0 && !p.Virtual
		p.Does, p.At = most(busy)
		p.Frame = p.Does.Frame
		found = append(found, p)
	}
	for _, s := range all {
		if s == picture || s.dump.Format != picture.dump.Format {
			continue
		}
		others := poolMembers(s)
		for i := range found {
			if slices.ContainsFunc(others[found[i].Name], func(t *seen) bool { return t.idle }) {
				found[i].Exhausted = false
			}
		}
	}
	slices.SortFunc(found, func(a, b Pool) int {
		return cmp.Or(falseFirst(!a.Exhausted, !b.Exhausted), cmp.Compare(b.Threads, a.Threads), strings.Compare(a.Name, b.Name))
	})
	return found
}

// poolMembers leaves out threads without a stack, or with one of machine code
// alone: whether they are idle, nobody can tell. A kernel's dump can't tell at all, and a goroutine has no name.
func poolMembers(s *scene) map[string][]*seen {
	members := map[string][]*seen{}
	if s.dump.Runtime != dump.JVM && s.dump.Runtime != dump.Python {
		return members
	}
	for _, t := range s.threads {
		if name := poolOf(t.Thread); name != "" && !t.stack.isMachine() {
			members[name] = append(members[name], t)
		}
	}
	return members
}
