package analyse

import (
	"cmp"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// The bounds from which something is told, and from which it is grave. They are
// told in docs/reference/dumps.md.
const (
	alarmBorrowing = 5      // threads that wait for a connection
	warnBorrowing  = 3      //
	warnQueue      = 2      // threads behind one lock
	alarmQueue     = 10     //
	warnUntold     = 5      // threads behind a lock whose holder is not told
	minExhausted   = 4      // threads of a pool that is told of when all are busy
	alarmExhausted = 50     //
	minSamePlace   = 10     // threads at one frame that are told of, and half of the busy ones
	warnStuck      = 3      // threads
	minBlocked     = 5      // threads, none of which can go on
	minLeak        = 1_000  // goroutines that one function created and that wait at one frame
	alarmLeak      = 10_000 //
	hotPercent     = 80     // of one core
	loopPercent    = 25     // the same, for a thread that computes at one frame in all of loopDumps dumps or more: others want the core too
	loopDumps      = 3      //
	gcPercent      = 50     //
	maxHotFindings = 5
)

// judge gives the findings, the gravest first.
func (s *series) judge(r *Report) []Finding {
	var all []Finding
	for _, rule := range []func(*Report) []Finding{
		s.judgeFatal, s.judgeDeadlocks, s.judgeKernel, s.judgeConnections, s.judgeQueues, s.judgeAllBlocked, s.judgePools, s.judgeGoroutines, s.judgeStuck, s.judgeCPU, s.judgeInterpreter,
	} {
		all = append(all, rule(r)...)
	}
	all = append(all, s.judgeSamePlace(all)...)
	switch {
	case r.Threads == 0:
		all = append(all, Finding{Kind: NoThreads, Severity: Warning, Dumps: len(r.Dumps)})
	case !slices.ContainsFunc(all, Finding.isProblem):
		looked, missed := s.looked()
		all = append(all, Finding{Kind: Nothing, Severity: Note, Threads: r.Threads, Dumps: len(s.scenes), Span: r.Span, Looked: looked, Missed: missed})
	}
	all = append(all, s.judgeWhole(r)...)
	sortFindings(all)
	return all
}

var (
	severityRank = rankOf(Severities())
	kindRank     = rankOf(FindingKinds())
)

func rankOf[T comparable](order []T) map[T]int {
	rank := make(map[T]int, len(order))
	for i, v := range order {
		rank[v] = i
	}
	return rank
}

func sortFindings(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(severityRank[a.Severity], severityRank[b.Severity]), falseFirst(!a.isProblem(), !b.isProblem()), cmp.Compare(len(b.Hosts), len(a.Hosts)),
			cmp.Compare(a.rank(), b.rank()), cmp.Compare(b.Threads, a.Threads), cmp.Compare(b.Percent, a.Percent),
			strings.Compare(a.Subject, b.Subject), strings.Compare(a.Holder, b.Holder), strings.Compare(a.Lock, b.Lock), strings.Compare(a.Frame, b.Frame))
	})
}

// rank gives the place of a finding among equally grave ones: what is no problem
// comes behind what is.
func (f Finding) rank() int {
	if f.Kind == Fatal && !f.isProblem() {
		return kindRank[CutShort]
	}
	return kindRank[f.Kind]
}

// grade gives the severity for a number: note, from warning on warning, from alarm on alarm.
func grade(n, warning, alarm int) Severity {
	switch {
	case n >= alarm:
		return Alarm
	case n >= warning:
		return Warning
	}
	return Note
}

// judgeFatal tells what the process died of. A Go program that was asked for a
// dump by SIGQUIT ended by it; a Python one that was to write one at a time did not.
func (s *series) judgeFatal(r *Report) []Finding {
	for _, d := range slices.Backward(s.dumps) {
		if strings.HasPrefix(d.Fatal, "SIGQUIT") || strings.HasPrefix(d.Fatal, "Timeout") {
			return []Finding{{Kind: Fatal, Severity: Note, Text: d.Fatal, Threads: r.Threads}}
		}
		if d.Fatal != "" {
			return []Finding{{Kind: Fatal, Severity: Alarm, Text: d.Fatal, Threads: r.Threads}}
		}
	}
	return nil
}

func (s *series) judgeDeadlocks(r *Report) []Finding {
	var found []Finding
	for _, d := range r.Deadlocks {
		f := Finding{Kind: Deadlocked, Severity: Alarm, Threads: len(d.Members), Of: r.Threads, Behind: d.Behind}
		for _, m := range d.Members {
			f.Names = append(f.Names, m.Name)
			if m.ID != "" && len(f.IDs) < MaxIDs {
				f.IDs = append(f.IDs, m.ID)
			}
			if f.Lock == "" {
				f.Lock, f.Frame = cmp.Or(m.Lock.Class, m.Lock.ID), cmp.Or(m.Own, m.Frame)
			}
		}
		found = append(found, f)
	}
	return found
}

