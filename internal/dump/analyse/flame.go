package analyse

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// Weight says what the width of a flame is.
type Weight string

// The weights.
const (
	ByThread Weight = "threads" // each thread of each dump counts one
	ByCPU    Weight = "cpu"     // ns that threads used, up to the last dump that has them; each dump's part lies where the thread was then
)

// FlameOptions says what is merged, and how.
type FlameOptions struct {
	Options

	Weight Weight // "" = ByThread
	Busy   bool   // leave out idle threads and the runtime's own
	Pools  bool   // put the name of the pool, or of the thread, below the outermost frame
}

// Flame is the stacks of many threads, merged from the outermost frame.
type Flame struct {
	Weight Weight     `json:"weight"`
	Dumps  int        `json:"dumps"`
	Depth  int        `json:"depth"` // frames of the deepest stack
	Root   *FlameNode `json:"root"`  // stands for all; its Name is ""
}

// FlameNode is a frame with all that was called from there.
type FlameNode struct {
	Name     string       `json:"name"`
	File     string       `json:"file,omitempty"`
	Origin   Origin       `json:"origin,omitempty"` // "" = no frame: the root, a pool, or frames left out
	Total    int64        `json:"total"`            // threads, or ns
	Self     int64        `json:"self,omitempty"`   // of it not in Children
	Children []*FlameNode `json:"children,omitempty"`
}

// MaxFlame bounds the depth of a flame: of a longer stack the innermost frames
// are one, named "…".
const MaxFlame = 1000

// FlameOf merges the stacks of dumps. The Total of its root is the number of
// threads of all of them, or the time that they used.
func FlameOf(dumps []*dump.Dump, o FlameOptions) *Flame {
	return newFlame(NewLens(o.Options), looks(dumps), o)
}

// looks gives the dumps as looks at the process: what one capture wrote in two
// forms, a JVM's text and the form that has its virtual threads, is one.
func looks(dumps []*dump.Dump) []*dump.Dump {
	var all []*dump.Dump
	for _, d := range dumps {
		if d == nil {
			continue
		}
		text := -1
		for i, o := range all {
			if d.Format == dump.HotSpotJSON && o.Format == dump.HotSpot && o.Header == d.Header {
				text = i
			}
		}
		if text < 0 {
			all = append(all, d)
			continue
		}
		all[text] = withVirtual(all[text], []*dump.Dump{d})
	}
	return all
}

func newFlame(l *Lens, dumps []*dump.Dump, o FlameOptions) *Flame {
	f := &Flame{Weight: cmp.Or(o.Weight, ByThread), Root: &FlameNode{}}
	g := &growing{Flame: f, lens: l, o: o, children: map[childKey]*FlameNode{}}
	used := map[usedKey]time.Duration{}
	for _, d := range dumps {
		f.Dumps++
		for i := range d.Threads {
			t := &d.Threads[i]
			g.add(t, g.weigh(d, t, used))
		}
	}
	sortFlame(f.Root)
	return f
}

// growing is a flame in the making.
type growing struct {
	*Flame

	lens     *Lens
	o        FlameOptions
	children map[childKey]*FlameNode
}

type childKey struct {
	parent *FlameNode
	name   string
	file   string
}

// usedKey is one thread through a series; a Header tells processes apart.
type usedKey struct {
	host string
	pid  int
	id   string
}

// weigh gives what a thread counts: one, or what it used since it was last seen.
func (g *growing) weigh(d *dump.Dump, t *dump.Thread, used map[usedKey]time.Duration) int64 {
	if g.Weight == ByThread {
		return int64(t.Number())
	}
	key := usedKey{id: t.ID}
	if d.Header != nil {
		key.host, key.pid = d.Header.Host, d.Header.PID
	}
	before := used[key]
	if t.CPU <= before {
		return 0
	}
	used[key] = t.CPU
	return int64(t.CPU - before)
}

func (g *growing) add(t *dump.Thread, weight int64) {
	if weight <= 0 {
		return
	}
	s := g.lens.stackOf(t.Stack)
	if g.o.Busy && (t.Internal || isIdle(t, doingOf(t, s))) {
		return
	}
	node := g.Root
	node.Total += weight
	if g.o.Pools {
		name := poolOf(t)
		if name == "" {
			name = t.Name
		}
		node = g.child(node, &place{name: name}, "", weight)
	}
	for i, p := range slices.Backward(s.places) {
		if len(s.places)-i > MaxFlame {
			node = g.child(node, &place{name: "…"}, "", weight)
			break
		}
		node = g.child(node, p, t.Stack[i].File, weight)
	}
	node.Self += weight
	g.Depth = max(g.Depth, min(len(s.places), MaxFlame+1))
}

func (g *growing) child(parent *FlameNode, p *place, file string, weight int64) *FlameNode {
	key := childKey{parent, p.name, file}
	node, known := g.children[key]
	if !known {
		node = &FlameNode{Name: p.name, File: file, Origin: p.origin}
		g.children[key] = node
		parent.Children = append(parent.Children, node)
	}
	node.Total += weight
	return node
}

// sortFlame puts children in the order of their names, so that two flames of
// one service look alike.
func sortFlame(n *FlameNode) {
	slices.SortFunc(n.Children, func(a, b *FlameNode) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.File, b.File))
	})
	for _, c := range n.Children {
		sortFlame(c)
	}
}

// walk visits each place where stacks end, with the way there from the root.
func (n *FlameNode) walk(way []*FlameNode, visit func(way []*FlameNode, weight int64) error) error {
	if n.Self > 0 {
		if err := visit(way, n.Self); err != nil {
			return err
		}
	}
	for _, c := range n.Children {
		if err := c.walk(append(way, c), visit); err != nil {
			return err
		}
	}
	return nil
}
