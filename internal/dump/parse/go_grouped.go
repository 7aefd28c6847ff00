package parse

import (
	"bytes"
	"strconv"

	"github.com/restartilka/restartilka/internal/dump"
)

// goGroupedFirst begins what the goroutine profile of Go prints with debug=1:
// identical stacks once, with how many goroutines have each.
const goGroupedFirst = "goroutine profile: total "

func goGroupedTitle(s *source) bool {
	return bytes.HasPrefix(s.line, []byte(goGroupedFirst))
}

// grouped reads one such profile.
type grouped struct {
	*reading
	open   bool
	thread dump.Thread
	stack  []dump.Frame
	groups int
}

func readGoGrouped(r *reading) {
	g := &grouped{reading: r}
	r.next()
	r.known()
	for g.more() {
		if goGroupedTitle(g.source) {
			g.back()
			break
		}
		g.take(g.line)
	}
	g.flush()
}

func (g *grouped) take(line []byte) {
	count, begins := groupLine(line)
	switch {
	case len(line) == 0:
		g.known()
	case begins:
		g.flush()
		g.groups++
		g.open = true
		g.thread = dump.Thread{
			ID: strconv.Itoa(g.groups), State: dump.Unclear, Count: count, CPU: -1, Elapsed: -1,
			Lines: dump.Span{First: g.number},
		}
		g.understood()
	case g.open && bytes.HasPrefix(line, []byte("# labels: ")):
		g.thread.Detail = g.names.text(line[2:])
		g.understood()
	case g.open && bytes.HasPrefix(line, []byte("#\t0x")):
		g.stack = append(g.stack, g.names.frame(line, g.names.groupedFrame))
		g.understood()
	default:
		g.unknown()
	}
}

func (g *grouped) understood() {
	g.known()
	g.thread.Lines.Last = g.number
}

// groupLine reads "4 @ 0x481e2e 0x462d12".
func groupLine(line []byte) (int, bool) {
	number, _, ok := bytes.Cut(line, []byte(" @"))
	if !ok || !isDigits(number) {
		return 0, false
	}
	count, err := strconv.ParseInt(string(number), 10, 32)
	return int(count), err == nil && count > 0
}

// groupedFrame reads "#	0x513f04	main.generic[...]+0x24	./main.go:37".
func (n *names) groupedFrame(line []byte) dump.Frame {
	fields := bytes.FieldsFunc(line, func(r rune) bool { return r == '\t' })
	if len(fields) < 3 {
		return dump.Frame{Function: n.text(bytes.TrimLeft(line, "#\t"))}
	}
	function := fields[2]
	if at := bytes.LastIndex(function, []byte("+0x")); at > 0 {
		function = function[:at]
	}
	f := dump.Frame{Function: n.text(function)}
	if len(fields) > 3 {
		f.File = n.text(fields[3])
		if file, number, ok := goPlace(append([]byte("\t"), fields[3]...)); ok {
			f.File, f.Line = n.text(file), number
		}
	}
	return f
}

// groupStates are functions at the top of a stack that tell what it waits for:
// the grouped form names no state.
var groupStates = map[string]dump.State{
	"internal/sync.runtime_SemacquireMutex": dump.Blocked,
	"sync.runtime_SemacquireMutex":          dump.Blocked,
	"sync.runtime_SemacquireRWMutex":        dump.Blocked,
	"sync.runtime_SemacquireRWMutexR":       dump.Blocked,
	"internal/poll.runtime_pollWait":        dump.InIO,
	"syscall.Syscall":                       dump.InIO,
	"syscall.Syscall6":                      dump.InIO,
	"time.Sleep":                            dump.TimedWaiting,
	"runtime/pprof.writeRuntimeProfile":     dump.Running,
}

func (g *grouped) flush() {
	if !g.open {
		return
	}
	t := g.thread
	t.Stack = g.names.stack(g.stack)
	t.Name = nameOfStack(t.Stack)
	t.Internal = isGoInternal(t)
	if len(t.Stack) > 0 {
		t.State = groupStates[t.Stack[0].Function]
	}
	if t.State == "" {
		t.State = dump.Unclear
	}
	g.add(t)
	g.open, g.stack = false, g.stack[:0]
}
