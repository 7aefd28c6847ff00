package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// Bounds of the page that sums a dump up.
const (
	shownFindings = 20
	shownGroups   = 30
	shownThreads  = 8 // of one group that are named
	shownChains   = 5
	shownHot      = 10
	shownStuck    = 10
	shownPools    = 12
	shownSites    = 12
	shownClasses  = 30
	shownRest     = 20
)

// dumpPage is what one dump says, and the series that it is part of.
type dumpPage struct {
	layout
	Head      dumpHead
	Verdict   findingView
	Findings  []findingView
	States    statesView
	Deadlocks []deadlockView
	Chains    []chainView
	Hot       []hotView
	Stuck     []stuckView
	Pools     []poolView
	Sites     []siteView
	Groups    []groupView
	More      int // groups that are not shown
	Idle      int // threads that wait for work, in groups that are folded away
	IdleStack []groupView
	Classes   []dump.ClassCount
	Rest      []restLine
	Facts     []param
	Notes     []string
	Downloads []download
	Compare   []otherDump
	MayDelete bool
	Upload    bool
	All       string // address of all threads
	Evidence  []evidence
	Sent      filled // the form to delete it
	Missing   string // why there is no dump, or none that can be read; "" = there is
}

// deadlockView is a circle of threads.
type deadlockView struct {
	Members []memberView
	Behind  int
}

type memberView struct {
	Thread threadLink
	Lock   string
	Owner  threadLink
	Frame  frameLine
}

// chainView is a queue of threads behind one.
type chainView struct {
	Waiting  int
	Links    []chainLinkView
	Root     *threadLink
	RootDoes string
	URL      string
}

type chainLinkView struct {
	Lock    string
	Waiting int
	URL     string
	Owner   *threadLink
}

type hotView struct {
	Thread   threadLink
	Percent  string
	Wide     int // of a bar, at most 100
	CPU      time.Duration
	Frame    frameLine
	Same     bool
	Internal bool
}

type stuckView struct {
	Number int
	Does   string
	Frame  frameLine
	Dumps  int
	Span   time.Duration
	URL    string
}

type poolView struct {
	Name, URL     string
	Threads, Busy int
	Exhausted     bool
	Does          string
	Frame         frameLine
	HasFrame      bool
}

type siteView struct {
	Frame   frameLine
	Where   string
	Threads int
	Grown   int
	Does    string
	Longest time.Duration
}

// groupView is threads whose stacks are the same.
type groupView struct {
	Number     int
	Percent    string
	Does       string
	Frame      frameLine
	HasFrame   bool
	States     []stateCount
	Threads    []threadLink
	More       int
	MoreURL    string
	Stack      []stackPart
	MoreFrames int
	Idle       bool
}

type stateCount struct {
	stateMark
	Number int
}

type restLine struct {
	Line int
	URL  string
	Text string
}

// download is one way to take a dump away.
type download struct{ Name, URL, What string }

// otherDump is a dump to compare this one with.
type otherDump struct{ Name, URL string }

func (s *site) showDump(w http.ResponseWriter, v *visit) error {
	return s.dumpAgain(w, v, filled{}, http.StatusOK)
}

