package analyse_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

// drawOdd makes a dump that no runtime would write: IDs twice, holders that are
// not there or are the waiter, circles that the threads do not show.
func drawOdd(t *rapid.T) *dump.Dump {
	d := jvm(rapid.IntRange(-1, 3).Draw(t, "nth"), drawThreads(t, 12)...)
	d.Runtime = rapid.SampledFrom(append(dump.Runtimes(), "")).Draw(t, "runtime")
	d.Format = rapid.SampledFrom([]dump.Format{dump.HotSpot, dump.HotSpotJSON, dump.Goroutines, dump.PySpy, dump.Kernel, dump.Unknown}).Draw(t, "format")
	if rapid.Bool().Draw(t, "no time") {
		d.Taken = time.Time{}
	}
	d.Cut = rapid.SampledFrom([]string{"", "", "cut."}).Draw(t, "cut")
	d.Fatal = rapid.SampledFrom([]string{"", "", "panic: x", "SIGQUIT: quit"}).Draw(t, "fatal")
	if rapid.Bool().Draw(t, "header") {
		d.Header = &dump.Header{PID: rapid.IntRange(0, 2).Draw(t, "pid"), States: map[int64]string{1001: "D", 1002: "T", 1003: ""}}
	}
	for i := range d.Threads {
		th := &d.Threads[i]
		th.ID = rapid.SampledFrom([]string{th.ID, "1", "", "x"}).Draw(t, "id")
		th.CPU = time.Duration(rapid.IntRange(-1, 1e9).Draw(t, "cpu"))
		th.Since = time.Duration(rapid.IntRange(0, 20).Draw(t, "since")) * time.Minute
		th.Detail = rapid.SampledFrom([]string{"", "D (disk sleep)", "active+gil", "chan send", "select"}).Draw(t, "detail")
		th.Virtual = rapid.Bool().Draw(t, "virtual")
		if th.WaitsFor != nil {
			th.WaitsFor.Owner = rapid.SampledFrom([]string{"", "", th.ID, "1", "nobody"}).Draw(t, "owner")
			th.WaitsFor.ID = rapid.SampledFrom([]string{th.WaitsFor.ID, ""}).Draw(t, "lock id")
		}
		if rapid.Bool().Draw(t, "created") {
			th.CreatedBy = &dump.Frame{Function: "main.start"}
		}
	}
	if rapid.Bool().Draw(t, "told") {
		d.Deadlocks = []dump.Deadlock{{}, {Threads: []dump.DeadlockedThread{{Name: "main1", Owner: "nobody"}, {}}}}
	}
	return d
}

func TestOddDumpsAreSurvived(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawOdd(t), drawOdd(t)
		o := analyse.Options{ByLine: rapid.Bool().Draw(t, "by line"), Own: []string{"com.acme."}}
		r := analyse.Series([]*dump.Dump{a, nil, b}, o)
		g := analyse.Group([]analyse.Host{{Name: "x", Dumps: []*dump.Dump{a}}, {Name: "x", Dumps: []*dump.Dump{b, a}}, {Name: "y", Dumps: []*dump.Dump{nil}}, {Name: "z", Dumps: []*dump.Dump{b}}}, o)
		d := analyse.Compare(a, b, o)
		if _, err := json.Marshal([]any{r, g, d, d.Verdict()}); err != nil {
			t.Fatal(err)
		}
		if len(r.Findings) == 0 || len(g.Findings) == 0 || d.Verdict().String() == "" {
			t.Fatalf("nothing is said: %v, %v, %q", r.Findings, g.Findings, d.Verdict())
		}
		for _, f := range append(r.Findings, g.Findings...) {
			if text := f.String(); len(text) < 10 || strings.Contains(text, "%!") || f.Severity == "" {
				t.Fatalf("%+v is said as %q", f, text)
			}
		}
		for _, n := range r.Locks.Nodes {
			if n.ID == "" || n.Kind == "" {
				t.Fatalf("a node is %+v", n)
			}
		}
		checkGraph(t, r.Locks)
	})
}

