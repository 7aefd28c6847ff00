package scenario

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Codes of findings about what the values mean together.
const (
	codePlaceholder   = "placeholder"
	codeContradiction = "contradiction"
	codeParam         = "parameter"
)

// sample stands for a host while a file is read: whatever is well formed with
// it is well formed with other facts, or Render says what is not.
var sample = Facts{Service: "sample", Package: "sample", Unit: "sample.service", User: "sample", Host: "sample.example.com",
	Group: "sample", Environment: "sample", Project: "sample"}

// checkPlaces refuses unknown placeholders, and texts that are not what they
// should be (an address, a unit) once the known ones are filled in.
func checkPlaces(s restart.Scenario, found *findings) {
	r := template(s)
	facts := sample
	if s.Package != "" {
		facts.Package = s.Package
	}
	if s.Unit != "" {
		facts.Unit = s.Unit
	}
	for _, p := range r.places() {
		bad := false
		for _, m := range marks(*p.text) {
			if _, err := m.known(); err != nil {
				refuseErr(found, found.inside(p.path, *p.text, m.from), codePlaceholder, within(p.path, err))
				bad = true
			}
			if found.full() {
				return
			}
		}
		if bad {
			continue
		}
		if err := p.fill(facts); err != nil {
			refuseErr(found, found.at(p.path), codeValue, err)
		}
	}
}

// refuseErr passes an error for people on as a finding.
func refuseErr(found *findings, line int, code string, err error) {
	message, hint := err.Error(), ""
	if e, ok := errors.AsType[*restart.Error](err); ok {
		message, hint = e.Message, e.Hint
	}
	found.refuse(line, code, message, hint)
}

// defaultInterval is that of the health section, as restart.Health documents it.
const defaultInterval = restart.Duration(time.Second)

// contradictions refuses settings that are fine one by one and can't hold
// together. Each says what to change.
func contradictions(s restart.Scenario, found *findings) {
	refuse := func(path, hint, format string, args ...any) {
		found.refuse(found.at(path), codeContradiction, fmt.Sprintf(format, args...), hint)
	}
	h := s.Health
	deadline, interval := orDefault(h.Deadline, restart.DefaultDeadline), orDefault(h.Interval, defaultInterval)
	if h.HealthyFor >= deadline {
		refuse("health.healthy_for", "raise health.deadline well above healthy_for, or lower healthy_for",
			"healthy_for is %s and the deadline is %s: no host can be healthy in time", h.HealthyFor, deadline)
	}
	if interval >= deadline {
		refuse("health.interval", "lower interval or raise deadline", "interval is %s and the deadline is %s: nothing would be sampled in time", interval, deadline)
	}
	if h.Empty() && found.at("health") > 0 {
		refuse("health", "add new_process, http, tcp or command, or remove the section", "the health section checks nothing")
	}
	if h.NewProcess != nil && s.Kind != restart.KindRestart {
		refuse("health.new_process", "remove new_process, or say kind: restart if the process is replaced",
			"kind is %s, which may keep the process, and new_process demands another one", s.Kind)
	}
	if s.Kind == restart.KindThreadDump && found.at("holds") > 0 {
		refuse("holds", "remove holds", "a thread dump holds only the host it is taken on")
	}
	if s.Kind == restart.KindThreadDump && s.Wants(restart.EvidenceThreadDump) {
		refuse("evidence", "remove it from evidence", "a thread-dump scenario takes the dump itself; it can't be its own evidence")
	}
	contradictDump(s, found, refuse)
	contradictBatches(s.Strategy, refuse)
	contradictParams(s, found)
}

// contradictBatches refuses batches that min_available would never let start.
func contradictBatches(s restart.Strategy, refuse func(path, hint, format string, args ...any)) {
	rule := s.MinAvailable
	if rule == "N" || rule == "N-0" || rule == "100%" {
		refuse("strategy.min_available", "N-1 allows one host at a time", "min_available %s lets no healthy host be touched, ever", rule)
		return
	}
	for _, a := range s.Batches {
		path, hint := "strategy.batches", "lower the batch or min_available"
		switch spare, counted := spareHosts(rule); {
		case rule != "" && a.Percent == 100:
			refuse(path, hint, "a batch of 100%% takes all hosts down at once, and min_available %s wants some of them up", rule)
		case counted && a.Count > spare:
			refuse(path, hint, "a batch of %d hosts can never start under min_available %s", a.Count, rule)
		default:
			continue
		}
		return
	}
}

// spareHosts gives K of a rule N-K: how many hosts it lets go at once.
func spareHosts(rule string) (int, bool) {
	rest, ok := strings.CutPrefix(rule, "N-")
	if !ok {
		return 0, false
	}
	a, err := restart.ParseAmount(rest)
	return a.Count, err == nil
}

// contradictParams refuses scripts that read parameters nobody can give.
func contradictParams(s restart.Scenario, found *findings) {
	declared := map[string]bool{}
	for _, p := range s.Params {
		declared[variable(p.Name)] = true
	}
	for _, script := range scripts(s) {
		said := map[string]bool{}
		for _, use := range paramUses(script.text) {
			if !use.expanded || said[use.name] || found.full() {
				continue
			}
			said[use.name] = true
			line, name := found.inside(script.path, script.text, use.offset), short(use.name)
			switch {
			case script.path == "health.command.script":
				found.refuse(line, codeParam, fmt.Sprintf("%s reads $%s, and health has no parameters: it is also asked outside of a run", script.path, name), "check the host without it")
			case !declared[use.name]:
				found.refuse(line, codeParam, fmt.Sprintf("%s reads $%s, and no such parameter is declared", script.path, name),
					fmt.Sprintf("declare %s under params; a variable of the script's own needs another name than PARAM_…", strings.ToLower(strings.TrimPrefix(name, "PARAM_"))))
			}
		}
	}
}

// scripted is one script of a scenario and its path in the file.
type scripted struct{ path, text string }

func scripts(s restart.Scenario) []scripted {
	var out []scripted
	for _, step := range []struct {
		path string
		*restart.Step
	}{{"steps.drain.script", s.Steps.Drain}, {"steps.run.script", s.Steps.Run}, {"steps.undrain.script", s.Steps.Undrain}} {
		if step.Step != nil {
			out = append(out, scripted{step.path, step.Script})
		}
	}
	if c := s.Health.Command; c != nil {
		out = append(out, scripted{"health.command.script", c.Script})
	}
	return out
}

func orDefault(d, otherwise restart.Duration) restart.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}
