package web

import (
	"maps"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// planNumbers says what the plan means in numbers.
func (s *site) planNumbers(v *visit, page *planPage, d drawing, now time.Time) error {
	numbers, err := s.numbers(v, d.run, *d.run.Plan)
	if err != nil {
		return err
	}
	l, run := v.lang, d.run
	page.Numbers = numbers
	more := func(key string, values ...string) {
		if len(values) > 0 && values[0] != "" {
			page.Numbers = append(page.Numbers, numberLine{Name: say(l, key), Values: values})
		}
	}
	scenario := numberLine{Name: say(l, "run.scenario"), Values: []string{run.Scenario}, Quiet: restart.Escape(run.Plan.Description)}
	if run.Digest != "" {
		scenario.URL = "/scenarios/" + run.Digest + "/review"
	}
	page.Numbers = append(page.Numbers, scenario)
	more("run.group", run.Group)
	more("run.project", run.Project)
	var params []string
	for _, name := range slices.Sorted(maps.Keys(run.Params)) {
		params = append(params, restart.Escape(name+"="+run.Params[name]))
	}
	more("run.params", params...)
	if run.Ticket != "" {
		t := ticketOf(l, run)
		page.Numbers = append(page.Numbers, numberLine{Name: say(l, "run.ticket"), Values: []string{t.Key}, Quiet: t.Says, URL: t.URL})
	}
	page.Numbers = append(page.Numbers, numberLine{Name: say(l, "plan.inventory"), At: new(momentOf(run.Plan.InventoryAt, now))},
		numberLine{Name: say(l, "run.id"), Values: []string{run.ID}, Code: true})
	if run.Parent != "" {
		for _, r := range relations(l, run) {
			page.Numbers = append(page.Numbers, numberLine{Name: say(l, "run.relations"), Values: []string{r.Text}, URL: "/runs/" + r.ID})
		}
	}
	return nil
}

// numbers are those that a person weighs before the button: how many at once,
// how many stay, how long.
func (s *site) numbers(v *visit, run restart.Run, plan restart.Plan) ([]numberLine, error) {
	run.Plan = &plan
	b := newBoard(v.lang, run)
	out := []numberLine{{Name: say(v.lang, "run.batches"), Values: []string{b.batches()}}}
	if len(plan.Batches) > 1 {
		out[0].Quiet = count(v.lang, "plan.batches", len(plan.Batches))
	}
	out = append(out, numberLine{Name: say(v.lang, "plan.lowest"), Values: []string{lowestOf(v.lang, run, plan)}})
	if r := plan.Resolved; r != nil {
		if keep := b.keep(*r); keep != "" {
			out = append(out, numberLine{Name: say(v.lang, "run.keep"), Values: []string{keep}})
		}
		if down := b.down(*r); down != "" {
			out = append(out, numberLine{Name: say(v.lang, "run.down"), Values: []string{down}})
		}
	}
	times, err := s.cfg.Control.Estimate(v.Context(), v.actor, plan)
	if err != nil {
		return nil, err
	}
	out = append(out, estimateLine(v.lang, run, plan, times))
	if r := plan.Resolved; r != nil && r.Longest != 0 {
		out = append(out, numberLine{Name: say(v.lang, "plan.longest"), Values: []string{b.limits(*r)}})
	}
	return out, nil
}

// lowestOf says how many hosts serve when fewest do: the strategy's own numbers,
// if nothing fails.
func lowestOf(l language, run restart.Run, plan restart.Plan) string {
	if run.Kind == restart.KindThreadDump || run.Work != restart.WorkWhole {
		return say(l, "plan.lowest.none")
	}
	total, healthy := 0, 0
	for _, h := range plan.Hosts {
		total++
		if h.Health == restart.HealthHealthy {
			healthy++
		}
	}
	position, most, mostHealthy := 0, 0, 0
	chosen := plan.Chosen()
	for _, size := range plan.Batches {
		n := 0
		for _, h := range chosen[position:min(position+size, len(chosen))] {
			if h.Health == restart.HealthHealthy {
				n++
			}
		}
		position, most, mostHealthy = min(position+size, len(chosen)), max(most, size), max(mostHealthy, n)
	}
	switch {
	case healthy == 0 && total == 1:
		return say(l, "plan.lowest.only")
	case healthy == 0:
		return say(l, "plan.lowest.unknown", total-most, total)
	}
	return say(l, "plan.lowest.healthy", healthy-mostHealthy, healthy)
}

// estimateLine says how long it is likely to take, and why that is believed.
func estimateLine(l language, run restart.Run, plan restart.Plan, times store.HostTimes) numberLine {
	line := numberLine{Name: say(l, "plan.estimate")}
	if times.Hosts == 0 {
		line.Values = []string{say(l, "plan.estimate.none")}
		line.Quiet = say(l, "plan.estimate.never", run.Scenario, run.Service)
		return line
	}
	n := len(plan.Batches)
	all := times.Median*time.Duration(n) + plan.Strategy.PauseBetween.Std()*time.Duration(max(n-1, 0))
	line.Values = []string{say(l, "plan.estimate.about", took(l, all.Round(100*time.Millisecond)))}
	line.Quiet = say(l, "plan.estimate.from", took(l, times.Median), count(l, "start.count", times.Hosts), count(l, "plan.estimate.runs", times.Runs))
	return line
}
