package units

import (
	"path"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// The services of the system itself, which are not shown unless all are asked
// for: by the beginning of the unit's name, up to its suffix or its @, …
var systemUnits = []string{
	"systemd-", "dbus-",
	"getty", "serial-getty", "console-getty", "container-getty", "autovt", "getty-static", "user", "user-runtime-dir", "emergency", "rescue", "debug-shell",
	"dbus", "polkit", "rc-local", "cron", "crond", "anacron", "atd", "ssh", "sshd", "rsyslog", "syslog-ng", "auditd",
	"chrony", "chronyd", "ntp", "ntpd", "ntpsec", "networking", "NetworkManager", "wpa_supplicant", "ModemManager",
	"unattended-upgrades", "packagekit", "irqbalance", "smartd", "smartmontools", "acpid", "lvm2-monitor", "mdmonitor", "multipathd", "iscsid",
	"qemu-guest-agent", "open-vm-tools", "vgauth", "restartilka", "restartilka-agent",
}

// … or by the package that the unit's file belongs to, a dash after it or not.
var systemPackages = []string{
	"systemd", "udev", "dbus", "util-linux", "e2fsprogs", "kmod", "procps", "initscripts", "sysvinit", "apt", "dpkg", "dnf", "cloud", "snapd",
	"accountsservice", "udisks2", "upower", "rtkit", "bluez", "avahi",
}

// system tells whether a unit is of the system itself.
func (u Unit) system() bool {
	name := strings.TrimSuffix(u.Name, suffix)
	bare, _, _ := strings.Cut(name, "@")
	for _, s := range systemUnits {
		if bare == s || strings.HasSuffix(s, "-") && strings.HasPrefix(name, s) {
			return true
		}
	}
	return slices.ContainsFunc(systemPackages, func(p string) bool {
		return u.Package == p || strings.HasPrefix(u.Package, p+"-")
	})
}

// Choose makes services of units: those that fit the glob, without the
// system's own unless all are asked for. listed gives, by unit, the name under
// which the host lists it already. CodeInvalid for a glob that is none.
func Choose(all []Unit, ask protocol.DiscoverRequest, listed map[string]string) (r protocol.DiscoverReport, err error) {
	r.Services = []protocol.Discovered{}
	taken := map[string]string{}
	for _, u := range all {
		fits, err := matches(ask.Unit, u.Name)
		if err != nil {
			return r, err
		}
		switch {
		case !fits:
			continue
		case !ask.All && listed[u.Name] == "" && u.system():
			r.System++
			continue
		}
		name := listed[u.Name]
		why := ""
		if name == "" {
			name, why = u.service(ask.All)
		}
		if why == "" && taken[name] != "" {
			why = "the name " + name + " is that of " + taken[name]
		}
		if why == "" && len(r.Services) == protocol.MaxDiscovered {
			why = "there are too many services on this host: choose with a glob"
		}
		if why != "" {
			r.LeftOut = append(r.LeftOut, protocol.LeftOut{Unit: restart.Escape(u.Name), Why: why})
			continue
		}
		taken[name] = u.Name
		d := protocol.Discovered{
			Name: name, Unit: u.Name, Package: u.Package, Description: clip(restart.Escape(u.Description)), Ports: u.Ports,
			Runtime: u.Runtime, State: restart.Escape(u.Active), Enabled: restart.Escape(u.File), Listed: listed[u.Name],
		}
		if restart.CheckPackage(d.Package) != nil {
			d.Package = "" // none, or one that services.d does not take
		}
		if restart.CheckUser(u.User) == nil && u.User != "root" {
			d.User = u.User
		}
		r.Services = append(r.Services, d)
	}
	slices.SortFunc(r.Services, func(a, b protocol.Discovered) int { return strings.Compare(a.Name, b.Name) })
	return r, nil
}

func matches(glob, unit string) (bool, error) {
	if glob == "" {
		return true, nil
	}
	whole, err := path.Match(glob, unit)
	if err != nil {
		return false, restart.Errorf(restart.CodeInvalid, "%s is not a glob", restart.Quote(glob)).WithHint("such as 'nginx*' or 'worker@*.service'")
	}
	bare, err := path.Match(glob, strings.TrimSuffix(unit, suffix))
	return whole || bare, err
}

// service gives the name that the unit has as a service, or why it can't be one.
func (u Unit) service(all bool) (name, why string) {
	switch {
	case restart.CheckUnit(u.Name) != nil:
		return "", "services.d takes no unit of such a name: letters, digits and : _ . @ - only"
	case u.transient:
		return "", "it is transient: it is gone once it is stopped"
	case u.Type == "oneshot" && !all:
		return "", "it runs once and ends (Type=oneshot), so that there is nothing to restart"
	}
	name = ServiceName(u.Name)
	if name == "" {
		return "", "no service can have its name"
	}
	return name, ""
}

// ServiceName makes a service's name of a unit's: without the suffix, in lower
// case, with a dash for whatever services can't have. "" where nothing is left.
func ServiceName(unit string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', strings.ContainsRune("@._-", r):
			return r
		}
		return '-'
	}, strings.ToLower(strings.TrimSuffix(unit, suffix)))
	for strings.Contains(name, "..") {
		name = strings.ReplaceAll(name, "..", ".")
	}
	name = strings.TrimLeft(name, "@._-")
	name = strings.TrimRight(name[:min(len(name), 64)], "@._-")
	if restart.CheckServiceName(name) != nil {
		return ""
	}
	return name
}

func clip(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
