package restart

import (
	"slices"
	"time"
)

// Service is what a developer owns and restarts, as the inventory describes it.
type Service struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Package     string   `json:"package,omitempty"` // distribution package that must be installed
	Tag         string   `json:"tag,omitempty"`     // tag or version the package should carry on the host
	Unit        string   `json:"unit,omitempty"`
	Port        int      `json:"port,omitempty"`
	Runtime     string   `json:"runtime,omitempty"` // jvm, go, python, process
	Project     string   `json:"project,omitempty"`
	Owners      []string `json:"owners,omitempty"` // people and teams
}

// Host is one machine. Its name is what the agent's certificate must carry.
type Host struct {
	Name       string   `json:"name"` // FQDN, lower case
	Address    string   `json:"address,omitempty"`
	DataCentre string   `json:"data_centre,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	// Packages are those of services that the inventory says are on the host, by
	// name, each with the version that should be there, or "". nil = it does not
	// say which.
	Packages map[string]string `json:"packages,omitzero" doc:"packages of services that the inventory says are there, and in which version"`
}

// Group is a named, ordered set of hosts of one project in one environment.
type Group struct {
	Name        string   `json:"name"`
	Project     string   `json:"project,omitempty"`
	Environment string   `json:"environment,omitempty"`
	Services    []string `json:"services,omitempty"` // services whose hosts these are
	Hosts       []string `json:"hosts,omitempty"`    // in the inventory's order, nested groups resolved, no duplicates
}

// Actor is the person or token that asks. It is carried through every layer
// and never replaced by the program itself.
type Actor struct {
	Name  string   `json:"name"`            // user name
	Roles []Role   `json:"roles,omitempty"` // what the person may be
	Teams []string `json:"teams,omitempty"` // for ownership
	// Former are teams of which nobody can say any more whether he is in them:
	// they allow nothing, and what is denied to them stays denied.
	Former []string `json:"former_teams,omitempty"`
	// TeamsEnd is from when on the teams are Former, unless the actor signs in
	// again; zero = they are asked for whenever they matter.
	TeamsEnd time.Time `json:"-"`
	Via      string    `json:"via,omitempty"`   // web, api, cli, chat, ssh
	From     string    `json:"from,omitempty"`  // address that the request came from
	Token    string    `json:"token,omitempty"` // id of the token used, never its secret

	Method     string     `json:"method,omitempty"`       // by which he signed in: local, ldap, oidc, proxy, token, key
	Session    string     `json:"session,omitempty"`      // id of the browser's session
	SignedInAt *time.Time `json:"signed_in_at,omitempty"` // of the session
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`   // of the token, session or key
	Scope      *Scope     `json:"scope,omitempty"`        // bounds of the token
}

// Role is what a person is to the product; rights follow from it and from ownership.
type Role string

// The roles.
const (
	RoleViewer     Role = "viewer"
	RoleDeveloper  Role = "developer"
	RoleReviewer   Role = "reviewer"
	RoleAuditor    Role = "auditor"
	RoleBreakGlass Role = "break-glass" // may break the glass, of services that are one's own to restart
	RoleAdmin      Role = "admin"
)

// Roles lists the roles there are.
func Roles() []Role {
	return []Role{RoleViewer, RoleDeveloper, RoleReviewer, RoleAuditor, RoleBreakGlass, RoleAdmin}
}

// Has tells whether the actor has the role.
func (a Actor) Has(role Role) bool {
	return slices.Contains(a.Roles, role)
}
