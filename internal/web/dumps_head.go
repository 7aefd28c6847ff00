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
	"github.com/restartilka/restartilka/internal/wire"
)

// The names of the files in templates/pages.
const (
	pageDumps       = "dumps"
	pageDump        = "dump"
	pageThreads     = "dump-threads"
	pageThread      = "dump-thread"
	pageDumpLocks   = "dump-locks"
	pageDumpFlame   = "dump-flame"
	pageDumpText    = "dump-text"
	pageDumpCompare = "dump-compare"
	pageRunDumps    = "run-dumps"
)

// dumpTab is one of the views of a dump.
type dumpTab string

// The views, each a page of its own below that of the dump.
const (
	tabSummary dumpTab = "summary"
	tabThreads dumpTab = "threads"
	tabLocks   dumpTab = "locks"
	tabFlame   dumpTab = "flame"
	tabText    dumpTab = "text"
)

// dumpTabs lists the views in the order in which they are offered.
func dumpTabs() []dumpTab { return []dumpTab{tabSummary, tabThreads, tabLocks, tabFlame, tabText} }

// path gives the end of a view's address.
func (t dumpTab) path() string {
	if t == tabSummary {
		return ""
	}
	return "/" + string(t)
}

// dumpHead is what every page of a dump has on top.
type dumpHead struct {
	ID, Run             string
	Title               string // of the tab of a browser, and of a file that was put in
	Host, Service, When string
	Runtime             string
	At                  moment
	Series              []seriesLine
	Tabs                []tabLine
}

// tabLine is one page of several that belong together.
type tabLine struct {
	Name, URL string
	Here      bool
}

// seriesLine is one dump of a series.
type seriesLine struct {
	URL, Name, After string
	Current          bool
}

// looked is a dump that somebody looks at: he was let in, and the look is
// recorded.
type looked struct {
	*threads

	view   *control.DumpView
	looks  []control.DumpLook
	number int             // which of looks is shown
	report *analyse.Report // of the dump that is shown; what takes several is from the whole series
	lens   *analyse.Lens
	head   dumpHead
}

// lookAt lets the reader in to the dump of an address. Its view must be closed:
// before the page is sent, as others wait for those who look at much.
func (s *site) lookAt(v *visit, tab dumpTab) (*looked, error) {
	view, err := s.openDump(v, tab)
	if err != nil {
		return nil, err
	}
	x, err := s.lookInto(v, view, tab)
	if err != nil {
		view.Close()
	}
	return x, err
}

// lookInto reads the dump that the reader was let in to.
func (s *site) lookInto(v *visit, view *control.DumpView, tab dumpTab) (*looked, error) {
	if view.Stored == 0 {
		return nil, restart.Errorf(restart.CodeNotFound, "%s", notTaken(v.lang, view))
	}
	looks, err := view.Looks(v.Context())
	if err != nil {
		return nil, err
	}
	x := &looked{view: view, looks: looks, number: numberIn(looks, view.ID, v.URL.Query().Get("dump")), lens: analyse.NewLens(analyse.Options{})}
	if x.number < 0 {
		return nil, restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "dump.none", restart.Quote(v.URL.Query().Get("dump"))))
	}
	report, ofAll := s.reports.of(looks, x.number, s.cfg.Control.DumpDeletions())
	shown := looks[x.number].Parsed
	if ofAll {
		shown = pictureIn(looks, x.number)
	}
	x.report, x.threads = report, newThreads(v.lang, view.ID, shown, nil)
	x.inFile = looks[x.number].InFile
	x.head = x.headOf(tab, s.cfg.Now())
	return x, nil
}

