package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// namesPerPage is how many services or hosts one page of a list has.
const namesPerPage = 100

// sourceNotice says what a reader should know of the inventory: that it can't
// be read, or that what is shown is old.
type sourceNotice struct {
	Down    bool
	Message string
	Hint    []string
	At      *moment // of when it is
}

func sourceOf(l language, now inventory.Snapshot, err error, clock time.Time) *sourceNotice {
	if err != nil {
		n := &sourceNotice{Down: true, Message: said.In(l, err.Error())}
		if e, ok := errors.AsType[*restart.Error](err); ok {
			n.Message, n.Hint = said.In(l, e.Message), said.Lines(l, e.Hint)
		}
		return n
	}
	if !now.Stale && now.Problem == "" {
		return nil
	}
	at := momentOf(now.FetchedAt, clock)
	return &sourceNotice{Message: said.In(l, now.Problem), At: &at}
}

// ownerLine is somebody who owns a service.
type ownerLine struct {
	Name string
	Team bool
}

func ownersOf(owners []string) (out []ownerLine) {
	for _, o := range owners {
		name, team := strings.CutPrefix(o, "team:")
		out = append(out, ownerLine{name, team})
	}
	return out
}

// servicesPage lists services, one's own first.
type servicesPage struct {
	layout
	Query       string
	Own, Others []serviceLine
	First, More string // addresses: of the beginning, and of the next page
	Source      *sourceNotice
}

type serviceLine struct {
	Name, Description, Environments string
	Owners                          []ownerLine
}

func (s *site) listServices(w http.ResponseWriter, v *visit) error {
	query, after := strings.TrimSpace(v.URL.Query().Get("q")), v.URL.Query().Get("after")
	page := servicesPage{layout: s.layout(v, say(v.lang, "services.title")), Query: query}
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	page.Source = sourceOf(v.lang, now, err, s.cfg.Now())
	if err != nil {
		s.unread(v.Context(), v, err)
		return s.show(w, v, http.StatusServiceUnavailable, pageServices, page)
	}
	environments := map[string][]string{}
	for _, g := range now.Groups {
		for _, name := range g.Services {
			if g.Environment != "" && !slices.Contains(environments[name], g.Environment) {
				environments[name] = append(environments[name], g.Environment)
			}
		}
	}
	services := slices.DeleteFunc(slices.Clone(now.Services), func(x restart.Service) bool {
		return !finds(query, append([]string{x.Name, x.Description, x.Project}, x.Owners...)...)
	})
	slices.SortFunc(services, func(a, b restart.Service) int { return strings.Compare(a.Name, b.Name) })
	for _, x := range services {
		line := serviceLine{Name: x.Name, Description: restart.Escape(x.Description), Owners: ownersOf(x.Owners), Environments: strings.Join(environments[x.Name], ", ")}
		switch own := control.Owns(v.actor, x); {
		case own && after == "" && len(page.Own) < namesPerPage:
			page.Own = append(page.Own, line)
		case own && len(page.Own) < namesPerPage, x.Name <= after:
		case len(page.Others) == namesPerPage:
			page.More = withQuery("/services", pagedBy(query, page.Others[namesPerPage-1].Name))
		default:
			page.Others = append(page.Others, line)
		}
		if page.More != "" {
			break
		}
	}
	if after != "" {
		page.First = withQuery("/services", pagedBy(query, ""))
	}
	return s.show(w, v, http.StatusOK, pageServices, page)
}

// finds tells whether each word of a query is in one of the texts, in any case.
func finds(query string, texts ...string) bool {
	all := strings.ToLower(strings.Join(texts, "\n"))
	for word := range strings.FieldsSeq(strings.ToLower(query)) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}

func pagedBy(query, after string) url.Values {
	q := url.Values{}
	if query != "" {
		q.Set("q", query)
	}
	if after != "" {
		q.Set("after", after)
	}
	return q
}

// servicePage is one service: whose it is, where it runs, what may be done to
// it and by whom, who does just now, and what was done.
type servicePage struct {
	layout
	Service     restart.Service
	Description string
	Gone        bool // the inventory does not have it, or not any more
	Owners      []ownerLine
	Groups      []serviceGroup
	Scenarios   []inForce
	Locks       []holdLine
	Freezes     []freezeLine
	Runs        []runLine
	All         string // address of all its runs
	Dumps       []dumpLine
	AllDumps    string
	MayDumps    bool   // somewhere the reader may look at them
	TakeDump    string // address; "" = no scenario that is in force takes one
	Source      *sourceNotice
}

type serviceGroup struct {
	Name, Environment string
	Hosts             int
	Who               []rightLine // who may restart it there
	Runs, Start       string      // addresses
}

type rightLine struct {
	Name  string // in words
	Needs string
}

type inForce struct {
	Name, Digest, Description, Kind string
	Serial                          int
	LastDay                         string
	Soon                            bool
}

type holdLine struct {
	Run, Actor, Environment, Group string
	Since                          moment
}

