package restart

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request is what a person asks for, before anything is resolved.
type Request struct {
	Service     string            `json:"service"`
	Scenario    string            `json:"scenario,omitempty"` // "" = the only restart scenario that fits
	Kind        Kind              `json:"kind,omitempty"`     // chooses the scenario where no name is given
	Environment string            `json:"environment,omitempty"`
	Project     string            `json:"project,omitempty"`
	Group       string            `json:"group,omitempty"`  // "" = follows from service, environment and project
	Hosts       string            `json:"hosts,omitempty"`  // host expression; instead of a group
	Except      string            `json:"except,omitempty"` // host expression of hosts to leave out
	Params      map[string]string `json:"params,omitempty"`
	Reason      string            `json:"reason"`
	Ticket      string            `json:"ticket,omitempty"`
	Rehearse    bool              `json:"rehearse,omitempty"` // every gate, check and probe for real, and no script of the scenario
}

// Same tells whether two requests ask for the same.
func (r Request) Same(o Request) bool {
	same := maps.Equal(r.Params, o.Params)
	r.Params, o.Params = nil, nil
	return same && reflect.DeepEqual(r, o)
}

// Plan is what a request resolves to: exactly which hosts, in which order and
// batches, by which reviewed bytes. It is frozen when a run is made.
type Plan struct {
	Hash        string            `json:"hash"`    // over the inventory's facts, the digest and the values
	Request     Request           `json:"request"` // what was asked; resolved again at the start
	Scenario    string            `json:"scenario"`
	Digest      string            `json:"digest"`
	Kind        Kind              `json:"kind"`
	Description string            `json:"description,omitempty"`
	Service     Service           `json:"service"`
	Environment string            `json:"environment"`
	Project     string            `json:"project,omitempty"`
	Group       string            `json:"group,omitempty"`
	Params      map[string]string `json:"params,omitempty"`
	Strategy    Strategy          `json:"strategy"`
	Holds       Holds             `json:"holds,omitempty"`    // of the service, what the run keeps others away from
	Deadline    Duration          `json:"deadline"`           // of the health section, resolved
	Evidence    []string          `json:"evidence,omitempty"` // kinds that each host is to keep from before
	Silence     []string          `json:"silence,omitempty"`  // alerts that are silent about a host while it is worked on; #host# is left in them
	Hosts       []PlannedHost     `json:"hosts"`              // in the order in which they will be touched
	Batches     []int             `json:"batches"`            // resolved sizes; their sum is the number of hosts not left out
	Resolved    *Resolved         `json:"resolved,omitempty"`
	Parent      string            `json:"parent,omitempty"`   // the run that this one is to be made from
	Work        Work              `json:"work,omitempty"`     // how much of the scenario is done on each host
	Siblings    []string          `json:"siblings,omitempty"` // runs made from Parent for the same Work and started before this plan
	Warnings    []string          `json:"warnings,omitempty"`
	Approval    string            `json:"approval,omitempty"` // that it waits for before it starts: the warning that says so, which broken glass makes untrue
	Ticket      *Ticket           `json:"ticket,omitempty"`   // that it is for, as its tracker says; nil = none, or nobody was asked
	MadeAt      time.Time         `json:"made_at"`
	InventoryAt time.Time         `json:"inventory_at"` // how old the inventory's answer is
}

// PlannedHost is one line of the plan.
type PlannedHost struct {
	Host
	Health  string `json:"health"`            // healthy | unhealthy | unknown
	Agent   string `json:"agent,omitempty"`   // "ready", or what is wrong with it in one sentence
	LeftOut bool   `json:"left_out"`          // unticked: not touched
	Beside  bool   `json:"beside,omitempty"`  // of the group, and not asked for: left out for good, and counted
	Why     string `json:"why,omitempty"`     // why it comes unticked
	Code    Code   `json:"code,omitempty"`    // of Why, where the host or its silence is the reason
	Version string `json:"version,omitempty"` // installed version of the service's package
}

// Health of a host at the plan.
const (
	HealthHealthy   = "healthy"
	HealthUnhealthy = "unhealthy"
	HealthUnknown   = "unknown"
)

// Chosen lists the hosts that will be touched, in order.
func (p Plan) Chosen() []PlannedHost {
	var out []PlannedHost
	for _, h := range p.Hosts {
		if !h.LeftOut && !h.Beside {
			out = append(out, h)
		}
	}
	return out
}

// Asked lists the hosts that were asked for, those left out included.
func (p Plan) Asked() []PlannedHost {
	return slices.DeleteFunc(slices.Clone(p.Hosts), func(h PlannedHost) bool { return h.Beside })
}

