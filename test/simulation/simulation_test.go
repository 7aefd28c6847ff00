package simulation_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/simulation"
)

var (
	schedules = flag.Int("schedules", 0, "histories to live through; 0 = as many as the kind of test allows")
	seed      = flag.Uint64("seed", 0, "live through this one alone, and print what happens; 0 = all")
	enough    = flag.Int64("enough", 5, "how many broken histories are enough")
	first     = flag.Uint64("first", 1, "the first seed")
)

// howMany histories are lived through: what CI asks for, a taste of it where
// the answer is to be quick, and under the race detector, for which a history
// of one thread has nothing.
func howMany() int {
	switch {
	case *schedules > 0:
		return *schedules
	case testing.Short():
		return 2000
	case raceDetector:
		return 3000
	}
	return 60_000
}

// Every history keeps every promise.
func TestHistories(t *testing.T) {
	coverage := simulation.NewCoverage()
	if *seed != 0 {
		h := simulation.Walk(*seed, os.Stdout, coverage)
		if len(h.Violations) > 0 {
			t.Fatal(h)
		}
		fmt.Println(h)
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // many small worlds, all of them short-lived
	began, many := time.Now(), howMany()
	var next, failed, events, faults, unknown, executed atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for failed.Load() < *enough {
				n := next.Add(1)
				if n > int64(many) {
					return
				}
				s := *first + uint64(n) - 1
				h := simulation.Walk(s, nil, coverage)
				events.Add(int64(h.Events))
				faults.Add(int64(h.Faults))
				unknown.Add(int64(h.Unknown))
				executed.Add(int64(h.Executed))
				if len(h.Violations) > 0 {
					failed.Add(1)
					t.Errorf("%s\nreplay it: go test ./test/simulation -run TestHistories -args -seed=%d", h, s)
				}
			}
		})
	}
	all.Wait()
	lived := min(next.Load(), int64(many))
	each := func(n int64) float64 { return float64(n) / float64(lived) }
	fmt.Printf("%d histories in %s: %.1f events and %.1f faults each, %d scripts executed, %d tasks unknown\n%s", lived, time.Since(began).Round(time.Millisecond),
		each(events.Load()), each(faults.Load()), executed.Load(), unknown.Load(), coverage)
	if t.Failed() {
		return
	}
	if each(events.Load()) < 50 || each(faults.Load()) < 3 {
		t.Errorf("%.1f events and %.1f faults in a history: at least 50 and 3 are promised", each(events.Load()), each(faults.Load()))
	}
	if many >= 20_000 {
		if missing := coverage.Missing(); len(missing) > 0 {
			t.Errorf("these never met: %v", missing)
		}
	}
}

// A seed gives one history, to the byte.
func TestASeedReplays(t *testing.T) {
	for s := uint64(1); s <= 60; s++ {
		var one, two bytes.Buffer
		a, b := simulation.Walk(s, &one, simulation.NewCoverage()), simulation.Walk(s, &two, simulation.NewCoverage())
		if a.Sum != b.Sum || !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Fatalf("seed %d gave %x and %x; first difference:\n%s", s, a.Sum, b.Sum, difference(one.Bytes(), two.Bytes()))
		}
	}
}

func difference(a, b []byte) string {
	one, two := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	i := slices.IndexFunc(one, func([]byte) bool { return true })
	for i < len(one) && i < len(two) && bytes.Equal(one[i], two[i]) {
		i++
	}
	at := func(lines [][]byte) []byte {
		if i < len(lines) {
			return lines[i]
		}
		return nil
	}
	return fmt.Sprintf("%s\n%s", at(one), at(two))
}
