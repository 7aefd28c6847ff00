package analyse

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

// Host is the dumps of one service on one host, in order.
type Host struct {
	Name  string
	Dumps []*dump.Dump
}

// GroupReport is what the dumps of several hosts say together.
type GroupReport struct {
	Hosts    []HostReport `json:"hosts"` // by name
	Threads  int          `json:"threads"`
	Findings []Finding    `json:"findings"` // the gravest first, then on the most hosts; never empty
	Clusters []Cluster    `json:"clusters"` // busy ones first, by hosts, then by threads; their Threads add up to Threads
	Flame    *Flame       `json:"flame"`    // of one dump of each host: the one that its report tells of
}

// HostReport is one host of a group.
type HostReport struct {
	Name    string             `json:"name"`
	Threads int                `json:"threads"`
	States  map[dump.State]int `json:"states"`
	Verdict Finding            `json:"verdict"`
	Outlier bool               `json:"outlier"`
	Differs []Deviation        `json:"differs,omitempty"` // from its neighbours; the furthest first
	Report  *Report            `json:"-"`
}

// Cluster is the threads of all hosts that stand at the same frame and do the
// same there.
type Cluster struct {
	Key     string      `json:"key"`
	Frame   string      `json:"frame"` // the innermost that is not the runtime's, else the innermost; "" = no stacks
	Does    Doing       `json:"does"`
	Idle    bool        `json:"idle,omitempty"`
	Threads int         `json:"threads"`
	Hosts   []HostShare `json:"hosts"` // by name; only those that have some
}

// HostShare is one host's part of a cluster: the way down from cluster to host
// to thread.
type HostShare struct {
	Name    string   `json:"name"`
	Threads int      `json:"threads"`
	Of      int      `json:"of"`     // threads of the host
	Groups  []string `json:"groups"` // Keys of the host's StackGroups
	IDs     []string `json:"ids"`    // at most MaxIDs
}

// DeviationKind says in what a host differs.
type DeviationKind string

// The kinds of deviations.
const (
	ByThreads DeviationKind = "threads" // how many it has
	ByState   DeviationKind = "state"   // how many are in State
	ByCluster DeviationKind = "cluster" // how many stand at Frame
	ByFinding DeviationKind = "finding" // it has a grave Finding that most others lack
)

// Deviation compares one host with its neighbours in one respect.
type Deviation struct {
	Kind    DeviationKind `json:"kind"`
	State   dump.State    `json:"state,omitempty"`
	Frame   string        `json:"frame,omitempty"`
	Key     string        `json:"key,omitempty"` // of the Cluster
	Finding FindingKind   `json:"finding,omitempty"`
	Threads int           `json:"threads"` // on the host
	Median  float64       `json:"median"`  // of the others
	Far     bool          `json:"far"`     // it is an outlier in this respect
}

// Verdict gives the finding to show first.
func (g *GroupReport) Verdict() Finding {
	if len(g.Findings) == 0 {
		return Finding{Kind: NoThreads, Severity: Note}
	}
	return g.Findings[0]
}

// Together gives the gravest of what the dumps of hosts say, each host by itself:
// verdicts is by the host's name. It counts the threads of all hosts that say the
// same, as Group does. false = there are no hosts.
func Together(verdicts map[string]Finding) (Finding, bool) {
	if len(verdicts) == 0 {
		return Finding{}, false
	}
	byWhat := map[string]*Finding{}
	for _, host := range slices.Sorted(maps.Keys(verdicts)) {
		f := verdicts[host]
		key := f.identity()
		if byWhat[key] == nil {
			byWhat[key] = &Finding{}
		}
		byWhat[key].merge(f, host)
	}
	all := make([]Finding, 0, len(byWhat))
	for _, f := range byWhat {
		if len(verdicts) == 1 {
			f.Hosts = nil
		} else {
			f.OfHosts = len(verdicts)
		}
		if len(f.Hosts) > 1 {
			f.IDs, f.HolderID = nil, ""
		}
		all = append(all, *f)
	}
	sortFindings(all)
	return all[0], true
}

