package restart

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// Kind says what a scenario is for; rights and locks follow from it.
type Kind string

// The kinds of scenario.
const (
	KindRestart    Kind = "restart"
	KindThreadDump Kind = "thread-dump"
	KindCustom     Kind = "custom"
)

// Kinds lists the kinds there are.
func Kinds() []Kind { return []Kind{KindRestart, KindThreadDump, KindCustom} }

// HoldsService tells whether a run of this kind keeps other runs away from its
// service: a dump changes nothing, and holds only its hosts.
func (k Kind) HoldsService() bool { return k != KindThreadDump }

// Holds says how much of its service a run keeps other runs away from.
type Holds string

// The scopes of a service's lock.
const (
	HoldsEnvironment Holds = ""      // the service in the whole environment
	HoldsGroup       Holds = "group" // the service in the run's group alone
)

// Scenario is one immutable version of a reviewed recipe. Its identity is the
// SHA-256 of the bytes it was read from; the fields are those of the file.
type Scenario struct {
	Digest      string
	Format      int
	Name        string
	Serial      int
	Author      string
	Expires     time.Time // the moment from which on it is over; zero = never
	Kind        Kind
	Services    []string // names or globs
	Description string
	Package     string // "" = from the host's own services.d
	Unit        string // "" = from the host's own services.d
	User        string // "" = from the host's own services.d
	RunAs       string // "" = the service's own user
	Shell       string // interpreter, an absolute path; "" = /bin/sh
	Params      []Param
	Strategy    Strategy
	Holds       Holds
	Evidence    []Evidence
	Steps       Steps
	Dump        *DumpStep // instead of Steps.Run, in a scenario of kind thread-dump; nil = Steps.Run does the work
	Health      Health
	Silence     []string
}

// Fits tells whether the scenario may be used on a service of that name.
func (s Scenario) Fits(service string) bool {
	for _, pattern := range s.Services {
		if ok, err := path.Match(pattern, service); err == nil && ok {
			return true
		}
	}
	return false
}

