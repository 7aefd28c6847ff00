package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Coverage counts which fault met a run, a task or a host in which state.
type Coverage struct {
	mu     sync.Mutex
	counts map[string]map[string]int // fault → state → times
}

// NewCoverage returns one that has counted nothing.
func NewCoverage() *Coverage { return &Coverage{counts: map[string]map[string]int{}} }

func (c *Coverage) met(fault string, stations []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	row := c.counts[fault]
	if row == nil {
		row = map[string]int{}
		c.counts[fault] = row
	}
	for _, s := range stations {
		row[s]++
	}
}

// Missing lists the pairs that never met, of all faults and states that did.
// Runs that are over are left out: there is little to break.
func (c *Coverage) Missing() (out []string) {
	faults, states := c.axes()
	over := []string{"run completed", "run failed", "run aborted"}
	for _, f := range faults {
		for _, s := range states {
			if c.counts[f][s] == 0 && !slices.Contains(over, s) {
				out = append(out, s+" × "+f)
			}
		}
	}
	return out
}

func (c *Coverage) axes() (faults, states []string) {
	seen := map[string]bool{}
	for _, row := range c.counts {
		for s := range row {
			seen[s] = true
		}
	}
	return slices.Sorted(maps.Keys(c.counts)), slices.Sorted(maps.Keys(seen))
}

// String is the table: a line a fault, a column a state.
func (c *Coverage) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	faults, states := c.axes()
	var b strings.Builder
	fmt.Fprintf(&b, "%-30s", "fault \\ met")
	for i := range states {
		fmt.Fprintf(&b, " %7s", fmt.Sprintf("[%d]", i+1))
	}
	b.WriteByte('\n')
	for _, f := range faults {
		fmt.Fprintf(&b, "%-30s", f)
		for _, s := range states {
			fmt.Fprintf(&b, " %7d", c.counts[f][s])
		}
		b.WriteByte('\n')
	}
	for i, s := range states {
		fmt.Fprintf(&b, "[%d] %s\n", i+1, s)
	}
	return b.String()
}
