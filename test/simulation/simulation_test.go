package simulation_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/simulation"
)

var (
	schedules = flag.Int("schedules", 3000, "histories to live through")
	seed      = flag.Uint64("seed", 0, "live through this one alone, and print what happens; 0 = all")
	first     = flag.Uint64("first", 1, "the first seed")
)

func TestHistories(t *testing.T) {
	coverage := simulation.NewCoverage()
	if *seed != 0 {
		h := simulation.Walk(*seed, os.Stdout, coverage)
		if len(h.Violations) > 0 {
			t.Fatal(h)
		}
		t.Log(h)
		return
	}
	began := time.Now()
	var next, failed, events, faults, unknown, executed atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(*schedules) || failed.Load() > 5 {
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
	n := float64(*schedules)
	fmt.Printf("%d histories in %s: %.1f events and %.1f faults each, %d scripts executed, %d tasks unknown\n%s", *schedules, time.Since(began).Round(time.Millisecond),
		float64(events.Load())/n, float64(faults.Load())/n, executed.Load(), unknown.Load(), coverage)
}
