package notify

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// Choice is what a receiver is told of. Lists that are empty do not narrow;
// what has no service or environment, such as the end of a scenario, is not
// narrowed by them.
type Choice struct {
	Label        string         `yaml:"name"`         // for people: restartilka notify test NAME
	Events       []string       `yaml:"events"`       // see Events
	Services     []string       `yaml:"services"`     // names or globs
	Environments []string       `yaml:"environments"` // names or globs
	Teams        []string       `yaml:"teams"`        // owners of the service, as the inventory has them: anna, team:web
	Kinds        []restart.Kind `yaml:"kinds"`        // [] = restart and custom
	Rehearsals   bool           `yaml:"rehearsals"`   // of rehearsals too
	Language     string         `yaml:"language"`     // en (default) | ru
}

// The values of updates: how messages about one run lie beside each other.
const (
	updatesEdit   = "edit"   // one message, which is changed
	updatesThread = "thread" // one message, and what comes after answers it
	updatesEach   = "each"   // each by itself
)

// Wants tells whether a receiver with this choice is told of n.
func (c Choice) Wants(n wire.Notification) bool {
	return slices.Contains(c.Events, n.Event) && c.covers(n.Service, n.Environment, n.Owners) && c.sort(n)
}

// covers tells whether something about a service is within the choice.
func (c Choice) covers(service, environment string, owners []string) bool {
	within := func(globs []string, name string) bool {
		return name == "" || restart.Fits(globs, name)
	}
	owned := len(c.Teams) == 0 || service == "" || slices.ContainsFunc(c.Teams, func(t string) bool { return slices.Contains(owners, t) })
	return owned && within(c.Services, service) && within(c.Environments, environment)
}

// sort judges what is done. Broken glass is told of whatever was done behind it.
func (c Choice) sort(n wire.Notification) bool {
	switch {
	case n.Event == wire.EventBreakGlass, n.Kind == "":
		return true
	case n.Work == restart.WorkRehearse && !c.Rehearsals:
		return false
	case len(c.Kinds) == 0:
		return n.Kind != restart.KindThreadDump
	}
	return slices.Contains(c.Kinds, n.Kind)
}

// language is how the receiver is spoken to.
func (c Choice) language() said.Language { return cmp.Or(said.Language(c.Language), said.English) }

const longestLabel = 64

// check accepts a choice; key is where it stands.
func (c Choice) check(key string) error {
	if err := checkEvents(key, c.Events); err != nil {
		return err
	}
	if len(c.Label) > longestLabel || !utf8.ValidString(c.Label) || restart.Escape(c.Label) != c.Label {
		return restart.Errorf(restart.CodeInvalid, "%s.name is not a name of at most %d bytes without control characters", key, longestLabel)
	}
	if err := (&restart.Scope{Services: c.Services, Environments: c.Environments}).Check(); err != nil {
		return restart.Errorf(restart.CodeInvalid, "%s: %v", key, err).WithHint("services and environments are names or globs, such as shop-*")
	}
	for _, t := range c.Teams {
		if t == "" || len(t) > 256 || restart.Escape(t) != t {
			return restart.Errorf(restart.CodeInvalid, "%s.teams: %s is no owner", key, restart.Quote(t)).WithHint("as the inventory has it: anna, or team:web")
		}
	}
	for _, k := range c.Kinds {
		if !slices.Contains(restart.Kinds(), k) {
			return restart.Errorf(restart.CodeInvalid, "%s.kinds: there is no kind %s", key, restart.Quote(string(k))).WithHint("restart, thread-dump, custom")
		}
	}
	_, err := said.Setting(key+".language", c.Language)
	return err
}

// checkUpdates gives how messages about one run lie, of those that a kind can do.
func checkUpdates(key, updates string, can ...string) (string, error) {
	if updates == "" {
		return can[0], nil
	}
	if !slices.Contains(can, updates) {
		return "", restart.Errorf(restart.CodeInvalid, "%s.updates: %s is none of %s", key, restart.Quote(updates), strings.Join(can, ", "))
	}
	return updates, nil
}