// pictureIn gives what the report of a series is of: its dump of that number, and
// virtual threads that only another form of dump has. Where that is in another
// file, their lines are not in this one.
func pictureIn(looks []control.DumpLook, number int) *dump.Dump {
	dumps := make([]*dump.Dump, 0, len(looks))
	file := ""
	for _, l := range looks {
		dumps = append(dumps, l.Parsed)
		if l.Parsed.Format == dump.HotSpotJSON {
			file = l.ID
		}
	}
	picture := analyse.Picture(dumps)
	if file != looks[number].ID {
		for i := len(dumps[number].Threads); i < len(picture.Threads); i++ { // the picture's own: looks are shared
			picture.Threads[i].Lines = dump.Span{}
		}
	}
	return picture
}

func (s *site) openDump(v *visit, tab dumpTab) (*control.DumpView, error) {
	id := v.PathValue("id")
	absent := restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "dump.none", restart.Quote(id)))
	if restart.CheckID(id) != nil {
		return nil, absent
	}
	view, err := s.cfg.Control.OpenDump(v.Context(), v.actor, id, string(tab))
	if restart.CodeOf(err) == restart.CodeNotFound {
		return nil, absent
	}
	return view, err
}

// numberIn finds the dump of a file that is asked for, its first where none is;
// -1 = there is no such.
func numberIn(looks []control.DumpLook, id, asked string) int {
	wanted := 1
	if asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 1 {
			return -1
		}
		wanted = n
	}
	return slices.IndexFunc(looks, func(l control.DumpLook) bool { return l.ID == id && l.InFile == wanted })
}

// lookAddress gives the address of a view of one dump of a series.
func lookAddress(id string, inFile int, tab dumpTab) string {
	address := "/dumps/" + id + tab.path()
	if inFile > 1 {
		address += "?dump=" + strconv.Itoa(inFile)
	}
	return address
}

// afterFirst says how long after the first of its series a dump was taken.
func afterFirst(l language, d time.Duration) string {
	if d = d.Round(100 * time.Millisecond); d%time.Second == 0 && d < time.Minute {
		return "+" + say(l, "time.s", strconv.Itoa(int(d.Seconds())))
	}
	return "+" + took(l, d)
}

// dumpHeadOf gives what is known of a dump without reading it.
func dumpHeadOf(l language, d wire.Dump, now time.Time) dumpHead {
	h := dumpHead{
		ID: d.ID, Run: d.Run, Host: restart.Escape(d.Host), Service: d.Service, At: momentOf(d.TakenAt, now), When: say(l, "dumporigin."+d.Origin), Runtime: runtimeWord(l, d.Runtime),
		Title: restart.Escape(shorten(d.Name, maxFrameRow)),
	}
	if d.Host != "" {
		h.Title = say(l, "dump.titled", d.Service, d.Host)
	}
	return h
}

func (x *looked) headOf(tab dumpTab, now time.Time) dumpHead {
	h := dumpHeadOf(x.lang, x.view.Dump, now)
	if t := x.dump.Taken; !t.IsZero() {
		h.At = momentOf(t, now)
	}
	if x.dump.Runtime != "" {
		h.Runtime = runtimeWord(x.lang, x.dump.Runtime)
	}
	h.Tabs = tabsOf(x.lang, x.id, x.inFile, tab)
	for i, l := range x.looks {
		if len(x.looks) == 1 {
			break
		}
		line := seriesLine{URL: lookAddress(l.ID, l.InFile, tab), Name: say(x.lang, "dump.number", i+1), Current: i == x.number}
		if first := x.looks[0].Parsed.Taken; i > 0 && !first.IsZero() && !l.Parsed.Taken.IsZero() {
			line.After = afterFirst(x.lang, l.Parsed.Taken.Sub(first))
		}
		h.Series = append(h.Series, line)
	}
	return h
}

func runtimeWord(l language, r dump.Runtime) string {
	return known(l, "dumpruntime."+string(r), string(r))
}

// named gives the page of the thread of a name; without one where there are
// several, or none.
func (x *threads) named(name string) threadLink {
	found := -1
	for i := range x.dump.Threads {
		if x.dump.Threads[i].Name != name {
			continue
		}
		if found >= 0 {
			return threadLink{Name: restart.Escape(shorten(name, maxFrameRow))}
		}
		found = i
	}
	if found < 0 {
		return threadLink{Name: restart.Escape(shorten(name, maxFrameRow))}
	}
	return x.link(found)
}

