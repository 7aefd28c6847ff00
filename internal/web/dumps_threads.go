package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// threadsPerPage is how many threads one page of the table has.
const threadsPerPage = 200

// maxPoolChoices is how many pools the filter offers.
const maxPoolChoices = 100

// maxThreadFilter bounds what is typed into one field of the filter, in bytes.
const maxThreadFilter = 200

// threadFilter is what narrows the table of threads.
type threadFilter struct {
	State            dump.State
	Name, Pool, Text string
	Sort             string // "" = as in the dump, name or cpu
	Page             int    // from 1
	Group            string // Key of a group of identical stacks
	Lock             string // ID of a lock that is waited for
	Finding          string // number of a finding of the report
}

// threadSorts are the orders of the table.
func threadSorts() []string { return []string{"", "name", "cpu"} }

// readThreadFilter reads an address; what it can't mean is as if it were not there.
func readThreadFilter(q url.Values) threadFilter {
	get := func(name string) string { return shorten(strings.TrimSpace(q.Get(name)), maxThreadFilter) }
	f := threadFilter{State: dump.State(get("state")), Name: get("name"), Pool: get("pool"), Text: get("text"), Sort: get("sort"), Page: 1, Group: get("group"), Lock: get("lock"), Finding: get("finding")}
	if !slices.Contains(dump.States(), f.State) {
		f.State = ""
	}
	if !slices.Contains(threadSorts(), f.Sort) {
		f.Sort = ""
	}
	if n, err := strconv.Atoi(get("page")); err == nil && n > 1 {
		f.Page = n
	}
	return f
}

// values gives the filter as it stands in an address.
func (f threadFilter) values(page int) url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"state": string(f.State), "name": f.Name, "pool": f.Pool, "text": f.Text, "sort": f.Sort, "group": f.Group, "lock": f.Lock, "finding": f.Finding} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if page > 1 {
		q.Set("page", strconv.Itoa(page))
	}
	return q
}

func (f threadFilter) any() bool {
	f.Sort, f.Page = "", 0
	return f != (threadFilter{})
}

// finder tells whether texts have what is looked for, in any case. What it was
// asked is remembered: 20,000 stacks have few frames that differ.
type finder struct {
	wanted string
	seen   map[string]bool
}

func newFinder(text string) *finder { return &finder{strings.ToLower(text), map[string]bool{}} }

func (f *finder) in(text string) bool {
	if f.wanted == "" {
		return true
	}
	found, ok := f.seen[text]
	if !ok {
		found = strings.Contains(strings.ToLower(text), f.wanted)
		f.seen[text] = found
	}
	return found
}

// stack tells whether a stack, or what its thread waits for, has the text.
func (f *finder) stack(t *dump.Thread) bool {
	if f.wanted == "" {
		return true
	}
	for i := range t.Stack {
		if f.in(t.Stack[i].Function) || t.Stack[i].File != "" && f.in(t.Stack[i].File) {
			return true
		}
	}
	return t.WaitsFor != nil && (f.in(t.WaitsFor.Class) || f.in(t.WaitsFor.ID)) || f.in(t.Detail)
}

// pick gives the indexes of the threads that the filter finds, in its order.
func (f threadFilter) pick(d *dump.Dump, r *analyse.Report) (found []int) {
	name, text := newFinder(f.Name), newFinder(f.Text)
	ids, some := f.ids(r)
	for i := range d.Threads {
		t := &d.Threads[i]
		switch {
		case f.State != "" && t.State != f.State, some && !ids[t.ID], f.Lock != "" && (t.WaitsFor == nil || t.WaitsFor.ID != f.Lock):
		case !name.in(t.Name) && !name.in(t.ID), !text.stack(t):
		default:
			found = append(found, i)
		}
	}
	switch f.Sort {
	case "name":
		slices.SortStableFunc(found, func(a, b int) int { return strings.Compare(d.Threads[a].Name, d.Threads[b].Name) })
	case "cpu":
		slices.SortStableFunc(found, func(a, b int) int { return cmp.Compare(d.Threads[b].CPU, d.Threads[a].CPU) })
	}
	return found
}

// ids gives the threads that a report names for what the filter asks for; some
// tells whether it asks for any.
func (f threadFilter) ids(r *analyse.Report) (ids map[string]bool, some bool) {
	only := func(list []string) {
		next := make(map[string]bool, len(list))
		for _, id := range list {
			if !some || ids[id] {
				next[id] = true
			}
		}
		ids, some = next, true
	}
	if f.Pool != "" {
		only(nil)
		for _, p := range r.Pools {
			if p.Name == f.Pool {
				some = false
				only(p.IDs)
			}
		}
	}
	if f.Group != "" {
		var list []string
		for _, g := range r.Groups {
			if g.Key == f.Group {
				list = g.IDs
			}
		}
		only(list)
	}
	if n, err := strconv.Atoi(f.Finding); err == nil && n >= 0 && n < len(r.Findings) {
		only(r.Findings[n].IDs)
	}
	return ids, some
}

// threadsPage is the table of threads of one dump.
type threadsPage struct {
	layout
	Head                           dumpHead
	Name, Pool, Text               string
	States, Sorts, Pools           []option
	Any                            bool
	Only                           string // what else narrows it, in words
	Hidden                         []param
	Rows                           []threadRow
	CPU                            bool // the dump tells it
	First, Last, Found, All        int
	Reset, Previous, Next, Address string
}

