package parse

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
)

// goFatal are what a Go program writes before the goroutines, when it dies.
var goFatal = []string{"panic: ", "fatal error: ", "SIGQUIT: quit", "SIGABRT: abort"}

// goFatalLines is how far before the first goroutine such a line may stand.
const goFatalLines = 12

func goroutinesTitle(s *source) bool {
	if len(s.line) == 0 {
		return false
	}
	switch s.line[0] {
	case 'g':
		_, ok := goroutineLine(s.line)
		return ok
	case 'p', 'f', 'S':
		return isGoFatal(s.line) && goroutineFollows(s)
	}
	return false
}

func isGoFatal(line []byte) bool {
	for _, f := range goFatal {
		if bytes.HasPrefix(line, []byte(f)) {
			return true
		}
	}
	return false
}

func goroutineFollows(s *source) bool {
	for _, line := range s.following(goFatalLines) {
		if _, ok := goroutineLine(line); ok {
			return true
		}
	}
	return false
}

// goroutine is what the first line of one says.
type goroutine struct{ id, state []byte }

// goroutineLine reads "goroutine 18 gp=0xc000 m=0 mp=0x67 [chan receive, 5 minutes]:";
// what stands between the number and the state may be missing, and labels may
// stand behind it.
func goroutineLine(line []byte) (goroutine, bool) {
	tail, ok := bytes.CutPrefix(line, []byte("goroutine "))
	n := run(tail, digit)
	if !ok || n == 0 || n >= len(tail) || tail[n] != ' ' {
		return goroutine{}, false
	}
	open := bytes.IndexByte(tail, '[')
	end := bytes.IndexByte(tail, ']')
	if open < 0 || end < open || tail[len(tail)-1] != ':' {
		return goroutine{}, false
	}
	return goroutine{id: tail[:n], state: tail[open+1 : end]}, true
}

// goroutines reads one dump of goroutines.
type goroutines struct {
	*reading
	open    bool
	thread  dump.Thread
	stack   []dump.Frame
	lock    string // address of the mutex that it wants
	locks   bool   // it is within the code that waits for one
	ended   bool   // its creator was told: nothing more is its own
	seen    map[string]bool
	started bool
}

func readGoroutines(r *reading) {
	g := &goroutines{reading: r, seen: map[string]bool{}}
	for g.more() {
		if g.another() {
			g.back()
			break
		}
		g.take(g.line)
	}
	g.flush()
}

// another tells whether the line at hand begins another dump: a goroutine is in
// one dump once, and what a program dies of stands before all of them.
func (g *goroutines) another() bool {
	if t, ok := goroutineLine(g.line); ok {
		return g.seen[string(t.id)]
	}
	return g.started && isGoFatal(g.line) && goroutineFollows(g.source)
}

func (g *goroutines) take(line []byte) {
	t, begins := goroutineLine(line)
	switch {
	case len(line) == 0:
		g.ended = true
		g.known()
	case begins:
		g.begin(t)
	case !g.started && isGoFatal(line):
		g.dump.Fatal = join(g.dump.Fatal, g.names.text(line))
		g.known()
	case !g.open || g.ended && !bytes.HasPrefix(line, []byte("created by ")):
		if !g.resumed(line) {
			g.unknown()
		}
	case !g.frame(line):
		g.unknown()
	}
}

// resumed takes a frame behind a blank line that a log has put there.
func (g *goroutines) resumed(line []byte) bool {
	if !g.open || g.thread.CreatedBy != nil || !g.frame(line) {
		return false
	}
	g.ended = false
	return true
}

func (g *goroutines) begin(t goroutine) {
	g.flush()
	g.open, g.started, g.ended = true, true, false
	g.seen[string(t.id)] = true
	g.thread = dump.Thread{
		ID: g.names.text(t.id), Detail: g.names.text(t.state), CPU: -1, Elapsed: -1,
		Lines: dump.Span{First: g.number},
	}
	words := bytes.Split(t.state, []byte(", "))
	g.thread.State = goState(string(words[0]))
	for _, w := range words[1:] {
		if n, ok := bytes.CutSuffix(w, []byte(" minutes")); ok {
			if minutes, err := strconv.ParseInt(string(n), 10, 32); err == nil {
				g.thread.Since = time.Duration(minutes) * time.Minute
			}
		}
	}
	g.understood()
}

func (g *goroutines) understood() {
	g.known()
	g.thread.Lines.Last = g.number
}

// frame takes the line of a call and the one below it, that says where.
func (g *goroutines) frame(line []byte) bool {
	if bytes.HasPrefix(line, []byte("...")) && bytes.Contains(line, []byte("elided...")) {
		g.thread.Elided = true
		g.understood()
		return true
	}
	place := g.peek()
	file, number, placed := goPlace(place)
	creator, created := bytes.CutPrefix(line, []byte("created by "))
	if line[0] == '\t' || line[0] == ' ' || !placed && len(place) > 0 || !created && line[len(line)-1] != ')' {
		return false
	}
	f := dump.Frame{}
	if created {
		creator, _, _ = bytes.Cut(creator, []byte(" in goroutine "))
		f.Function = g.names.text(creator)
	} else if !g.call(&f, line) {
		return false
	}
	g.understood()
	if placed {
		f.File, f.Line = g.names.text(file), number
		g.next()
		g.understood()
	} else {
		g.dump.Cut = "it ends in the middle of a goroutine"
	}
	if created {
		g.thread.CreatedBy, g.ended = &f, true
		return true
	}
	g.stack = append(g.stack, f)
	return true
}

