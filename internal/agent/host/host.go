// Package host is the host's own word: which services it has, which scenarios
// were laid there by its administrators, which packages are installed, which
// users scripts may become. An agent believes these files and nothing that a
// server says about the same things, so that whoever takes over the server can
// still ask only for reviewed bytes with valid parameters.
//
// A file counts only where nobody but root and the agent's own user could have
// written it: regular, owned by one of the two, not writable by group or
// others, in a folder of which the same is true, and no symlink.
package host

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

// Host says what this machine is and where its own files are. It travels from
// an agent to its supervisors, so that both judge by the same.
type Host struct {
	Name         string   `json:"name"`
	Groups       []string `json:"groups,omitempty"`       // empty = not checked
	Environments []string `json:"environments,omitempty"` // empty = not checked
	Scenarios    string   `json:"scenarios"`              // folder: scenarios.d
	Services     string   `json:"services"`               // folder: services.d
	Review       *Review  `json:"review,omitempty"`       // nil = what lies in Scenarios was reviewed

	ending bool // only what was begun is to be ended: a version that is over, or older, will do
}

// Trusted gives the scenario with that digest, where the host trusts it now, by
// its own files. CodeNotReviewed where it does not.
func (h Host) Trusted(digest string, now time.Time) (restart.Scenario, error) {
	if err := restart.CheckDigest(digest); err != nil {
		return restart.Scenario{}, err
	}
	if h.Review != nil {
		r := *h.Review
		r.ending = h.ending
		return r.find(h.Scenarios, digest, now)
	}
	s, err := ReadScenario(h.Scenarios, digest)
	if err != nil || h.ending {
		return s, err
	}
	return s, checkExpiry(s, now)
}

// List gives every scenario that the host trusts now, and what is wrong with
// the others that lie here.
func (h Host) List(now time.Time) ([]restart.Scenario, []error) {
	if h.Review != nil {
		return h.Review.list(h.Scenarios, now)
	}
	all, problems := ListScenarios(h.Scenarios)
	var out []restart.Scenario
	for _, s := range all {
		if err := checkExpiry(s, now); err != nil {
			problems = append(problems, err)
			continue
		}
		out = append(out, s)
	}
	return out, problems
}

// Work is what one envelope means on this host, from the host's own files.
type Work struct {
	Scenario restart.Scenario
	Service  Service
	Rendered scenario.Rendered
	User     User
	Values   map[string]string // the scripts' own environment: PARAM_* and RESTARTILKA_*
	Package  string            // that must be installed; "" = none named
	Unit     string            // the service's; "" = none named
}

// Resolve finds what an envelope asks for, or refuses it. The order of the
// checks is that of the questions a person would ask; each error names the file
// to change. Whether the package is installed is left to Packages.
func (h Host) Resolve(e protocol.Envelope) (Work, error) {
	if e.Host != h.Name {
		return Work{}, restart.Errorf(restart.CodeWrongHost, "the envelope is for host %s, and this is %s", restart.Quote(e.Host), h.Name).
			WithHint("compare the inventory's name and address of the host with host: in its agent.yaml")
	}
	h.ending = e.Only == protocol.OnlyUndrain
	w, err := h.Find(e.Service, e.Digest, e.Environment, e.Group, e.Project)
	if err != nil {
		return Work{}, err
	}
	if w.Scenario.Name != e.Scenario {
		return Work{}, restart.Errorf(restart.CodeNotReviewed, "the scenario with digest %s is called %s here, not %s", short(e.Digest), w.Scenario.Name, restart.Quote(e.Scenario))
	}
	if e.Only == protocol.OnlyUndrain && w.Rendered.Undrain == nil {
		return Work{}, restart.Errorf(restart.CodeInvalid, "scenario %s has no undrain step, so that it can't be run alone", w.Scenario.Name).
			WithHint("put the host back by hand, as it was taken out")
	}
	if e.Params, err = w.Scenario.Values(e.Params); err != nil {
		return Work{}, err
	}
	w.Values = e.Values()
	return w, nil
}

// Find is Resolve for what has no envelope: a probe, a check.
func (h Host) Find(service, digest, environment, group, project string) (Work, error) {
	var w Work
	var err error
	if w.Service, err = ReadService(h.Services, service); err != nil {
		return Work{}, err
	}
	if err := h.Belongs(environment, group); err != nil {
		return Work{}, err
	}
	if w.Scenario, err = h.Trusted(digest, time.Now()); err != nil {
		return Work{}, err
	}
	if !w.Scenario.Fits(service) {
		return Work{}, restart.Errorf(restart.CodeNotReviewed, "scenario %s is not for service %s: it names %s", w.Scenario.Name, service, strings.Join(w.Scenario.Services, ", ")).
			WithHint("a scenario is reviewed for the services it lists: choose another, or have a new version of it reviewed")
	}
	w.Rendered, err = scenario.Render(w.Scenario, scenario.Facts{
		Service: service, Package: w.Service.Package, Unit: w.Service.Unit, User: w.Service.User,
		Host: h.Name, Group: group, Environment: environment, Project: project,
	})
	if err != nil {
		return Work{}, err
	}
	w.Package = w.Service.Package
	if w.Scenario.Package != "" {
		w.Package = w.Scenario.Package
	}
	w.Unit = w.Service.Unit
	if w.Scenario.Unit != "" {
		w.Unit = w.Scenario.Unit
	}
	if w.Rendered.RunAs == "" {
		w.User, err = OwnUser()
	} else {
		w.User, err = FindUser(w.Rendered.RunAs, os.Geteuid())
	}
	return w, err
}

// Belongs tells whether the host says itself that it is where the server
// believes it to be (R33): CodeWrongGroup where it does not.
func (h Host) Belongs(environment, group string) error {
	if environment != "" && len(h.Environments) > 0 && !slices.Contains(h.Environments, environment) {
		return restart.Errorf(restart.CodeWrongGroup, "this host is not in environment %s: it says %s", restart.Quote(environment), strings.Join(h.Environments, ", ")).
			WithHint("correct the inventory, or environments: in the host's agent.yaml")
	}
	if group != "" && len(h.Groups) > 0 && !slices.Contains(h.Groups, group) {
		return restart.Errorf(restart.CodeWrongGroup, "this host is not in group %s: it says %s", restart.Quote(group), strings.Join(h.Groups, ", ")).
			WithHint("correct the inventory, or groups: in the host's agent.yaml")
	}
	return nil
}

// BootID names this boot of the machine; "" where the kernel does not say.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func short(digest string) string { return digest[:min(len(digest), 12)] }
