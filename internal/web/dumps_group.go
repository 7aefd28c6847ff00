package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Bounds of the page of all hosts of a run.
const (
	shownClusters     = 30
	shownGroupHosts   = 200
	shownClusterHosts = 50
	shownDeviations   = 3
)

// runDumpsPage is what the dumps of all hosts of a run say together.
type runDumpsPage struct {
	layout
	Run                  string
	Service, Environment string
	State                string
	Tone                 tone
	Going                bool // more dumps may come
	Poll                 string
	Of                   int // hosts of the run
	Verdict              findingView
	Findings             []findingView
	Origins              []tabLine
	Clusters             []clusterView
	Idle                 []clusterView
	MoreClusters         int
	IdleThreads          int
	Outliers             []outlierView
	Hosts                []groupHostView
	MoreHosts            int
	LeftOut              []string
	Compare              []hostPair
	Flame                flameView
	None                 bool // there are no dumps yet
	Legend               []stateMark
}

// clusterView is threads at one place over the hosts.
type clusterView struct {
	Frame      frameLine
	HasFrame   bool
	Does       string
	Hosts      int
	Of         int
	Threads    int
	Percent    string
	Shares     []hostShareView
	MoreShares int
	ID         string
	Open       bool
}

// hostShareView is one host's part of a cluster.
type hostShareView struct {
	threadLink
	Number, Of int
	Percent    string
}

type outlierView struct {
	threadLink
	Why [][]saidPart
}

// groupHostView is one host with what its own dumps say.
type groupHostView struct {
	threadLink
	Threads int
	States  statesView
	Verdict findingView
	Outlier bool
	Dumps   []threadLink
}

// hostPair is a host with dumps from before and from after.
type hostPair struct {
	Host, URL string
}

