package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/dump/tell"
	"github.com/restartilka/restartilka/internal/restart"
)

// Bounds of what is told of one report in text; --json has all of it.
const (
	mostGroups = 10
	mostFrames = 6
	mostOwn    = 3 // frames of the service itself beyond these
)

// writeReport tells the verdict first, then what else was found, then the
// stacks that most threads share.
func writeReport(w io.Writer, r *analyse.Report) {
	tell.Findings(w, r.Findings)
	fmt.Fprintln(w)
	tell.Threads(w, r)
	if len(r.Dumps) > 1 {
		over := ""
		if r.Span > 0 {
			over = " over " + r.Span.Round(100*time.Millisecond).String()
		}
		fmt.Fprintf(w, "%d dumps%s\n", len(r.Dumps), over)
	}
	for i, g := range r.Groups {
		if i == mostGroups || g.Idle || g.Internal { // the busy ones come first
			break
		}
		fmt.Fprintf(w, "\n%s: %s\n", plural(g.Threads, "thread"), restart.Escape(g.Does.String()))
		writeStack(w, g.Stack)
	}
}

// writeStack shows the innermost frames, and of the rest the service's own.
func writeStack(w io.Writer, stack []analyse.StackFrame) {
	hidden, own := 0, 0
	for i, f := range stack {
		if i >= mostFrames {
			if f.Origin != analyse.FromOwn || own == mostOwn {
				hidden++
				continue
			}
			own++
		}
		writeHidden(w, &hidden)
		fmt.Fprintf(w, "    %s%s\n", restart.Escape(f.Name), place(f.File, f.Line))
	}
	writeHidden(w, &hidden)
}

func writeHidden(w io.Writer, n *int) {
	if *n > 0 {
		fmt.Fprintf(w, "    … %s\n", plural(*n, "frame"))
		*n = 0
	}
}

func place(file string, line int) string {
	switch {
	case file == "":
		return ""
	case line == 0:
		return " (" + restart.Escape(file) + ")"
	}
	return fmt.Sprintf(" (%s:%d)", restart.Escape(file), line)
}

// writeGroup tells what the hosts have in common, then each of them.
func writeGroup(w io.Writer, g *analyse.GroupReport) {
	tell.Findings(w, g.Findings)
	fmt.Fprintln(w)
	rows := make([][]string, len(g.Hosts))
	for i, h := range g.Hosts {
		differs := make([]string, len(h.Differs))
		for j, d := range h.Differs {
			differs[j] = d.String()
		}
		rows[i] = []string{h.Name, fmt.Sprint(h.Threads), strings.ToUpper(string(h.Verdict.Severity)), firstSentence(h.Verdict.String()), strings.Join(differs, "; ")}
	}
	table(w, []string{"HOST", "THREADS", "SEVERITY", "VERDICT", "UNLIKE THE OTHERS"}, rows)
}

// firstSentence gives what a row of a table has room for.
func firstSentence(text string) string {
	if end := strings.Index(text, ". "); end >= 0 {
		return text[:end+1]
	}
	return text
}

// writeDifference tells what changed in a sentence, then the findings and the
// stacks that grew or shrank.
func writeDifference(w io.Writer, d *analyse.Difference) {
	fmt.Fprintln(w, restart.Escape(d.Verdict().String()))
	for _, part := range []struct {
		title    string
		findings []analyse.Finding
	}{{"gone", d.Fixed}, {"new", d.New}, {"still", d.Still}} {
		for _, f := range part.findings {
			fmt.Fprintf(w, "%-6s %-8s %s\n", part.title, strings.ToUpper(string(f.Severity)), restart.Escape(f.String()))
		}
	}
	fmt.Fprintf(w, "\nthreads: %d before, %d after; %d on the same stack, %d elsewhere, %d new, %d gone\n", d.Before.Threads, d.After.Threads, d.Same, d.Moved, d.Appeared, d.Gone)
	rows := make([][]string, 0, mostGroups)
	for _, g := range d.Groups {
		if len(rows) == mostGroups {
			break
		}
		rows = append(rows, []string{fmt.Sprint(g.Before), fmt.Sprint(g.After), g.Does.String()})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		table(w, []string{"BEFORE", "AFTER", "THREADS THAT"}, rows)
	}
}

// writeThread shows one thread whole.
func writeThread(w io.Writer, t *dump.Thread, lens *analyse.Lens) {
	v := lens.Thread(t)
	fmt.Fprintf(w, "%s (%s) %s", restart.Quote(t.Name), restart.Escape(t.ID), t.State)
	if t.Detail != "" {
		fmt.Fprintf(w, ", %s", restart.Escape(t.Detail))
	}
	fmt.Fprintf(w, ": %s\n", restart.Escape(v.Does.String()))
	if t.WaitsFor != nil {
		fmt.Fprintf(w, "  waits for %s\n", lockText(*t.WaitsFor))
	}
	for _, l := range t.Holds {
		fmt.Fprintf(w, "  holds %s\n", lockText(l))
	}
	for _, f := range v.Stack {
		fmt.Fprintf(w, "    %s%s\n", restart.Escape(f.Name), place(f.File, f.Line))
	}
	fmt.Fprintln(w)
}

func lockText(l dump.Lock) string {
	return restart.Escape(strings.TrimSpace(strings.Join([]string{string(l.Kind), l.Class, l.ID}, " ")))
}
