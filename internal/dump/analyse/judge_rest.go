package analyse

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// judgeGoroutines tells of leaks, and of goroutines that have waited too long
// for what should come soon.
func (s *series) judgeGoroutines(r *Report) []Finding {
	var found []Finding
	for _, site := range r.Sites {
		if site.At < minLeak || !forever(site.Does.Kind) {
			continue
		}
		found = append(found, Finding{
			Kind: Leaked, Severity: grade(site.At, minLeak, alarmLeak), Subject: site.Frame, Threads: site.At, Of: r.Threads, Frame: site.Does.Frame,
			Does: site.Does, Span: site.Longest, Grown: max(site.Grown, 0), IDs: site.IDs,
		})
	}
	if s.picture.dump.Runtime != dump.Go {
		return found
	}
	late := map[Doing][]*seen{}
	for _, t := range s.picture.threads {
		if t.Since >= lateAfter(t) {
			late[t.does] = append(late[t.does], t)
		}
	}
	for _, threads := range late {
		f := s.finding(LongWait, Warning, threads)
		for _, t := range threads {
			f.Span = max(f.Span, t.Since)
		}
		found = append(found, f)
	}
	return found
}

// forever tells whether goroutines may do this until the process ends, because
// nobody comes who wakes them.
func forever(k DoingKind) bool {
	return k == Channel || k == WaitsLock || k == Waits || k == Result || k == Borrows
}

// lateAfter gives how long a goroutine may wait: for a lock and an answer not
// long, for all else as long as it likes.
func lateAfter(t *seen) time.Duration {
	switch {
	case t.idle:
	case t.does.Kind == WaitsLock, t.does.Kind == Borrows, t.does.Peer != "" && movesData(t.does.Kind):
		return time.Minute
	case strings.HasPrefix(t.Detail, "chan send"):
		return 10 * time.Minute
	}
	return 1<<63 - 1
}

// judgeInterpreter tells of a Python thread that keeps the interpreter lock
// while others want it.
func (s *series) judgeInterpreter(*Report) []Finding {
	if s.picture.dump.Runtime != dump.Python || len(s.scenes) < 2 {
		return nil
	}
	holds := func(t *seen) bool { return strings.Contains(strings.ToLower(t.Detail), "gil") }
	var holder *seen
	s.through(func(t *seen, all []*seen) {
		if !slices.ContainsFunc(all, func(o *seen) bool { return !holds(o) }) {
			holder = t
		}
	})
	if holder == nil {
		return nil
	}
	others := slices.DeleteFunc(s.picture.service(), func(t *seen) bool { return t == holder || t.State != dump.Running })
	if len(others) == 0 {
		return nil
	}
	f := s.finding(Interpreter, Warning, others)
	f.Holder, f.HolderID, f.Dumps, f.Span = holder.Name, holder.ID, len(s.scenes), s.span()
	f.Frame, f.Does, f.Key = holder.does.Frame, holder.does, holder.stack.key()
	return []Finding{f}
}

// judgeSamePlace tells of the frame that most busy threads share, where no
// other finding says so already.
func (s *series) judgeSamePlace(told []Finding) []Finding {
	process := s.picture.dump.Runtime == dump.Process
	busy := slices.DeleteFunc(s.picture.service(), func(t *seen) bool { return t.idle || t.stack.block == nil || !process && t.stack.isMachine() })
	does, at := most(busy)
	if at < minSamePlace || 2*at < count(busy) || does.Kind == Sleeps || does.Kind == NotTold {
		return nil
	}
	switch s.picture.dump.Runtime {
	case dump.Go:
		if does.Kind == Channel { // that is how they are used: see judgeGoroutines
			return nil
		}
	case dump.Process: // the kernel sees idle threads and stuck ones in the same places
		if does.Kind != File && does.Kind != SocketWrite && does.Kind != Connects {
			return nil
		}
	}
	for _, f := range told {
		if f.Frame == does.Frame && f.Threads*2 >= at || does.Kind == WaitsLock && (f.Kind == LockHeld || f.Kind == LockUntold || f.Kind == Deadlocked) {
			return nil
		}
	}
	there := slices.DeleteFunc(busy, func(t *seen) bool { return t.does.Kind != does.Kind || t.does.Frame != does.Frame })
	return []Finding{s.finding(SamePlace, Warning, there)}
}

// judgeWhole tells what of the dumps could not be read.
func (s *series) judgeWhole(r *Report) []Finding {
	var found []Finding
	cut := slices.DeleteFunc(slices.Clone(r.Dumps), func(l Look) bool { return l.Cut == "" })
	if len(cut) > 0 {
		f := Finding{Kind: CutShort, Severity: Note, Text: cut[len(cut)-1].Cut, Dumps: len(cut), Of: len(r.Dumps), Threads: r.Threads}
		if s.picture.dump.Cut != "" || s.at < 0 {
			f.Severity, f.Text = Warning, cmp.Or(s.picture.dump.Cut, f.Text)
		}
		found = append(found, f)
	}
	lines := 0
	for _, rest := range s.picture.dump.Rest {
		lines += strings.Count(strings.TrimRight(rest.Text, "\n"), "\n") + 1
	}
	if lines > 0 {
		found = append(found, Finding{Kind: NotRead, Severity: Note, At: lines, Threads: r.Threads})
	}
	return found
}

// looked gives what was looked at, and what of the rest could not be.
func (s *series) looked() (looked, missed []Aspect) {
	d := s.picture.dump
	can := map[Aspect]bool{AspectStuck: len(s.scenes) > 1, AspectCPU: s.knowsCPU()}
	asked := []Aspect{AspectStuck, AspectCPU}
	ask := func(a Aspect, possible bool) {
		asked, can[a] = append(asked, a), possible
	}
	switch d.Runtime {
	case dump.JVM:
		locks := d.Format != dump.HotSpotJSON || slices.ContainsFunc(s.picture.threads, func(t *seen) bool { return t.WaitsFor != nil || len(t.Holds) > 0 })
		ask(AspectDeadlocks, locks)
		ask(AspectLocks, locks)
		ask(AspectConnections, true)
		ask(AspectPools, true)
	case dump.Go:
		ask(AspectGoroutines, true)
		ask(AspectConnections, true)
	case dump.Python:
		ask(AspectConnections, true)
		ask(AspectPools, true)
		ask(AspectInterpreter, d.Format == dump.PySpy && len(s.scenes) > 1)
	case dump.Process:
		ask(AspectStates, true)
	}
	for _, a := range Aspects() {
		switch {
		case can[a]:
			looked = append(looked, a)
		case slices.Contains(asked, a):
			missed = append(missed, a)
		}
	}
	return looked, missed
}