// threadRow is one thread of the table.
type threadRow struct {
	threadLink
	State    stateMark
	Detail   string
	Does     string // in words
	Pool     string
	Frame    frameLine
	HasFrame bool
	Waits    *lockedLine
	CPU      string
	Number   int // threads that it stands for; 1 = itself
	Virtual  bool
	Daemon   bool
	Internal bool
}

func (s *site) listThreads(w http.ResponseWriter, v *visit) error {
	x, err := s.lookAt(v, tabThreads)
	if err != nil {
		return err
	}
	defer x.view.Close()
	filter := readThreadFilter(v.URL.Query())
	found := filter.pick(x.dump, x.report)
	pages := max((len(found)+threadsPerPage-1)/threadsPerPage, 1)
	filter.Page = min(filter.Page, pages)
	from := (filter.Page - 1) * threadsPerPage
	to := min(from+threadsPerPage, len(found))
	page := threadsPage{
		layout: s.layout(v, say(v.lang, "threads.title")+" · "+x.head.Title), Head: x.head, Any: filter.any(), Found: len(found), All: len(x.dump.Threads),
		Name: restart.Escape(filter.Name), Pool: restart.Escape(filter.Pool), Text: restart.Escape(filter.Text), Reset: x.listed(nil), Address: "/dumps/" + x.id + "/threads",
		First: from + 1, Last: to, CPU: slices.ContainsFunc(x.dump.Threads, func(t dump.Thread) bool { return t.CPU > 0 }),
	}
	for _, i := range found[from:to] {
		page.Rows = append(page.Rows, x.row(i))
	}
	if filter.Page > 1 {
		page.Previous = x.listed(filter.values(filter.Page - 1))
	}
	if filter.Page < pages {
		page.Next = x.listed(filter.values(filter.Page + 1))
	}
	page.choices(x, filter)
	page.only(x, filter)
	x.view.Close()
	return s.show(w, v, http.StatusOK, pageThreads, page)
}

// choices fills in what the fields of the filter offer.
func (p *threadsPage) choices(x *looked, f threadFilter) {
	counts := map[dump.State]int{}
	for i := range x.dump.Threads {
		counts[x.dump.Threads[i].State] += x.dump.Threads[i].Number()
	}
	p.States = []option{{"", say(x.lang, "threads.any"), f.State == ""}}
	for _, state := range dump.States() {
		if counts[state] > 0 || state == f.State {
			p.States = append(p.States, option{string(state), said.ThreadState(x.lang, state) + " (" + strconv.Itoa(counts[state]) + ")", state == f.State})
		}
	}
	for _, sort := range threadSorts() {
		if sort != "cpu" || p.CPU {
			p.Sorts = append(p.Sorts, option{sort, say(x.lang, "threadsort."+cmp.Or(sort, "dump")), sort == f.Sort})
		}
	}
	p.Pools = []option{{"", say(x.lang, "threads.any"), f.Pool == ""}}
	for _, pool := range x.report.Pools[:min(len(x.report.Pools), maxPoolChoices)] {
		p.Pools = append(p.Pools, option{pool.Name, restart.Escape(shorten(pool.Name, 100)) + " (" + strconv.Itoa(pool.Threads) + ")", pool.Name == f.Pool})
	}
	if f.Pool != "" && !slices.ContainsFunc(p.Pools, func(o option) bool { return o.Chosen }) {
		p.Pools = append(p.Pools, option{f.Pool, restart.Escape(f.Pool), true})
	}
}

// only says what narrows the table beside the fields, and keeps it in the form.
func (p *threadsPage) only(x *looked, f threadFilter) {
	add := func(name, value, text string) {
		p.Hidden = append(p.Hidden, param{name, value})
		p.Only = strings.TrimPrefix(p.Only+"; "+text, "; ")
	}
	if f.Group != "" {
		add("group", f.Group, say(x.lang, "threads.group"))
	}
	if f.Lock != "" {
		add("lock", f.Lock, say(x.lang, "threads.lock", restart.Escape(f.Lock)))
	}
	if n, err := strconv.Atoi(f.Finding); err == nil && n >= 0 && n < len(x.report.Findings) {
		add("finding", f.Finding, say(x.lang, "threads.finding", plainText(findingOf(x.lang, x.report.Findings[n]).Text)))
	}
	if x.inFile > 1 {
		p.Hidden = append(p.Hidden, param{"dump", strconv.Itoa(x.inFile)})
	}
}

// row gives one line of the table.
func (x *looked) row(i int) threadRow {
	t := x.dump.Threads[i]
	view := x.lens.Thread(&t)
	r := threadRow{
		threadLink: x.link(i), State: stateOf(x.lang, t.State), Detail: restart.Escape(shorten(t.Detail, maxFrameRow)), Pool: restart.Escape(view.Pool), Does: said.Doing(x.lang, view.Does), Number: t.Number(),
		Virtual: t.Virtual, Daemon: t.Daemon, Internal: t.Internal, CPU: cpuOf(x.lang, t.CPU),
	}
	if frame, ok := topOf(view.Does); ok {
		r.Frame, r.HasFrame = frame, true
	}
	if t.WaitsFor != nil && (t.WaitsFor.Kind != dump.Condition || len(x.holders[t.WaitsFor.ID]) > 0) { // nobody holds a condition
		lock := lockOf(x.lang, "lockword.waits", *t.WaitsFor, x.threads, true)
		r.Waits = &lock
	}
	return r
}

// cpuOf says how long a thread was on a processor; "" = it is not known.
func cpuOf(l language, d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return took(l, d)
}
