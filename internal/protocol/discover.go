package protocol

// MaxDiscovered bounds the services of one answer.
const MaxDiscovered = 500

// DiscoverRequest is the body of POST /v1/discover: which services does the
// host see? Nothing is changed there.
type DiscoverRequest struct {
	Unit string `json:"unit,omitempty"` // glob that the unit's name must match; "" = any
	All  bool   `json:"all,omitempty"`  // the system's own services too
}

// DiscoverReport answers it.
type DiscoverReport struct {
	Version  int          `json:"version"`
	Program  string       `json:"program"` // the agent's own version
	Host     string       `json:"host"`
	Services []Discovered `json:"services"`           // by name
	LeftOut  []LeftOut    `json:"left_out,omitempty"` // what can't be listed as it is; by unit
	System   int          `json:"system,omitempty"`   // how many services of the system itself are not shown
	Notes    []string     `json:"notes,omitempty"`    // what could not be found out
}

// Discovered is one service that the host sees: what a services.d/NAME.yaml of
// it would say, and what tells whether it is the one that is meant.
type Discovered struct {
	Name        string `json:"name"` // the unit's, made to fit the rule of service names
	Unit        string `json:"unit"`
	Package     string `json:"package,omitempty"` // that the unit's file belongs to
	User        string `json:"user,omitempty"`    // User= of the unit; "" = root
	Description string `json:"description,omitempty"`
	Ports       []int  `json:"ports,omitempty"`   // TCP, on which its processes listen now; ascending
	Runtime     string `json:"runtime,omitempty"` // jvm | python, where the main process's program tells
	State       string `json:"state"`             // as systemd says: active, failed, inactive, …
	Enabled     string `json:"enabled,omitempty"` // as systemd says: enabled, disabled, generated, …
	Listed      string `json:"listed,omitempty"`  // name under which services.d lists the unit already
}

// LeftOut is a unit that no service can be made of, and why in one sentence.
type LeftOut struct {
	Unit string `json:"unit"`
	Why  string `json:"why"`
}
