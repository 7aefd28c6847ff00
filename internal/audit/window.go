package audit

// place is where a record stands in its source's chain.
type place struct {
	epoch, seq int64
}

func placeOf(r *Record) place { return place{r.Epoch, r.Seq} }

func (p place) next() place { return place{p.epoch, p.seq + 1} }

func (p place) before(o place) bool {
	return p.epoch < o.epoch || p.epoch == o.epoch && p.seq < o.seq
}

// link is what ties a record to its neighbours.
type link struct {
	hash, prev string
}

// window remembers the links of the latest records of one source, so many and
// no more: enough to tell a record that came again from one that pretends to.
type window struct {
	size  int
	links map[place]link
	order []place // a ring, once it is full
	next  int     // the oldest in the full ring
}

func newWindow(size int) *window { return &window{size: size, links: map[place]link{}} }

func (w *window) get(p place) (link, bool) {
	l, ok := w.links[p]
	return l, ok
}

func (w *window) add(r *Record) {
	p := placeOf(r)
	if _, ok := w.links[p]; ok {
		return
	}
	if len(w.order) < w.size {
		w.order = append(w.order, p)
	} else {
		delete(w.links, w.order[w.next])
		w.order[w.next] = p
		w.next = (w.next + 1) % w.size
	}
	w.links[p] = link{hash: r.Hash, prev: r.PrevHash}
}
