package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// taskHere lists what was begun on this host itself, or follows one such task,
// or ends it.
func taskHere(args []string, stdout, stderr io.Writer) int {
	f := newFlags("task", stderr)
	cancel := false
	f.BoolVar(&cancel, "cancel", false, "end the task and its whole process tree")
	names, ok := f.names(args)
	if !ok {
		return exitUsage
	}
	if len(names) > 1 || cancel && len(names) == 0 {
		fmt.Fprintln(stderr, "restartilka-agent task: at most one task is named; without one, they are listed")
		return exitUsage
	}
	return onHost(f, stdout, stderr, func(ctx context.Context, w *watcher) int {
		if len(names) == 0 {
			return listTasks(ctx, w)
		}
		return oneTask(ctx, w, names[0], cancel)
	})
}

// oneTask follows a task, or ends it first.
func oneTask(ctx context.Context, w *watcher, id string, cancel bool) int {
	var status protocol.TaskStatus
	var err error
	if cancel {
		status, err = w.here.CancelHere(ctx, id)
	} else {
		status, err = w.here.Wait(ctx, id, -1, 0)
	}
	if restart.CodeOf(err) == restart.CodeTombstone {
		return w.takenOver(ctx, id)
	}
	if err != nil {
		return failLocal(w.stderr, err)
	}
	return w.follow(ctx, status)
}

// listTasks prints what was begun here, newest first.
func listTasks(ctx context.Context, w *watcher) int {
	tasks, err := w.here.Tasks(ctx)
	if err != nil {
		return failLocal(w.stderr, err)
	}
	if w.json {
		if err := json.NewEncoder(w.stdout).Encode(map[string]any{"items": tasks}); err != nil {
			return failLocal(w.stderr, err)
		}
		return exitFine
	}
	if len(tasks) == 0 {
		fmt.Fprintln(w.stderr, "nothing was begun on this host itself within 90 days; what servers did here, they show: restartilka runs")
		return exitFine
	}
	table := tabwriter.NewWriter(w.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "TASK\tWHEN\tSERVICE\tOUTCOME\tTAKEN OVER\tBY\tREASON")
	for _, t := range tasks {
		outcome, reported := string(t.Outcome), "no"
		if outcome == "" {
			outcome = "goes on"
		}
		if t.Rehearse {
			outcome += ", a rehearsal"
		}
		if t.Reported {
			reported = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Task, t.At.Format(time.RFC3339), t.Service, outcome, reported, restart.Escape(t.Actor), restart.Escape(t.Reason))
	}
	if err := table.Flush(); err != nil {
		return failLocal(w.stderr, err)
	}
	return exitFine
}
