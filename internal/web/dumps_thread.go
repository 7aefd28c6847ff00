package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// threadPage is one thread of a dump.
type threadPage struct {
	layout
	Head      dumpHead
	Thread    threadRow
	ID        string
	Facts     []param
	Waits     *lockedLine
	Holds     []heldLine
	Stack     []stackPart
	More      int // frames that are not shown
	Elided    bool
	CreatedBy *frameLine
	Carries   *threadLink
	Carrier   *threadLink
	Text      string // address of its text
	Lines     string
	Others    []otherLook // the same thread in the other dumps of its series
}

// heldLine is a lock that the thread holds, and how many wait for it.
type heldLine struct {
	lockedLine
	Waiting int
	First   []threadLink
	More    int    // that wait, beside them
	Queue   string // address of all who wait
}

// otherLook is the same thread at another time.
type otherLook struct {
	Number  int
	URL     string
	State   stateMark
	Frame   frameLine
	Same    bool // its stack did not change
	Current bool
}

func (s *site) showThread(w http.ResponseWriter, v *visit) error {
	x, err := s.lookAt(v, tabThreads)
	if err != nil {
		return err
	}
	defer x.view.Close()
	i, err := strconv.Atoi(v.PathValue("number"))
	if err != nil || i < 0 || i >= len(x.dump.Threads) {
		return restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "thread.none", restart.Quote(v.PathValue("number"))))
	}
	t := x.dump.Threads[i]
	page := threadPage{
		layout: s.layout(v, threadName(t)+" · "+x.head.Title), Head: x.head, Thread: x.row(i), ID: restart.Escape(shorten(t.ID, 64)), Elided: t.Elided,
		Text: x.textAt(t.Lines), Facts: x.factsOf(t, x.lens.Thread(&t).Pool), Holds: x.held(t),
	}
	page.Lines = linesOf(t.Lines)
	page.Stack, page.More = x.stack(t.Stack)
	page.Waits = page.Thread.Waits
	if t.CreatedBy != nil {
		by := lineOfFrame(v.lang, *t.CreatedBy, x.own)
		page.CreatedBy = &by
	}
	if t.Carries != "" {
		link := x.find(t.Carries, "")
		page.Carries = &link
	}
	if t.Carrier != "" {
		link := x.find(t.Carrier, "")
		page.Carrier = &link
	}
	page.Others = x.others(t)
	x.view.Close()
	return s.show(w, v, http.StatusOK, pageThread, page)
}

// factsOf gives what is known of a thread, but for its stack and its locks.
func (x *looked) factsOf(t dump.Thread, pool string) (out []param) {
	add := func(key, value string) {
		if value != "" {
			out = append(out, param{say(x.lang, "thread."+key), value})
		}
	}
	add("detail", restart.Escape(shorten(t.Detail, maxFrameRow)))
	add("pool", restart.Escape(pool))
	if t.Native != 0 {
		add("native", strconv.FormatInt(t.Native, 10))
	}
	add("cpu", cpuOf(x.lang, t.CPU))
	add("elapsed", cpuOf(x.lang, t.Elapsed))
	add("since", cpuOf(x.lang, t.Since))
	if t.Priority != 0 {
		add("priority", strconv.Itoa(t.Priority))
	}
	return out
}

// held gives the locks of a thread with who waits for them.
func (x *looked) held(t dump.Thread) (out []heldLine) {
	for _, lock := range t.Holds {
		line := heldLine{lockedLine: lockOf(x.lang, "lockword.held", lock, nil, false)}
		for i := range x.dump.Threads {
			other := &x.dump.Threads[i]
			if lock.ID != "" && other.WaitsFor != nil && other.WaitsFor.ID == lock.ID && other.ID != t.ID {
				if line.Waiting += other.Number(); len(line.First) < maxHolders {
					line.First = append(line.First, x.link(i))
				} else {
					line.More += other.Number()
				}
			}
		}
		if line.More > 0 {
			line.Queue = x.listed(url.Values{"lock": {lock.ID}})
		}
		out = append(out, line)
	}
	return out
}

// others gives the same thread in each dump of the series.
func (x *looked) others(t dump.Thread) (out []otherLook) {
	if len(x.looks) < 2 {
		return nil
	}
	for n, d := range x.looks {
		there := &threads{id: d.ID, inFile: d.InFile, dump: d.Parsed}
		for i := range d.Parsed.Threads {
			o := &d.Parsed.Threads[i]
			if o.ID != t.ID || o.Name != t.Name {
				continue
			}
			look := otherLook{Number: n + 1, URL: there.link(i).URL, State: stateOf(x.lang, o.State), Current: n == x.number, Same: sameStack(t.Stack, o.Stack)}
			look.Frame, _ = topOf(x.lens.Thread(o).Does)
			out = append(out, look)
			break
		}
	}
	return out
}

func sameStack(a, b []dump.Frame) bool {
	return slices.EqualFunc(a, b, func(f, g dump.Frame) bool { return f.Function == g.Function && f.Line == g.Line })
}

func linesOf(s dump.Span) string {
	if s.First == 0 {
		return ""
	}
	return strconv.Itoa(s.First) + "–" + strconv.Itoa(s.Last)
}
