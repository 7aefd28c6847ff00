package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/restart"
)

// reviewHere lets root go back to an older version of a signed scenario.
func reviewHere(args []string, stdout, stderr io.Writer) int {
	f := newFlags("review", stderr)
	reason := f.String("reason", "", "why this is done, in 10 to 500 characters; needed")
	names, ok := f.names(args)
	if !ok {
		return exitUsage
	}
	if len(names) != 2 || names[0] != "forget" {
		fmt.Fprintln(stderr, `restartilka-agent review: forget and a scenario are wanted, such as: review forget nginx-restart --reason "serial 4 hangs, back to serial 3"`)
		return exitUsage
	}
	if _, err := restart.CheckReason(*reason); err != nil { // before anything is opened
		return failLocal(stderr, err)
	}
	return onHost(f, stdout, stderr, func(ctx context.Context, w *watcher) int {
		was, err := w.here.ForgetReviewed(ctx, names[1], agent.Invoker(w.settings.Host), *reason)
		if err != nil {
			return failLocal(stderr, err)
		}
		if f.json {
			err = json.NewEncoder(stdout).Encode(was)
		} else {
			_, err = fmt.Fprintf(stdout, "serial %d of scenario %s is forgotten here: a version with any serial that is signed is trusted again\n", was.Serial, was.Scenario)
		}
		if err != nil {
			return fail(stderr, err)
		}
		return exitFine
	})
}
