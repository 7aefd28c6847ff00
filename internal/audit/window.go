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
	hash, prev digest
}

// window remembers the links of the latest records of one source, so many and
// no more: enough to tell a record that came again from one that pretends to.
type window struct {
	size  int
	links map[place]link
	order []place // a ring, once it is full
	next  int     // the oldest in the full ring
	spare *int    // how many links the windows that share it may still take
}

// smallWindow is what each window may have though nothing is spare.
const smallWindow = 256

func newWindow(size int) *window { return newSharedWindow(size, &size) }

// newSharedWindow makes one that grows beyond smallWindow only while links are
// spare.
func newSharedWindow(size int, spare *int) *window {
	return &window{size: size, links: map[place]link{}, spare: spare}
}

func (w *window) get(p place) (link, bool) {
	l, ok := w.links[p]
	return l, ok
}

// add remembers a record.
func (w *window) add(r *Record) {
	w.put(placeOf(r), link{digestOf([]byte(r.Hash)), digestOf([]byte(r.PrevHash))})
}

func (w *window) put(p place, l link) {
	if _, ok := w.links[p]; ok {
		return
	}
	switch {
	case len(w.order) < min(w.size, smallWindow):
		w.order = append(w.order, p)
	case len(w.order) < w.size && *w.spare > 0 && w.next == 0:
		*w.spare--
		w.order = append(w.order, p)
	default:
		delete(w.links, w.order[w.next])
		w.order[w.next] = p
		w.next = (w.next + 1) % len(w.order)
	}
	w.links[p] = l
}
