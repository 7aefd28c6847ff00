package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// writeSilenced says which alerts woke nobody for a run, and where monitoring
// could not be told.
func writeSilenced(w io.Writer, run restart.Run) {
	told, open := map[string]bool{}, map[string]bool{}
	for _, s := range run.Silenced {
		if s.State != restart.SilenceRefused {
			told[s.Host] = true
		}
		if s.State.Open() {
			open[s.Host] = true
		}
	}
	if len(told) > 0 {
		line := "silent: "
		if run.Plan != nil { // it has the names; those of a silence are of one host
			line += restart.Escape(strings.Join(run.Plan.Silence, ", ")) + ", "
		}
		line += fmt.Sprintf("hosts: %d", len(told))
		if len(open) > 0 {
			line += fmt.Sprintf(", still: %d", len(open))
		}
		fmt.Fprintln(w, line)
	}
	for _, s := range run.Silenced {
		if s.Failure != "" && s.State != restart.SilenceLifted {
			fmt.Fprintf(w, "monitoring: %s: %s\n", restart.Escape(s.Host), restart.Escape(s.Failure))
		}
	}
}
