package analyse

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// Series says what the dumps of one process say: one of them, or several in
// the order in which they were taken.
func Series(dumps []*dump.Dump, o Options) *Report {
	return newSeries(NewLens(o), dumps).report()
}

// series is the dumps of one process as they were looked at.
type series struct {
	lens    *Lens
	dumps   []*dump.Dump
	at      int      // of the picture in dumps; -1 = none has threads
	picture *scene   // the latest whole dump, with the virtual threads that another form of dump told of
	scenes  []*scene // those of the same form, in order; the picture among them
}

func newSeries(l *Lens, dumps []*dump.Dump) *series {
	s := &series{lens: l, dumps: slices.DeleteFunc(slices.Clone(dumps), func(d *dump.Dump) bool { return d == nil })}
	s.at = pictureOf(s.dumps)
	if s.at < 0 {
		s.picture = l.scene(&dump.Dump{})
		return s
	}
	main := s.dumps[s.at]
	for i, d := range s.dumps {
		switch {
		case i == s.at:
			s.picture = l.scene(withVirtual(main, s.dumps))
			s.scenes = append(s.scenes, s.picture)
		case d.Format == main.Format && d.Cut == "" && len(d.Threads) > 0:
			s.scenes = append(s.scenes, l.scene(d))
		}
	}
	return s
}

// Picture gives the one dump that shows what dumps of one process tell of its
// threads: the latest that is whole and knows states and locks, with the virtual
// threads that stand in another form of dump. Where none has threads it is the
// last; nil = there is no dump.
func Picture(dumps []*dump.Dump) *dump.Dump {
	if at := pictureOf(dumps); at >= 0 {
		return withVirtual(dumps[at], dumps)
	}
	if len(dumps) == 0 {
		return nil
	}
	return dumps[len(dumps)-1]
}

// pictureOf picks the dump that is told of: the latest that is whole, and of a
// JVM the text, which knows states and locks, before the form that does not.
func pictureOf(dumps []*dump.Dump) int {
	best, rank := -1, 0
	for i, d := range dumps {
		r := 0
		if len(d.Threads) > 0 {
			r = 1
			if d.Format != dump.HotSpotJSON {
				r += 2
			}
			if d.Cut == "" {
				r += 4
			}
		}
		if r > 0 && r >= rank {
			best, rank = i, r
		}
	}
	return best
}

// withVirtual adds to a JVM's text the virtual threads that stand only in the
// other form of dump, of the latest of those.
func withVirtual(main *dump.Dump, dumps []*dump.Dump) *dump.Dump {
	if main.Format != dump.HotSpot {
		return main
	}
	for _, d := range slices.Backward(dumps) {
		if d.Format != dump.HotSpotJSON {
			continue
		}
		known := make(map[string]bool, len(main.Threads))
		for i := range main.Threads {
			known[main.Threads[i].ID] = true
		}
		both := *main
		both.Threads = slices.Clone(main.Threads)
		for _, t := range d.Threads {
			if t.Virtual && !known[t.ID] {
				both.Threads = append(both.Threads, t)
			}
		}
		return &both
	}
	return main
}

func (s *series) report() *Report {
	p := s.picture
	r := &Report{
		Runtime: p.dump.Runtime, Program: p.dump.Program, Picture: max(s.at, 0), Span: s.span(), Threads: p.total,
		States: map[dump.State]int{}, Dumps: []Look{},
	}
	for _, d := range s.dumps {
		look := Look{Taken: d.Taken, Format: d.Format, Cut: d.Cut}
		for i := range d.Threads {
			look.Threads += d.Threads[i].Number()
		}
		r.Dumps = append(r.Dumps, look)
	}
	for _, t := range p.threads {
		r.States[t.State] += t.number
		switch {
		case t.Internal:
			r.Internal += t.number
		case t.idle:
			r.Idle += t.number
		}
		if t.Virtual {
			r.Virtual += t.number
		}
	}
	r.Groups = s.lens.groups(p)
	r.Deadlocks = p.locks.deadlocks(p)
	r.Chains = p.locks.chains()
	r.Pools = pools(p, s.scenes)
	r.Stuck = s.stuck()
	r.Hot = s.hot()
	r.Sites = s.sites()
	r.Locks = p.locks.graph(p)
	r.Findings = s.judge(r)
	return r
}

// span is the time from the first scene to the last; 0 = not known.
func (s *series) span() time.Duration {
	if len(s.scenes) < 2 {
		return 0
	}
	first, last := s.scenes[0].dump.Taken, s.scenes[len(s.scenes)-1].dump.Taken
	if first.IsZero() || last.IsZero() {
		return 0
	}
	return max(last.Sub(first), 0)
}

// through calls visit with each thread of the picture that is in all scenes,
// and with what it was in each of them.
func (s *series) through(visit func(t *seen, all []*seen)) {
	if len(s.scenes) < 2 {
		return
	}
	all := make([]*seen, len(s.scenes))
	for _, t := range s.picture.threads {
		if s.picture.byID[t.ID] != t {
			continue
		}
		there := true
		for i, scene := range s.scenes {
			all[i] = scene.byID[t.ID]
			if all[i] == nil || all[i].Name != t.Name {
				there = false
				break
			}
		}
		if there {
			visit(t, all)
		}
	}
}