// dumpAgain shows the page with the form that was refused.
func (s *site) dumpAgain(w http.ResponseWriter, v *visit, sent filled, status int) error {
	view, err := s.openDump(v, tabSummary)
	if err != nil {
		return err
	}
	defer view.Close()
	if view.Stored == 0 {
		return s.showMissing(w, v, view, nil, sent, status)
	}
	x, err := s.lookInto(v, view, tabSummary)
	if restart.CodeOf(err) == restart.CodeInvalid {
		return s.showMissing(w, v, view, err, sent, status)
	}
	if err != nil {
		return err
	}
	r := x.report
	page := dumpPage{
		layout: s.layout(v, x.head.Title), Head: x.head, States: x.states(r.States), Deadlocks: x.deadlocks(), Chains: x.chains(shownChains),
		Verdict: x.finding(0, r.Verdict()), Facts: x.facts(), Notes: x.notes(), Downloads: downloadsOf(v.lang, x.id, "raw", "json", "collapsed", "speedscope"), Compare: s.comparable(v, x), MayDelete: s.mayDelete(v, view), Upload: isUpload(view), All: x.listed(nil), Sent: sent,
	}
	page.Description = plainText(page.Verdict.Text)
	for i, f := range r.Findings[min(1, len(r.Findings)):min(len(r.Findings), shownFindings+1)] {
		page.Findings = append(page.Findings, x.finding(i+1, f))
	}
	for _, h := range r.Hot[:min(len(r.Hot), shownHot)] {
		view := hotView{Thread: x.find(h.ID, h.Name), Percent: percentOfCore(x.lang, h.Percent), Wide: min(int(h.Percent+.5), 100), CPU: h.CPU, Same: h.Same, Internal: h.Internal}
		view.Frame, _ = topOf(h.Does)
		page.Hot = append(page.Hot, view)
	}
	for _, stuck := range r.Stuck[:min(len(r.Stuck), shownStuck)] {
		view := stuckView{Number: stuck.Threads, Does: eachDoes(x.lang, stuck.Threads, stuck.Does), Dumps: stuck.Dumps, Span: stuck.Span, URL: x.listed(url.Values{"group": {stuck.Key}})}
		view.Frame, _ = topOf(stuck.Does)
		page.Stuck = append(page.Stuck, view)
	}
	page.pools(x)
	page.groups(x)
	page.remains(x)
	page.beside(v.lang, view)
	view.Close()
	return s.show(w, v, status, pageDump, page)
}

// beside fills in the evidence that was kept with the dump.
func (p *dumpPage) beside(l language, view *control.DumpView) {
	for _, e := range view.Evidence {
		p.Evidence = append(p.Evidence, evidenceOf(l, e))
	}
}

// pools fills in pools, and where goroutines come from.
func (p *dumpPage) pools(x *looked) {
	for _, pool := range x.report.Pools[:min(len(x.report.Pools), shownPools)] {
		view := poolView{
			Name: restart.Escape(shorten(pool.Name, maxFrameRow)), URL: x.listed(url.Values{"pool": {pool.Name}}), Threads: pool.Threads, Busy: pool.Busy, Exhausted: pool.Exhausted,
		}
		if pool.Busy > 0 {
			view.Does = eachDoes(x.lang, pool.At, pool.Does)
			view.Frame, view.HasFrame = topOf(pool.Does)
		}
		p.Pools = append(p.Pools, view)
	}
	for _, site := range x.report.Sites[:min(len(x.report.Sites), shownSites)] {
		view := siteView{Threads: site.Threads, Grown: site.Grown, Does: eachDoes(x.lang, site.At, site.Does), Longest: site.Longest}
		view.Frame.Qualifier, view.Frame.Call = splitName(site.Frame)
		if site.File != "" {
			view.Where = restart.Escape(shorten(site.File, maxFrameRow)) + ":" + strconv.Itoa(site.Line)
		}
		p.Sites = append(p.Sites, view)
	}
}

// groups fills in identical stacks: those that do something, and apart those
// that wait for work.
func (p *dumpPage) groups(x *looked) {
	for _, g := range x.report.Groups {
		quiet := g.Idle || g.Internal
		switch {
		case quiet:
			if p.Idle += g.Threads; len(p.IdleStack) < shownGroups {
				p.IdleStack = append(p.IdleStack, x.group(g))
			}
		case len(p.Groups) < shownGroups:
			p.Groups = append(p.Groups, x.group(g))
		default:
			p.More++
		}
	}
}

