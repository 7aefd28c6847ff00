package restart

import (
	"fmt"
	"slices"
	"strings"
)

// Resolved is what a strategy means for the hosts of one plan, in numbers: what
// a person confirms.
type Resolved struct {
	Healthy  int      `json:"healthy"`             // hosts healthy at the plan, those left out included: what min_available counts
	Keep     int      `json:"keep"`                // how many of them must stay healthy; 0 = min_available sets no limit
	WhenDown WhenDown `json:"when_down,omitempty"` // "" = the scenario has none
	// Longest is how long all batches may take by the scenario's own limits, one
	// after the other: taking evidence and waiting for a person are not in it.
	Longest  Duration `json:"longest"`
	Warnings []string `json:"warnings,omitempty"` // of what the strategy does with these hosts
}

// WhenDown says whether a scenario's when_down is used, or why not.
type WhenDown string

// The answers.
const (
	WhenDownUsed        WhenDown = "used"
	WhenDownSomeHealthy WhenDown = "some-healthy" // a host is healthy
	WhenDownSomeUnknown WhenDown = "some-unknown" // a chosen host may be: it could not be asked
)

// ResolvedDeadline is how long a host has to become healthy; 0 = nothing is waited for.
func (h Health) ResolvedDeadline() Duration {
	if h.Deadline == 0 && !h.Empty() {
		return DefaultDeadline
	}
	return h.Deadline
}

// PerHost is the longest that a host may take by the scenario's own limits:
// drain and run, health, undrain.
func (s Scenario) PerHost() Duration {
	d := s.Strategy.Defaults().TaskTimeout + s.Health.ResolvedDeadline()
	if s.Steps.Undrain != nil {
		d += s.Strategy.Defaults().TaskTimeout // as long as drain and run
	}
	return d
}

// dumpsAtOnce bounds a thread dump, which goes to all hosts at once.
const dumpsAtOnce = 50

// Settle resolves the strategy of a plan for its hosts, which are in order and
// have been looked at: batches, and what min_available keeps. CodeConflict
// where min_available would not let the first healthy host be touched, ever;
// what a later batch can't do is a warning, since it ends in a pause.
func (p *Plan) Settle(perHost Duration) error {
	if p.Kind == KindThreadDump {
		p.Strategy.MinAvailable = "" // a dump takes no host down
	}
	chosen := p.Chosen()
	r := Resolved{}
	for _, h := range p.Hosts {
		if h.Health == HealthHealthy {
			r.Healthy++
		}
	}
	sizes := p.Strategy.Batches
	if len(p.Strategy.WhenDown) > 0 {
		r.WhenDown = whenDown(r.Healthy, chosen)
		if r.WhenDown == WhenDownUsed {
			sizes = p.Strategy.WhenDown
		}
	}
	if p.Kind == KindThreadDump {
		sizes, r.WhenDown = []Amount{{Count: dumpsAtOnce}}, ""
	}
	p.Batches = ResolveBatches(sizes, len(chosen))
	n := Duration(len(p.Batches))
	r.Longest = n*perHost + max(n-1, 0)*p.Strategy.PauseBetween
	var err error
	if r.Keep, err = MinAvailable(p.Strategy.MinAvailable, r.Healthy); err != nil {
		return err
	}
	if p.Strategy.HoldAfterFirst && len(p.Batches) == 1 && len(chosen) > 1 && p.Kind != KindThreadDump {
		r.Warnings = append(r.Warnings, fmt.Sprintf("hold_after_first can't hold anything: the first batch is all %d hosts", len(chosen)))
	}
	p.Resolved = &r
	return p.checkKeep(chosen)
}

func whenDown(healthy int, chosen []PlannedHost) WhenDown {
	switch {
	case healthy > 0:
		return WhenDownSomeHealthy
	case slices.ContainsFunc(chosen, func(h PlannedHost) bool { return h.Health == HealthUnknown }):
		return WhenDownSomeUnknown
	default:
		return WhenDownUsed
	}
}

// checkKeep finds the batches that min_available can never let start: of the
// hosts that it counts, those outside of the batch can't be more than they are
// now.
func (p *Plan) checkKeep(chosen []PlannedHost) error {
	r, position := p.Resolved, 0
	first := true // no batch before has a healthy host
	for i, size := range p.Batches {
		var healthy []string
		for _, h := range chosen[position : position+size] {
			if h.Health == HealthHealthy {
				healthy = append(healthy, h.Name)
			}
		}
		position += size
		never := len(healthy) > 0 && r.Healthy-len(healthy) < r.Keep
		switch {
		case never && first:
			return p.neverStarts(i, healthy)
		case never:
			r.Warnings = append(r.Warnings, fmt.Sprintf("batch %d touches %d healthy hosts at once, and min_available %s keeps %d of %d: the run will pause before it",
				i+1, len(healthy), p.Strategy.MinAvailable, r.Keep, r.Healthy))
			return nil // one is enough: the run gets no further
		}
		first = first && len(healthy) == 0
	}
	return nil
}

func (p *Plan) neverStarts(batch int, healthy []string) error {
	r, rule := p.Resolved, p.Strategy.MinAvailable
	if r.Keep < r.Healthy {
		return Errorf(CodeConflict, "min_available %s keeps %d of %d healthy, and batch %d touches %d of them at once: it can never start", rule, r.Keep, r.Healthy, batch+1, len(healthy)).
			WithHint("use a scenario with smaller batches or one that keeps fewer, or leave out healthy hosts (%s)", few(healthy))
	}
	var all []string // of every batch: leaving out those of the first leads to the next
	chosen := p.Chosen()
	for _, h := range chosen {
		if h.Health == HealthHealthy {
			all = append(all, h.Name)
		}
	}
	hint := "wait until more hosts of the group are healthy, or use a scenario that keeps fewer"
	if len(all) < len(chosen) && p.Parent == "" { // else nothing would be left, or nothing can be left out
		hint = "leave out the healthy hosts (" + few(all) + "), " + hint
	}
	return Errorf(CodeConflict, "min_available %s keeps %d healthy, and %d are: no healthy host can be touched", rule, r.Keep, r.Healthy).WithHint("%s", hint)
}

func few(hosts []string) string {
	const most = 5
	list := strings.Join(hosts[:min(len(hosts), most)], ", ")
	if more := len(hosts) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