// Group says what the dumps of several hosts say together. Hosts without a
// dump are in the report, with no threads.
func Group(hosts []Host, o Options) *GroupReport {
	l := NewLens(o)
	hosts = slices.Clone(hosts)
	slices.SortStableFunc(hosts, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	g := &GroupReport{Hosts: []HostReport{}}
	var pictures []*dump.Dump
	table := newClusterTable()
	for _, h := range hosts {
		s := newSeries(l, h.Dumps)
		r := s.report()
		g.Hosts = append(g.Hosts, HostReport{Name: h.Name, Threads: r.Threads, States: r.States, Verdict: r.Verdict(), Report: r})
		g.Threads += r.Threads
		pictures = append(pictures, s.picture.dump)
		table.add(h.Name, s.picture)
	}
	g.Clusters = table.clusters()
	g.Flame = newFlame(l, pictures, FlameOptions{})
	for i := range g.Hosts {
		h := &g.Hosts[i]
		h.Differs = slices.DeleteFunc(g.deviations(i), func(d Deviation) bool { return !d.Far })
		h.Outlier = len(h.Differs) > 0
	}
	g.Findings = g.judge()
	return g
}

// Beside compares one host with the others in every respect, the furthest
// first; nil = the group has no such host. HostReport.Differs is what of it is far.
func (g *GroupReport) Beside(host string) []Deviation {
	i := slices.IndexFunc(g.Hosts, func(h HostReport) bool { return h.Name == host })
	if i < 0 {
		return nil
	}
	return g.deviations(i)
}

// clusterTable puts the threads of all hosts together.
type clusterTable struct {
	byKey map[clusterKey]*clusterPart
}

type clusterKey struct {
	kind  DoingKind
	frame string
	idle  bool
}

// clusterPart is a cluster in the making: its hosts in order, and the threads of
// each.
type clusterPart struct {
	hosts   []HostShare
	threads [][]*seen
}

func newClusterTable() *clusterTable {
	return &clusterTable{byKey: map[clusterKey]*clusterPart{}}
}

func (table *clusterTable) add(host string, s *scene) {
	mine := map[clusterKey][]*seen{}
	for _, t := range s.threads {
		key := clusterKey{t.does.Kind, t.does.Frame, t.idle}
		mine[key] = append(mine[key], t)
	}
	for key, threads := range mine {
		part := table.byKey[key]
		if part == nil {
			part = &clusterPart{}
			table.byKey[key] = part
		}
		share := HostShare{Name: host, Threads: count(threads), Of: s.total, IDs: idsOf(threads, MaxIDs)}
		for _, t := range threads {
			share.Groups = append(share.Groups, t.stack.key())
		}
		slices.Sort(share.Groups)
		share.Groups = slices.Compact(share.Groups)
		part.hosts, part.threads = append(part.hosts, share), append(part.threads, threads)
	}
}

func (table *clusterTable) clusters() []Cluster {
	clusters := make([]Cluster, 0, len(table.byKey))
	for key, part := range table.byKey {
		c := Cluster{Key: key.hash(), Frame: key.frame, Idle: key.idle, Hosts: part.hosts}
		for _, h := range part.hosts {
			c.Threads += h.Threads
		}
		c.Does, _ = most(slices.Concat(part.threads...))
		clusters = append(clusters, c)
	}
	slices.SortFunc(clusters, func(a, b Cluster) int {
		return cmp.Or(falseFirst(a.Idle, b.Idle), cmp.Compare(len(b.Hosts), len(a.Hosts)), cmp.Compare(b.Threads, a.Threads), strings.Compare(a.Frame, b.Frame), strings.Compare(a.Key, b.Key))
	})
	return clusters
}

func (k clusterKey) hash() string {
	sum := sha256.Sum256([]byte(string(k.kind) + "\n" + k.frame + "\n" + strconv.FormatBool(k.idle)))
	return hex.EncodeToString(sum[:8])
}