// Wants tells whether the scenario asks for evidence of a kind.
func (s Scenario) Wants(kind string) bool {
	for _, e := range s.Evidence {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

// Expired tells whether the scenario is over at now.
func (s Scenario) Expired(now time.Time) bool {
	return !s.Expires.IsZero() && !now.Before(s.Expires)
}

// LastDay gives the day that expires: names, the last on which the scenario may
// be used, in UTC; "" = it does not expire.
func (s Scenario) LastDay() string {
	if s.Expires.IsZero() {
		return ""
	}
	return s.Expires.Add(-time.Nanosecond).UTC().Format(time.DateOnly)
}

// Strategy orders and batches the hosts of a run. Zero values mean the
// defaults that Defaults fills in.
type Strategy struct {
	Order          string   `json:"order"`                   // inventory | reverse | shuffle | by:datacenter
	Batches        []Amount `json:"batches"`                 // the last repeats; default [1]
	WhenDown       []Amount `json:"when_down,omitempty"`     // batches when no host was healthy at the plan
	PauseBetween   Duration `json:"pause_between,omitempty"` // between batches
	HoldAfterFirst bool     `json:"hold_after_first"`        // pause(hold) after the first batch
	MinAvailable   string   `json:"min_available,omitempty"` // N-1, 80%, 3; "" = no limit
	MaxFailures    int      `json:"max_failures"`            // over the whole run
	OnFailure      string   `json:"on_failure"`              // pause | abort | continue
	TaskTimeout    Duration `json:"task_timeout"`            // drain + run
}

// Defaults returns the strategy with every absent setting filled in: one host
// at a time, as the inventory lists them, pause on the first failure.
func (s Strategy) Defaults() Strategy {
	if s.Order == "" {
		s.Order = "inventory"
	}
	if len(s.Batches) == 0 {
		s.Batches = []Amount{{Count: 1}}
	}
	if s.OnFailure == "" {
		s.OnFailure = "pause"
	}
	if s.TaskTimeout == 0 {
		s.TaskTimeout = Duration(5 * time.Minute)
	}
	return s
}

// The kinds of evidence.
const (
	EvidenceJournal    = "journal"
	EvidenceProcess    = "process"
	EvidenceThreadDump = "thread-dump"
)

// Evidence is something to keep from the host before the process is told to stop.
type Evidence struct {
	Kind     string // one of the above
	Lines    int    // of the journal
	Required bool   // a failure of it blocks the task; otherwise it warns
}

// Step is one script of a scenario.
type Step struct {
	Script string
	When   string // undrain only: healthy (default) | always
}

// Steps are the scripts of a scenario; Run is empty only where Scenario.Dump is
// set.
type Steps struct {
	Drain, Run, Undrain *Step
}

// DefaultDeadline stands in for a zero of Health.Deadline.
const DefaultDeadline = Duration(2 * time.Minute)

// Health is the section that decides whether a host is healthy again.
type Health struct {
	NewProcess *ProcessRef
	HTTP       *HTTPProbe
	TCP        *TCPProbe
	Command    *CommandProbe
	HealthyFor Duration // all checks hold without a break for this long
	Deadline   Duration // from the end of run; 0 = 2 minutes
	Interval   Duration // between samples; 0 = 1 s
}

// Empty tells whether nothing is checked.
func (h Health) Empty() bool {
	return h.NewProcess == nil && h.HTTP == nil && h.TCP == nil && h.Command == nil
}

// ProcessRef finds the one main process of a service; exactly one field is set.
type ProcessRef struct {
	Unit    string `json:"unit,omitempty"`
	PIDFile string `json:"pid_file,omitempty"`
	Port    string `json:"port,omitempty"`    // a number, or ADDRESS:PORT
	Command string `json:"command,omitempty"` // regular expression that its command line matches; of a DumpStep only
}

// HTTPProbe asks a URL of the host itself and compares the status.
type HTTPProbe struct {
	URL     string   `json:"url"`
	Status  int      `json:"status"`            // 0 = 200
	Body    string   `json:"body,omitempty"`    // substring that must be there
	Timeout Duration `json:"timeout,omitempty"` // 0 = 5 s
}

// TCPProbe connects to HOST:PORT.
type TCPProbe struct {
	Address string   `json:"address"`
	Timeout Duration `json:"timeout,omitempty"` // 0 = 5 s
}

// CommandProbe runs a reviewed script; exit status 0 is healthy.
type CommandProbe struct {
	Script  string   `json:"script"`
	Timeout Duration `json:"timeout,omitempty"` // 0 = 10 s
}

// Duration is a time.Duration that is written as text ("10s", "5m") in JSON.
type Duration time.Duration

// Std gives the standard type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the text form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text form.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// Amount is a number of hosts, absolute or as a percentage of a list.
type Amount struct {
	Count   int
	Percent int
}

var amountText = lazy(`^([0-9]{1,6})(%?)$`)

// ParseAmount reads "3" or "25%". A count is at least 1; a percentage 1 to 100.
func ParseAmount(s string) (Amount, error) {
	m := amountText().FindStringSubmatch(s)
	if m == nil {
		return Amount{}, Errorf(CodeInvalid, "%s is not a number of hosts", Quote(s)).WithHint(`a count such as 2, or a percentage such as "25%%"`)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil || n < 1 || (m[2] == "%" && n > 100) {
		return Amount{}, Errorf(CodeInvalid, "%s is out of range", Quote(s)).WithHint(`at least 1, and at most "100%%"`)
	}
	if m[2] == "%" {
		return Amount{Percent: n}, nil
	}
	return Amount{Count: n}, nil
}

// Of resolves the amount for a list of total hosts: percentages are rounded
// down, and at least 1.
func (a Amount) Of(total int) int {
	n := a.Count
	if a.Percent > 0 {
		n = total * a.Percent / 100
	}
	return max(n, 1)
}

func (a Amount) String() string {
	if a.Percent > 0 {
		return fmt.Sprintf("%d%%", a.Percent)
	}
	return strconv.Itoa(a.Count)
}

// MarshalText writes "3" or "25%".
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads "3" or "25%".
func (a *Amount) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAmount(string(b))
	return err
}

// Param declares one parameter of a scenario.
type Param struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"` // enum | bool | int | duration | string
	Description string   `json:"description,omitempty"`
	Values      []string `json:"values,omitempty"`     // of an enum
	Min         *int64   `json:"min,omitempty"`        // of an int
	Max         *int64   `json:"max,omitempty"`        // of an int
	MaxLength   int      `json:"max_length,omitempty"` // of a string; 0 = 128
	Default     *string  `json:"default,omitempty"`    // nil = must be given
}

// safeString is the alphabet of a string parameter: nothing that a shell, a
// terminal or an option parser reads as more than text.
var safeString = lazy(`^[A-Za-z0-9_@%+=:,./][A-Za-z0-9_@%+=:,./-]*$`)

// Check accepts a value of the parameter's type and returns its one canonical
// text, as the script sees it.
func (p Param) Check(value string) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		return "", Errorf(CodeParam, "parameter %s: %s is not acceptable", p.Name, Quote(value)).WithHint(format, args...)
	}
	switch p.Type {
	case "enum":
		for _, v := range p.Values {
			if v == value {
				return v, nil
			}
		}
		return bad("one of: %s", strings.Join(p.Values, ", "))
	case "bool":
		if value == "true" || value == "false" {
			return value, nil
		}
		return bad("true or false")
	case "int":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != value {
			return bad("a whole number")
		}
		if (p.Min != nil && n < *p.Min) || (p.Max != nil && n > *p.Max) {
			return bad("a whole number %s", p.bounds())
		}
		return value, nil
	case "duration":
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return bad("a duration such as 30s or 5m")
		}
		return d.String(), nil
	case "string":
		most := p.MaxLength
		if most == 0 {
			most = 128
		}
		if len(value) > most || !safeString().MatchString(value) || strings.Contains(value, "..") {
			return bad("1 to %d characters of A-Z a-z 0-9 _ @ %% + = : , . / -, not starting with -, without \"..\"", most)
		}
		return value, nil
	}
	return bad("the scenario gives it the unknown type %s", Quote(p.Type))
}

