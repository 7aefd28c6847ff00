package restart

import (
	"path"
	"slices"
	"time"
)

// MaintenanceWindow is a time, coming back every week, that runs can be planned
// for by its name.
type MaintenanceWindow struct {
	Name         string   `yaml:"name" json:"name"`
	Weekly       []string `yaml:"weekly" json:"weekly"`                       // as ParseWeekly reads it
	Zone         string   `yaml:"zone" json:"zone"`                           // IANA name; "" = the server's
	Environments []string `yaml:"environments" json:"environments,omitempty"` // empty = every one
	Services     []string `yaml:"services" json:"services,omitempty"`         // globs; empty = every one
}

// Check finds what is wrong with a window: CodeInvalid.
func (m MaintenanceWindow) Check() error {
	if err := checkName("window", m.Name, ownName, ownRule); err != nil {
		return err
	}
	if len(m.Weekly) == 0 {
		return Errorf(CodeInvalid, "window %s has no time", m.Name).WithHint("weekly: [%q]", "mon 02:00-mon 05:00")
	}
	for _, text := range m.Weekly {
		if _, err := ParseWeekly(text); err != nil {
			return err
		}
	}
	if _, err := m.location(); err != nil {
		return err
	}
	for _, e := range m.Environments {
		if err := CheckEnvironment(e); err != nil {
			return err
		}
	}
	for _, g := range m.Services {
		if _, err := path.Match(g, "name"); err != nil || g == "" || len(g) > 64 {
			return Errorf(CodeInvalid, "window %s: %s is not a glob over names of services", m.Name, Quote(g))
		}
	}
	return nil
}

func (m MaintenanceWindow) location() (*time.Location, error) {
	zone, err := time.LoadLocation(m.Zone)
	if err != nil || m.Zone == "Local" {
		return nil, Errorf(CodeInvalid, "there is no time zone %s", Quote(m.Zone)).WithHint("an IANA name, such as Europe/Berlin or UTC")
	}
	return zone, nil
}

// For tells whether a service in an environment may be planned for the window.
func (m MaintenanceWindow) For(service, environment string) bool {
	if len(m.Environments) > 0 && !slices.Contains(m.Environments, environment) {
		return false
	}
	return Fits(m.Services, service)
}

// Next gives the window that now is in, or else the next one. One that a change
// of the clock leaves nothing of is passed over.
func (m MaintenanceWindow) Next(now time.Time) (Window, error) {
	zone, err := m.location()
	if err != nil {
		return Window{}, err
	}
	var next Window
	for _, text := range m.Weekly {
		weekly, err := ParseWeekly(text)
		if err != nil {
			return Window{}, err
		}
		w := weekly.Window(now, zone)
		for !w.From.Before(w.To) {
			w = weekly.Window(w.To.Add(time.Minute), zone)
		}
		if next.To.IsZero() || w.From.Before(next.From) {
			next = w
		}
	}
	return Window{next.From.In(zone), next.To.In(zone)}, nil
}