// letter gives the kernel's letter for a thread's state; 0 = not told.
func (s *series) letter(d *dump.Dump, t *seen) byte {
	if d.Header != nil && d.Header.States[t.Native] != "" {
		return d.Header.States[t.Native][0]
	}
	if d.Runtime == dump.Process && t.Detail != "" {
		return t.Detail[0]
	}
	return 0
}

// judgeKernel tells what only the kernel knows: who waits for a disk, was
// stopped, or is over. The last dump says it, which is the kernel's own where the
// runtime no longer answered.
func (s *series) judgeKernel(r *Report) []Finding {
	p := s.picture
	if n := len(s.dumps); n > 0 && s.dumps[n-1] != p.dump && s.dumps[n-1].Format == dump.Kernel && len(s.dumps[n-1].Threads) > 0 {
		p = s.lens.scene(s.dumps[n-1])
	}
	var disk, stopped, over []*seen
	for _, t := range p.threads {
		switch letter := s.letter(p.dump, t); {
		case letter == 'D':
			disk = append(disk, t)
		case t.State == dump.Stopped || letter == 'T' || letter == 't':
			stopped = append(stopped, t)
		case p.dump.Runtime == dump.Process && t.State == dump.Ended:
			over = append(over, t)
		}
	}
	var found []Finding
	if len(disk) > 0 {
		f := s.finding(DiskWait, grade(count(disk), warnStuck, p.total+1), disk)
		if p == s.picture && s.everywhere(disk, 'D') {
			f.Severity, f.Dumps, f.Span = Alarm, len(s.scenes), r.Span
		}
		found = append(found, f)
	}
	if n := count(stopped); n > 0 {
		found = append(found, s.finding(AllStopped, alarmWhere(n == p.total, Warning), stopped))
	}
	if n := count(over); n > 0 {
		found = append(found, s.finding(Zombies, alarmWhere(n == p.total, Note), over))
	}
	if p != s.picture { // which has none of these threads
		for i := range found {
			found[i].Of, found[i].IDs, found[i].Key = p.total, nil, ""
		}
	}
	return found
}

// alarmWhere gives Alarm where all are meant, else what it is otherwise.
func alarmWhere(all bool, otherwise Severity) Severity {
	if all {
		return Alarm
	}
	return otherwise
}

// everywhere tells whether one of the threads had the letter in every scene.
func (s *series) everywhere(threads []*seen, letter byte) bool {
	return len(s.scenes) > 1 && slices.ContainsFunc(threads, func(t *seen) bool {
		return !slices.ContainsFunc(s.scenes, func(scene *scene) bool {
			o := scene.byID[t.ID]
			return o == nil || s.letter(scene.dump, o) != letter
		})
	})
}

// finding begins one about threads of the picture.
func (s *series) finding(kind FindingKind, severity Severity, threads []*seen) Finding {
	does, at := most(threads)
	return Finding{Kind: kind, Severity: severity, Threads: count(threads), Of: s.picture.total, Does: does, Frame: does.Frame, At: at, IDs: idsOf(threads, MaxIDs), Key: keyAt(threads, does)}
}

// keyAt gives the group of the first thread that does what most do.
func keyAt(threads []*seen, does Doing) string {
	for _, t := range threads {
		if t.does.Kind == does.Kind && t.does.Frame == does.Frame {
			return t.stack.key()
		}
	}
	return ""
}

func (s *series) judgeConnections(*Report) []Finding {
	byPool, dealing := map[string][]*seen{}, map[Peer][]*seen{}
	for _, t := range s.picture.threads {
		switch {
		case t.does.Kind == Borrows:
			byPool[t.stack.borrow.borrow] = append(byPool[t.stack.borrow.borrow], t)
		case t.does.Peer != "" && !t.idle:
			dealing[t.does.Peer] = append(dealing[t.does.Peer], t)
		}
	}
	var found []Finding
	for pool, threads := range byPool {
		f := s.finding(Connections, grade(count(threads), warnBorrowing, alarmBorrowing), threads)
		f.Subject = pool
		if f.Does.Peer != "" {
			f.Dealing = count(dealing[f.Does.Peer])
		}
		found = append(found, f)
	}
	return found
}

