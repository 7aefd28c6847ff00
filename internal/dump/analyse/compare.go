package analyse

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// Difference is what changed from one dump to another of the same service.
type Difference struct {
	Before    Side          `json:"before"`
	After     Side          `json:"after"`
	Restarted bool          `json:"restarted"` // another process: threads are matched by name
	Same      int           `json:"same"`      // threads on the same stack
	Appeared  int           `json:"appeared"`
	Gone      int           `json:"gone"`
	Moved     int           `json:"moved"`   // threads that are on another stack
	Threads   []Move        `json:"threads"` // those that moved, then appeared, then went; at most MaxMoves
	Groups    []GroupChange `json:"groups"`  // that grew or shrank, the most first
	Fixed     []Finding     `json:"fixed"`   // findings that are gone
	New       []Finding     `json:"new"`
	Still     []Finding     `json:"still"` // as they are after
}

// Side is one of the two dumps.
type Side struct {
	Taken   time.Time          `json:"taken,omitzero"`
	Threads int                `json:"threads"`
	States  map[dump.State]int `json:"states"`
	Verdict Finding            `json:"verdict"`
}

// MoveKind says what became of a thread.
type MoveKind string

// The kinds of moves.
const (
	MoveMoved    MoveKind = "moved"
	MoveAppeared MoveKind = "appeared"
	MoveGone     MoveKind = "gone"
)

// Move is one thread that is not where it was.
type Move struct {
	ThreadRef

	Kind   MoveKind   `json:"kind"`
	State  dump.State `json:"state,omitempty"`  // before; "" = it was not there
	Before *Doing     `json:"before,omitempty"` // nil = it was not there
	Now    dump.State `json:"now,omitempty"`
	After  *Doing     `json:"after,omitempty"` // nil = it is gone
}

// GroupChange is a stack that has more or fewer threads than before.
type GroupChange struct {
	Key    string `json:"key"`
	Does   Doing  `json:"does"`
	Idle   bool   `json:"idle,omitempty"`
	Before int    `json:"before"`
	After  int    `json:"after"`
}

// MaxMoves bounds Difference.Threads; Appeared, Gone and Moved count all.
const MaxMoves = 1000

// ChangeKind says what a Change is about.
type ChangeKind string

// The kinds of changes.
const (
	ChangeFixed   ChangeKind = "fixed" // Finding is gone
	ChangeNew     ChangeKind = "new"   // Finding is there now
	ChangeStill   ChangeKind = "still" // Finding is there before and after
	ChangeMoved   ChangeKind = "moved" // no finding in either; Moved threads of Threads are elsewhere
	ChangeNothing ChangeKind = "nothing"
)

// Change is the sentence about a Difference, in typed words.
type Change struct {
	Kind    ChangeKind `json:"kind"`
	Finding *Finding   `json:"finding,omitempty"`
	Fixed   int        `json:"fixed"` // findings that are gone, new, still there
	New     int        `json:"new"`
	Still   int        `json:"still"`
	Moved   int        `json:"moved"`
	Threads int        `json:"threads"` // after
}

// CheckPair refuses to compare dumps of two runtimes: not a thread of one is in
// the other.
func CheckPair(before, after *dump.Dump) error {
	if before.Runtime == after.Runtime {
		return nil
	}
	return restart.Errorf(restart.CodeInvalid, "one dump is of %s, the other of %s: they can't be compared", before.Runtime, after.Runtime).
		WithHint("take two of one runtime; process is what the kernel tells, as where the runtime did not answer")
}

// Compare says what changed from one dump to another of the same service,
// before and after a restart among them.
func Compare(before, after *dump.Dump, o Options) *Difference {
	l := NewLens(o)
	was, now := newSeries(l, []*dump.Dump{before}), newSeries(l, []*dump.Dump{after})
	reportWas, reportNow := was.report(), now.report()
	d := &Difference{
		Before:    Side{Taken: takenOf(before), Threads: reportWas.Threads, States: reportWas.States, Verdict: reportWas.Verdict()},
		After:     Side{Taken: takenOf(after), Threads: reportNow.Threads, States: reportNow.States, Verdict: reportNow.Verdict()},
		Restarted: restarted(was.picture, now.picture),
		Threads:   []Move{},
	}
	d.match(was.picture, now.picture)
	d.Groups = changes(reportWas.Groups, reportNow.Groups)
	d.compareFindings(reportWas.Findings, reportNow.Findings)
	return d
}

func takenOf(d *dump.Dump) time.Time {
	if d == nil {
		return time.Time{}
	}
	return d.Taken
}

// restarted tells whether the dumps are of two processes: by the number of the
// process, and where that says nothing, as in a container, by threads that are
// younger than they were.
func restarted(was, now *scene) bool {
	a, b := was.dump.Header, now.dump.Header
	if a != nil && b != nil && (a.PID != b.PID || a.Host != b.Host) {
		return true
	}
	return slices.ContainsFunc(was.threads, func(t *seen) bool {
		o := now.byID[t.ID]
		return o != nil && (t.Elapsed > 0 && o.Elapsed > 0 && o.Elapsed < t.Elapsed || t.CPU > 0 && o.CPU > 0 && o.CPU < t.CPU)
	})
}

