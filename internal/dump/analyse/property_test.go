package analyse_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

// stacks that random threads stand in.
var someStacks = [][]dump.Frame{inIdle, inShop, inQuery, inHikari, nil, stack("main.main"), stack("a;b\nc", "d e", "f;"), stack("threading.py:wait", "job.py:run")}

// drawThreads makes threads that wait for and hold locks at random: each lock
// has one holder, and each thread waits for one lock.
func drawThreads(t *rapid.T, most int) []dump.Thread {
	n := rapid.IntRange(0, most).Draw(t, "threads")
	threads := make([]dump.Thread, n)
	for i := range threads {
		name := rapid.SampledFrom([]string{"http-nio-8080-exec-", "pool-1-thread-", "main", "x"}).Draw(t, "name")
		threads[i] = thread(i, fmt.Sprintf("%s%d", name, i), rapid.SampledFrom(dump.States()).Draw(t, "state"), rapid.SampledFrom(someStacks).Draw(t, "stack"))
		threads[i].Internal = rapid.IntRange(0, 9).Draw(t, "internal") == 0
		if rapid.Bool().Draw(t, "counted") {
			threads[i].Count = rapid.IntRange(0, 5).Draw(t, "count")
		}
	}
	if n == 0 {
		return threads
	}
	for l := range rapid.IntRange(0, n).Draw(t, "locks") {
		holder := rapid.IntRange(0, n-1).Draw(t, "holder")
		threads[holder] = holds(threads[holder], monitor(fmt.Sprintf("0x%d", l)))
	}
	for i := range threads {
		if rapid.Bool().Draw(t, "waits") {
			threads[i] = waitsFor(threads[i], monitor(fmt.Sprintf("0x%d", rapid.IntRange(0, n).Draw(t, "lock"))))
		}
	}
	return threads
}

// circles finds by itself who is part of a circle: who comes back to itself.
func circles(threads []dump.Thread) map[string]bool {
	owner := map[string]int{}
	for i, t := range threads {
		for _, l := range t.Holds {
			if t.WaitsFor == nil || t.WaitsFor.ID != l.ID {
				owner[l.ID] = i
			}
		}
	}
	in := map[string]bool{}
	for i := range threads {
		at := i
		for range threads {
			if threads[at].WaitsFor == nil {
				break
			}
			next, known := owner[threads[at].WaitsFor.ID]
			if !known {
				break
			}
			if at = next; at == i {
				in[threads[i].ID] = true
				break
			}
		}
	}
	return in
}

func TestEveryCircleIsFoundAndNoneInvented(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		threads := drawThreads(t, 12)
		found := map[string]bool{}
		for _, d := range analyse.Series([]*dump.Dump{jvm(0, threads...)}, analyse.Options{}).Deadlocks {
			for i, m := range d.Members {
				if found[m.ID] {
					t.Fatalf("thread %s is in two deadlocks", m.ID)
				}
				found[m.ID] = true
				if next := d.Members[(i+1)%len(d.Members)].Name; m.Owner != next {
					t.Fatalf("%s waits for %s, and %s stands behind it", m.Name, m.Owner, next)
				}
			}
		}
		if want := circles(threads); fmt.Sprint(found) != fmt.Sprint(want) {
			t.Fatalf("found %v, want %v", found, want)
		}
	})
}

func TestPartsAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		threads := drawThreads(t, 40)
		want := 0
		for _, th := range threads {
			want += th.Number()
		}
		d := jvm(0, threads...)
		r := analyse.Series([]*dump.Dump{d}, analyse.Options{ByLine: rapid.Bool().Draw(t, "by line")})
		groups, states := 0, 0
		for _, g := range r.Groups {
			groups += g.Threads
			inGroup := 0
			for _, n := range g.States {
				inGroup += n
			}
			if inGroup != g.Threads {
				t.Fatalf("the states of a group add up to %d, want %d", inGroup, g.Threads)
			}
		}
		for _, n := range r.States {
			states += n
		}
		if r.Threads != want || groups != want || states != want {
			t.Fatalf("%d threads are told of as %d, in groups of %d and states of %d", want, r.Threads, groups, states)
		}
		g := analyse.Group([]analyse.Host{{Name: "a", Dumps: []*dump.Dump{d}}, {Name: "b", Dumps: []*dump.Dump{d, d}}, {Name: "c"}}, analyse.Options{})
		clusters := 0
		for _, c := range g.Clusters {
			in := 0
			for _, h := range c.Hosts {
				in += h.Threads
			}
			if in != c.Threads {
				t.Fatalf("the hosts of a cluster have %d threads, want %d", in, c.Threads)
			}
			clusters += c.Threads
		}
		if clusters != 2*want || g.Threads != 2*want || g.Flame.Root.Total != int64(2*want) {
			t.Fatalf("%d threads are told of as %d, %d in clusters, %d in the flame", 2*want, g.Threads, clusters, g.Flame.Root.Total)
		}
	})
}

func TestWeightsOfCollapsedStacksAddUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := jvm(0, drawThreads(t, 40)...)
		want := 0
		for _, th := range d.Threads {
			want += th.Number()
		}
		f := analyse.FlameOf([]*dump.Dump{d}, analyse.FlameOptions{Pools: rapid.Bool().Draw(t, "pools")})
		var out bytes.Buffer
		if err := analyse.Collapsed(&out, f); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for line := range strings.Lines(out.String()) {
			at := strings.LastIndexByte(line, ' ')
			n, err := strconv.Atoi(strings.TrimSpace(line[at:]))
			if err != nil || at <= 0 {
				t.Fatalf("no folded stack: %q", line)
			}
			sum += n
		}
		if sum != want {
			t.Fatalf("the weights add up to %d, want %d:\n%s", sum, want, out.String())
		}
	})
}

func TestOrderOfThreadsDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first, second := drawThreads(t, 30), drawThreads(t, 30)
		look := func(first, second []dump.Thread) string {
			a, b := jvm(0, first...), jvm(1, second...)
			text, err := json.Marshal([]any{
				analyse.Series([]*dump.Dump{a, b}, analyse.Options{}),
				analyse.Group([]analyse.Host{{Name: "a", Dumps: []*dump.Dump{a}}, {Name: "b", Dumps: []*dump.Dump{b}}, {Name: "c", Dumps: []*dump.Dump{a, b}}}, analyse.Options{}),
				analyse.Compare(a, b, analyse.Options{}),
			})
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		want := look(first, second)
		if got := look(rapid.Permutation(first).Draw(t, "first"), rapid.Permutation(second).Draw(t, "second")); got != want {
			t.Fatalf("another order of threads gives another report:\n%s\n%s", want, got)
		}
	})
}

func TestPlantedCircleIsFound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		threads := drawThreads(t, 20)
		size := rapid.IntRange(2, 6).Draw(t, "size")
		var want []string
		for i := range size {
			th := thread(100+i, fmt.Sprintf("planted-%d", i), dump.Blocked, inShop)
			th = waitsFor(holds(th, monitor(fmt.Sprintf("planted %d", i))), monitor(fmt.Sprintf("planted %d", (i+1)%size)))
			threads, want = append(threads, th), append(want, th.ID)
		}
		for _, d := range analyse.Series([]*dump.Dump{jvm(0, rapid.Permutation(threads).Draw(t, "order")...)}, analyse.Options{}).Deadlocks {
			var ids []string
			for _, m := range d.Members {
				ids = append(ids, m.ID)
			}
			if slices.Equal(ids, want) {
				return
			}
		}
		t.Fatalf("the circle of %v is not found", want)
	})
}
