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
	"github.com/restartilka/restartilka/internal/said"
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

// told gives a sentence of the program as a bounded line.
func told(l said.Language, sentence string) string { return cutOff(said.In(l, sentence), mostLine) }

// upper begins a sentence.
func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// titleOf says what a run does, and where.
func titleOf(l said.Language, r restart.Run) string {
	var title string
	switch service := escape(r.Service); {
	case r.Work != restart.WorkWhole:
		title = say(l, "title."+string(r.Work), service)
	case r.Kind == restart.KindThreadDump:
		title = say(l, "title.thread-dump", service)
	case r.Kind == restart.KindCustom:
		title = say(l, "title.custom", upper(escape(r.Scenario)), service)
	default:
		title = say(l, "title.restart", service)
	}
	return in(l, title, r.Environment)
}

func in(l said.Language, what, environment string) string {
	if environment == "" {
		return what
	}
	return say(l, "title.in", what, escape(environment))
}

// planText shows what would be done, with a line below.
func planText(l said.Language, run restart.Run, tail string) string {
	p := run.Plan
	var b strings.Builder
	write := func(key string, values ...any) { b.WriteString(say(l, key, values...) + "\n") }
	b.WriteString(titleOf(l, run) + "\n")
	scenario := escape(p.Scenario)
	if p.Description != "" {
		scenario += ": " + line(p.Description)
	}
	write("plan.scenario", scenario)
	write("plan.reason", escape(run.Reason))
	if run.Ticket != "" {
		write("plan.ticket", escape(run.Ticket))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Params)) {
		fmt.Fprintf(&b, "%s=%s\n", escape(name), line(p.Params[name]))
	}
	chosen := p.Chosen()
	write("plan.hosts", len(chosen), escape(run.Group), batchesOf(l, p.Batches))
	for _, h := range chosen[:min(len(chosen), mostHosts)] {
		fmt.Fprintf(&b, "  %s", escape(h.Name))
		if h.Health != "" && h.Health != restart.HealthUnknown {
			b.WriteString(" " + word(l, "health", h.Health))
		}
		b.WriteByte('\n')
	}
	if n := len(chosen) - mostHosts; n > 0 {
		b.WriteString("  ")
		write("plan.more", n)
	}
	leftOut(l, *p, write)
	warnings := p.Warnings
	if p.Resolved != nil {
		warnings = slices.Concat(warnings, p.Resolved.Warnings)
	}
	const most = 6
	for _, w := range warnings[:min(len(warnings), most)] {
		write("plan.warning", told(l, w))
	}
	if n := len(warnings) - most; n > 0 {
		b.WriteString(count(l, n, "plan.warnings", n) + "\n")
	}
	return cutOff(b.String(), mostText-utf8.RuneCountInString(tail)-2) + "\n" + tail
}

// leftOut names the hosts that are not touched, and why.
func leftOut(l said.Language, p restart.Plan, write func(key string, values ...any)) {
	out := slices.DeleteFunc(p.Asked(), func(h restart.PlannedHost) bool { return !h.LeftOut })
	const most = 5
	for _, h := range out[:min(len(out), most)] {
		host := escape(h.Name)
		if why := strings.TrimPrefix(h.Why, h.Name+": "); why != "" {
			host += ": " + told(l, why)
		}
		write("plan.out", host)
	}
	if n := len(out) - most; n > 0 {
		write("plan.out.more", n)
	}
}

// batchesOf says how hosts come one after another.
func batchesOf(l said.Language, sizes []int) string {
	switch {
	case len(sizes) <= 1:
		return say(l, "batches.all")
	case slices.Max(sizes) == 1:
		return say(l, "batches.one")
	}
	var out []string
	for i, n := range sizes {
		if i == 8 {
			out = append(out, "…")
			break
		}
		out = append(out, fmt.Sprint(n))
	}
	return say(l, "batches.sizes", strings.Join(out, ", "))
}

// stateOf says how a run stands.
func stateOf(l said.Language, r restart.Run) string {
	text := word(l, "state", string(r.State))
	if r.Cause != "" {
		text += " (" + word(l, "cause", string(r.Cause)) + ")"
	}
	if r.Control != restart.ControlNone && !r.State.Final() {
		text += ", " + word(l, "asked", string(r.Control))
	}
	return text
}

// runText shows how a run stands, host by host where they are few.
func runText(l said.Language, r restart.Run) string {
	var b strings.Builder
	tasks := restart.Latest(r.Tasks)
	done := 0
	for i := range tasks {
		if tasks[i].State == restart.TaskSucceeded {
			done++
		}
	}
	b.WriteString(titleOf(l, r) + ": " + stateOf(l, r))
	if len(tasks) > 0 {
		b.WriteString(", " + count(l, len(tasks), "run.done", done, len(tasks)))
	}
	if r.StartedAt != nil && r.FinishedAt != nil {
		b.WriteString(" " + say(l, "run.took", said.In(l, restart.Span(r.FinishedAt.Sub(*r.StartedAt).Round(time.Second)))))
	}
	if r.Explanation != "" {
		b.WriteString("\n" + told(l, r.Explanation))
	}
	fmt.Fprintf(&b, "\n%s: %s\n", escape(r.Actor), escape(r.Reason))
	writeTasks(l, &b, tasks)
	return bounded(strings.TrimRight(b.String(), "\n"))
}

// writeTasks names each of few hosts, and of many those that have come to grief
// or are in hand.
func writeTasks(l said.Language, b *strings.Builder, tasks []restart.Task) {
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
			fmt.Fprintf(b, "  %s %s", escape(t.Host), taskOf(l, t))
			if t.Error != "" {
				b.WriteString(": " + told(l, strings.TrimPrefix(t.Error, t.Host+": ")))
			}
			b.WriteByte('\n')
		}
	}
	if more > 0 {
		b.WriteString("  " + say(l, "run.more", more) + "\n")
	}
}

func taskOf(l said.Language, t restart.Task) string {
	text := word(l, "task", string(t.State))
	if t.State == restart.TaskRunning && t.Phase != "" {
		text += ", " + word(l, "phase", t.Phase)
	}
	if t.Decision != nil {
		text += ", " + say(l, "decided", word(l, "verdict", string(t.Decision.Verdict)))
	}
	return text
}