func (p Param) bounds() string {
	switch {
	case p.Min != nil && p.Max != nil:
		return fmt.Sprintf("from %d to %d", *p.Min, *p.Max)
	case p.Min != nil:
		return fmt.Sprintf("of at least %d", *p.Min)
	default:
		return fmt.Sprintf("of at most %d", *p.Max)
	}
}

// ParamField is the field of a parameter, as InField knows it.
func ParamField(name string) string { return "param." + name }

// Values checks what was given against the declared parameters and returns the
// full set, defaults included. An unknown or missing parameter is an error.
func (s Scenario) Values(given map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(s.Params))
	for _, p := range s.Params {
		v, ok := given[p.Name]
		if !ok {
			if p.Default == nil {
				return nil, InField(Errorf(CodeParam, "parameter %s is needed by scenario %s", p.Name, s.Name).WithHint("give it with --param %s=VALUE", p.Name), ParamField(p.Name))
			}
			v = *p.Default
		}
		checked, err := p.Check(v)
		if err != nil {
			return nil, InField(err, ParamField(p.Name))
		}
		out[p.Name] = checked
	}
	for name := range given {
		if _, ok := out[name]; !ok {
			var names []string
			for _, p := range s.Params {
				names = append(names, p.Name)
			}
			has := "it has none"
			if len(names) > 0 {
				has = "it has: " + strings.Join(names, ", ")
			}
			return nil, Errorf(CodeParam, "scenario %s has no parameter %s", s.Name, Quote(name)).WithHint("%s", has)
		}
	}
	return out, nil
}