func (s *site) showRunDumps(w http.ResponseWriter, v *visit) error {
	run, err := s.run(v)
	if err != nil {
		return err
	}
	origin := v.URL.Query().Get("of")
	stamp, err := s.stampOfDumps(v, run)
	if err != nil {
		return err
	}
	if v.URL.Query().Get("seen") == stamp { // nothing is new: nothing is looked at, and nothing recorded
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	all, err := s.cfg.Control.OpenRunDumps(v.Context(), v.actor, run.ID, origin, "page")
	page := runDumpsPage{
		layout: s.layout(v, say(v.lang, "rundumps.title", run.Service)), Run: run.ID, Service: run.Service, Environment: run.Environment, Of: len(restart.Latest(run.Tasks)),
		State: say(v.lang, "runstate."+string(run.State)), Tone: toneOfRun(run.State), Going: !run.State.Final(),
	}
	if page.Scripts = page.Going; page.Going {
		page.Reload = liveReload
	}
	if page.Going {
		again := v.URL.Query()
		again.Set("seen", stamp)
		page.Poll = withQuery("/runs/"+run.ID+"/dumps", again)
	}
	switch {
	case restart.CodeOf(err) == restart.CodeNotFound && origin == "":
		page.None = true
		return s.show(w, v, http.StatusOK, pageRunDumps, page)
	case err != nil:
		return err
	}
	defer all.Close()
	g := newGroupBoard(v.lang, all)
	page.Verdict = g.finding(all.Report.Verdict())
	page.Description = plainText(page.Verdict.Text)
	for i, f := range all.Report.Findings {
		switch {
		case i == 0, f.Kind == analyse.OddHost: // those have a list of their own
		case explains(f, all.Report.Verdict()):
			why := g.finding(f)
			page.Verdict.More = slices.Concat(page.Verdict.More, why.Text, []saidPart{{Text: " "}}, why.More)
		case len(page.Findings) < shownFindings:
			page.Findings = append(page.Findings, g.finding(f))
		}
	}
	for _, o := range all.Origins {
		if o != string(store.DumpUpload) && len(all.Origins) > 1 {
			page.Origins = append(page.Origins, tabLine{Name: say(v.lang, "dumpsof."+o), URL: withQuery("/runs/"+run.ID+"/dumps", url.Values{"of": {o}}), Here: o == all.Origin})
		}
	}
	page.fill(g)
	query := url.Values{}
	if origin != "" {
		query.Set("of", origin)
	}
	page.Flame = drawFlame(v.lang, all.Report.Flame, "/runs/"+run.ID+"/dumps", query, v.URL.Query().Get("at"))
	page.Compare = pairs(all)
	all.Close() // nobody waits for who reads the page slowly
	return s.show(w, v, http.StatusOK, pageRunDumps, page)
}

// explains tells whether a finding is about the very threads of the verdict: it
// says why they stand there.
func explains(f, verdict analyse.Finding) bool {
	same := f.Frame == verdict.Frame || f.Kind == analyse.LockHeld && verdict.Does.Kind == analyse.WaitsLock // its frame is that of who holds the lock
	return same && verdict.Kind == analyse.SameFrame && f.Threads == verdict.Threads && slices.Equal(f.Hosts, verdict.Hosts)
}

func boolOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// stampOfDumps changes with each dump that comes: their number, up to a bound,
// and the newest of them.
func (s *site) stampOfDumps(v *visit, run restart.Run) (string, error) {
	list, _, err := s.cfg.Control.Dumps(v.Context(), v.actor, wire.DumpQuery{Run: run.ID, Limit: wire.MaxPage})
	stamp := string(run.State) + "." + strconv.Itoa(len(list))
	if len(list) > 0 {
		stamp += "." + list[0].ID
	}
	return stamp, err
}

// groupBoard renders the report of a group.
type groupBoard struct {
	lang    language
	all     *control.RunDumps
	domain  string
	dumps   map[string][]wire.Dump      // by host, those that have a text
	picture map[string]control.DumpLook // by host, the dump that its report tells of
	hosts   int
}

func newGroupBoard(l language, all *control.RunDumps) *groupBoard {
	g := &groupBoard{lang: l, all: all, dumps: map[string][]wire.Dump{}, picture: map[string]control.DumpLook{}, hosts: len(all.Report.Hosts)}
	var names []string
	for _, d := range all.Dumps {
		if d.Stored > 0 {
			g.dumps[d.Host] = append(g.dumps[d.Host], d)
		}
	}
	looks := map[string][]control.DumpLook{}
	for i, h := range all.Hosts {
		looks[h.Name] = all.Looks[i]
	}
	for _, h := range all.Report.Hosts {
		names = append(names, h.Name)
		if list := looks[h.Name]; h.Report != nil && h.Report.Picture < len(list) {
			g.picture[h.Name] = list[h.Report.Picture]
		}
	}
	g.domain = commonDomain(names)
	return g
}

// link gives a view of the dump that the report of a host tells of.
func (g *groupBoard) link(host string, tab dumpTab, values url.Values) threadLink {
	link := threadLink{Name: restart.Escape(strings.TrimSuffix(host, g.domain))}
	if look, ok := g.picture[host]; ok {
		x := threads{inFile: look.InFile}
		link.URL = withQuery("/dumps/"+look.ID+tab.path(), x.kept(values))
	}
	return link
}

func (g *groupBoard) finding(f analyse.Finding) findingView {
	view := findingOf(g.lang, f)
	switch {
	case f.Key != "" && len(f.Hosts) != 1:
		view.URL, view.Link = "#cluster-"+clusterID(f.Key), say(g.lang, "rundumps.where")
	case len(f.Hosts) == 1:
		view.URL, view.Link = g.link(f.Hosts[0], tabSummary, nil).URL, say(g.lang, "rundumps.host")
	}
	return view
}

// clusterID makes a key fit to be an element's id.
func clusterID(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, strings.ToLower(shorten(key, 64)))
}

