package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/inventory"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// statisticsPage is what came of all that was done in some time.
type statisticsPage struct {
	layout
	Service                      string
	Windows, Environments, Kinds []option
	Sent                         filled // with the service that was typed
	Since                        string
	Total                        tallyLine
	Empty                        bool
	Charts                       []*barChart
	ByEnvironment                []tallyLine
	ByService, ByTeam            []tallyLine
	Services                     int // in all, where not all are listed
	Reasons                      []recurrenceLine
	Slowest                      string // where the slowest hosts are; "" = a service is asked for
}

// slowestPage is on which hosts restarts take longest: a page of its own, which
// that of statistics asks for once it is shown, as it costs as much again.
type slowestPage struct {
	layout
	Windows, Environments []option
	Since                 string
	Hosts                 []hostTallyLine
}

// tallyLine is how the runs of something went, in words and numbers.
type tallyLine struct {
	Name, URL                               string
	Team                                    bool
	Runs, Completed, Failed, Aborted, Hosts int64
	Restarts, Dumps, Again                  int64
	Success, Repeated                       string // in percent; "" = there were none
	P50, P95                                time.Duration
}

type recurrenceLine struct {
	Service, Reason, Run, URL string
	Times                     int64
}

type hostTallyLine struct {
	Host          string
	Tasks, Failed int64
	Mean          time.Duration
}

// rowsShown is how many lines a table of statistics has.
const rowsShown = 20

// figuresFilter reads what statistics are asked for. What is no window is four
// weeks, and what is no kind any.
func figuresFilter(q url.Values) store.FiguresFilter {
	f := store.FiguresFilter{Window: store.Window(q.Get("window")), Environment: q.Get("env"), Kind: restart.Kind(q.Get("kind")), Service: strings.TrimSpace(q.Get("service"))}
	if !slices.Contains(store.Windows(), f.Window) {
		f.Window = store.WindowMonth
	}
	if !slices.Contains(restart.Kinds(), f.Kind) {
		f.Kind = ""
	}
	return f
}

func windowChoices(l language, chosen store.Window) (out []option) {
	for _, x := range store.Windows() {
		out = append(out, option{string(x), say(l, "window."+string(x)), x == chosen})
	}
	return out
}

func (s *site) showStatistics(w http.ResponseWriter, v *visit) error {
	q := v.URL.Query()
	f := figuresFilter(q)
	page := statisticsPage{layout: s.layout(v, say(v.lang, "stats.title")), Service: f.Service, Kinds: kindChoices(v.lang, f.Kind), Windows: windowChoices(v.lang, f.Window)}
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	if err != nil {
		s.unread(v.Context(), v, err)
	}
	page.Environments = environmentChoices(v.lang, statisticsEnvironments(now), f.Environment)
	if f.Service != "" && restart.CheckServiceName(f.Service) != nil {
		page.Sent = refuse(q, "filter", "service", say(v.lang, "stats.wrong.service"))
		return s.show(w, v, http.StatusUnprocessableEntity, pageStatistics, page)
	}
	figures, err := s.cfg.Control.Figures(v.Context(), v.actor, f)
	if err != nil {
		return err
	}
	page.fill(v.lang, f, figures, now)
	return s.show(w, v, http.StatusOK, pageStatistics, page)
}

// showSlowest is of restarts whatever their kind: dumps are not counted by host.
func (s *site) showSlowest(w http.ResponseWriter, v *visit) error {
	f := figuresFilter(v.URL.Query())
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	if err != nil {
		s.unread(v.Context(), v, err)
	}
	hosts, since, err := s.cfg.Control.SlowestHosts(v.Context(), v.actor, f)
	if err != nil {
		return err
	}
	page := slowestPage{
		layout: s.layout(v, say(v.lang, "stats.slowest")), Since: dayOf(since),
		Windows: windowChoices(v.lang, f.Window), Environments: environmentChoices(v.lang, statisticsEnvironments(now), f.Environment),
	}
	for _, h := range hosts {
		page.Hosts = append(page.Hosts, hostTallyLine{h.Host, h.Tasks, h.Failed, h.Mean})
	}
	return s.show(w, v, http.StatusOK, pageSlowest, page)
}