// checkGraph looks whether each edge joins two nodes.
func checkGraph(t *rapid.T, g analyse.LockGraph) {
	nodes := map[string]bool{}
	for _, n := range g.Nodes {
		if nodes[n.ID] {
			t.Fatalf("two nodes are %q", n.ID)
		}
		nodes[n.ID] = true
	}
	for _, e := range g.Edges {
		if !nodes[e.From] || !nodes[e.To] || e.Threads < 1 {
			t.Fatalf("an edge leads nowhere: %+v", e)
		}
	}
}

func TestLockGraph(t *testing.T) {
	t.Parallel()
	g := analyse.Series([]*dump.Dump{jvm(0, all(deadlocked(), many(10, 50, "w", dump.Blocked, inShop))...)}, analyse.Options{}).Locks
	dead := 0
	for _, n := range g.Nodes {
		if n.Deadlock {
			dead++
		}
	}
	if len(g.Nodes) != 7 || len(g.Edges) != 7 || dead != 6 || g.Left != 0 {
		t.Errorf("a circle of three with one behind it is drawn as %+v", g)
	}
	crowded := analyse.Series([]*dump.Dump{jvm(0, queue(dump.Running, inQuery)...)}, analyse.Options{}).Locks
	if len(crowded.Nodes) != 3 || crowded.Nodes[2].Kind != analyse.WaitersNode || crowded.Nodes[2].Threads != 39 {
		t.Errorf("a queue of 39 is drawn as %+v", crowded)
	}
	var threads []dump.Thread
	for i := range 500 {
		lock := monitor(fmt.Sprintf("0x%d", i))
		threads = append(threads, holds(thread(2*i, "holder", dump.Running, inShop), lock), waitsFor(thread(2*i+1, "waiter", dump.Blocked, inShop), lock))
	}
	large := analyse.Series([]*dump.Dump{jvm(0, threads...)}, analyse.Options{}).Locks
	if len(large.Nodes) > 90 || large.Left == 0 || large.Left+len(large.Edges)/2 != 500 {
		t.Errorf("500 queues are drawn as %d nodes and %d edges, %d threads left", len(large.Nodes), len(large.Edges), large.Left)
	}
}

func TestChainOverLocks(t *testing.T) {
	t.Parallel()
	threads := []dump.Thread{holds(thread(1, "root", dump.Running, inQuery), monitor("0x1"))}
	for i := 2; i <= 4; i++ {
		threads = append(threads, holds(waitsFor(thread(i, fmt.Sprint("middle-", i), dump.Blocked, inShop), monitor(fmt.Sprintf("0x%d", i-1))), monitor(fmt.Sprintf("0x%d", i))))
	}
	for i := 10; i < 20; i++ {
		threads = append(threads, waitsFor(thread(i, "leaf", dump.Blocked, inShop), monitor("0x4")))
	}
	r := analyse.Series([]*dump.Dump{jvm(0, threads...)}, analyse.Options{})
	c := r.Chains[0]
	if len(r.Chains) != 1 || c.Threads != 13 || c.Depth != 4 || c.Root.Name != "root" || c.Links[0].Waiting != 10 || c.Links[0].Owner.Name != "middle-4" || c.Links[3].Owner.Name != "root" || len(c.IDs) != 13 {
		t.Errorf("the chain is %+v", r.Chains)
	}
	if want := "13 of 14 threads wait for `root`, over 4 locks, which waits for the database in `Cart.load` and holds the lock `Stock`. Look at `root`."; r.Verdict().String() != want {
		t.Errorf("it is said as %q, want %q", r.Verdict(), want)
	}
}

func TestWaitForOneselfIsNoDeadlock(t *testing.T) {
	t.Parallel()
	lock := monitor("0x1")
	lock.Owner = "1"
	r := analyse.Series([]*dump.Dump{jvm(0, holds(waitsFor(thread(1, "again", dump.Blocked, inShop), lock), lock))}, analyse.Options{})
	if len(r.Deadlocks) != 0 || r.Verdict().Kind != analyse.Nothing {
		t.Errorf("a thread that waits for itself is %s: %+v", r.Verdict(), r.Deadlocks)
	}
}