func (x *looked) group(g analyse.StackGroup) groupView {
	view := groupView{
		Number: g.Threads, Percent: percentOf(g.Threads, x.report.Threads), Does: eachDoes(x.lang, g.Threads, g.Does), Idle: g.Idle,
		More: max(len(g.IDs)-shownThreads, 0), MoreURL: x.listed(url.Values{"group": {g.Key}}),
	}
	view.Frame, view.HasFrame = topOf(g.Does)
	for _, s := range dump.States() {
		if n := g.States[s]; n > 0 {
			view.States = append(view.States, stateCount{stateOf(x.lang, s), n})
		}
	}
	for _, id := range g.IDs[:min(len(g.IDs), shownThreads)] {
		view.Threads = append(view.Threads, x.find(id, ""))
	}
	if len(g.IDs) > 0 {
		if i, ok := x.byID[g.IDs[0]]; ok {
			view.Stack, view.MoreFrames = x.stack(x.dump.Threads[i].Stack)
		}
	}
	return view
}

// remains fills in what else the dump has.
func (p *dumpPage) remains(x *looked) {
	p.Classes = slices.Clone(x.dump.Classes[:min(len(x.dump.Classes), shownClasses)])
	for i := range p.Classes {
		p.Classes[i].Class = restart.Escape(shorten(p.Classes[i].Class, maxFrameRow))
	}
	for _, f := range x.dump.Rest[:min(len(x.dump.Rest), shownRest)] {
		p.Rest = append(p.Rest, restLine{Line: f.Line, Text: plain([]byte(shorten(f.Text, maxTextLine))), URL: x.textAt(dump.Span{First: f.Line, Last: f.Line})})
	}
}

// deadlocks gives the circles of threads, with where each of them stands.
func (x *looked) deadlocks() (out []deadlockView) {
	for _, d := range x.report.Deadlocks {
		view := deadlockView{Behind: d.Behind}
		for _, m := range d.Members {
			line := memberView{Thread: x.find(m.ID, m.Name), Lock: lockName(m.Lock), Owner: x.named(m.Owner)}
			line.Frame, _ = topOf(analyse.Doing{Frame: m.Frame, Own: m.Own})
			view.Members = append(view.Members, line)
		}
		out = append(out, view)
	}
	return out
}

func (x *looked) chains(most int) (out []chainView) {
	for _, c := range x.report.Chains[:min(len(x.report.Chains), most)] {
		view := chainView{Waiting: c.Threads}
		for _, l := range c.Links {
			link := chainLinkView{Lock: lockName(l.Lock), Waiting: l.Waiting, URL: x.waiting(l.Lock)}
			if l.Owner != nil {
				owner := x.find(l.Owner.ID, l.Owner.Name)
				link.Owner = &owner
			}
			view.Links = append(view.Links, link)
		}
		if c.Root != nil {
			root := x.find(c.Root.ID, c.Root.Name)
			view.Root, view.RootDoes = &root, said.Doing(x.lang, c.Does)
		}
		out = append(out, view)
	}
	return out
}

// waiting gives the page of the threads that wait for a lock.
func (x *looked) waiting(l analyse.LockRef) string {
	if l.ID == "" {
		return ""
	}
	return x.listed(url.Values{"lock": {l.ID}})
}

// lockName gives a lock as people tell it from another.
func lockName(l analyse.LockRef) string {
	switch {
	case l.Class != "" && l.ID != "":
		return restart.Escape(lockClass(l.Class) + " " + shorten(l.ID, 64))
	case l.Class != "":
		return restart.Escape(lockClass(l.Class))
	}
	return restart.Escape(shorten(l.ID, 64))
}

// lockClass gives what people call a lock of a class.
func lockClass(name string) string {
	return analyse.LockClass(shorten(name, maxFrameRow))
}

// topOf gives the frame that says most about what a thread does: its own code, or
// else where it stands.
func topOf(d analyse.Doing) (frameLine, bool) {
	name, origin := d.Own, analyse.FromOwn
	if name == "" {
		name, origin = d.Frame, analyse.FromLibrary
	}
	line := frameLine{Origin: originClass(origin)}
	line.Qualifier, line.Call = splitName(name)
	return line, name != ""
}

// percentOfCore says how much of one processor was used.
func percentOfCore(l language, p float64) string {
	if p < 10 {
		return l.Decimal(p, 1) + " %"
	}
	return strconv.Itoa(int(p+.5)) + " %"
}
