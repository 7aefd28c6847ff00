// Package discovery writes down what hosts see of their services: as files for
// their services.d, and as a fragment of an inventory. A draft is for a person,
// who reads it and takes what is right; nothing here is laid anywhere.
package discovery

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// ServiceFile drafts services.d/NAME.yaml of a service as a host sees it.
func ServiceFile(d protocol.Discovered) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Service %s, drafted from its unit. Read it before you lay it into services.d.\n", d.Name)
	for _, f := range []struct{ key, value string }{{"description", d.Description}, {"package", d.Package}, {"unit", d.Unit}, {"user", d.User}} {
		if f.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", f.key, scalar(f.value))
		}
	}
	return []byte(b.String())
}

// plain is what YAML takes for text without quotes, whatever its version.
var plain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_./@+-]*$`)

// scalar writes text as a YAML scalar that every reader takes for text.
func scalar(s string) string {
	if plain.MatchString(s) && !slices.Contains([]string{"true", "false", "yes", "no", "on", "off", "null", "y", "n"}, strings.ToLower(s)) {
		return s
	}
	b, _ := json.Marshal(s) //nolint:errchkjson // text always can be encoded; YAML's double quotes take all of JSON's
	return string(b)
}

// Service is one service as all hosts see it together.
type Service struct {
	protocol.Discovered          // as the first host sees it; Ports and Runtime of all
	Hosts               []string // in the order of the hosts
	Files               map[string][]byte
}

// Agree tells whether the hosts' files are the same.
func (s Service) Agree() bool {
	for _, f := range s.Files {
		if string(f) != string(s.Files[s.Hosts[0]]) {
			return false
		}
	}
	return true
}

// Report is what one host sees.
type Report struct {
	Host     string
	Services []protocol.Discovered
}

// Merge puts the hosts' services together by name, sorted. A unit that the
// inventory has as a service goes by that service's name, unless the host
// lists it by another itself.
func Merge(reports []Report, known []restart.Service) []Service {
	names := map[string]string{}
	for _, s := range known {
		if s.Unit != "" && names[s.Unit] == "" {
			names[s.Unit] = s.Name
		}
	}
	byName := map[string]*Service{}
	for _, r := range reports {
		for _, d := range r.Services {
			if name := names[d.Unit]; name != "" && d.Listed == "" {
				d.Name = name
			}
			s := byName[d.Name]
			if s == nil {
				s = &Service{Discovered: d, Files: map[string][]byte{}}
				byName[d.Name] = s
			}
			if s.Files[r.Host] != nil {
				continue // two units of one name: the first is kept
			}
			s.Hosts = append(s.Hosts, r.Host)
			s.Files[r.Host] = ServiceFile(d)
			s.Ports = append(s.Ports, d.Ports...)
			if s.Runtime == "" {
				s.Runtime = d.Runtime
			}
		}
	}
	var out []Service
	for _, s := range byName {
		slices.Sort(s.Ports)
		s.Ports = slices.Compact(s.Ports)
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return out
}
