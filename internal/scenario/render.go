package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Facts are what placeholders are filled with. The host's own name and what it
// knows of the service come from the host; environment, group and project from
// the signed envelope. Empty is allowed for what the scenario does not use.
type Facts struct {
	Service, Package, Unit, User, Host, Group, Environment, Project string
}

// Rendered is what is left to do on one host: no placeholder is left in it.
type Rendered struct {
	Drain, Run, Undrain *restart.Step // nil where the scenario has none
	Dump                *restart.DumpStep
	Health              restart.Health
	RunAs               string // the user that every script runs as; "" = a dump, taken by the agent's own user
	Silence             []string
}

// Render fills in the placeholders of a scenario with the facts of one host.
// Package, unit and user of the reviewed file win over those of f. Every value
// is checked against the safe alphabet of its type before it is used, and
// nothing is quoted. A value that is used but empty is an error that says where
// to set it (CodeUnknownService for what the host's services.d lacks,
// CodeInvalid otherwise). s is not changed.
func Render(s restart.Scenario, f Facts) (Rendered, error) {
	for _, over := range []struct {
		reviewed string
		fact     *string
	}{{s.Package, &f.Package}, {s.Unit, &f.Unit}, {s.User, &f.User}} {
		if over.reviewed != "" {
			*over.fact = over.reviewed
		}
	}
	r := template(s)
	for _, p := range r.places() {
		if err := p.fill(f); err != nil {
			return Rendered{}, err
		}
	}
	if r.RunAs == "" && r.Dump != nil { // the service's own user can read neither the kernel's stacks nor another's process
		return r, nil
	}
	if r.RunAs == "" {
		r.RunAs = f.User
	}
	if r.RunAs == "" {
		return Rendered{}, restart.Errorf(restart.CodeUnknownService, "scenario %s runs as the service's own user, and none is known for service %s", s.Name, restart.Quote(f.Service)).
			WithHint("set user: in /etc/restartilka/services.d/%s.yaml on the host, or user: or run_as: in the reviewed scenario", restart.Escape(f.Service))
	}
	if err := restart.CheckUser(r.RunAs); err != nil {
		return Rendered{}, err
	}
	return r, nil
}

// template copies what is to be filled in.
func template(s restart.Scenario) Rendered {
	r := Rendered{
		Drain: clone(s.Steps.Drain), Run: clone(s.Steps.Run), Undrain: clone(s.Steps.Undrain), Dump: clone(s.Dump),
		Health: cloneHealth(s.Health), RunAs: s.RunAs, Silence: slices.Clone(s.Silence),
	}
	if r.Dump != nil && r.Dump.Process == (restart.ProcessRef{}) {
		r.Dump.Process.Unit = "#unit#"
	}
	return r
}

// place is one text in which placeholders are filled in.
type place struct {
	path  string // in the file
	text  *string
	check func(string) error  // of the text once it is filled in; nil = any
	quote func(string) string // of each value, where the text is more than a text; nil = as it is
}

// places lists them all. Nothing else of a scenario is ever filled in.
func (r *Rendered) places() []place {
	var out []place
	add := func(path string, text *string, check func(string) error) {
		if *text != "" {
			out = append(out, place{path: path, text: text, check: check})
		}
	}
	for _, step := range []struct {
		path string
		*restart.Step
	}{{"steps.drain.script", r.Drain}, {"steps.run.script", r.Run}, {"steps.undrain.script", r.Undrain}} {
		if step.Step != nil {
			add(step.path, &step.Script, nil)
		}
	}
	if r.Dump != nil {
		for _, p := range dumpPlaces(r.Dump) {
			if *p.text != "" {
				out = append(out, p)
			}
		}
	}
	if p := r.Health.NewProcess; p != nil {
		add("health.new_process.unit", &p.Unit, restart.CheckUnit)
		add("health.new_process.pid_file", &p.PIDFile, checkFile)
		add("health.new_process.port", &p.Port, checkPort)
	}
	if p := r.Health.HTTP; p != nil {
		add("health.http.url", &p.URL, checkURL)
		add("health.http.body", &p.Body, nil)
	}
	if p := r.Health.TCP; p != nil {
		add("health.tcp.address", &p.Address, checkAddress)
	}
	if p := r.Health.Command; p != nil {
		add("health.command.script", &p.Script, nil)
	}
	for i := range r.Silence {
		add(fmt.Sprintf("silence item %d", i+1), &r.Silence[i], restart.CheckAlert)
	}
	return out
}

// fill replaces the placeholders of one text, and checks what came out.
func (p place) fill(f Facts) error {
	filled, err := fill(*p.text, func(word placeholder) (string, error) {
		v := word.value(f)
		if v == "" {
			return "", restart.Errorf(word.code, "#%s# is used, and no %s is known for service %s", word.word, word.word, restart.Quote(f.Service)).
				WithHint("%s", strings.ReplaceAll(word.hint, "SERVICE", restart.Escape(f.Service)))
		}
		if err := word.check(v); err != nil {
			return "", err
		}
		if p.quote != nil {
			v = p.quote(v)
		}
		return v, nil
	})
	if err != nil {
		return within(p.path, err)
	}
	if p.check != nil {
		if err := p.check(filled); err != nil {
			return within(p.path, err)
		}
	}
	*p.text = filled
	return nil
}

// within says in which text of the file an error for people was found.
func within(path string, err error) error {
	e, ok := errors.AsType[*restart.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	c := *e
	c.Message = path + ": " + c.Message
	return &c
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func cloneHealth(h restart.Health) restart.Health {
	h.NewProcess, h.HTTP, h.TCP, h.Command = clone(h.NewProcess), clone(h.HTTP), clone(h.TCP), clone(h.Command)
	return h
}
