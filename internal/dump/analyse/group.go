package analyse

import (
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

// Group says what the dumps of several hosts say together. Hosts without a
// dump are in the report, with no threads.
func Group(hosts []Host, o Options) *GroupReport { return &GroupReport{} }

// Beside compares one host with the others in every respect, the furthest
// first; nil = the group has no such host. HostReport.Differs is what of it is far.
func (g *GroupReport) Beside(host string) []Deviation { return nil }
