package web

import (
	"maps"
	"net/url"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
)

// Bounds of one stack: a recursion may be thousands of calls deep.
const (
	maxFrames   = 512 // that a page shows of one stack
	fewestFold  = 3   // frames of the runtime that are folded away together
	maxHolders  = 4   // of one lock that are named
	maxFrameRow = 400 // characters of a frame's name
)

// threadLink is a thread, and the page that has it.
type threadLink struct{ Name, URL string }

// frameLine is one call of a stack.
type frameLine struct {
	Origin             string // class: whose code it is
	Qualifier, Call    string // what it belongs to, and itself
	Where              string // file and line
	Mark               string // that it is native or inlined
	Locks              []lockedLine
	Marked             bool // it is the one that a page is about
	Deepest, Innermost bool
}

// lockedLine is what a frame, or a thread, does with a lock.
type lockedLine struct {
	Text    string // "waits for"
	Waits   bool
	ID      string
	Class   string
	Holders []threadLink
	More    int // holders that are not named
}

// stackPart is some frames that stand one below the other, shown or folded.
type stackPart struct {
	Folded bool
	Number int
	Frames []frameLine
}

// threads is a dump as pages look things up in it.
type threads struct {
	lang    language
	id      string // of the dump
	inFile  int    // which dump of its file, from 1
	dump    *dump.Dump
	byID    map[string]int
	holders map[string][]int // by the lock's ID
	own     []string
}

func newThreads(l language, id string, d *dump.Dump, own []string) *threads {
	x := &threads{lang: l, id: id, dump: d, own: own, byID: make(map[string]int, len(d.Threads)), holders: map[string][]int{}}
	for i := range d.Threads {
		t := &d.Threads[i]
		if _, twice := x.byID[t.ID]; !twice && t.ID != "" {
			x.byID[t.ID] = i
		}
		for _, lock := range t.Holds {
			if lock.ID != "" {
				x.holders[lock.ID] = append(x.holders[lock.ID], i)
			}
		}
	}
	return x
}

// link gives the page of the thread with an index.
func (x *threads) link(i int) threadLink {
	return threadLink{Name: threadName(x.dump.Threads[i]), URL: withQuery("/dumps/"+x.id+"/threads/"+strconv.Itoa(i), x.kept(nil))}
}

// find gives the page of the thread with an ID; without one where the dump has
// no such thread.
func (x *threads) find(id, name string) threadLink {
	if i, ok := x.byID[id]; ok {
		return x.link(i)
	}
	if name == "" {
		name = id
	}
	return threadLink{Name: restart.Escape(name)}
}

// listed gives the page of the threads that a filter finds.
func (x *threads) listed(values url.Values) string {
	return withQuery("/dumps/"+x.id+"/threads", x.kept(values))
}

// kept adds to an address which dump of its file is meant.
func (x *threads) kept(values url.Values) url.Values {
	if x.inFile <= 1 {
		return values
	}
	out := url.Values{"dump": {strconv.Itoa(x.inFile)}}
	maps.Copy(out, values)
	return out
}

func threadName(t dump.Thread) string {
	switch {
	case t.Name != "":
		return restart.Escape(shorten(t.Name, maxFrameRow))
	case t.ID != "":
		return "#" + restart.Escape(shorten(t.ID, maxFrameRow))
	}
	return "–"
}

// shorten gives at most n characters of a text.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return text[:cutAt(text, n)] + "…"
}

// stack gives the frames of a stack. Those of the runtime are folded where
// several follow one another, but for the innermost, which says what is done.
func (x *threads) stack(frames []dump.Frame) (parts []stackPart, more int) {
	return stackOf(x.lang, frames, x.own, x)
}

