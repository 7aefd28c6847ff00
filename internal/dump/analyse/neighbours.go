package analyse

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// minNeighbours is the hosts from which one can be told to differ from the
// others; farThreads is by how many threads at least.
const (
	minNeighbours = 3
	farThreads    = 5
)

// deviations compares host i with the others, the furthest first.
func (g *GroupReport) deviations(i int) []Deviation {
	if g.Hosts[i].Threads == 0 {
		return nil
	}
	all := []Deviation{g.deviation(i, Deviation{Kind: ByThreads}, func(h int) int { return g.Hosts[h].Threads })}
	for _, state := range dump.States() {
		of := func(h int) int { return g.Hosts[h].States[state] }
		if slices.ContainsFunc(g.Hosts, func(h HostReport) bool { return h.States[state] > 0 }) {
			all = append(all, g.deviation(i, Deviation{Kind: ByState, State: state}, of))
		}
	}
	for _, c := range g.Clusters {
		if c.Idle {
			continue
		}
		shares := map[string]int{}
		for _, h := range c.Hosts {
			shares[h.Name] = h.Threads
		}
		all = append(all, g.deviation(i, Deviation{Kind: ByCluster, Frame: c.Frame, Key: c.Key}, func(h int) int { return shares[g.Hosts[h].Name] }))
	}
	all = append(all, g.oddFindings(i)...)
	slices.SortStableFunc(all, func(a, b Deviation) int {
		return cmp.Or(falseFirst(!a.Far, !b.Far), cmp.Compare(b.distance(), a.distance()), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Frame, b.Frame), strings.Compare(string(a.State), string(b.State)))
	})
	return all
}

func (d Deviation) distance() float64 { return math.Abs(float64(d.Threads) - d.Median) }

// deviation fills in the numbers. A host is far from the others when it differs
// from their median by five threads and by half, and three quarters of them
// differ from it less than half as much: where there are two camps, nobody is odd.
func (g *GroupReport) deviation(i int, d Deviation, of func(host int) int) Deviation {
	var others []float64
	for h := range g.Hosts {
		if h != i && g.Hosts[h].Threads > 0 {
			others = append(others, float64(of(h)))
		}
	}
	d.Threads, d.Median = of(i), median(others)
	near := 0
	for _, v := range others {
		if 2*math.Abs(v-d.Median) < d.distance() {
			near++
		}
	}
	mine := float64(d.Threads)
	d.Far = len(others)+1 >= minNeighbours && d.distance() >= farThreads && 4*near >= 3*len(others) && max(mine, d.Median) >= 2*min(mine, d.Median)
	return d
}

// oddFindings gives the grave findings that host i has, and at most a third of all.
func (g *GroupReport) oddFindings(i int) []Deviation {
	hosts := 0
	having := map[FindingKind]int{}
	for _, h := range g.Hosts {
		if h.Threads == 0 {
			continue
		}
		hosts++
		for kind := range graveKinds(h.Report) {
			having[kind]++
		}
	}
	if hosts < minNeighbours {
		return nil
	}
	var odd []Deviation
	for kind, threads := range graveKinds(g.Hosts[i].Report) {
		if 3*having[kind] <= hosts {
			odd = append(odd, Deviation{Kind: ByFinding, Finding: kind, Threads: threads, Far: true})
		}
	}
	slices.SortFunc(odd, func(a, b Deviation) int { return cmp.Compare(kindRank[a.Finding], kindRank[b.Finding]) })
	return odd
}

// graveKinds gives the kinds of alarms that a report has, with their threads.
func graveKinds(r *Report) map[FindingKind]int {
	kinds := map[FindingKind]int{}
	for _, f := range r.Findings {
		if f.Severity == Alarm && f.isProblem() {
			kinds[f.Kind] += f.Threads
		}
	}
	return kinds
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}
