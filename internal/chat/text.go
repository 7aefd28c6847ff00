package chat

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	mostHosts = 20   // that a message names
	mostText  = 2800 // characters: what every chat takes in one message, with room for marks
	mostLine  = 300  // characters of a warning or an explanation
)

// escape makes foreign text harmless for one line.
func escape(s string) string { return restart.Escape(s) }

// bounded cuts a text off.
func bounded(s string) string { return cutOff(s, mostText) }

func cutOff(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// line gives foreign text as a bounded line.
func line(s string) string { return cutOff(escape(s), mostLine) }

// upper begins a sentence.
func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// workOf says what a run does.
func workOf(r restart.Run) string {
	switch {
	case r.Work != restart.WorkWhole:
		return upper(escape(string(r.Work))) + " of"
	case r.Kind == restart.KindThreadDump:
		return "Thread dump of"
	case r.Kind == restart.KindCustom:
		return upper(escape(r.Scenario)) + " on"
	}
	return "Restart of"
}

func in(environment string) string {
	if environment == "" {
		return ""
	}
	return " in " + escape(environment)
}

// planText shows what would be done, with a line below.
func planText(run restart.Run, tail string) string {
	p := run.Plan
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s%s\n", workOf(run), escape(run.Service), in(run.Environment))
	fmt.Fprintf(&b, "Scenario: %s", escape(p.Scenario))
	if p.Description != "" {
		fmt.Fprintf(&b, ": %s", line(p.Description))
	}
	fmt.Fprintf(&b, "\nReason: %s\n", escape(run.Reason))
	if run.Ticket != "" {
		fmt.Fprintf(&b, "Ticket: %s\n", escape(run.Ticket))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Params)) {
		fmt.Fprintf(&b, "%s=%s\n", escape(name), line(p.Params[name]))
	}
	chosen := p.Chosen()
	fmt.Fprintf(&b, "Hosts: %d of group %s, %s\n", len(chosen), escape(run.Group), batchesOf(p.Batches))
	for _, h := range chosen[:min(len(chosen), mostHosts)] {
		fmt.Fprintf(&b, "  %s", escape(h.Name))
		if h.Health != "" && h.Health != restart.HealthUnknown {
			fmt.Fprintf(&b, " %s", escape(h.Health))
		}
		b.WriteByte('\n')
	}
	if n := len(chosen) - mostHosts; n > 0 {
		fmt.Fprintf(&b, "  and %d more\n", n)
	}
	writeLeftOut(&b, *p)
	warnings := p.Warnings
	if p.Resolved != nil {
		warnings = slices.Concat(warnings, p.Resolved.Warnings)
	}
	const most = 6
	for _, w := range warnings[:min(len(warnings), most)] {
		fmt.Fprintf(&b, "Warning: %s\n", line(w))
	}
	if n := len(warnings) - most; n > 0 {
		fmt.Fprintf(&b, "and %d more warnings, on the page\n", n)
	}
	return cutOff(b.String(), mostText-utf8.RuneCountInString(tail)-2) + "\n" + tail
}

// writeLeftOut names the hosts that are not touched, and why.
func writeLeftOut(b *strings.Builder, p restart.Plan) {
	out := slices.DeleteFunc(p.Asked(), func(h restart.PlannedHost) bool { return !h.LeftOut })
	const most = 5
	for _, h := range out[:min(len(out), most)] {
		fmt.Fprintf(b, "Left out: %s", escape(h.Name))
		if why := strings.TrimPrefix(h.Why, h.Name+": "); why != "" {
			fmt.Fprintf(b, ": %s", line(why))
		}
		b.WriteByte('\n')
	}
	if n := len(out) - most; n > 0 {
		fmt.Fprintf(b, "Left out: %d more\n", n)
	}
}

// batchesOf says how hosts come one after another.
func batchesOf(sizes []int) string {
	switch {
	case len(sizes) <= 1:
		return "all at once"
	case slices.Max(sizes) == 1:
		return "one after another"
	}
	var out []string
	for i, n := range sizes {
		if i == 8 {
			out = append(out, "…")
			break
		}
		out = append(out, fmt.Sprint(n))
	}
	return "in batches of " + strings.Join(out, ", ")
}

// stateOf says how a run stands.
func stateOf(r restart.Run) string {
	text := strings.ReplaceAll(string(r.State), "_", " ")
	if r.Cause != "" {
		text += " (" + strings.ReplaceAll(escape(string(r.Cause)), "_", " ") + ")"
	}
	if r.Control != restart.ControlNone && !r.State.Final() {
		text += ", " + strings.ReplaceAll(string(r.Control), "_", " ") + " asked for"
	}
	return text
}

// runText shows how a run stands, host by host where they are few.
func runText(r restart.Run) string {
	var b strings.Builder
	tasks := restart.Latest(r.Tasks)
	done := 0
	for i := range tasks {
		if tasks[i].State == restart.TaskSucceeded {
			done++
		}
	}
	fmt.Fprintf(&b, "%s %s%s: %s", workOf(r), escape(r.Service), in(r.Environment), stateOf(r))
	if len(tasks) > 0 {
		fmt.Fprintf(&b, ", %d of %d hosts done", done, len(tasks))
	}
	if r.StartedAt != nil && r.FinishedAt != nil {
		fmt.Fprintf(&b, " in %s", r.FinishedAt.Sub(*r.StartedAt).Round(time.Second))
	}
	if r.Explanation != "" {
		fmt.Fprintf(&b, "\n%s", line(r.Explanation))
	}
	fmt.Fprintf(&b, "\n%s: %s\n", escape(r.Actor), escape(r.Reason))
	writeTasks(&b, tasks)
	return bounded(strings.TrimRight(b.String(), "\n"))
}

// writeTasks names each of few hosts, and of many those that have come to grief
// or are in hand.
func writeTasks(b *strings.Builder, tasks []restart.Task) {
	worth := func(t restart.Task) bool { return true }
	if len(tasks) > mostHosts {
		worth = func(t restart.Task) bool { return t.Counts() || t.State.Active() }
	}
	named, more := 0, 0
	for _, t := range tasks {
		switch {
		case !worth(t):
		case named == mostHosts:
			more++
		default:
			named++
			fmt.Fprintf(b, "  %s %s", escape(t.Host), taskOf(t))
			if t.Error != "" {
				fmt.Fprintf(b, ": %s", line(strings.TrimPrefix(t.Error, t.Host+": ")))
			}
			b.WriteByte('\n')
		}
	}
	if more > 0 {
		fmt.Fprintf(b, "  and %d more like these\n", more)
	}
}

func taskOf(t restart.Task) string {
	text := strings.ReplaceAll(string(t.State), "_", " ")
	if t.State == restart.TaskRunning && t.Phase != "" {
		text += ", " + escape(t.Phase)
	}
	if t.Decision != nil {
		text += ", decided: " + escape(string(t.Decision.Verdict))
	}
	return text
}
