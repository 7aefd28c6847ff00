// Package tell writes down for a terminal what an analysis of thread dumps has
// found, for each program that does.
package tell

import (
	"fmt"
	"io"
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
)

// mostFindings bounds what is told of one report; --json has all of it.
const mostFindings = 12

// Findings tells them, the verdict first.
func Findings(w io.Writer, findings []analyse.Finding) {
	for i, f := range findings {
		if i == mostFindings {
			fmt.Fprintf(w, "and %d more: --json has them\n", len(findings)-i)
			return
		}
		fmt.Fprintf(w, "%-8s %s\n", strings.ToUpper(string(f.Severity)), restart.Escape(f.String()))
	}
}

// Threads counts the threads of a report by their states, in one line:
// "219 threads: 2 blocked, 217 waiting".
func Threads(w io.Writer, r *analyse.Report) {
	word := "threads"
	if r.Threads == 1 {
		word = "thread"
	}
	fmt.Fprintf(w, "%d %s", r.Threads, word)
	between := ": "
	for _, s := range dump.States() {
		if n := r.States[s]; n > 0 {
			fmt.Fprintf(w, "%s%d %s", between, n, s)
			between = ", "
		}
	}
	fmt.Fprintln(w)
}
