package analyse_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
)

func of(pid int, d *dump.Dump) *dump.Dump {
	d.Header = &dump.Header{PID: pid, Host: "shop01"}
	return d
}

func renumbered(threads []dump.Thread) []dump.Thread {
	for i := range threads {
		threads[i].ID += "00"
	}
	return threads
}

func TestCompare(t *testing.T) {
	t.Parallel()
	aged := func(seconds int, d *dump.Dump) *dump.Dump {
		for i := range d.Threads {
			d.Threads[i].Elapsed = time.Duration(seconds) * time.Second
		}
		return d
	}
	for name, c := range map[string]struct {
		before, after               *dump.Dump
		want                        string
		restarted                   bool
		same, moved, appeared, left int
	}{
		"restart that helped": {
			before: of(7, jvm(0, queue(dump.Running, inQuery)...)), after: of(8, jvm(9, many(1, 40, "http-", dump.Waiting, inIdle)...)),
			want: "The 39 threads that waited for `http-17` are gone; so is 1 other finding.", restarted: true, moved: 40,
		},
		"restart that numbers anew": {
			before: of(7, works()), after: of(8, jvm(9, all(many(901, 2, "other-", dump.Waiting, inIdle), renumbered(works().Threads))...)),
			want: "Nothing changed that stands out.", restarted: true, same: 100, appeared: 2,
		},
		"restart in a container": {
			before: aged(500, of(1, jvm(0, queue(dump.Running, inQuery)...))), after: aged(5, of(1, jvm(9, queue(dump.Running, inQuery)...))),
			want: "Still there: 39 of 40 threads wait for `http-17`", restarted: true, same: 40,
		},
		"restart after which a pool is called anew": {
			before: of(7, jvm(0, many(31, 12, "qtp1490180672-", dump.Running, inQuery)...)), after: of(8, jvm(9, renumbered(many(31, 12, "qtp777001234-", dump.Running, inQuery))...)),
			want: "Still there: Pool `qtp777001234` is exhausted: all its 12 threads are busy", restarted: true, same: 12,
		},
		"grows worse": {
			before: works(), after: jvm(1, deadlocked()...), want: "New: Deadlock: `transfer-1`", appeared: 4, left: 100,
		},
		"threads move": {
			before: jvm(0, thread(1, "a", dump.Running, inShop), thread(2, "b", dump.Running, inShop)), after: jvm(1, thread(2, "b", dump.Running, inShop), thread(1, "a", dump.Waiting, inIdle), thread(3, "c", dump.Waiting, inIdle)),
			want: "Nothing stood out before, and nothing does now; 1 of 3 threads are somewhere else.", same: 1, moved: 1, appeared: 1,
		},
		"nothing changes": {before: works(), after: works(), want: "Nothing changed that stands out.", same: 100},
		"no dumps":        {want: "Nothing changed that stands out."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := analyse.Compare(c.before, c.after, analyse.Options{})
			if got := d.Verdict().String(); !strings.HasPrefix(got, c.want) {
				t.Errorf("the sentence is %q, want %q", got, c.want)
			}
			if d.Restarted != c.restarted || d.Same != c.same || d.Moved != c.moved || d.Appeared != c.appeared || d.Gone != c.left {
				t.Errorf("restarted %v, %d same, %d moved, %d appeared, %d gone; want %v, %d, %d, %d, %d", d.Restarted, d.Same, d.Moved, d.Appeared, d.Gone, c.restarted, c.same, c.moved, c.appeared, c.left)
			}
			if len(d.Threads) != d.Moved+d.Appeared+d.Gone {
				t.Errorf("%d moves are listed of %d", len(d.Threads), d.Moved+d.Appeared+d.Gone)
			}
			for _, g := range d.Groups {
				if g.Before == g.After {
					t.Errorf("a group that did not change is listed: %+v", g)
				}
			}
		})
	}
}

func TestPicture(t *testing.T) {
	t.Parallel()
	text := jvm(0, thread(1, "main", dump.Running, inShop))
	other := jvm(0, thread(1, "main", dump.Running, inShop), thread(2, "virtual", dump.Waiting, inIdle))
	other.Format, other.Threads[1].Virtual = dump.HotSpotJSON, true
	empty := jvm(1)
	for name, c := range map[string]struct {
		dumps []*dump.Dump
		want  dump.Format
		names string
	}{
		"two forms":    {[]*dump.Dump{text, other}, dump.HotSpot, "main virtual"},
		"one form":     {[]*dump.Dump{other}, dump.HotSpotJSON, "main virtual"},
		"and an empty": {[]*dump.Dump{text, empty}, dump.HotSpot, "main"},
		"the kernel's": {[]*dump.Dump{text, kernel("S (sleeping)", dump.Waiting, nil)}, dump.HotSpot, "main"},
		"no threads":   {[]*dump.Dump{empty}, dump.HotSpot, ""},
	} {
		got := analyse.Picture(c.dumps)
		var names []string
		for _, t := range got.Threads {
			names = append(names, t.Name)
		}
		if got.Format != c.want || strings.Join(names, " ") != c.names {
			t.Errorf("%s: it is of %s with %q, want %s with %q", name, got.Format, names, c.want, c.names)
		}
	}
	if analyse.Picture(nil) != nil {
		t.Error("of nothing there is a picture")
	}
}

func TestRuntimesAreNotMixed(t *testing.T) {
	t.Parallel()
	j, g, k := jvm(0), golang(0), kernel("S (sleeping)", dump.Waiting, nil)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"pair of one":     {analyse.CheckPair(j, jvm(1)), ""},
		"pair of two":     {analyse.CheckPair(j, k), "one dump is of jvm, the other of process: they can't be compared"},
		"series":          {analyse.CheckSeries([]*dump.Dump{j, k, j}), ""},
		"series of two":   {analyse.CheckSeries([]*dump.Dump{k, g, j}), "one dump is of go, the other of jvm: they are not of one process"},
		"series of none":  {analyse.CheckSeries(nil), ""},
		"series, kernels": {analyse.CheckSeries([]*dump.Dump{k, k}), ""},
	} {
		if got := fmt.Sprint(c.err); (c.err == nil) != (c.want == "") || c.err != nil && !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %v, want %q", name, c.err, c.want)
		}
	}
}