// judgeQueues tells of threads behind locks. One thread behind another is how
// locks work, unless it stands there in every dump.
func (s *series) judgeQueues(r *Report) []Finding {
	always := map[string]bool{}
	s.through(func(t *seen, all []*seen) {
		always[t.ID] = !slices.ContainsFunc(all, func(o *seen) bool { return o.does.Kind != WaitsLock || o.stack != t.stack })
	})
	var found []Finding
	for _, c := range r.Chains {
		if c.Threads < warnQueue && !always[c.IDs[0]] {
			continue
		}
		end := c.Links[len(c.Links)-1]
		f := Finding{Kind: LockHeld, Severity: grade(c.Threads, 1, alarmQueue), Threads: c.Threads, Of: r.Threads, Lock: cmp.Or(end.Lock.Class, end.Lock.ID), Depth: c.Depth, Does: c.Does, Frame: c.Does.Frame, IDs: c.IDs}
		if c.Root == nil {
			f.Kind, f.Severity = LockUntold, grade(c.Threads, warnUntold, alarmExhausted)
			waiter := s.picture.byID[c.IDs[0]]
			f.Frame, f.Does = waiter.does.Frame, waiter.does
		} else {
			f.Holder, f.HolderID = c.Root.Name, c.Root.ID
			if t := s.picture.byID[c.Root.ID]; t != nil {
				f.Key = t.stack.key()
			}
		}
		found = append(found, f)
	}
	return found
}

// judgeAllBlocked tells when of all threads that are to do something none can
// do it without another. Goroutines wait by the hundred in a process that is well.
func (s *series) judgeAllBlocked(r *Report) []Finding {
	if r.Runtime != dump.JVM && r.Runtime != dump.Python {
		return nil
	}
	var waiting []*seen
	for _, t := range s.picture.service() {
		switch t.does.Kind {
		case WaitsLock, Borrows:
			waiting = append(waiting, t)
		case Sleeps, Waits, Result, Channel, NotTold, Halted:
		default:
			if !t.idle {
				return nil
			}
		}
	}
	if count(waiting) < minBlocked {
		return nil
	}
	return []Finding{s.finding(AllBlocked, Warning, waiting)}
}

func (s *series) judgePools(r *Report) []Finding {
	var found []Finding
	for _, p := range r.Pools {
		if !p.Exhausted || p.Threads < minExhausted {
			continue
		}
		f := Finding{Kind: PoolBusy, Severity: Warning, Subject: p.Name, Threads: p.Threads, Of: r.Threads, Frame: p.Frame, At: p.At, Does: p.Does, Dumps: len(s.scenes), Span: r.Span, IDs: p.IDs[:min(len(p.IDs), MaxIDs)]}
		if p.Threads >= alarmExhausted && p.Does.Kind != OnCPU {
			f.Severity = Alarm
		}
		found = append(found, f)
	}
	return found
}

// judgeStuck leaves out what the queue for a lock or a connection says already.
func (s *series) judgeStuck(r *Report) []Finding {
	var found []Finding
	for _, k := range r.Stuck {
		if k.Does.Kind == Borrows || k.Does.Kind == WaitsLock && s.picture.locks.wants[s.picture.byID[k.IDs[0]]] != nil {
			continue
		}
		f := Finding{Kind: StuckThreads, Severity: grade(k.Threads, warnStuck, r.Threads+1), Threads: k.Threads, Of: r.Threads, Does: k.Does, Frame: k.Does.Frame, Dumps: k.Dumps, Span: k.Span, Key: k.Key, IDs: k.IDs[:min(len(k.IDs), MaxIDs)]}
		if k.Does.Peer == "" && k.Does.Kind == SocketRead { // it may listen to a client that has nothing to say
			f.Severity = Note
		}
		found = append(found, f)
	}
	return found
}

// judgeCPU tells of threads that spin, and of a garbage collector that has too
// much to do.
func (s *series) judgeCPU(r *Report) []Finding {
	var found []Finding
	gc := Finding{Kind: CollectorHot, Severity: Warning, Of: r.Threads, Span: r.Span, Dumps: len(s.scenes)}
	for _, h := range r.Hot {
		least := float64(hotPercent)
		if h.Same && h.Does.Kind == OnCPU && len(s.scenes) >= loopDumps {
			least = loopPercent
		}
		switch {
		case h.Internal:
			if collects(h.Name) {
				gc.Threads, gc.Percent = gc.Threads+1, gc.Percent+h.Percent
				gc.IDs = append(gc.IDs, h.ID)
			}
		case h.Percent >= least && len(found) < maxHotFindings:
			f := Finding{Kind: HotThread, Severity: Warning, Subject: h.Name, Threads: 1, Of: r.Threads, Percent: h.Percent, Span: r.Span, Dumps: len(s.scenes), Does: h.Does, IDs: []string{h.ID}}
			if h.Same {
				f.Frame = cmp.Or(h.Does.Own, h.Does.Frame)
			}
			if t := s.picture.byID[h.ID]; t != nil {
				f.Key = t.stack.key()
			}
			found = append(found, f)
		}
	}
	if gc.Percent >= gcPercent {
		found = append(found, gc)
	}
	return found
}

// collects tells by its name whether a thread of a JVM collects garbage.
func collects(name string) bool {
	for _, prefix := range []string{"GC ", "GC task", "G1 ", "ParGC", "ZWorker", "ZDriver", "ZDirector", "Shenandoah", "Concurrent Mark", "CMS "} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
