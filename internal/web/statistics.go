package web

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
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
	Service                             string
	Windows, Environments, Kinds, Teams []option
	Sent                                filled // with the service that was typed
	Since                               string
	Total                               tallyLine
	Empty                               bool
	Charts                              []*barChart
	ByEnvironment                       []tallyLine
	ByService, ByTeam                   []tallyLine
	Services                            int    // in all, where not all are listed
	Reasons                             string // where the reasons that came back are
	Slowest                             string // where the slowest hosts are; "" = services are asked for
}

// reasonsPage is which reasons came back, and slowestPage on which hosts restarts
// take longest: each a page of its own, which that of statistics asks for once it
// is shown, as it costs as much again.
type reasonsPage struct {
	layout
	Since, All string // All = the page of statistics that it is a part of
	Reasons    []recurrenceLine
}

type slowestPage struct {
	layout
	Windows, Environments []option
	Since                 string
	Hosts                 []hostTallyLine
}

// reasonPage is how often one reason was given over time, and what came of it.
type reasonPage struct {
	layout
	Service, Key, Reason, Since  string
	Windows, Environments, Kinds []option
	Total                        tallyLine
	Chart                        *barChart
	Runs                         []givenLine
	More                         int    // runs that are not listed
	Bound                        int    // where no more were looked at; 0 = all were
	URL                          string // all runs with these words
}

