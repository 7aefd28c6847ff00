package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// run is a run as the API tells it, with what a person has decided of a host.
type run struct {
	restart.Run
	Tasks []task `json:"tasks"`
}

type task struct {
	restart.Task
	Decision *struct {
		Verdict string `json:"verdict"`
	} `json:"decision"`
}

// settled tells that nothing of the run is in hand: it is over, or waits for a
// person and every host of it is known.
func (r run) settled() bool { return r.State.Final() || r.State == restart.RunPaused && !r.active() }

func (r run) active() bool {
	return slices.ContainsFunc(r.Tasks, func(t task) bool { return t.State.Active() })
}

// recovered tells that the run has got over what happened at that time: it is
// settled, or the hosts that were in hand are known and it has gone on to
// another.
func (r run) recovered(at time.Time) bool {
	if r.settled() {
		return true
	}
	for _, t := range r.Tasks {
		if t.State.Active() && t.StartedAt != nil && !t.StartedAt.After(at) {
			return false
		}
	}
	return slices.ContainsFunc(r.Tasks, func(t task) bool { return t.StartedAt != nil && t.StartedAt.After(at) })
}

// over tells that the run had ended before a time.
func (r run) over(at time.Time) bool {
	return r.State.Final() && r.FinishedAt != nil && r.FinishedAt.Before(at)
}

// met counts the tasks that were in hand at a time.
func (r run) met(at time.Time) int {
	n := 0
	for _, t := range r.Tasks {
		if t.StartedAt != nil && !t.StartedAt.After(at) && (t.FinishedAt == nil || t.FinishedAt.After(at)) {
			n++
		}
	}
	return n
}

// witness is the file that the scripts write: "TASK HOST begin|end TIME".
type witness struct{ path string }

// said is what the witness has seen: the lines of each task, in order.
type said map[string][]string

func (w witness) read() (said, error) {
	b, err := os.ReadFile(w.path)
	if os.IsNotExist(err) {
		return said{}, nil
	}
	return testimony(string(b)), err
}

func testimony(text string) said {
	out := said{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		id, _, _ := strings.Cut(line, " ")
		out[id] = append(out[id], line)
	}
	return out
}

// times counts how often a task said a word.
func (s said) times(id, word string) int {
	n := 0
	for _, line := range s[id] {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == word {
			n++
		}
	}
	return n
}

// stop is a time in which no further host of a run may be touched: from when a
// server has said yes to it.
type stop struct {
	run      string
	from, to time.Time
}

// touched finds hosts that were asked in spite of a stop.
func touched(stops []stop, runs []run) []finding {
	var out []finding
	for _, r := range runs {
		for _, s := range stops {
			for _, t := range r.Tasks {
				if s.run == r.ID && t.StartedAt != nil && t.StartedAt.After(s.from) && t.StartedAt.Before(s.to) {
					out = append(out, finding{Kind: foundAfter, Run: r.ID, Text: fmt.Sprintf("%s was asked at %s, and the stop was granted at %s", t.Host, t.StartedAt.Format(time.StampMicro), s.from.UTC().Format(time.StampMicro))})
				}
			}
		}
	}
	return out
}

// finding is one thing that must not be.
type finding struct {
	Kind string // one of the below
	Run  string
	Text string
	Said []string // the witness's lines of the task
}

// The kinds of findings.
const (
	foundDouble = "double execution"
	foundLost   = "lost task"
	foundUntrue = "untrue outcome"
	foundAfter  = "touched after a stop"
	foundStuck  = "neither ended nor waits"
	foundAudit  = "audit"
)

// judge compares what the servers say of runs that are over with what the
// witness has seen of them.
func judge(s said, runs []run) []finding {
	var out []finding
	for _, r := range runs {
		out = append(out, judgeRun(s, r)...)
	}
	return out
}

func judgeRun(s said, r run) []finding {
	var out []finding
	find := func(kind string, id string, format string, args ...any) {
		out = append(out, finding{Kind: kind, Run: r.ID, Text: fmt.Sprintf(format, args...), Said: s[id]})
	}
	ran := map[string]task{} // by host: the last attempt that ran
	for _, t := range r.Tasks {
		began, ended := s.times(t.ID, "begin"), s.times(t.ID, "end")
		for range began - 1 {
			find(foundDouble, t.ID, "task %s of %s ran %d times", t.ID, t.Host, began)
		}
		if before, again := ran[t.Host]; again && began > 0 && (before.Decision == nil || before.Decision.Verdict != "again") {
			find(foundDouble, t.ID, "%s ran as task %s (%s), and again as task %s, without a person's decision", t.Host, before.ID, before.State, t.ID)
		}
		if began > 0 {
			ran[t.Host] = t
		}
		switch t.State {
		case restart.TaskSucceeded:
			if began == 0 {
				find(foundLost, t.ID, "task %s of %s is called succeeded, and never ran", t.ID, t.Host)
			} else if ended == 0 {
				find(foundUntrue, t.ID, "task %s of %s is called succeeded, and did not come to its end", t.ID, t.Host)
			}
		case restart.TaskNotStarted, restart.TaskUnreachable, restart.TaskRefused, restart.TaskPlanned:
			if began > 0 {
				find(foundUntrue, t.ID, "task %s of %s is called %s, and ran", t.ID, t.Host, t.State)
			}
		}
		if !t.State.Final() && r.State.Final() {
			find(foundLost, t.ID, "task %s of %s is left %s in a run that is %s", t.ID, t.Host, t.State, r.State)
		}
	}
	return out
}

// strangers finds tasks that ran and that no run knows.
func strangers(s said, runs []run) []finding {
	known := map[string]bool{}
	for _, r := range runs {
		for _, t := range r.Tasks {
			known[t.ID] = true
		}
	}
	var out []finding
	for _, id := range slices.Sorted(maps.Keys(s)) {
		if !known[id] {
			out = append(out, finding{Kind: foundLost, Text: fmt.Sprintf("task %s ran, and no run has it", restart.Escape(id)), Said: s[id]})
		}
	}
	return out
}
