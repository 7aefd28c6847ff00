package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/restartilka/restartilka/internal/restart"
)

// progress shows a run while it changes.
type progress interface {
	show(run restart.Run, now time.Time)
	tick(now time.Time) // a second has passed
	interrupted()       // something else was written in between
}

// newProgress repaints at a terminal, and writes a line a change elsewhere.
func newProgress(w io.Writer) progress {
	if s, ok := w.(Screen); ok && s.Term() != "dumb" {
		return &painter{w: w, colour: colourful(w), size: func() (int, int) { return usable(s.Size()) }}
	}
	if f, ok := file(w); ok && terminal(w) && os.Getenv("TERM") != "dumb" {
		return &painter{w: w, colour: colourful(w), size: func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil {
				width = 0
			}
			return usable(width, height)
		}}
	}
	return &lines{w: w, seen: map[string]string{}}
}

// usable gives a terminal's size, or the usual one for one that is none.
func usable(width, height int) (int, int) {
	if width < 20 || height < 5 {
		return 80, 24
	}
	return width, height
}

// lines writes each change as a line.
type lines struct {
	w    io.Writer
	run  string
	seen map[string]string // by task id: what was written last
}

func (l *lines) show(run restart.Run, now time.Time) {
	at := now.Local().Format("15:04:05")
	if text := runWord(run); text != l.run {
		fmt.Fprintf(l.w, "%s run %s: %s\n", at, run.ID, text)
		l.run = text
	}
	for _, t := range run.Tasks {
		text := taskWord(t)
		if text == l.seen[t.ID] || t.State == restart.TaskPlanned || t.State == restart.TaskIntentLogged || t.State == restart.TaskAccepted {
			continue // the states that last a moment are left out
		}
		l.seen[t.ID] = text
		line := fmt.Sprintf("%s %s: %s", at, restart.Escape(t.Host), text)
		if t.State.Final() && t.StartedAt != nil {
			line += " after " + took(t.StartedAt, t.FinishedAt, now)
		}
		if t.Error != "" {
			line += ": " + about(t.Host, t.Error)
		}
		fmt.Fprintln(l.w, line)
	}
}

func (*lines) tick(time.Time) {}

func (*lines) interrupted() {}

func runWord(run restart.Run) string {
	text := string(run.State)
	if run.Work == restart.WorkRehearse {
		text += ", a rehearsal"
	}
	if a := run.Approval; a != nil && run.State == restart.RunAwaitingApproval {
		text += " until " + a.Until.Local().Format("2006-01-02 15:04")
	}
	if run.Cause != "" {
		text += " (" + restart.Escape(string(run.Cause)) + ")"
	}
	if run.Control != restart.ControlNone && !run.State.Final() {
		text += ", " + strings.ReplaceAll(restart.Escape(string(run.Control)), "_", "-") + " asked for"
	}
	if run.Explanation != "" {
		text += ": " + restart.Escape(run.Explanation)
	}
	return text
}

func taskWord(t restart.Task) string {
	text := string(t.State)
	if t.State == restart.TaskRunning && t.Phase != "" {
		text += " " + restart.Escape(t.Phase)
	}
	if t.Attempt > 1 {
		text += fmt.Sprintf(" (attempt %d)", t.Attempt)
	}
	if t.Decision != nil {
		text += ", decided: " + restart.Escape(string(t.Decision.Verdict))
	}
	return text
}

// painter repaints one line a host in place.
type painter struct {
	w      io.Writer
	colour bool
	size   func() (width, height int)
	run    restart.Run
	drawn  int // lines on the screen, above the cursor
}

func (p *painter) show(run restart.Run, now time.Time) {
	p.run = run
	p.tick(now)
}

func (p *painter) tick(now time.Time) {
	if p.run.ID == "" {
		return
	}
	width, height := p.size()
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	frame := paint(p.run, now, width, height, p.colour)
	for _, line := range frame {
		b.WriteString("\r\x1b[K" + line + "\n")
	}
	b.WriteString("\x1b[J") // whatever a longer frame has left below
	p.drawn = len(frame)
	io.WriteString(p.w, b.String()) //nolint:errcheck // a terminal that has gone
}

// interrupted begins a new frame below what was written.
func (p *painter) interrupted() { p.drawn = 0 }

// paint draws a run: a line for the run, one for each host, as many as fit,
// those in hand and those that failed before the rest, and a line that counts.
func paint(run restart.Run, now time.Time, width, height int, colour bool) []string {
	tasks := restart.Latest(run.Tasks)
	out := []string{cut(fmt.Sprintf("%s %s%s: %s", workWord(run.Kind, run.Work), restart.Escape(run.Service), in(run.Environment), runWord(run)), width)}
	room := height - 4
	shown, hidden := tasks, 0
	if len(tasks) > room {
		shown = notable(tasks, room)
		hidden = len(tasks) - len(shown)
	}
	longest := 0
	for _, t := range shown {
		longest = max(longest, len(restart.Escape(t.Host)))
	}
	for _, t := range shown {
		line := fmt.Sprintf("  %s %-*s  %s", mark(t.State), longest, restart.Escape(t.Host), taskWord(t))
		if d := took(t.StartedAt, t.FinishedAt, now); d != "" {
			line += "  " + d
		}
		if t.Error != "" {
			line += "  " + about(t.Host, t.Error)
		}
		out = append(out, tint(cut(line, width), t.State, colour))
	}
	done := 0
	for _, t := range tasks {
		if t.State.Final() {
			done++
		}
	}
	count := fmt.Sprintf("  %d of %s done", done, plural(len(tasks), "host"))
	if hidden > 0 {
		count += fmt.Sprintf(", %d not shown", hidden)
	}
	if run.State == restart.RunAwaitingApproval {
		return append(out, cut("  no host is touched before it is approved; Ctrl-C stops watching only", width))
	}
	return append(out, cut(count+"; Ctrl-C stops watching only", width))
}

// notable chooses most tasks: what is in hand, what failed, then what comes
// next, in the plan's order.
func notable(tasks []restart.Task, most int) []restart.Task {
	keep := make([]bool, len(tasks))
	left := max(most, 1)
	for _, wanted := range []func(restart.TaskState) bool{
		restart.TaskState.Active, restart.TaskState.Failure,
		func(s restart.TaskState) bool { return s == restart.TaskPlanned },
		func(restart.TaskState) bool { return true },
	} {
		for i, t := range tasks {
			if left > 0 && !keep[i] && wanted(t.State) {
				keep[i] = true
				left--
			}
		}
	}
	var out []restart.Task
	for i, t := range tasks {
		if keep[i] {
			out = append(out, t)
		}
	}
	return out
}

func mark(s restart.TaskState) string {
	switch {
	case s == restart.TaskSucceeded:
		return "✓"
	case s == restart.TaskUnknown:
		return "?"
	case s.Failure():
		return "✗"
	case s.Active():
		return "▸"
	}
	return "·"
}

func tint(line string, s restart.TaskState, colour bool) string {
	code := ""
	switch {
	case !colour:
	case s == restart.TaskSucceeded:
		code = "32"
	case s == restart.TaskUnknown:
		code = "35"
	case s.Failure():
		code = "31"
	case s.Active():
		code = "36"
	}
	if code == "" {
		return line
	}
	return "\x1b[" + code + "m" + line + "\x1b[0m"
}

// cut keeps a line within the terminal's width, so that the frame's height is
// what was counted.
func cut(line string, width int) string {
	runes := []rune(line)
	if len(runes) < width {
		return line
	}
	return string(runes[:max(width-2, 1)]) + "…"
}