func TestAllBehindADeadlockCount(t *testing.T) {
	t.Parallel()
	threads := append(deadlocked(), holds(waitsFor(thread(5, "behind", dump.Blocked, inShop), monitor("0x1")), monitor("0x5")), waitsFor(thread(6, "further", dump.Blocked, inShop), monitor("0x5")))
	if d := analyse.Series([]*dump.Dump{jvm(0, threads...)}, analyse.Options{}).Deadlocks; len(d) != 1 || d[0].Behind != 3 || len(d[0].Members) != 3 {
		t.Errorf("the deadlock is %+v, want one of three with three behind", d)
	}
}

func TestHolderByItsStack(t *testing.T) {
	t.Parallel()
	lock := monitor("0x1")
	marked := func(id int, marks ...dump.Marked) dump.Thread {
		frames := append([]dump.Frame{}, inShop...)
		for i, m := range marks {
			frames[i].Locks = []dump.Marked{m}
		}
		return thread(id, fmt.Sprint("t", id), dump.Waiting, frames)
	}
	waiter := waitsFor(thread(9, "waiter", dump.Blocked, inShop), lock)
	gave := marked(1, dump.Marked{Mark: dump.WaitingOn, Lock: lock}, dump.Marked{Mark: dump.Locked, Lock: lock})
	has := marked(2, dump.Marked{Mark: dump.Locked, Lock: lock})
	not := marked(3, dump.Marked{Mark: dump.Eliminated, Lock: lock})
	c := analyse.Series([]*dump.Dump{jvm(0, gave, not, has, waiter)}, analyse.Options{}).Chains
	if len(c) != 1 || c[0].Root == nil || c[0].Root.ID != "2" {
		t.Errorf("the holder is not the thread that has the lock: %+v", c)
	}
}

func TestVirtualThreadsOfTheOtherForm(t *testing.T) {
	t.Parallel()
	other := jvm(1, thread(1, "main", dump.Waiting, inIdle), thread(50, "", dump.TimedWaiting, inHikari), thread(51, "", dump.TimedWaiting, inHikari))
	other.Format = dump.HotSpotJSON
	other.Threads[1].Virtual, other.Threads[2].Virtual = true, true
	r := analyse.Series([]*dump.Dump{jvm(0, thread(1, "main", dump.Waiting, inIdle)), other}, analyse.Options{})
	if r.Picture != 0 || r.Threads != 3 || r.Virtual != 2 || r.Verdict().Kind != analyse.Connections {
		t.Errorf("the picture is of dump %d: %d threads, %d virtual; %s", r.Picture, r.Threads, r.Virtual, r.Verdict())
	}
}

func TestByLine(t *testing.T) {
	t.Parallel()
	a, b := thread(1, "a", dump.Running, inShop), thread(2, "b", dump.Running, append([]dump.Frame{}, inShop...))
	b.Stack[0].Line++
	for want, o := range map[int]analyse.Options{1: {}, 2: {ByLine: true}} {
		if got := len(analyse.Series([]*dump.Dump{jvm(0, a, b)}, o).Groups); got != want {
			t.Errorf("by line %v: %d groups, want %d", o.ByLine, got, want)
		}
	}
}

// TestEveryKindIsToldInTheReference: who reads a finding finds there what it means.
func TestEveryKindIsToldInTheReference(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/reference/dumps.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range analyse.FindingKinds() {
		if !strings.Contains(string(text), "\n| `"+string(kind)+"` |") {
			t.Errorf("docs/reference/dumps.md does not tell what %q means", kind)
		}
		if said := (analyse.Finding{Kind: kind, Threads: 2, Of: 3, Hosts: []string{"a"}, OfHosts: 2}).String(); strings.Contains(said, "%!") || strings.TrimSpace(said) == string(kind) {
			t.Errorf("%q is said as %q", kind, said)
		}
	}
}