// samePlace tells whether a thread stood at the same frame of the service and of
// a library in all of its looks, and was never idle.
func samePlace(all []*seen) bool {
	first := all[0]
	return first.stack.block != nil && first.stack.block.origin != FromRuntime && !slices.ContainsFunc(all, func(t *seen) bool {
		return t.idle || t.stack.block != first.stack.block || t.stack.own != first.stack.own
	})
}

// stuck lists the threads that did not move. A thread that no pool owns may wait
// for as long as it likes, as the main thread does, unless it waits for something
// that should answer.
func (s *series) stuck() []Stuck {
	byPlace := map[Doing][]*seen{}
	s.through(func(t *seen, all []*seen) {
		if !samePlace(all) || slices.ContainsFunc(all, func(o *seen) bool { return o.does.Kind != t.does.Kind }) {
			return
		}
		if shouldAnswer(t.does.Kind) || poolOf(t.Thread) != "" && t.does.Kind != Sleeps && t.does.Kind != NotTold {
			byPlace[t.does] = append(byPlace[t.does], t)
		}
	})
	var found []Stuck
	for does, threads := range byPlace {
		found = append(found, Stuck{Key: threads[0].stack.key(), Threads: count(threads), Does: does, Dumps: len(s.scenes), Span: s.span(), IDs: idsOf(threads, 0)})
	}
	slices.SortFunc(found, func(a, b Stuck) int {
		return cmp.Or(cmp.Compare(b.Threads, a.Threads), strings.Compare(a.Does.Frame, b.Does.Frame), compareIDs(a.IDs[0], b.IDs[0]))
	})
	return found
}

// shouldAnswer tells whether a thread does something that is over soon in a
// process that is well.
func shouldAnswer(k DoingKind) bool {
	switch k {
	case OnCPU, SocketRead, SocketWrite, Connects, Resolves, File, WaitsLock, Borrows:
		return true
	default:
		return false
	}
}

// maxHot bounds Report.Hot; minHot is the part of a core from which a thread is
// in it, in percent.
const (
	maxHot = 50
	minHot = 1
)

// hot lists who used processors between the first scene and the last.
func (s *series) hot() []Hot {
	var found []Hot
	s.through(func(t *seen, all []*seen) {
		first, last := all[0], all[len(all)-1]
		span := s.span()
		if span == 0 {
			span = last.Elapsed - first.Elapsed
		}
		used := last.CPU - first.CPU
		if first.CPU < 0 || span <= 0 || used <= 0 || first.Native != last.Native {
			return
		}
		percent := 100 * float64(used) / float64(span)
		if percent >= minHot {
			found = append(found, Hot{ThreadRef: t.ref(), Internal: t.Internal, CPU: used, Percent: percent, Does: t.does, Same: samePlace(all)})
		}
	})
	slices.SortStableFunc(found, func(a, b Hot) int { return cmp.Or(cmp.Compare(b.CPU, a.CPU), compareIDs(a.ID, b.ID)) })
	return found[:min(len(found), maxHot)]
}

// knowsCPU tells whether the dumps say how much threads used.
func (s *series) knowsCPU() bool {
	return len(s.scenes) > 1 && slices.ContainsFunc(s.picture.threads, func(t *seen) bool { return t.CPU > 0 })
}

// sites says where the goroutines of the picture were created.
func (s *series) sites() []Site {
	if s.picture.dump.Runtime != dump.Go {
		return nil
	}
	now, before := bySite(s.picture), map[string][]*seen{}
	if first := s.scenes[0]; first != s.picture {
		before = bySite(first)
	}
	found := make([]Site, 0, len(now))
	for frame, threads := range now {
		site := Site{Frame: frame, Threads: count(threads), IDs: idsOf(threads, MaxIDs)}
		if c := threads[0].CreatedBy; c != nil {
			site.File, site.Line = c.File, c.Line
		}
		site.Does, site.At = most(threads)
		for _, t := range threads {
			site.Longest = max(site.Longest, t.Since)
		}
		if len(s.scenes) > 1 {
			site.Grown = site.Threads - count(before[frame])
		}
		found = append(found, site)
	}
	slices.SortFunc(found, func(a, b Site) int {
		return cmp.Or(cmp.Compare(b.Threads, a.Threads), strings.Compare(a.Frame, b.Frame))
	})
	return found
}

// bySite puts goroutines together that the same function created. What no
// goroutine created stands under its own outermost function.
func bySite(s *scene) map[string][]*seen {
	sites := map[string][]*seen{}
	for _, t := range s.threads {
		name := ""
		if t.CreatedBy != nil {
			name = NameOf(*t.CreatedBy)
		} else if n := len(t.stack.places); n > 0 {
			name = t.stack.places[n-1].name
		}
		sites[name] = append(sites[name], t)
	}
	return sites
}