// call reads "sync.(*Mutex).Lock(0xc000014088)".
func (g *goroutines) call(f *dump.Frame, line []byte) bool {
	open := bytes.LastIndexByte(line, '(')
	if open <= 0 {
		return false
	}
	f.Function = g.names.text(line[:open])
	f.Inlined = string(line[open:]) == "(...)"
	g.locks = g.locks || strings.HasSuffix(f.Function, "sync.(*Mutex).lockSlow")
	if g.lock == "" && isLockCall(f.Function) {
		address, _, _ := bytes.Cut(line[open+1:len(line)-1], []byte(","))
		if bytes.HasPrefix(address, []byte("0x")) && address[len(address)-1] != '?' {
			g.lock = g.names.text(address)
		}
	}
	return true
}

func isLockCall(function string) bool {
	return strings.HasSuffix(function, "sync.(*Mutex).lockSlow") || strings.HasSuffix(function, "sync.(*Mutex).Lock") ||
		function == "sync.(*RWMutex).Lock" || function == "sync.(*RWMutex).RLock"
}

// goPlace reads "\t/src/main.go:12 +0x1d fp=0xc000".
func goPlace(line []byte) (file []byte, number int, ok bool) {
	if len(line) == 0 || line[0] != '\t' {
		return nil, 0, false
	}
	text := bytes.TrimSpace(line)
	if at := bytes.Index(text, []byte(" +0x")); at >= 0 {
		text = text[:at]
	}
	colon := bytes.LastIndexByte(text, ':')
	if colon <= 0 {
		return nil, 0, false
	}
	n, err := strconv.Atoi(string(text[colon+1:]))
	if err != nil || n < 0 {
		return nil, 0, false
	}
	return text[:colon], n, true
}

// flush ends the goroutine that is being read.
func (g *goroutines) flush() {
	if !g.open {
		return
	}
	t := g.thread
	t.Stack = g.names.stack(g.stack)
	t.Name = nameOfStack(t.Stack)
	t.Internal = isGoInternal(t)
	if g.locks && t.State == dump.Waiting { // up to Go 1.20 they are called semacquire
		t.State = dump.Blocked
	}
	t.WaitsFor = goWaitsFor(t, g.lock)
	g.add(t)
	g.open, g.lock, g.locks, g.stack = false, "", false, g.stack[:0]
}

// nameOfStack gives what a goroutine was started with: it has no other name.
func nameOfStack(stack []dump.Frame) string {
	for i, f := range slices.Backward(stack) {
		if f.Function != "runtime.goexit" && (f.Function != "runtime.main" || i == 0) {
			return f.Function
		}
	}
	return ""
}

// isGoInternal tells whether the runtime itself started a goroutine, for itself.
// That which writes the dump is none of the service's either.
func isGoInternal(t dump.Thread) bool {
	if t.ID == "0" {
		return true
	}
	if len(t.Stack) == 0 {
		return false
	}
	if strings.HasPrefix(t.Stack[0].Function, "runtime/pprof.write") {
		return true
	}
	for _, f := range t.Stack {
		if !strings.HasPrefix(f.Function, "runtime.") {
			return false
		}
	}
	return t.CreatedBy == nil || strings.HasPrefix(t.CreatedBy.Function, "runtime.")
}

// goStates are beginnings of what the runtime says that a goroutine waits for.
var goStates = []struct {
	text  string
	state dump.State
}{
	{"running", dump.Running},
	{"runnable", dump.Running},
	{"preempted", dump.Running},
	{"copystack", dump.Running},
	{"syscall", dump.InIO},
	{"IO wait", dump.InIO},
	{"sleep", dump.TimedWaiting},
	{"sync.Mutex.Lock", dump.Blocked},
	{"sync.RWMutex", dump.Blocked},
	{"dead", dump.Ended},
}

func goState(text string) dump.State {
	for _, s := range goStates {
		if strings.HasPrefix(text, s.text) {
			return s.state
		}
	}
	return dump.Waiting
}

// goWaitsFor tells what a goroutine waits for, as far as its state says it.
func goWaitsFor(t dump.Thread, address string) *dump.Lock {
	switch {
	case t.State == dump.Blocked:
		return &dump.Lock{ID: address, Class: lockClass(t.Detail), Kind: dump.Mutex}
	case strings.HasPrefix(t.Detail, "chan "), strings.HasPrefix(t.Detail, "select"):
		return &dump.Lock{Kind: dump.Channel}
	case strings.HasPrefix(t.Detail, "sync.Cond"), strings.HasPrefix(t.Detail, "sync.WaitGroup"):
		return &dump.Lock{Class: lockClass(t.Detail), Kind: dump.Condition}
	}
	return nil
}

// lockClass gives "sync.Mutex" of "sync.Mutex.Lock, 5 minutes".
func lockClass(detail string) string {
	word, _, _ := strings.Cut(detail, ",")
	if word == "semacquire" {
		return "sync.Mutex"
	}
	return word[:max(strings.LastIndexByte(word, '.'), 0)]
}