func statisticsEnvironments(now inventory.Snapshot) (out []string) {
	for _, g := range now.Groups {
		if g.Environment != "" {
			out = append(out, g.Environment)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (p *statisticsPage) fill(l language, f store.FiguresFilter, x store.Figures, now inventory.Snapshot) {
	since := dayOf(x.Since)
	p.Since, p.Total, p.Empty, p.Services = since, tallyOfFigures(x.Total), x.Total.Runs == 0, len(x.Services)
	p.Charts = chartsOf(l, f.Window, x)
	here := func(service, environment string) string {
		return withQuery("/statistics", narrowedTo(f, service, environment))
	}
	for _, e := range x.Environments[:min(len(x.Environments), rowsShown)] {
		line := tallyOfFigures(e)
		line.URL = here(f.Service, e.Name)
		p.ByEnvironment = append(p.ByEnvironment, line)
	}
	if f.Service == "" {
		for _, n := range x.Services[:min(len(x.Services), rowsShown)] {
			line := tallyOfFigures(n)
			line.URL = here(n.Name, f.Environment)
			p.ByService = append(p.ByService, line)
		}
		p.ByTeam = teamsOf(x.Services, now)
	}
	for _, r := range x.Reasons {
		p.Reasons = append(p.Reasons, recurrenceLine{
			Service: r.Service, Reason: restart.Escape(r.Reason), Run: r.Run, Times: r.Runs,
			URL: withQuery("/runs", url.Values{"service": {r.Service}, "since": {since}, "q": {wordsOf(r.Reason)}}),
		})
	}
	if f.Service == "" {
		of := store.FiguresFilter{Window: f.Window}
		p.Scripts = true
		p.Slowest = withQuery("/statistics/hosts", narrowedTo(of, "", f.Environment))
	}
}

// wordsOf gives words by which runs of the same reason are found.
func wordsOf(reason string) string {
	words := strings.FieldsFunc(restart.SameReason(reason), func(r rune) bool { return r == ' ' || r == '#' })
	return strings.Join(words[:min(len(words), 5)], " ")
}

func narrowedTo(f store.FiguresFilter, service, environment string) url.Values {
	q := url.Values{"window": {string(f.Window)}}
	for name, value := range map[string]string{"service": service, "env": environment, "kind": string(f.Kind)} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

func tallyOfFigures(n store.Tally) tallyLine {
	return tallyLine{
		Name: n.Name, Runs: n.Runs, Completed: n.Completed, Failed: n.Failed, Aborted: n.Aborted, Hosts: n.Hosts, Restarts: n.Restarts, Dumps: n.Dumps, Again: n.Again,
		Success: percent(n.Completed, n.Runs), Repeated: percent(n.Again, n.Restarted), P50: rounded(n.P50), P95: rounded(n.P95),
	}
}

// rounded leaves as much of a time as is known of it.
func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// percent gives a share in whole percents, and neither 0 nor 100 where it is not.
func percent(part, of int64) string {
	if of == 0 {
		return ""
	}
	n := (200*part + of) / (2 * of)
	switch {
	case n == 0 && part > 0:
		return "<1 %"
	case n == 100 && part < of:
		return ">99 %"
	}
	return strconv.FormatInt(n, 10) + " %"
}

// teamsOf adds up the services of each team, as the inventory has them now.
func teamsOf(services []store.Tally, now inventory.Snapshot) []tallyLine {
	owners := map[string][]string{}
	for _, x := range now.Services {
		for _, o := range x.Owners {
			if team, ok := strings.CutPrefix(o, "team:"); ok {
				owners[x.Name] = append(owners[x.Name], team)
			}
		}
	}
	teams := map[string]*store.Tally{}
	for _, n := range services {
		for _, team := range owners[n.Name] {
			if teams[team] == nil {
				teams[team] = &store.Tally{Name: team}
			}
			teams[team].Join(n)
		}
	}
	var out []tallyLine
	for _, n := range teams {
		line := tallyOfFigures(*n)
		line.Team = true
		out = append(out, line)
	}
	slices.SortFunc(out, func(a, b tallyLine) int { return cmp.Or(cmp.Compare(b.Runs, a.Runs), strings.Compare(a.Name, b.Name)) })
	return out[:min(len(out), rowsShown)]
}

// chartsOf draws what was done, and how it went.
func chartsOf(l language, window store.Window, x store.Figures) []*barChart {
	name := dayOf
	if window == store.WindowYear {
		name = monthOf
	}
	var kinds, ends, helped []barRow
	for _, p := range x.Points {
		kinds = append(kinds, barRow{name(p.From), []int64{p.Restarts, p.Dumps, p.Runs - p.Restarts - p.Dumps}})
		ends = append(ends, barRow{name(p.From), []int64{p.Completed, p.Failed, p.Aborted}})
		helped = append(helped, barRow{name(p.From), []int64{p.Restarted - p.Again, p.Again}})
	}
	total := x.Total
	return []*barChart{
		newChart("kinds", say(l, "stats.kinds"), say(l, "stats.kinds.desc", total.Restarts, total.Dumps), []string{say(l, "kind.restart"), say(l, "kind.thread-dump"), say(l, "kind.custom")}, kinds),
		newChart("ends", say(l, "stats.ends"), say(l, "stats.ends.desc", total.Completed, total.Failed, total.Aborted), []string{say(l, "runstate.completed"), say(l, "runstate.failed"), say(l, "runstate.aborted")}, ends),
		newChart("helped", say(l, "stats.helped"), say(l, "stats.helped.desc", total.Again, total.Restarted), []string{say(l, "stats.yes"), say(l, "stats.no")}, helped),
	}
}
