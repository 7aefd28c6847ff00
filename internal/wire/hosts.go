package wire

import (
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// InventoryState tells how the inventory is: what it holds, and how old that is.
type InventoryState struct {
	FetchedAt *time.Time        `json:"fetched_at,omitempty" doc:"of its oldest part; missing: there is no inventory"`
	Stale     bool              `json:"stale,omitempty" doc:"a part of it is an older answer, as its source gives none now"`
	Missing   []string          `json:"missing,omitempty" doc:"optional sources of which nothing is used"`
	Problem   string            `json:"problem,omitempty" doc:"why it is stale or missing; what was left out, and why"`
	Services  int               `json:"services"`
	Groups    int               `json:"groups"`
	Hosts     int               `json:"hosts"`
	Sources   []InventorySource `json:"sources" nullable:"false" doc:"one, or those of kind merged: what counts most comes first"`
}

// InventorySource is how one source of the inventory is.
type InventorySource struct {
	Name      string     `json:"name,omitempty" doc:"of a source of kind merged"`
	Kind      string     `json:"kind"`
	FetchedAt *time.Time `json:"fetched_at,omitempty" doc:"of its last good answer; missing: none yet"`
	Stale     bool       `json:"stale,omitempty" doc:"that is used, as it gives none now"`
	Missing   bool       `json:"missing,omitempty" doc:"nothing of it is used: it gives no answer, and the last one is too old"`
	Optional  bool       `json:"optional,omitempty" doc:"the others are used without it"`
	Problem   string     `json:"problem,omitempty"`
	Services  int        `json:"services"`
	Groups    int        `json:"groups"`
	Hosts     int        `json:"hosts"`
}

// HostCheckRequest asks what hosts say of themselves.
type HostCheckRequest struct {
	Hosts       string `json:"hosts" doc:"host expression; empty: every host"`
	Service     string `json:"service,omitempty" doc:"what each host says of this service"`
	Environment string `json:"environment,omitempty"`
}

// HostState is what is to be known of a host first.
type HostState string

// The states of a HostCheck: the first of this list that holds.
const (
	HostNoRoute     HostState = "no-route"    // its name has no address, or the network does not lead there
	HostSilent      HostState = "silent"      // no answer in time: a firewall, or the host is down
	HostClosed      HostState = "closed"      // the host answers, and nothing listens on the agent's port
	HostNoAgent     HostState = "no-agent"    // something else answers on the agent's port
	HostCertificate HostState = "certificate" // one end does not accept the other's certificate
	HostClock       HostState = "clock"       // off by more than protocol.MaxSkew
	HostVersion     HostState = "version"     // agent and server are too far apart
	HostProblem     HostState = "problem"     // what the host reports itself would refuse tasks
	HostTrust       HostState = "trust"       // it would accept other scenarios than the server's shelf has
	HostReady       HostState = "ready"
)

// HostStates lists the states, the gravest first.
func HostStates() []HostState {
	return []HostState{HostNoRoute, HostSilent, HostClosed, HostNoAgent, HostCertificate, HostClock, HostVersion, HostProblem, HostTrust, HostReady}
}

// HostCheck is what one host says of itself, or why it says nothing. Where
// several things are wrong, the gravest is State and Error, the others stand in
// Also.
type HostCheck struct {
	Host     restart.Host          `json:"host"`
	State    HostState             `json:"state" enum:"no-route,silent,closed,no-agent,certificate,clock,version,problem,trust,ready"`
	Error    *restart.Error        `json:"error,omitempty" doc:"why it is not ready, and what to do"`
	Also     []HostFinding         `json:"also,omitempty" doc:"what else is wrong with it"`
	Warnings []protocol.Warning    `json:"warnings,omitempty" doc:"what does not stand in the way, and should be known"`
	Report   *protocol.CheckReport `json:"report,omitempty" doc:"the host's own words"`
	Skew     restart.Duration      `json:"skew,omitempty" doc:"the host's clock minus the server's, where it can be told from the way there"`
}

// HostFinding is one thing that is wrong with a host.
type HostFinding struct {
	State HostState      `json:"state" enum:"no-route,silent,closed,no-agent,certificate,clock,version,problem,trust"`
	Error *restart.Error `json:"error"`
}

// HostDiscoverRequest asks which services hosts see.
type HostDiscoverRequest struct {
	Hosts string `json:"hosts" doc:"host expression"`
	Unit  string `json:"unit,omitempty" doc:"glob that a unit's name must match, such as nginx*; empty: any" maxLength:"256"`
	All   bool   `json:"all,omitempty" doc:"the services of the system itself, too"`
}

// HostDiscovery is what one host sees, or why it does not say.
type HostDiscovery struct {
	Host   restart.Host             `json:"host"`
	Error  *restart.Error           `json:"error,omitempty"`
	Report *protocol.DiscoverReport `json:"report,omitempty"`
}
