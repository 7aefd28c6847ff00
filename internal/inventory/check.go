package inventory

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// The bounds of an inventory, from whichever source.
const (
	mostHosts       = 200_000
	mostMemberships = 2_000_000 // hosts of all groups together, nested ones counted in each
	mostDescription = 500       // characters
)

// all is the name by which expressions mean every host; no group may have it.
const all = "all"

var runtimes = []string{"jvm", "go", "python", "process"}

// checkSnapshot holds what is true of every snapshot: all names are valid and
// unique, groups hold known hosts and services, and nothing is over its bound.
// A source whose answer breaks this is not believed.
func checkSnapshot(s Snapshot) error {
	services, hosts, groups := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, service := range s.Services {
		if err := checkService(service); err != nil {
			return err
		}
		if services[service.Name] {
			return restart.Errorf(restart.CodeInvalid, "service %s is there twice", service.Name)
		}
		services[service.Name] = true
	}
	if len(s.Hosts) > mostHosts {
		return restart.Errorf(restart.CodeTooLarge, "%d hosts are over the bound of %d", len(s.Hosts), mostHosts)
	}
	for _, h := range s.Hosts {
		if err := checkHost(h); err != nil {
			return err
		}
		if hosts[h.Name] {
			return restart.Errorf(restart.CodeInvalid, "host %s is there twice", h.Name)
		}
		hosts[h.Name] = true
	}
	memberships := 0
	for _, g := range s.Groups {
		if err := checkGroup(g); err != nil {
			return err
		}
		if groups[g.Name] {
			return restart.Errorf(restart.CodeInvalid, "group %s is there twice", g.Name)
		}
		groups[g.Name] = true
		for _, service := range g.Services {
			if !services[service] {
				return restart.Errorf(restart.CodeInvalid, "group %s names an unknown service %s", g.Name, restart.Quote(service))
			}
		}
		own := make(map[string]bool, len(g.Hosts))
		for _, h := range g.Hosts {
			if !hosts[h] {
				return restart.Errorf(restart.CodeInvalid, "group %s names an unknown host %s", g.Name, restart.Quote(h))
			}
			if own[h] {
				return restart.Errorf(restart.CodeInvalid, "group %s names host %s twice", g.Name, h)
			}
			own[h] = true
		}
		if memberships += len(g.Hosts); memberships > mostMemberships {
			return tooManyMembers()
		}
	}
	return nil
}

func tooManyMembers() *restart.Error {
	return restart.Errorf(restart.CodeTooLarge, "the groups together hold more than %d hosts", mostMemberships)
}

func checkService(s restart.Service) error {
	if err := restart.CheckServiceName(s.Name); err != nil {
		return err
	}
	for _, c := range []struct {
		value string
		check func(string) error
	}{
		{s.Package, restart.CheckPackage}, {s.Tag, restart.CheckTag}, {s.Unit, restart.CheckUnit}, {s.Project, restart.CheckProject}, {s.Runtime, checkRuntime},
	} {
		if c.value == "" {
			continue
		}
		if err := c.check(c.value); err != nil {
			return err
		}
	}
	if s.Port < 0 || s.Port > 65535 {
		return restart.Errorf(restart.CodeInvalid, "port %d of service %s is not between 1 and 65535", s.Port, s.Name)
	}
	if strings.IndexFunc(s.Description, func(r rune) bool { return !restart.Printable(r) }) >= 0 || len([]rune(s.Description)) > mostDescription {
		return restart.Errorf(restart.CodeInvalid, "the description of service %s is not one line of at most %d printable characters", s.Name, mostDescription)
	}
	for _, o := range s.Owners {
		if err := checkOwner(o); err != nil {
			return err
		}
	}
	return nil
}

// checkOwner wants a person as he signs in, or a team as a directory calls it.
// The names of people have no capitals: an owner with some would be nobody.
func checkOwner(o string) error {
	if name, team := strings.CutPrefix(o, "team:"); team && restart.CheckTag(name) == nil {
		return nil
	}
	err := restart.CheckPerson(o)
	if err == nil {
		return nil
	}
	refused := restart.Errorf(restart.CodeInvalid, "owner %s is not a valid name", restart.Quote(o)).Because(err)
	if lower := strings.ToLower(o); restart.CheckPerson(lower) == nil {
		return refused.WithHint("user names have no capitals: %s; a team: team:%s", lower, o)
	}
	return refused.WithHint("a person as he signs in, or a team: anna, team:shop")
}

func checkRuntime(s string) error {
	if slices.Contains(runtimes, s) {
		return nil
	}
	return restart.Errorf(restart.CodeInvalid, "runtime %s is not known", restart.Quote(s)).WithHint("one of: %s", strings.Join(runtimes, ", "))
}

func checkHost(h restart.Host) error {
	if err := restart.CheckHost(h.Name); err != nil {
		return err
	}
	if h.Address != "" {
		if err := checkAddress(h.Address); err != nil {
			return err
		}
	}
	if h.DataCentre != "" {
		if err := checkDataCentre(h.DataCentre); err != nil {
			return err
		}
	}
	for _, t := range h.Tags {
		if err := restart.CheckTag(t); err != nil {
			return err
		}
	}
	for name, version := range h.Packages {
		if err := restart.CheckPackage(name); err != nil {
			return err
		}
		if version == "" {
			continue
		}
		if err := restart.CheckTag(version); err != nil {
			return err
		}
	}
	return nil
}

func checkGroup(g restart.Group) error {
	if err := checkGroupName(g.Name); err != nil {
		return err
	}
	if g.Project != "" {
		if err := restart.CheckProject(g.Project); err != nil {
			return err
		}
	}
	if g.Environment != "" {
		return restart.CheckEnvironment(g.Environment)
	}
	return nil
}

// checkGroupName is stricter than the domain: @ begins a data centre in an
// expression, and all means every host.
func checkGroupName(s string) error {
	if s == all || strings.Contains(s, "@") {
		return restart.Errorf(restart.CodeInvalid, "group %s is not a valid name", restart.Quote(s)).
			WithHint("%q means every host, and @ comes before a data centre", all)
	}
	return restart.CheckGroupName(s)
}

// checkAddress accepts an IP address without a zone, or a host name.
func checkAddress(s string) error {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		return nil
	}
	if restart.CheckHost(s) != nil {
		return restart.Errorf(restart.CodeInvalid, "address %s is not valid", restart.Quote(s)).WithHint("an IP address or a host name, without a port")
	}
	return nil
}

// checkDataCentre follows the rule of tags, without @.
func checkDataCentre(s string) error {
	if strings.Contains(s, "@") || restart.CheckTag(s) != nil {
		return restart.Errorf(restart.CodeInvalid, "data centre %s is not a valid name", restart.Quote(s)).
			WithHint("1 to 128 letters, digits and . _ : + ~ = -")
	}
	return nil
}