func (s *site) showService(w http.ResponseWriter, v *visit) error {
	name := v.PathValue("name")
	if err := restart.CheckServiceName(name); err != nil {
		return err
	}
	page := servicePage{layout: s.layout(v, say(v.lang, "service.title", name)), Service: restart.Service{Name: name}, All: withQuery("/runs", url.Values{"service": {name}}), AllDumps: withQuery("/dumps", url.Values{"service": {name}})}
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	page.Source = sourceOf(v.lang, now, err, s.cfg.Now())
	switch i := slices.IndexFunc(now.Services, func(x restart.Service) bool { return x.Name == name }); {
	case err != nil:
		s.unread(v.Context(), v, err)
	case i < 0:
		page.Gone = true
	default:
		page.Service = now.Services[i]
		page.Description, page.Owners = restart.Escape(page.Service.Description), ownersOf(page.Service.Owners)
		if page.Groups, err = s.groupsOf(v, name, now); err != nil {
			return err
		}
	}
	if page.Runs, err = s.recent(v, wire.RunQuery{Service: name}); err != nil {
		return err
	}
	if page.Dumps, err = s.dumpsOf(v, wire.DumpQuery{Service: name}); err != nil {
		return err
	}
	page.MayDumps = slices.ContainsFunc(page.Groups, func(g serviceGroup) bool {
		return s.cfg.Control.MayViewDumps(v.Context(), v.actor, restart.Run{Kind: restart.KindThreadDump, Service: name, Environment: g.Environment, Group: g.Name})
	})
	if page.Gone && len(page.Runs) == 0 {
		return restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "service.none", v.lang.Quote(name)))
	}
	if err := s.standing(v, &page, environmentsOfService(now, name)); err != nil {
		return err
	}
	return s.show(w, v, http.StatusOK, pageService, page)
}

// groupsOf gives where a service runs, and who may restart it there.
func (s *site) groupsOf(v *visit, name string, now inventory.Snapshot) (out []serviceGroup, err error) {
	who := map[string][]rightLine{}
	list, _, err := s.cfg.Control.WhoCan(v.Context(), v.actor, wire.WhoCanQuery{Action: "restart", Service: name})
	if err != nil && restart.CodeOf(err) != restart.CodeNotFound { // it runs nowhere yet
		return nil, err
	}
	for _, line := range list {
		for _, g := range line.Who {
			who[line.Group] = append(who[line.Group], rightLine{said.In(v.lang, g.Say), string(g.Needs)})
		}
	}
	for _, g := range now.Groups {
		if slices.Contains(g.Services, name) && len(out) < namesPerPage {
			out = append(out, serviceGroup{
				Name: g.Name, Environment: g.Environment, Hosts: len(g.Hosts), Who: who[g.Name], Runs: withQuery("/runs", url.Values{"service": {name}, "group": {g.Name}}),
				Start: withQuery("/start", url.Values{"service": {name}, "env": {g.Environment}, "group": {g.Name}}),
			})
		}
	}
	return out, nil
}

// environmentsOfService gives where a service runs; nil where nobody can say.
func environmentsOfService(now inventory.Snapshot, name string) (out []string) {
	for _, g := range now.Groups {
		if slices.Contains(g.Services, name) {
			out = append(out, g.Environment)
		}
	}
	return out
}

// standing fills in what holds for a service just now.
func (s *site) standing(v *visit, page *servicePage, environments []string) error {
	name, now := page.Service.Name, s.cfg.Now()
	scenarios, err := s.cfg.Control.Scenarios(v.Context(), v.actor)
	if err != nil {
		return err
	}
	for _, x := range scenarios {
		if !(restart.Scenario{Services: x.Services}).Fits(name) {
			continue
		}
		line := inForce{Name: x.Name, Digest: x.Digest, Description: restart.Escape(x.Description), Kind: known(v.lang, "kind."+string(x.Kind), string(x.Kind)), Serial: x.Serial}
		if x.Expires != nil {
			line.LastDay = x.Expires.Add(-time.Nanosecond).UTC().Format(time.DateOnly)
			line.Soon = x.Expires.Sub(now) <= soonDays*24*time.Hour
		}
		if x.Kind == restart.KindThreadDump && page.TakeDump == "" {
			page.TakeDump = withQuery("/start", url.Values{"service": {name}, "scenario": {x.Name}})
		}
		page.Scenarios = append(page.Scenarios, line)
	}
	locks, err := s.cfg.Control.Locks(v.Context(), v.actor)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if l.Service == name {
			page.Locks = append(page.Locks, holdLine{Run: l.Run, Actor: l.Actor, Environment: l.Environment, Group: l.Group, Since: momentOf(l.Since, now)})
		}
	}
	freezes, err := s.cfg.Control.Freezes(v.Context(), v.actor)
	for _, f := range freezes {
		stops := func(environment string) bool { return f.Names(name, environment) }
		if slices.ContainsFunc(environments, stops) || environments == nil && slices.ContainsFunc(f.Environments, stops) {
			page.Freezes = append(page.Freezes, freezeLine{ID: f.ID, Where: whereOf(v.lang, f.Freeze), Reason: restart.Escape(f.Reason), By: f.CreatedBy, Applies: f.Applies, Begins: momentOf(f.Begins, now), Ends: momentOf(f.Ends, now)})
		}
	}
	return err
}
