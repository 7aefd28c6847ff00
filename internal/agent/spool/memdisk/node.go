package memdisk

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// node is a file or a directory, whatever its names.
type node struct {
	inode uint64
	dir   bool
	lock  *lock // the last one taken on it

	// A directory's.
	entries map[string]*node
	durable map[string]*node // as of its last sync
	pending []change         // since then, in order
	removed bool

	// A file's.
	now    content
	synced content
	dirty  bool // now is not what synced is
	doomed bool // a sync has failed: no later one makes it durable
}

// change is one change of a directory: a name is given to a node, or taken (nil).
// A rename is both, and happens at once.
type change struct {
	name  string
	node  *node
	taken string // "" = none
}

// content is what is in a file: data, and zeros up to size. Its data is never
// changed, only replaced, so that it can be shared.
type content struct {
	data   []byte
	size   int64
	blocks int64 // bytes that it has on the disk
}

func (d *Disk) newNode(dir bool) *node {
	d.inodes++
	n := &node{inode: d.inodes, dir: dir}
	if dir {
		n.entries, n.durable = map[string]*node{}, map[string]*node{}
	}
	return n
}

// change changes a directory, not durably.
func (n *node) change(c change) {
	n.pending = append(n.pending, c)
	c.apply(n.entries)
}

func (c change) apply(to map[string]*node) {
	if c.taken != "" {
		delete(to, c.taken)
	}
	switch {
	case c.name == "":
	case c.node == nil:
		delete(to, c.name)
	default:
		to[c.name] = c.node
	}
}

// sync makes a directory's entries durable.
func (n *node) sync() {
	for _, c := range n.pending {
		c.apply(n.durable)
	}
	n.pending = n.pending[:0]
}

// names are sorted, so that everything that goes over them is the same each time.
func (n *node) names() []string { return slices.Sorted(maps.Keys(n.entries)) }

// lose is a power cut of what lies at and below a node; seen are the files that
// have lost already, by another of their names.
func (n *node) lose(rng *rand.Rand, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	n.lock, n.removed = nil, false
	if !n.dir {
		n.loseContent(rng)
		return
	}
	if len(n.pending) > 0 {
		n.pending = n.pending[:rng.IntN(len(n.pending)+1)]
		n.sync()
		n.pending = nil
	}
	n.entries = maps.Clone(n.durable)
	for _, name := range n.names() {
		n.entries[name].lose(rng, seen)
	}
}

func (n *node) loseContent(rng *rand.Rand) {
	if n.dirty {
		switch kept := rng.Int64N(n.now.size + 1); rng.IntN(4) {
		case 0: // all of it is there
		case 1:
			n.now = n.synced
		case 2:
			n.now = torn(n.now, n.synced, kept)
		default:
			n.now = torn(n.now, content{size: n.now.size, blocks: n.now.blocks}, kept)
		}
	}
	n.synced, n.dirty, n.doomed = n.now, false, false
}

// torn gives the first kept bytes of fresh, and the rest of old.
func torn(fresh, old content, kept int64) content {
	p := make([]byte, kept)
	fresh.read(p, 0)
	c := old.write(p, 0)
	c.blocks = max(c.blocks, fresh.blocks)
	return c
}

// write gives the content after a write.
func (c content) write(p []byte, at int64) content {
	end := at + int64(len(p))
	data := make([]byte, max(int64(len(c.data)), end))
	copy(data, c.data)
	copy(data[at:], p)
	return content{data: data, size: max(c.size, end), blocks: max(c.blocks, end)}
}

// truncate gives the content with another size.
func (c content) truncate(size int64) content {
	if int64(len(c.data)) > size {
		c.data = c.data[:size:size]
	}
	c.size = size
	if c.blocks > size {
		c.blocks = size
	}
	return c
}

// read fills p with what begins at an offset within the size, and gives how much that is.
func (c content) read(p []byte, at int64) int {
	p = p[:min(int64(len(p)), c.size-at)]
	clear(p[copy(p, c.data[min(at, int64(len(c.data))):]):])
	return len(p)
}

func (n *node) clone(done map[*node]*node) *node {
	if n == nil {
		return nil
	}
	if c := done[n]; c != nil {
		return c
	}
	c := &node{}
	done[n] = c
	*c = *n
	c.lock = nil
	if !n.dir {
		return c
	}
	c.entries, c.durable = make(map[string]*node, len(n.entries)), make(map[string]*node, len(n.durable))
	for name, below := range n.entries {
		c.entries[name] = below.clone(done)
	}
	for name, below := range n.durable {
		c.durable[name] = below.clone(done)
	}
	c.pending = slices.Clone(n.pending)
	for i := range c.pending {
		c.pending[i].node = c.pending[i].node.clone(done)
	}
	return c
}
