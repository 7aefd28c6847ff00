package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/discovery"
	"github.com/restartilka/restartilka/internal/protocol"
)

// discover prints what the files of services.d could be, for a person on the host.
func discover(args []string, stdout, stderr io.Writer) int {
	f := newFlags("discover", stderr)
	var ask protocol.DiscoverRequest
	f.StringVar(&ask.Unit, "unit", "", "`glob` that a unit's name must match, such as 'nginx*'")
	f.BoolVar(&ask.All, "all", false, "the services of the system itself, too")
	if !f.parse(args) {
		return exitUsage
	}
	report, err := agent.DiscoverHere(context.Background(), f.config, ask)
	if err != nil {
		return fail(stderr, err)
	}
	if f.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = printDrafts(stdout, stderr, report)
	}
	if err != nil {
		return fail(stderr, err)
	}
	return exitFine
}

// printDrafts writes the files one after another, each with its name before it,
// and on stderr what is not among them.
func printDrafts(stdout, stderr io.Writer, r protocol.DiscoverReport) error {
	for i, d := range r.Services {
		if i > 0 {
			if _, err := fmt.Fprintln(stdout); err != nil {
				return err
			}
		}
		state := d.State
		if d.Listed != "" {
			state += ", listed already"
		}
		if len(d.Ports) > 0 {
			state += fmt.Sprintf(", listens on %v", d.Ports)
		}
		if _, err := fmt.Fprintf(stdout, "# services.d/%s.yaml (%s)\n%s", d.Name, state, discovery.ServiceFile(d)); err != nil {
			return err
		}
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(stderr, "left out %s: %s\n", l.Unit, l.Why)
	}
	for _, note := range r.Notes {
		fmt.Fprintln(stderr, note)
	}
	if r.System > 0 {
		fmt.Fprintf(stderr, "%d services of the system itself are not shown: --all shows them\n", r.System)
	}
	return nil
}