// match finds for each thread what became of it.
func (d *Difference) match(was, now *scene) {
	key := func(t *seen) string {
		if d.Restarted {
			return unhashed(t.Name)
		}
		return t.ID + "\n" + t.Name
	}
	left := map[string][]*seen{}
	for _, t := range now.threads {
		left[key(t)] = append(left[key(t)], t)
	}
	matched := make(map[*seen]bool, len(now.threads))
	var moved, appeared, gone []Move
	for _, t := range was.threads {
		others := left[key(t)]
		if len(others) == 0 {
			d.Gone += t.number
			does := t.does
			gone = append(gone, Move{ThreadRef: t.ref(), Kind: MoveGone, State: t.State, Before: &does})
			continue
		}
		o := others[0]
		left[key(t)], matched[o] = others[1:], true
		if o.stack == t.stack {
			d.Same += o.number
			continue
		}
		d.Moved += o.number
		before, after := t.does, o.does
		moved = append(moved, Move{ThreadRef: o.ref(), Kind: MoveMoved, State: t.State, Before: &before, Now: o.State, After: &after})
	}
	for _, t := range now.threads {
		if !matched[t] {
			d.Appeared += t.number
			does := t.does
			appeared = append(appeared, Move{ThreadRef: t.ref(), Kind: MoveAppeared, Now: t.State, After: &does})
		}
	}
	d.Threads = append(d.Threads, slices.Concat(moved, appeared, gone)...)
	d.Threads = d.Threads[:min(len(d.Threads), MaxMoves)]
}

// changes gives the groups that grew or shrank.
func changes(was, now []StackGroup) []GroupChange {
	byKey := map[string]GroupChange{}
	for _, g := range was {
		byKey[g.Key] = GroupChange{Key: g.Key, Does: g.Does, Idle: g.Idle, Before: g.Threads}
	}
	for _, g := range now {
		byKey[g.Key] = GroupChange{Key: g.Key, Does: g.Does, Idle: g.Idle, Before: byKey[g.Key].Before, After: g.Threads}
	}
	changed := []GroupChange{}
	for _, c := range byKey {
		if c.Before != c.After {
			changed = append(changed, c)
		}
	}
	slices.SortFunc(changed, func(a, b GroupChange) int {
		return cmp.Or(falseFirst(a.Idle, b.Idle), cmp.Compare(max(b.After-b.Before, b.Before-b.After), max(a.After-a.Before, a.Before-a.After)), strings.Compare(a.Key, b.Key))
	})
	return changed
}

// compareFindings sorts findings into gone, new and still there.
func (d *Difference) compareFindings(was, now []Finding) {
	before, after := map[string]bool{}, map[string]bool{}
	for _, f := range was {
		before[f.identity()] = true
	}
	d.Fixed, d.New, d.Still = []Finding{}, []Finding{}, []Finding{}
	for _, f := range now {
		after[f.identity()] = true
		switch {
		case !f.isProblem():
		case before[f.identity()]:
			d.Still = append(d.Still, f)
		default:
			d.New = append(d.New, f)
		}
	}
	for _, f := range was {
		if f.isProblem() && !after[f.identity()] {
			d.Fixed = append(d.Fixed, f)
		}
	}
}

// isProblem tells whether a finding is about the process, and not about the
// dump or its absence.
func (f Finding) isProblem() bool {
	switch f.Kind {
	case CutShort, NotRead, Nothing, NoThreads:
		return false
	case Fatal:
		return f.Severity == Alarm
	default:
		return true
	}
}

// identity is the same for findings about the same thing, in another dump or on
// another host.
func (f Finding) identity() string {
	about := f.Frame
	switch f.Kind {
	case Connections, Leaked:
		about = f.Subject
	case PoolBusy:
		about = unhashed(f.Subject)
	case HotThread:
		about = cmp.Or(f.Frame, unhashed(f.Subject))
	case LockHeld, LockUntold, Deadlocked:
		about = f.Lock + " " + f.Frame
	case Fatal, CutShort:
		about = f.Text
	case AllStopped, Zombies, AllBlocked, CollectorHot, Nothing, NotRead, NoThreads:
		about = ""
	}
	return string(f.Kind) + " " + about
}

// hashed is what a process makes up for a name when it starts, such as Jetty's
// hash in "qtp1490180672-31" and Object.toString's in "pool@5e91993f".
var hashed = regexp.MustCompile(`[0-9]{6,}|@[0-9a-f]{6,}`)

// unhashed gives a name as it is in another process of the same service.
func unhashed(name string) string { return hashed.ReplaceAllString(name, "*") }

// Verdict gives the sentence about the difference: what is grave and there,
// then what is better, then the rest.
func (d *Difference) Verdict() Change {
	c := Change{Kind: ChangeNothing, Fixed: len(d.Fixed), New: len(d.New), Still: len(d.Still), Moved: d.Moved, Threads: d.After.Threads}
	grave := func(all []Finding) bool { return len(all) > 0 && all[0].Severity == Alarm }
	switch {
	case grave(d.New):
		c.Kind, c.Finding = ChangeNew, &d.New[0]
	case grave(d.Still):
		c.Kind, c.Finding = ChangeStill, &d.Still[0]
	case len(d.Fixed) > 0:
		c.Kind, c.Finding = ChangeFixed, &d.Fixed[0]
	case len(d.New) > 0:
		c.Kind, c.Finding = ChangeNew, &d.New[0]
	case len(d.Still) > 0:
		c.Kind, c.Finding = ChangeStill, &d.Still[0]
	case d.Moved > 0:
		c.Kind = ChangeMoved
	}
	return c
}
