package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// percentile gives the value below or at which p percent of the sorted values
// lie (nearest rank); 0 of nothing.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// outcome is what one injection met.
type outcome struct {
	kind     string
	tasks    int // in hand when it came
	unknown  int // called unknown afterwards
	recovery []time.Duration
}

// figures gather what happened, from all lanes.
type figures struct {
	mu       sync.Mutex
	seed     uint64
	began    time.Time
	outcomes []outcome
	missed   map[string]int // by kind: fell where it could not be made
	tasks    int            // of all runs
	unknown  int
	runs     int
	dup      int64 // records stored twice, by the remote log or the file
	findings []finding
	absent   map[string]string // by kind: why it can't be made here
}

// percentiles of the time to recovery, in milliseconds.
type percentiles struct {
	P50 int64 `json:"p50"`
	P99 int64 `json:"p99"`
}

// result is the one line that a run ends with.
type result struct {
	Injections int            `json:"injections"`
	Double     int            `json:"double_executions"`
	Lost       int            `json:"lost_tasks"`
	Unknown    int            `json:"unknown"`
	Gaps       int            `json:"audit_gaps"`
	Duplicates int64          `json:"audit_duplicates"`
	Recovery   percentiles    `json:"recovery_ms"`
	Seed       uint64         `json:"seed"`
	Untrue     int            `json:"untrue_outcomes"`
	After      int            `json:"touched_after_stop"`
	Stuck      int            `json:"stuck_runs"`
	Runs       int            `json:"runs"`
	Tasks      int            `json:"tasks"`
	Rate       float64        `json:"unknown_rate"`
	Kinds      map[string]int `json:"kinds"`
	Missed     int            `json:"missed"`
	Seconds    float64        `json:"seconds"`
}

func recoveries(outcomes []outcome) []time.Duration {
	var all []time.Duration
	for _, o := range outcomes {
		all = append(all, o.recovery...)
	}
	slices.Sort(all)
	return all
}

func percentilesOf(sorted []time.Duration) percentiles {
	return percentiles{percentile(sorted, 50).Milliseconds(), percentile(sorted, 99).Milliseconds()}
}

func (f *figures) result() result {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := result{
		Injections: len(f.outcomes), Unknown: f.unknown, Duplicates: f.dup, Seed: f.seed, Runs: f.runs, Tasks: f.tasks,
		Recovery: percentilesOf(recoveries(f.outcomes)), Kinds: map[string]int{}, Seconds: math.Round(time.Since(f.began).Seconds()*10) / 10,
	}
	for _, o := range f.outcomes {
		r.Kinds[o.kind]++
	}
	for _, n := range f.missed {
		r.Missed += n
	}
	if f.tasks > 0 {
		r.Rate = math.Round(float64(f.unknown)/float64(f.tasks)*1e4) / 1e4
	}
	for _, x := range f.findings {
		switch x.Kind {
		case foundDouble:
			r.Double++
		case foundLost:
			r.Lost++
		case foundUntrue:
			r.Untrue++
		case foundAfter:
			r.After++
		case foundStuck:
			r.Stuck++
		case foundAudit:
			r.Gaps++
		}
	}
	return r
}

// good tells whether every promise was kept.
func (r result) good() bool { return r.Double+r.Lost+r.Gaps+r.Untrue+r.After+r.Stuck == 0 }

// line is the JSON of the result, in one line.
func (r result) line() string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error() // of plain numbers and names: can't be
	}
	return string(b)
}

// table writes a line a kind.
func (f *figures) table(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	by := map[string][]outcome{}
	for _, o := range f.outcomes {
		by[o.kind] = append(by[o.kind], o)
	}
	fmt.Fprintf(w, "| %-24s | injections | tasks met | unknown | recovery p50, ms | p99, ms |\n| %s | ---: | ---: | ---: | ---: | ---: |\n", "kind", strings.Repeat("-", 24))
	for _, kind := range slices.Sorted(maps.Keys(by)) {
		tasks, unknown := 0, 0
		for _, o := range by[kind] {
			tasks += o.tasks
			unknown += o.unknown
		}
		p := percentilesOf(recoveries(by[kind]))
		fmt.Fprintf(w, "| %-24s | %10d | %9d | %7d | %16d | %7d |\n", kind, len(by[kind]), tasks, unknown, p.P50, p.P99)
	}
	if len(f.missed)+len(f.absent) > 0 {
		fmt.Fprintln(w) // what follows is not the table
	}
	for _, kind := range slices.Sorted(maps.Keys(f.missed)) {
		fmt.Fprintf(w, "%s: %d times there was nothing to break at that moment (not counted)\n", kind, f.missed[kind])
	}
	for _, kind := range slices.Sorted(maps.Keys(f.absent)) {
		fmt.Fprintf(w, "NOT INJECTED: %s: %s\n", kind, f.absent[kind])
	}
}
