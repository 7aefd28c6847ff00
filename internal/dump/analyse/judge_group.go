package analyse

import (
	"cmp"
	"slices"
)

// minHang is the threads of a host from which it is said to hang somewhere.
const minHang = 3

// judge gives the findings about the group, the gravest first.
func (g *GroupReport) judge() []Finding {
	same := g.judgeClusters()
	all := append(same, g.judgeTogether(same, Warning)...)
	for _, h := range g.Hosts {
		if f, odd := g.judgeOdd(h); odd {
			all = append(all, f)
		}
	}
	if !slices.ContainsFunc(all, Finding.isProblem) { // then what each host only notes is worth telling
		all = g.judgeTogether(nil, Note)
	}
	if !slices.ContainsFunc(all, Finding.isProblem) {
		all = append(all, g.nothing())
	}
	sortFindings(all)
	return all
}

// nothing says that nothing stands out, or that there was nothing to look at.
func (g *GroupReport) nothing() Finding {
	f := Finding{Kind: Nothing, Severity: Note, Threads: g.Threads, OfHosts: len(g.Hosts)}
	if g.Threads == 0 {
		f.Kind, f.Severity = NoThreads, Warning
		return f
	}
	seen, missed := map[Aspect]bool{}, map[Aspect]bool{}
	for _, h := range g.Hosts {
		if h.Threads > 0 {
			f.Hosts = append(f.Hosts, h.Name)
			f.Dumps = max(f.Dumps, len(h.Report.Dumps))
		}
		for _, own := range h.Report.Findings {
			for _, a := range own.Looked {
				seen[a] = true
			}
			for _, a := range own.Missed {
				missed[a] = true
			}
		}
	}
	for _, a := range Aspects() {
		switch {
		case missed[a]: // on one host at least
			f.Missed = append(f.Missed, a)
		case seen[a]:
			f.Looked = append(f.Looked, a)
		}
	}
	return f
}

// judgeClusters tells where several hosts hang.
func (g *GroupReport) judgeClusters() []Finding {
	reports := map[string]*Report{}
	for _, h := range g.Hosts {
		reports[h.Name] = h.Report
	}
	var found []Finding
	for _, c := range g.Clusters {
		if c.Idle || !mayHang(c.Does.Kind) {
			continue
		}
		f := Finding{Kind: SameFrame, Severity: Warning, Frame: c.Frame, Does: c.Does, OfHosts: len(g.Hosts), Key: c.Key}
		for _, share := range c.Hosts {
			if severity, hang := hangs(c, share, reports[share.Name]); hang {
				f.Severity = graver(f.Severity, severity)
				f.Hosts, f.Threads, f.Of = append(f.Hosts, share.Name), f.Threads+share.Threads, f.Of+share.Of
			}
		}
		if len(f.Hosts) < 2 {
			continue
		}
		if 2*len(f.Hosts) >= len(g.Hosts) && (c.Does.Kind != SocketRead || c.Does.Peer != "") {
			f.Severity = Alarm
		}
		found = append(found, f)
	}
	return found
}

func mayHang(k DoingKind) bool { return shouldAnswer(k) && k != OnCPU || k == Result || k == Channel }

// hangs tells whether a host hangs at a cluster's frame, and how gravely: its own
// report says so, or half of its busy threads are there.
func hangs(c Cluster, share HostShare, r *Report) (Severity, bool) {
	if share.Threads < minHang {
		return Note, false
	}
	for _, f := range r.Findings {
		switch {
		case f.Severity == Note || !f.isProblem():
		case f.Frame == c.Frame && f.Does.Kind == c.Does.Kind:
			return f.Severity, true
		case c.Does.Kind == WaitsLock && (f.Kind == LockHeld || f.Kind == Deadlocked):
			return f.Severity, true
		}
	}
	busy := r.Threads - r.Idle - r.Internal
	return Warning, c.Does.Kind != Channel && share.Threads >= minSamePlace && 2*share.Threads >= busy
}

func graver(a, b Severity) Severity {
	if severityRank[a] < severityRank[b] {
		return a
	}
	return b
}

// judgeTogether puts the findings of all hosts about the same thing together, of
// problems those that are at least so grave. What a cluster says already is not
// said twice.
func (g *GroupReport) judgeTogether(same []Finding, least Severity) []Finding {
	byWhat := map[string]*Finding{}
	var order []string
	for _, h := range g.Hosts {
		merged := map[string]bool{}
		for _, f := range h.Report.Findings {
			if f.Kind == Nothing || f.isProblem() && severityRank[f.Severity] > severityRank[least] || isToldBy(f, same) {
				continue
			}
			key := f.identity()
			if merged[key] && f.Kind != Deadlocked {
				key += " " + f.Subject + f.Holder
			}
			merged[key] = true
			if byWhat[key] == nil {
				byWhat[key] = &Finding{}
				order = append(order, key)
			}
			byWhat[key].merge(f, h.Name)
		}
	}
	found := make([]Finding, 0, len(order))
	for _, key := range order {
		f := byWhat[key]
		f.OfHosts = len(g.Hosts)
		if len(f.Hosts) > 1 {
			f.IDs, f.HolderID = nil, ""
		}
		found = append(found, *f)
	}
	return found
}

func isToldBy(f Finding, same []Finding) bool {
	return (f.Kind == SamePlace || f.Kind == StuckThreads || f.Kind == LongWait) && slices.ContainsFunc(same, func(s Finding) bool {
		return s.Frame == f.Frame && s.Does.Kind == f.Does.Kind
	})
}

// merge adds what another host says about the same thing. The words are those
// of the host with the most threads; who holds what differs between hosts.
func (f *Finding) merge(o Finding, host string) {
	if f.Kind == "" {
		*f = o
		f.Hosts = []string{host}
		return
	}
	sum := *f
	if o.Threads > f.Threads && !slices.Contains(f.Hosts, host) {
		sum = o
	}
	if o.Holder != f.Holder {
		sum.Holder, sum.HolderID = "", ""
	}
	sum.Severity = graver(f.Severity, o.Severity)
	sum.Hosts = f.Hosts
	if !slices.Contains(sum.Hosts, host) {
		sum.Hosts, sum.Of = append(sum.Hosts, host), f.Of+o.Of
	}
	sum.Threads, sum.At, sum.Behind, sum.Dealing, sum.Grown = f.Threads+o.Threads, f.At+o.At, f.Behind+o.Behind, f.Dealing+o.Dealing, f.Grown+o.Grown
	sum.Percent, sum.Span, sum.Dumps, sum.Depth = max(f.Percent, o.Percent), max(f.Span, o.Span), max(f.Dumps, o.Dumps), max(f.Depth, o.Depth)
	*f = sum
}

// judgeOdd tells of a host that differs from its neighbours: by where its
// threads are, if by that, else by what is furthest.
func (g *GroupReport) judgeOdd(h HostReport) (Finding, bool) {
	if !h.Outlier {
		return Finding{}, false
	}
	best := slices.MinFunc(h.Differs, func(a, b Deviation) int { return cmp.Compare(deviationRank(a), deviationRank(b)) })
	return Finding{Kind: OddHost, Severity: Warning, Subject: h.Name, Threads: h.Threads, Deviation: &best, Hosts: []string{h.Name}, OfHosts: len(g.Hosts), Frame: best.Frame, Key: best.Key}, true
}

func deviationRank(d Deviation) int {
	return slices.Index([]DeviationKind{ByCluster, ByFinding, ByState, ByThreads}, d.Kind)
}