// stackOf is the same without a dump to look holders of locks up in.
func stackOf(l language, frames []dump.Frame, own []string, in *threads) (parts []stackPart, more int) {
	if len(frames) > maxFrames {
		more = len(frames) - maxFrames
		frames = frames[:maxFrames]
	}
	var quiet []frameLine
	flush := func() {
		if len(quiet) > 0 {
			parts = append(parts, stackPart{Folded: len(quiet) >= fewestFold, Number: len(quiet), Frames: quiet})
			quiet = nil
		}
	}
	for i, f := range frames {
		line := lineOfFrame(l, f, own)
		line.Innermost = i == 0
		for _, m := range f.Locks {
			line.Locks = append(line.Locks, lockOf(l, "mark."+string(m.Mark), m.Lock, in, m.Mark != dump.Locked && m.Mark != dump.Eliminated))
		}
		if line.Origin == originClass(analyse.FromRuntime) && i > 0 && len(line.Locks) == 0 {
			quiet = append(quiet, line)
			continue
		}
		flush()
		if n := len(parts); n > 0 && !parts[n-1].Folded {
			parts[n-1].Frames = append(parts[n-1].Frames, line)
		} else {
			parts = append(parts, stackPart{Frames: []frameLine{line}})
		}
	}
	flush()
	return joined(parts), more
}

// joined puts parts together that are shown and stand next to each other.
func joined(parts []stackPart) (out []stackPart) {
	for _, p := range parts {
		if n := len(out); n > 0 && !p.Folded && !out[n-1].Folded {
			out[n-1].Frames = append(out[n-1].Frames, p.Frames...)
			continue
		}
		out = append(out, p)
	}
	return out
}

func lineOfFrame(l language, f dump.Frame, own []string) frameLine {
	line := frameLine{Origin: originClass(analyse.OriginOf(f, own))}
	line.Qualifier, line.Call = splitFunction(shorten(f.Function, maxFrameRow))
	line.Qualifier, line.Call = restart.Escape(line.Qualifier), restart.Escape(line.Call)
	if f.File != "" {
		line.Where = restart.Escape(shorten(f.File, maxFrameRow))
		if f.Line > 0 {
			line.Where += ":" + strconv.Itoa(f.Line)
		}
	}
	switch {
	case f.Native:
		line.Mark = say(l, "stack.native")
	case f.Inlined:
		line.Mark = say(l, "stack.inlined")
	}
	return line
}

// splitFunction parts what a function belongs to from what people call it:
// "com.acme.pay." and "Client.charge", "net/http." and "(*conn).serve".
func splitFunction(name string) (qualifier, call string) {
	head := name
	if i := strings.IndexByte(head, '('); i > 0 && !strings.HasPrefix(head[i:], "(*") { // arguments or a generic part are no names
		head = head[:i]
	}
	if slash := strings.LastIndexByte(head, '/'); slash >= 0 {
		if dot := strings.IndexByte(head[slash:], '.'); dot > 0 {
			return name[:slash+dot+1], name[slash+dot+1:]
		}
		return name[:slash+1], name[slash+1:]
	}
	last := strings.LastIndexByte(head, '.')
	if last <= 0 {
		return "", name
	}
	before := strings.LastIndexByte(head[:last], '.')
	return name[:before+1], name[before+1:]
}

// lockOf says in words what is done with a lock, and who holds it.
func lockOf(l language, key string, lock dump.Lock, in *threads, waits bool) lockedLine {
	line := lockedLine{Text: known(l, key, key), Waits: waits, ID: restart.Escape(shorten(lock.ID, 64)), Class: restart.Escape(shorten(lock.Class, maxFrameRow))}
	if !waits || in == nil {
		return line
	}
	holders := in.holders[lock.ID]
	if len(holders) == 0 && lock.Owner != "" {
		line.Holders = []threadLink{in.find(lock.Owner, "")}
		return line
	}
	for _, i := range holders[:min(len(holders), maxHolders)] {
		line.Holders = append(line.Holders, in.link(i))
	}
	line.More = max(len(holders)-maxHolders, 0)
	return line
}
