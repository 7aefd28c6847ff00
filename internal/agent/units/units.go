// Package units sees which services a host has: the service units of systemd
// that are loaded, and enabled or running, with the packages that their files
// belong to and the ports on which they listen. It asks systemctl, dpkg-query
// and rpm by argv, within bounds of time and size, and changes nothing.
//
//	list-units ─┐
//	            ├─► names ─► show ─► units ─► chosen ─► owned ─► services
//	list-unit- ─┘            (100 at once)    (choose)  (packages)
//	files
//
// Templates (worker@.service) are no services; their instances that systemd
// has loaded (worker@01.service) are.
package units

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/restart"
)

// LookTime bounds a whole look at a host.
const LookTime = 20 * time.Second

// System is the host as this package sees it. The zero value is the real one;
// tests point it elsewhere.
type System struct {
	Systemctl string // path of the program; "" = /usr/bin/systemctl, or /bin/systemctl
	Dpkg      string // path of dpkg-query; "" = /usr/bin/dpkg-query
	Rpm       string // path of rpm; "" = /usr/bin/rpm
	Proc      string // where procfs is mounted; "" = /proc
	Booted    string // folder that is there where systemd runs; "" = /run/systemd/system
}

// Unit is one service unit as systemd has it.
type Unit struct {
	Name        string // its own, aliases resolved
	Description string
	Active      string // active, inactive, failed, …
	File        string // enabled, disabled, static, generated, …; "" = it has no file
	Type        string // simple, notify, forking, oneshot, …
	User        string // User=; "" = root, or one that systemd makes up
	Path        string // the file that it comes from, the init script of a generated one
	Cgroup      string // "" = it has no processes
	MainPID     int    // 0 = none
	Package     string // that Path belongs to; "" = none, or not known
	Ports       []int  // TCP, ascending, each once
	Runtime     string // jvm | python; "" = another, or not known
	transient   bool
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Runs tells whether systemd has processes of it, or is about to.
func (u Unit) Runs() bool {
	return slices.Contains([]string{"active", "reloading", "activating", "deactivating", "refreshing"}, u.Active)
}

// Starts tells whether it starts with the host.
func (u Unit) Starts() bool {
	return slices.Contains([]string{"enabled", "enabled-runtime", "generated"}, u.File)
}

// Look gives the units that run or start with the host, by name. What could be
// found out only in part is said in notes. CodeUnavailable where systemd does
// not run, or does not answer.
func (s System) Look(ctx context.Context) (units []Unit, notes []string, err error) {
	if _, err := os.Stat(or(s.Booted, "/run/systemd/system")); err != nil {
		return nil, nil, restart.Errorf(restart.CodeUnavailable, "systemd does not run on this host, so that there are no units to look at").
			WithHint("write its services.d/NAME.yaml by hand, and use pid_file or port in health")
	}
	ctx, cancel := context.WithTimeout(ctx, LookTime)
	defer cancel()
	names, err := s.names(ctx)
	if err != nil {
		return nil, nil, err
	}
	units, err = s.show(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	if note := s.own(ctx, units); note != "" {
		notes = append(notes, note)
	}
	if note := s.listen(units); note != "" {
		notes = append(notes, note)
	}
	return units, notes, nil
}

// names lists the units to ask about: those that run, loaded instances of
// templates, and those of all unit files that start with the host.
func (s System) names(ctx context.Context) ([]string, error) {
	loaded, err := s.systemctl(ctx, "list-units", "--type=service", "--all", "--no-legend", "--plain", "--no-pager", "--full")
	if err != nil {
		return nil, err
	}
	files, err := s.systemctl(ctx, "list-unit-files", "--type=service", "--no-legend", "--no-pager", "--full")
	if err != nil {
		return nil, err
	}
	names := append(parseLoaded(loaded), parseFiles(files)...)
	slices.Sort(names)
	return slices.Compact(names), nil
}

const showAtOnce = 100

// show asks about the units by name, and keeps those that Look wants.
func (s System) show(ctx context.Context, names []string) ([]Unit, error) {
	var out []Unit
	seen := map[string]bool{}
	for some := range slices.Chunk(names, showAtOnce) {
		args := append([]string{"show", "--no-pager", "--property=" + strings.Join(properties, ","), "--"}, some...)
		text, err := s.systemctl(ctx, args...)
		if err != nil {
			return nil, err
		}
		for _, u := range parseShow(text) {
			if (u.Runs() || u.Starts()) && !seen[u.Name] { // an alias gives the same unit again
				seen[u.Name] = true
				out = append(out, u)
			}
		}
	}
	slices.SortFunc(out, func(a, b Unit) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// listen fills in ports and runtimes.
func (s System) listen(units []Unit) (note string) {
	ports, err := health.System{Proc: s.Proc}.Listening()
	if err != nil {
		return restart.Escape(err.Error())
	}
	groups := s.cgroups()
	for i := range units {
		u := &units[i]
		for pid, listening := range ports {
			if pid == u.MainPID || u.holds(groups[pid]) {
				u.Ports = append(u.Ports, listening...)
			}
		}
		slices.Sort(u.Ports)
		u.Ports = slices.Compact(u.Ports)
		u.Runtime = s.runtime(u.MainPID)
	}
	return ""
}

// holds tells whether a process in one of these cgroups is the unit's.
func (u Unit) holds(groups []string) bool {
	return u.Cgroup != "" && u.Cgroup != "/" && slices.ContainsFunc(groups, func(g string) bool {
		return g == u.Cgroup || strings.HasPrefix(g, u.Cgroup+"/")
	})
}