// facts gives what is known of how the dump was taken, and of whom.
func (x *looked) facts() (out []param) {
	d := x.view.Dump
	add := func(key, value string) {
		if value != "" && value != "0" {
			out = append(out, param{say(x.lang, "dumpfact."+key), value})
		}
	}
	add("program", restart.Escape(shorten(x.dump.Program, maxFrameRow)))
	add("pid", strconv.Itoa(d.PID))
	if h := x.dump.Header; h != nil {
		add("command", restart.Escape(shorten(h.Command, maxFrameRow)))
	}
	add("method", restart.Escape(d.Method))
	if d.TookMS > 0 {
		add("took", took(x.lang, time.Duration(d.TookMS*float64(time.Millisecond))))
	}
	add("threads", strconv.Itoa(x.report.Threads))
	add("virtual", strconv.Itoa(x.report.Virtual))
	add("internal", strconv.Itoa(x.report.Internal))
	add("idle", strconv.Itoa(x.report.Idle))
	add("format", string(x.dump.Format))
	add("size", size(d.Size))
	return out
}

// notes gives what the agent, and the dump itself, say of what is missing.
func (x *looked) notes() (out []string) {
	for _, n := range x.view.Notes {
		out = append(out, said.In(x.lang, shorten(n, maxFrameRow)))
	}
	if x.dump.Cut != "" {
		out = append(out, say(x.lang, "dump.cut")+": "+said.In(x.lang, shorten(x.dump.Cut, maxFrameRow)))
	}
	return out
}

// downloadsOf gives ways to take a dump along. They are the API's, which records
// each.
func downloadsOf(l language, id string, names ...string) (out []download) {
	paths := map[string]string{"raw": "/raw", "json": "/report", "collapsed": "/collapsed", "speedscope": "/speedscope"}
	for _, name := range names {
		out = append(out, download{Name: say(l, "downloadname."+name), URL: "/api/v1/dumps/" + id + paths[name], What: say(l, "download."+name)})
	}
	return out
}

// comparable offers the other dumps of the same host and service.
func (s *site) comparable(v *visit, x *looked) (out []otherDump) {
	for i, l := range x.looks {
		if l.ID != x.id {
			out = append(out, otherDump{Name: say(x.lang, "dump.number", i+1), URL: "/dumps/" + l.ID + "/compare/" + x.id})
		}
	}
	if x.view.Host == "" {
		return out
	}
	list, _, err := s.cfg.Control.Dumps(v.Context(), v.actor, dumpsOnHost(x.view.Service, x.view.Host))
	if err != nil {
		return out // the page is worth more than what it could be compared with
	}
	now := s.cfg.Now()
	for _, d := range list {
		known := slices.ContainsFunc(x.looks, func(l control.DumpLook) bool { return l.ID == d.ID })
		if known || d.Stored == 0 || len(out) >= shownOthers {
			continue
		}
		first, second := d.ID, x.id
		if d.TakenAt.After(x.view.TakenAt) {
			first, second = second, first
		}
		out = append(out, otherDump{Name: momentOf(d.TakenAt, now).Short + ", " + say(x.lang, "dumporigin."+d.Origin), URL: "/dumps/" + first + "/compare/" + second})
	}
	return out
}

// shownOthers is how many dumps are offered to be compared with.
const shownOthers = 8

func (s *site) deleteDump(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if err := s.cfg.Control.DeleteDump(v.Context(), v.actor, v.PathValue("id"), v.PostForm.Get("reason")); err != nil {
		sent, err := refill(v, "delete", err)
		if err != nil {
			return err
		}
		return s.dumpAgain(w, v, sent, http.StatusUnprocessableEntity)
	}
	http.Redirect(w, v.Request, withQuery("/dumps", url.Values{"done": {"deleted"}}), http.StatusSeeOther)
	return nil
}
