package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// hostsPage lists the hosts of the inventory.
type hostsPage struct {
	layout
	Query       string
	Hosts       []machineLine
	First, More string
	Source      *sourceNotice
	Sources     []sourceLine
}

// sourceLine is one source of an inventory that is put together of several.
type sourceLine struct {
	Name, Kind, State, Problem string
	Tone                       tone
	At                         *moment // of its last good answer; nil = none yet
	Hosts                      int
}

// sourcesOf lists the sources of an inventory that has several.
func sourcesOf(l language, now wire.InventoryState, clock time.Time) (out []sourceLine) {
	if len(now.Sources) < 2 {
		return nil
	}
	for _, x := range now.Sources {
		line := sourceLine{Name: x.Name, Kind: x.Kind, Problem: said.In(l, x.Problem), Hosts: x.Hosts, State: say(l, "source.good"), Tone: toneDone}
		switch {
		case x.Missing:
			line.State, line.Tone = say(l, "source.missing"), toneFail
		case x.Stale:
			line.State, line.Tone = say(l, "source.stale"), toneWarn
		}
		if x.FetchedAt != nil {
			at := momentOf(*x.FetchedAt, clock)
			line.At = &at
		}
		out = append(out, line)
	}
	return out
}

type machineLine struct {
	Name, DataCentre, Tags string
	Groups                 []string
	MoreGroups             int
}

// machineGroups is how many groups of a host a list names.
const machineGroups = 3

func (s *site) listHosts(w http.ResponseWriter, v *visit) error {
	query, after := strings.TrimSpace(v.URL.Query().Get("q")), v.URL.Query().Get("after")
	page := hostsPage{layout: s.layout(v, say(v.lang, "hosts.title")), Query: query}
	if state, err := s.cfg.Control.InventoryState(v.Context(), v.actor); err == nil {
		page.Sources = sourcesOf(v.lang, state, s.cfg.Now())
	}
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	page.Source = sourceOf(v.lang, now, err, s.cfg.Now())
	if err != nil {
		s.unread(v.Context(), v, err)
		return s.show(w, v, http.StatusServiceUnavailable, pageHosts, page)
	}
	hosts := slices.DeleteFunc(slices.Clone(now.Hosts), func(h restart.Host) bool {
		return h.Name <= after || !finds(query, append([]string{h.Name, h.DataCentre}, h.Tags...)...)
	})
	slices.SortFunc(hosts, func(a, b restart.Host) int { return strings.Compare(a.Name, b.Name) })
	if len(hosts) > namesPerPage {
		hosts = hosts[:namesPerPage]
		page.More = withQuery("/hosts", pagedBy(query, hosts[namesPerPage-1].Name))
	}
	if after != "" {
		page.First = withQuery("/hosts", pagedBy(query, ""))
	}
	groups := groupsByHost(now, hosts)
	for _, h := range hosts {
		line := machineLine{Name: h.Name, DataCentre: restart.Escape(h.DataCentre), Tags: restart.Escape(strings.Join(h.Tags, ", "))}
		line.Groups, line.MoreGroups = groups[h.Name], max(len(groups[h.Name])-machineGroups, 0)
		line.Groups = line.Groups[:min(len(line.Groups), machineGroups)]
		page.Hosts = append(page.Hosts, line)
	}
	return s.show(w, v, http.StatusOK, pageHosts, page)
}

func groupsByHost(now inventory.Snapshot, hosts []restart.Host) map[string][]string {
	out := make(map[string][]string, len(hosts))
	for _, h := range hosts {
		out[h.Name] = nil
	}
	for _, g := range now.Groups {
		for _, h := range g.Hosts {
			if groups, wanted := out[h]; wanted {
				out[h] = append(groups, g.Name)
			}
		}
	}
	return out
}

// machinePage is one host: what the inventory knows, what the host says of
// itself, and what was done there.
type machinePage struct {
	layout
	Name, DataCentre, Address, Tags string
	Gone                            bool // the inventory does not have it, or not any more
	Groups                          []serviceGroup
	Services                        []string
	Ask                             string // address that asks the host
	Agent                           *machineAgent
	Certificates                    []certificateLine
	Runs                            []runLine
	Dumps                           []dumpLine
	AllDumps                        string
	All                             string
	Source                          *sourceNotice
}

// machineAgent is what a host has said when it was asked.
type machineAgent struct {
	Tone                                      tone
	State, Message                            string
	Hint                                      []string
	At                                        moment
	Program, Review, Containment, Certificate string
	Services                                  []string
	Also, Warnings                            []string
}

type certificateLine struct {
	Serial, State, Why string
	Tone               tone
	Issued, Ends       moment
}