func (p *runDumpsPage) fill(g *groupBoard) {
	r := g.all.Report
	clusters := slices.Clone(r.Clusters)
	slices.SortStableFunc(clusters, func(a, b analyse.Cluster) int { // first the one that the verdict is about
		return cmp.Compare(boolOf(b.Key == r.Verdict().Key), boolOf(a.Key == r.Verdict().Key))
	})
	for _, c := range clusters {
		switch {
		case c.Idle:
			if p.IdleThreads += c.Threads; len(p.Idle) < shownClusters {
				p.Idle = append(p.Idle, g.cluster(c))
			}
		case len(p.Clusters) < shownClusters:
			p.Clusters = append(p.Clusters, g.cluster(c))
			p.Clusters[len(p.Clusters)-1].Open = len(p.Clusters) == 1 && c.Key == r.Verdict().Key
		default:
			p.MoreClusters++
		}
	}
	for _, h := range r.Hosts {
		if h.Outlier {
			out := outlierView{threadLink: g.link(h.Name, tabSummary, nil)}
			for _, d := range h.Differs[:min(len(h.Differs), shownDeviations)] {
				out.Why = append(out.Why, deviationOf(g.lang, d))
			}
			p.Outliers = append(p.Outliers, out)
		}
		if len(p.Hosts) < shownGroupHosts {
			p.Hosts = append(p.Hosts, g.host(h))
		}
	}
	for _, state := range dump.States() {
		if slices.ContainsFunc(r.Hosts, func(h analyse.HostReport) bool { return h.States[state] > 0 }) {
			p.Legend = append(p.Legend, stateOf(g.lang, state))
		}
	}
	p.MoreHosts = max(len(r.Hosts)-shownGroupHosts, 0)
	for _, name := range g.all.LeftOut {
		p.LeftOut = append(p.LeftOut, restart.Escape(name))
	}
}

func (g *groupBoard) host(h analyse.HostReport) groupHostView {
	x := &threads{lang: g.lang}
	view := groupHostView{threadLink: g.link(h.Name, tabSummary, nil), Threads: h.Threads, States: x.states(h.States), Verdict: findingOf(g.lang, h.Verdict), Outlier: h.Outlier}
	view.Verdict.More = nil // the page of the host has it
	if list := g.dumps[h.Name]; len(list) > 1 {
		for i, d := range list {
			view.Dumps = append(view.Dumps, threadLink{Name: say(g.lang, "dump.number", i+1), URL: "/dumps/" + d.ID})
		}
	}
	return view
}

func (g *groupBoard) cluster(c analyse.Cluster) clusterView {
	view := clusterView{
		Does: eachDoes(g.lang, c.Threads, c.Does), Hosts: len(c.Hosts), Of: g.hosts, Threads: c.Threads, Percent: percentOf(c.Threads, g.all.Report.Threads),
		MoreShares: max(len(c.Hosts)-shownClusterHosts, 0), ID: clusterID(c.Key),
	}
	view.Frame, view.HasFrame = topOf(analyse.Doing{Frame: cmp.Or(c.Frame, c.Does.Frame), Own: c.Does.Own})
	for _, h := range c.Hosts[:min(len(c.Hosts), shownClusterHosts)] {
		query := url.Values{}
		if len(h.Groups) == 1 {
			query.Set("group", h.Groups[0])
		} else if frame := cmp.Or(c.Does.Own, c.Frame); frame != "" {
			query.Set("text", shorten(frame, maxThreadFilter))
		}
		view.Shares = append(view.Shares, hostShareView{threadLink: g.link(h.Name, tabThreads, query), Number: h.Threads, Of: h.Of, Percent: percentOf(h.Threads, h.Of)})
	}
	return view
}

// pairs gives the hosts that have a dump from before and one from after.
func pairs(all *control.RunDumps) (out []hostPair) {
	has := func(o store.DumpOrigin) bool { return slices.Contains(all.Origins, string(o)) }
	if !has(store.DumpAfter) || !has(store.DumpBefore) && !has(store.DumpEvidence) {
		return nil
	}
	first, last := map[string]string{}, map[string]string{}
	var hosts []string
	for _, d := range all.HostDumps() {
		switch store.DumpOrigin(d.Origin) {
		case store.DumpBefore, store.DumpEvidence:
			if d.Stored > 0 { // the evidence of the task itself is the latest look
				first[d.Host] = d.ID
			}
		case store.DumpAfter:
			if d.Stored > 0 && last[d.Host] == "" {
				hosts = append(hosts, d.Host)
			}
			last[d.Host] = d.ID
		}
	}
	for _, h := range hosts {
		if first[h] != "" && len(out) < shownGroupHosts {
			out = append(out, hostPair{Host: restart.Escape(h), URL: "/dumps/" + first[h] + "/compare/" + last[h]})
		}
	}
	return out
}