// Counts tells whether the plan's strategy looks at how many hosts of the group
// are healthy.
func (p Plan) Counts() bool {
	return p.Kind != KindThreadDump && (p.Strategy.MinAvailable != "" || len(p.Strategy.WhenDown) > 0)
}

// Count puts those of the group's hosts beside the plan that it does not have,
// so that what a strategy keeps healthy is kept of the group, whichever of its
// hosts were named. They become part of the facts.
func (p *Plan) Count(group []Host) {
	has := map[string]bool{}
	for _, h := range p.Hosts {
		has[h.Name] = true
	}
	hash := []string{p.Hash}
	for _, h := range group {
		if !has[h.Name] {
			p.Hosts = append(p.Hosts, PlannedHost{Host: h, Health: HealthUnknown, LeftOut: true, Beside: true, Why: "not asked for"})
			hash = append(hash, h.Name)
		}
	}
	if len(hash) > 1 {
		sum := sha256.Sum256(fmt.Appendf(nil, "%q", hash))
		p.Hash = hex.EncodeToString(sum[:])
	}
}

// Facts gives the hash of everything a person confirms apart from live health:
// the digest, the service, the values and the hosts in the inventory's order.
func (p Plan) Facts(inventoryOrder []Host) string {
	service := p.Service
	fixed := []string{
		p.Digest, p.Environment, p.Project, p.Group, service.Name, service.Package, service.Tag, service.Unit,
		strconv.Itoa(service.Port), service.Runtime, service.Project,
	}
	var params, hosts []string
	for _, name := range slices.Sorted(maps.Keys(p.Params)) {
		params = append(params, name, p.Params[name])
	}
	for _, h := range inventoryOrder {
		hosts = append(hosts, h.Name)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", fixed, service.Owners, params, hosts)) // quoted, so that nothing runs together
	return hex.EncodeToString(sum[:])
}

// Order sorts the hosts of a plan as the strategy says: the chosen order
// first, then, within it, hosts that are unhealthy now before all others, as
// touching them costs nothing. shuffle takes its randomness from seed. The
// input is not changed.
func Order(hosts []PlannedHost, order string, seed uint64) ([]PlannedHost, error) {
	out := slices.Clone(hosts)
	switch order {
	case "", "inventory":
	case "reverse":
		slices.Reverse(out)
	case "shuffle":
		shuffle := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // the order of hosts is no secret
		shuffle.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	case "by:datacenter":
		slices.SortStableFunc(out, func(a, b PlannedHost) int { return strings.Compare(a.DataCentre, b.DataCentre) })
	default:
		return nil, Errorf(CodeInvalid, "order %s is not known", Quote(order)).WithHint("one of: inventory, reverse, shuffle, by:datacenter")
	}
	rank := func(h PlannedHost) int {
		if h.Health == HealthUnhealthy {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b PlannedHost) int { return rank(a) - rank(b) })
	return out, nil
}

// ResolveBatches turns batch sizes into numbers for total hosts: percentages
// of total, rounded down, at least 1; the last size repeats; the last batch
// takes what is left. The numbers sum to total.
func ResolveBatches(sizes []Amount, total int) []int {
	var out []int
	for i := 0; total > 0 && len(sizes) > 0; i++ {
		var sum int
		for _, n := range out {
			sum += n
		}
		if sum >= total {
			break
		}
		size := sizes[min(i, len(sizes)-1)].Of(total)
		out = append(out, min(size, total-sum))
	}
	return out
}

// BatchOf tells in which batch (from 0) the host at a position (from 0) is.
func BatchOf(batches []int, position int) int {
	for i, n := range batches {
		if position < n {
			return i
		}
		position -= n
	}
	return len(batches)
}

// MinAvailable resolves "N-1", "80%" or "3" for the hosts that were healthy at
// the plan: how many of them must stay healthy. "" is 0. The number never
// exceeds healthy for N-forms; a plain count may, and then can never hold.
func MinAvailable(rule string, healthy int) (int, error) {
	bad := Errorf(CodeInvalid, "min_available %s is not understood", Quote(rule)).WithHint(`"N-1", "80%%" or a count above 0; without it none has to stay`)
	switch {
	case rule == "":
		return 0, nil
	case rule == "N":
		return healthy, nil
	case strings.HasPrefix(rule, "N-"):
		n, err := strconv.Atoi(rule[2:])
		if err != nil || n < 0 || rule[2:] != strconv.Itoa(n) {
			return 0, bad
		}
		return max(healthy-n, 0), nil
	}
	a, err := ParseAmount(rule)
	if err != nil {
		return 0, bad
	}
	if a.Percent > 0 {
		return (healthy*a.Percent + 99) / 100, nil
	}
	return a.Count, nil
}