func (s *site) showMachine(w http.ResponseWriter, v *visit) error {
	name := v.PathValue("name")
	if err := restart.CheckHost(name); err != nil {
		return err
	}
	page := machinePage{layout: s.layout(v, say(v.lang, "machine.title", name)), Name: name, All: withQuery("/runs", url.Values{"host": {name}}), AllDumps: withQuery("/dumps", url.Values{"host": {name}}), Ask: "/hosts/" + name + "?ask=now"}
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	page.Source = sourceOf(v.lang, now, err, s.cfg.Now())
	switch i := slices.IndexFunc(now.Hosts, func(h restart.Host) bool { return h.Name == name }); {
	case err != nil:
		s.unread(v.Context(), v, err)
	case i < 0:
		page.Gone = true
	default:
		page.describe(now.Hosts[i], now)
	}
	if page.Runs, err = s.recent(v, wire.RunQuery{Host: name}); err != nil {
		return err
	}
	if page.Dumps, err = s.dumpsOf(v, wire.DumpQuery{Host: name}); err != nil {
		return err
	}
	if page.Gone && len(page.Runs) == 0 {
		return restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "machine.none", v.lang.Quote(name)))
	}
	if page.Certificates, err = s.certificates(v, name); err != nil {
		return err
	}
	page.Scripts = true
	if v.URL.Query().Get("ask") == "now" && !page.Gone {
		check, err := s.cfg.Control.AskHost(v.Context(), v.actor, name)
		if err != nil {
			return err
		}
		page.Agent = machineAgentOf(v.lang, check, s.cfg.Now())
	}
	return s.show(w, v, http.StatusOK, pageMachine, page)
}

func (p *machinePage) describe(h restart.Host, now inventory.Snapshot) {
	p.DataCentre, p.Address, p.Tags = restart.Escape(h.DataCentre), restart.Escape(h.Address), restart.Escape(strings.Join(h.Tags, ", "))
	for _, g := range now.Groups {
		if slices.Contains(g.Hosts, h.Name) && len(p.Groups) < namesPerPage {
			p.Groups = append(p.Groups, serviceGroup{Name: g.Name, Environment: g.Environment, Hosts: len(g.Hosts), Runs: withQuery("/runs", url.Values{"group": {g.Name}})})
			p.Services = append(p.Services, g.Services...)
		}
	}
	slices.Sort(p.Services)
	p.Services = slices.Compact(p.Services)
	p.Services = p.Services[:min(len(p.Services), namesPerPage)]
}

// certificates gives those of a host to who may see them.
func (s *site) certificates(v *visit, host string) (out []certificateLine, err error) {
	list, err := s.cfg.Control.HostCertificates(v.Context(), v.actor, host)
	if restart.CodeOf(err) == restart.CodeForbidden {
		return nil, nil
	}
	now := s.cfg.Now()
	for _, c := range list {
		line := certificateLine{Serial: c.Serial, State: say(v.lang, "certificate."+c.State), Tone: toneDone, Why: said.In(v.lang, c.Revocation), Issued: momentOf(c.IssuedAt, now), Ends: momentOf(c.NotAfter, now)}
		switch c.State {
		case wire.CertificateRevoked, wire.CertificateOver:
			line.Tone = toneFail
		case wire.CertificatePending:
			line.Tone = toneWait
		}
		if c.RenewalFailure != "" {
			line.Tone, line.Why = toneWarn, said.In(v.lang, c.RenewalFailure)
		}
		out = append(out, line)
	}
	return out, err
}

func machineAgentOf(l language, check wire.HostCheck, now time.Time) *machineAgent {
	a := &machineAgent{Tone: toneDone, State: known(l, "hoststate."+string(check.State), string(check.State)), At: momentOf(now, now)}
	if check.State != wire.HostReady {
		a.Tone = toneFail
	}
	if check.Error != nil {
		a.Message, a.Hint = said.In(l, check.Error.Message), said.Lines(l, check.Error.Hint)
	}
	for _, f := range check.Also {
		if f.Error != nil {
			a.Also = append(a.Also, said.In(l, f.Error.Message))
		}
	}
	for _, w := range check.Warnings {
		a.Warnings = append(a.Warnings, said.In(l, w.Message))
	}
	if r := check.Report; r != nil {
		a.Program, a.Review, a.Containment = said.In(l, r.Program), restart.Escape(r.Review), said.In(l, r.Containment)
		if r.Certificate != nil {
			a.Certificate = r.Certificate.NotAfter.UTC().Format(time.DateOnly)
		}
		for _, name := range r.Services[:min(len(r.Services), namesPerPage)] {
			a.Services = append(a.Services, restart.Escape(name))
		}
	}
	return a
}