type givenLine struct {
	ID, Actor, Environment, Kind, Reason string
	Tone                                 tone
	State                                string
	Created                              moment
	Again                                bool
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

// wanted is what statistics are asked for.
type wanted struct {
	store.FiguresFilter
	service, team string // by which Services are named; "" = all
	now           inventory.Snapshot
}

// wanted reads what statistics are asked for. What is no window is four weeks,
// and what is no kind any. wrong names the field that is, and says what.
func (s *site) wanted(v *visit) (f wanted, field, wrong string) {
	q := v.URL.Query()
	f.Window, f.Environment, f.Kind = store.Window(q.Get("window")), q.Get("env"), restart.Kind(q.Get("kind"))
	if !slices.Contains(store.Windows(), f.Window) {
		f.Window = store.WindowMonth
	}
	if !slices.Contains(restart.Kinds(), f.Kind) {
		f.Kind = ""
	}
	var err error
	if f.now, err = s.cfg.Control.Inventory(v.Context(), v.actor); err != nil {
		s.unread(v.Context(), v, err)
	}
	f.service, f.team = strings.TrimSpace(q.Get("service")), q.Get("team")
	switch {
	case f.service != "" && restart.CheckServiceName(f.service) != nil:
		return f, "service", say(v.lang, "stats.wrong.service")
	case f.service != "":
		f.team, f.Services = "", []string{f.service}
	case f.team != "":
		if f.Services = servicesOf(f.now, f.team); len(f.Services) == 0 {
			return f, "team", say(v.lang, "stats.wrong.team")
		}
	}
	return f, "", ""
}

// with gives an address for the same, but for some fields: "env", "staging", and so on.
func (f wanted) with(path string, pairs ...string) string {
	fields := map[string]string{"window": string(f.Window), "service": f.service, "team": f.team, "env": f.Environment, "kind": string(f.Kind)}
	for i := 0; i+1 < len(pairs); i += 2 {
		fields[pairs[i]] = pairs[i+1]
	}
	q := url.Values{}
	for name, value := range fields {
		if value != "" {
			q.Set(name, value)
		}
	}
	return withQuery(path, q)
}

// teamsOfService lists the teams that own services, by service.
func teamsOfService(now inventory.Snapshot) map[string][]string {
	out := map[string][]string{}
	for _, x := range now.Services {
		for _, o := range x.Owners {
			if team, ok := strings.CutPrefix(o, "team:"); ok {
				out[x.Name] = append(out[x.Name], team)
			}
		}
	}
	return out
}

// servicesOf lists the services of a team.
func servicesOf(now inventory.Snapshot, team string) (out []string) {
	for service, teams := range teamsOfService(now) {
		if slices.Contains(teams, team) {
			out = append(out, service)
		}
	}
	slices.Sort(out)
	return out
}

// teamChoices has the teams that own any service; none where there are no teams.
func teamChoices(l language, now inventory.Snapshot, chosen string) []option {
	var all []string
	for _, teams := range teamsOfService(now) {
		all = append(all, teams...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 && chosen == "" {
		return nil
	}
	return environmentChoices(l, all, chosen)
}

func windowChoices(l language, chosen store.Window) (out []option) {
	for _, x := range store.Windows() {
		out = append(out, option{string(x), say(l, "window."+string(x)), x == chosen})
	}
	return out
}

func (s *site) showStatistics(w http.ResponseWriter, v *visit) error {
	f, field, wrong := s.wanted(v)
	page := statisticsPage{
		layout: s.layout(v, say(v.lang, "stats.title")), Service: f.service, Kinds: kindChoices(v.lang, f.Kind), Windows: windowChoices(v.lang, f.Window),
		Environments: environmentChoices(v.lang, statisticsEnvironments(f.now), f.Environment), Teams: teamChoices(v.lang, f.now, f.team),
	}
	if wrong != "" {
		page.Sent = refuse(v.URL.Query(), "filter", field, wrong)
		return s.show(w, v, http.StatusUnprocessableEntity, pageStatistics, page)
	}
	figures, err := s.cfg.Control.Figures(v.Context(), v.actor, f.FiguresFilter)
	if err != nil {
		return err
	}
	page.fill(v.lang, f, figures)
	return s.show(w, v, http.StatusOK, pageStatistics, page)
}

// showReasons lists the reasons that came back.
func (s *site) showReasons(w http.ResponseWriter, v *visit) error {
	f, _, wrong := s.wanted(v)
	if wrong != "" {
		return restart.Errorf(restart.CodeInvalid, "%s", wrong)
	}
	found, since, err := s.cfg.Control.ReasonsAgain(v.Context(), v.actor, f.FiguresFilter)
	if err != nil {
		return err
	}
	page := reasonsPage{layout: s.layout(v, say(v.lang, "stats.reasons")), Since: dayOf(since), All: f.with("/statistics")}
	for _, r := range found {
		page.Reasons = append(page.Reasons, recurrenceLine{
			Service: r.Service, Reason: restart.Escape(r.Reason), Run: r.Run, Times: r.Runs,
			URL: f.with("/statistics/reason", "team", "", "service", r.Service, "reason", r.Key),
		})
	}
	return s.show(w, v, http.StatusOK, pageReasons, page)
}

// givenShown is how many runs with one reason are listed.
const givenShown = 50

// showReason is of one reason: the one of a service that has the key.
func (s *site) showReason(w http.ResponseWriter, v *visit) error {
	f, _, wrong := s.wanted(v)
	key := v.URL.Query().Get("reason")
	if wrong != "" || f.service == "" || !reasonKey.MatchString(key) {
		return restart.Errorf(restart.CodeNotFound, "there is no such page")
	}
	given, points, err := s.cfg.Control.Given(v.Context(), v.actor, f.FiguresFilter, f.service, key)
	if err != nil {
		return err
	}
	page := reasonPage{
		layout: s.layout(v, say(v.lang, "stats.reason")), Service: f.service, Key: key, Since: dayOf(points[0]),
		Windows: windowChoices(v.lang, f.Window), Kinds: kindChoices(v.lang, f.Kind), Environments: environmentChoices(v.lang, statisticsEnvironments(f.now), f.Environment),
	}
	page.fill(v.lang, f, given, points, s.cfg.Now())
	return s.show(w, v, http.StatusOK, pageReason, page)
}

// reasonKey is how the store names a reason.
var reasonKey = regexp.MustCompile(`^[0-9a-f]{16}$`)

// showSlowest is of restarts whatever their kind: dumps are not counted by host.
func (s *site) showSlowest(w http.ResponseWriter, v *visit) error {
	f, _, _ := s.wanted(v)
	hosts, since, err := s.cfg.Control.SlowestHosts(v.Context(), v.actor, f.FiguresFilter)
	if err != nil {
		return err
	}
	page := slowestPage{
		layout: s.layout(v, say(v.lang, "stats.slowest")), Since: dayOf(since),
		Windows: windowChoices(v.lang, f.Window), Environments: environmentChoices(v.lang, statisticsEnvironments(f.now), f.Environment),
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

func (p *statisticsPage) fill(l language, f wanted, x store.Figures) {
	p.Since, p.Total, p.Empty, p.Services = dayOf(x.Since), tallyOfFigures(x.Total), x.Total.Runs == 0, len(x.Services)
	p.Charts = chartsOf(l, f.Window, x)
	for _, e := range x.Environments[:min(len(x.Environments), rowsShown)] {
		line := tallyOfFigures(e)
		line.URL = f.with("/statistics", "env", e.Name)
		p.ByEnvironment = append(p.ByEnvironment, line)
	}
	p.Scripts = true
	p.Reasons = f.with("/statistics/reasons")
	if f.service != "" {
		return
	}
	for _, n := range x.Services[:min(len(x.Services), rowsShown)] {
		line := tallyOfFigures(n)
		line.URL = f.with("/statistics", "service", n.Name)
		p.ByService = append(p.ByService, line)
	}
	if f.team == "" {
		p.ByTeam = teamsOf(x.Services, f)
		p.Slowest = f.with("/statistics/hosts", "kind", "")
	}
}

func (p *reasonPage) fill(l language, f wanted, given []store.Given, points []time.Time, now time.Time) {
	var total store.Tally
	ends := make([]store.Tally, len(points))
	for i, g := range given {
		at := max(0, len(points)-1)
		for at > 0 && g.FinishedAt.Before(points[at]) {
			at--
		}
		for _, n := range []*store.Tally{&total, &ends[at]} {
			n.Runs++
			switch g.State {
			case restart.RunCompleted:
				n.Completed++
			case restart.RunFailed:
				n.Failed++
			default:
				n.Aborted++
			}
			if g.Kind == restart.KindRestart && g.State == restart.RunCompleted {
				n.Restarted++
			}
			if g.Again {
				n.Again++
			}
		}
		if i < givenShown {
			line := givenLine{
				ID: g.Run, Actor: g.Actor, Environment: g.Environment, Kind: say(l, "kind."+string(g.Kind)), Reason: restart.Escape(g.Reason),
				State: say(l, "runstate."+string(g.State)), Tone: toneOfRun(g.State), Created: momentOf(g.CreatedAt, now), Again: g.Again,
			}
			p.Runs = append(p.Runs, line)
		}
	}
	p.Total, p.More = tallyOfFigures(total), len(given)-len(p.Runs)
	if len(given) == store.MostGiven {
		p.Bound = store.MostGiven
	}
	if len(given) == 0 {
		return
	}
	p.Reason = restart.Escape(given[0].Reason)
	p.URL = withQuery("/runs", url.Values{"service": {f.service}, "since": {p.Since}, "q": {wordsOf(given[0].Reason)}})
	var rows []barRow
	for i, at := range points {
		rows = append(rows, barRow{Name: nameOf(f.Window)(at), Values: []int64{ends[i].Completed, ends[i].Failed, ends[i].Aborted}})
	}
	p.Chart = endsChart(l, total, rows)
}

// wordsOf gives words by which runs of the same reason are found.
func wordsOf(reason string) string {
	words := strings.FieldsFunc(restart.SameReason(reason), func(r rune) bool { return r == ' ' || r == '#' })
	return strings.Join(words[:min(len(words), 5)], " ")
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
func teamsOf(services []store.Tally, f wanted) []tallyLine {
	owners := teamsOfService(f.now)
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
		line.Team, line.URL = true, f.with("/statistics", "team", n.Name)
		out = append(out, line)
	}
	slices.SortFunc(out, func(a, b tallyLine) int { return cmp.Or(cmp.Compare(b.Runs, a.Runs), strings.Compare(a.Name, b.Name)) })
	return out[:min(len(out), rowsShown)]
}
