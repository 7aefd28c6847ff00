package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// ShowPlan shows the plan of a draft.
func ShowPlan(w io.Writer, run restart.Run) {
	if run.Plan != nil {
		writePlan(w, *run.Plan)
	}
}

// writePlan shows what would be done: which hosts, in which batches, by which
// reviewed bytes, and what a person should know before.
func writePlan(w io.Writer, p restart.Plan) {
	chosen := p.Chosen()
	fmt.Fprintf(w, "%s %s%s, scenario %s (%s)\n", workWord(p.Kind, p.Work), restart.Escape(p.Service.Name), in(p.Environment), restart.Escape(p.Scenario), short(p.Digest))
	if p.Description != "" {
		fmt.Fprintf(w, "  %s\n", restart.Escape(p.Description))
	}
	if p.Parent != "" {
		fmt.Fprintf(w, "after:   run %s\n", p.Parent)
	}
	if p.Group != "" {
		fmt.Fprintf(w, "group:   %s\n", restart.Escape(p.Group))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Params)) {
		fmt.Fprintf(w, "param:   %s=%s\n", restart.Escape(name), restart.Escape(p.Params[name]))
	}
	fmt.Fprintf(w, "reason:  %s\n", restart.Escape(p.Request.Reason))
	if key := p.TicketKey(); key != "" {
		fmt.Fprintf(w, "ticket:  %s\n", ticketWord(key, p.Ticket))
	}
	asked := p.Asked()
	fmt.Fprintf(w, "hosts:   %d of %d, in %s: %s\n", len(chosen), len(asked), batches(len(p.Batches)), sizes(p.Batches))
	if n := len(p.Hosts) - len(asked); n > 0 {
		fmt.Fprintf(w, "beside:  %s of the group, not touched, but counted\n", others(n))
	}
	if len(p.Silence) > 0 {
		fmt.Fprintf(w, "silent:  %s, on each host while it is worked on, where monitoring can be told\n", restart.Escape(strings.Join(p.Silence, ", ")))
	}
	warnings := p.Warnings
	if r := p.Resolved; r != nil {
		writeResolved(w, p, *r)
		warnings = slices.Concat(warnings, r.Warnings)
	}
	fmt.Fprintln(w)
	rows := make([][]string, 0, len(asked))
	position := 0
	for _, h := range asked {
		batch := "left out"
		if !h.LeftOut {
			batch = strconv.Itoa(restart.BatchOf(p.Batches, position) + 1)
			position++
		}
		row := []string{batch, h.Name, h.DataCentre, agentWord(h), h.Health, h.Version}
		if h.LeftOut {
			row = append(row, strings.TrimPrefix(h.Why, h.Name+": "))
		}
		rows = append(rows, row)
	}
	table(w, []string{"BATCH", "HOST", "DC", "AGENT", "HEALTH", "VERSION", "NOTE"}, rows)
	for _, warning := range warnings {
		fmt.Fprintf(w, "warning: %s\n", restart.Escape(warning))
	}
	if age := p.MadeAt.Sub(p.InventoryAt); age >= 10*time.Minute {
		fmt.Fprintf(w, "warning: the inventory's answer is %s old\n", age.Round(time.Minute))
	}
}

// ticketWord tells of a ticket what its tracker said at the plan.
func ticketWord(key string, t *restart.Ticket) string {
	out := restart.Escape(key)
	if t == nil {
		return out
	}
	out += ", " + restart.Escape(string(t.State))
	if t.Status != "" {
		out += " (" + restart.Escape(t.Status) + ")"
	}
	if t.Title != "" {
		out += ": " + restart.Escape(t.Title)
	}
	if t.URL != "" {
		out += ", " + restart.Escape(t.URL)
	}
	return out
}

// writeResolved shows what the strategy means for these hosts.
func writeResolved(w io.Writer, p restart.Plan, r restart.Resolved) {
	switch {
	case p.Strategy.MinAvailable == "" && p.Deadline == 0 && r.Healthy == 0:
		fmt.Fprintln(w, "healthy: not checked")
	case p.Strategy.MinAvailable == "":
		fmt.Fprintf(w, "healthy: %d now; min_available sets no limit\n", r.Healthy)
	case r.Healthy == 0:
		fmt.Fprintf(w, "healthy: none now, so min_available %s has nothing to keep\n", p.Strategy.MinAvailable)
	default:
		fmt.Fprintf(w, "healthy: %d now; at least %d of them stay healthy (min_available %s)\n", r.Healthy, r.Keep, p.Strategy.MinAvailable)
	}
	if text := map[restart.WhenDown]string{
		restart.WhenDownUsed:        "is used: no host is healthy",
		restart.WhenDownSomeHealthy: fmt.Sprintf("is not used: healthy hosts: %d", r.Healthy),
		restart.WhenDownSomeUnknown: "is not used: no host is known to be healthy, but some could not be asked",
	}[r.WhenDown]; text != "" {
		fmt.Fprintf(w, "down:    when_down %s\n", text)
	}
	health := "nothing checks health"
	if p.Deadline > 0 && p.Work != restart.WorkUndrain { // which looks at no health afterwards
		health = "each host healthy within " + span(p.Deadline)
	}
	fmt.Fprintf(w, "time:    %s; at most %s in all, waiting for people not counted\n", health, span(r.Longest))
}

// span writes a length of time without what is nought: 14m, 1h30m.
func span(d restart.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// workWord says what is done to each host.
func workWord(kind restart.Kind, work restart.Work) string {
	if work != restart.WorkWhole {
		return restart.Escape(string(work))
	}
	return string(kind)
}

func agentWord(h restart.PlannedHost) string {
	switch h.Agent {
	case "", "ready":
		return h.Agent
	}
	return "not ready"
}

func batches(n int) string {
	if n == 1 {
		return "1 batch"
	}
	return fmt.Sprintf("%d batches", n)
}

func others(n int) string {
	if n == 1 {
		return "1 other host"
	}
	return fmt.Sprintf("%d other hosts", n)
}

// sizes writes batch sizes, equal ones in a row as one: "1, 2, 5 × 40".
func sizes(batches []int) string {
	var out []string
	for i := 0; i < len(batches); {
		j := i
		for j < len(batches) && batches[j] == batches[i] {
			j++
		}
		text := strconv.Itoa(batches[i])
		if j-i > 2 {
			text = fmt.Sprintf("%d × %d", batches[i], j-i)
			i = j
		} else {
			i++
		}
		out = append(out, text)
	}
	const most = 12
	if len(out) > most {
		out = append(out[:most], "…")
	}
	return strings.Join(out, ", ")
}

// in names an environment behind a service, where there is one.
func in(environment string) string {
	if environment == "" {
		return ""
	}
	return " in " + restart.Escape(environment)
}
