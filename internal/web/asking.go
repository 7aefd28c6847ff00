package web

import (
	"net/url"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
)

// asking is what a form says, or an address that prefills it: strings as they
// were typed, of which nothing has been checked.
type asking struct {
	key                                                                     string
	service, environment, group, hosts, except, scenario, reason, ticket, q string
	rehearse                                                                bool
	posted                                                                  bool // by the form itself, so that a box that is not there is not ticked
	values                                                                  url.Values
}

// The field of a parameter in the form, where each scenario has its own, and in
// an address, where it belongs to the scenario that is chosen.
func formField(scenario, name string) string { return scenario + "." + restart.ParamField(name) }

func askingOf(v url.Values, posted bool) asking {
	return asking{
		key: v.Get("key"), service: strings.TrimSpace(v.Get("service")), environment: strings.TrimSpace(v.Get("env")), group: strings.TrimSpace(v.Get("group")),
		hosts: strings.TrimSpace(v.Get("hosts")), except: strings.TrimSpace(v.Get("except")), scenario: strings.TrimSpace(v.Get("scenario")),
		reason: oneLine(v.Get("reason")), ticket: strings.TrimSpace(v.Get("ticket")), q: v.Get("q"), rehearse: v.Get("rehearse") != "", posted: posted, values: v,
	}
}

// oneLine joins the lines of a field that shows its line on several.
func oneLine(text string) string { return strings.NewReplacer("\r\n", " ", "\n", " ").Replace(text) }

// keptNames are the fields that an address of the form may have, beside the
// service's and the parameters'.
var keptNames = []string{"env", "group", "hosts", "except", "scenario", "reason", "ticket", "rehearse"}

// kept gives what an address prefills, to be kept while a service is chosen.
func (a asking) kept() []param {
	var out []param
	for name, values := range a.values {
		if len(values) > 0 && values[0] != "" && (slices.Contains(keptNames, name) || strings.HasPrefix(name, "param.")) {
			out = append(out, param{name, values[0]})
		}
	}
	slices.SortFunc(out, func(a, b param) int { return strings.Compare(a.Name, b.Name) })
	return out[:min(len(out), 50)]
}

// address gives the form's address with what is kept, for a service; "" = none.
func (a asking) address(service string) string {
	q := url.Values{}
	for _, p := range a.kept() {
		q.Set(p.Name, p.Value)
	}
	if service != "" {
		q.Set("service", service)
	}
	if len(q) == 0 {
		return "/start"
	}
	return "/start?" + q.Encode()
}

// formFor gives the address of a form that asks for what a run was asked for.
func formFor(run restart.Run) string {
	r := run.Plan.Request
	q := url.Values{}
	for name, value := range map[string]string{
		"service": run.Service, "env": run.Environment, "group": r.Group, "hosts": r.Hosts, "except": r.Except, "scenario": run.Scenario, "reason": run.Reason, "ticket": run.Ticket,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, value := range run.Params {
		q.Set(restart.ParamField(name), value)
	}
	if r.Rehearse {
		q.Set("rehearse", "yes")
	}
	return "/start?" + q.Encode()
}

// recipe gives the scenario that is chosen: the one named, or else the first that
// can be used; nil where there is none.
func (a asking) recipe(c control.Choice) *control.Recipe {
	if a.scenario != "" {
		for i := range c.Scenarios {
			if c.Scenarios[i].Name == a.scenario {
				return &c.Scenarios[i]
			}
		}
		return nil
	}
	for i := range c.Scenarios {
		if c.Scenarios[i].Refused == nil {
			return &c.Scenarios[i]
		}
	}
	return nil
}

// value gives what was typed for a parameter; false: nothing was.
func (a asking) value(scenario string, p restart.Param) (string, bool) {
	field := formField(scenario, p.Name)
	if p.Type == "bool" && a.posted {
		return map[bool]string{true: "true", false: "false"}[a.values.Get(field) != ""], true
	}
	for _, name := range []string{field, restart.ParamField(p.Name)} {
		if text := strings.TrimSpace(a.values.Get(name)); text != "" {
			return text, true
		}
	}
	return "", false
}

// request gives what is asked for. What is wrong with it is for control to say.
func (a asking) request(c control.Choice) restart.Request {
	req := restart.Request{
		Service: a.service, Scenario: a.scenario, Environment: a.environment, Group: a.group, Hosts: a.hosts, Except: a.except,
		Reason: a.reason, Ticket: a.ticket, Rehearse: a.rehearse,
	}
	if i := slices.IndexFunc(c.Places, func(p control.Place) bool { return p.Group == a.group }); i >= 0 && a.environment == "" {
		req.Environment = c.Places[i].Environment // the group says it
	}
	r := a.recipe(c)
	if r == nil {
		return req
	}
	req.Scenario = r.Name
	for _, p := range r.Params {
		if text, ok := a.value(r.Name, p); ok {
			if req.Params == nil {
				req.Params = map[string]string{}
			}
			req.Params[p.Name] = text
		}
	}
	return req
}

// wrongs gives what is wrong with each field, so far as the form alone can say,
// in the order of the fields.
func (a asking) wrongs(l language, c control.Choice) []wrong {
	var out []wrong
	find := func(field, label string, err error) {
		if e := personalOf(err); e != nil {
			x := wrongOf(l, e)
			x.Field, x.Label = field, label
			out = append(out, x)
		}
	}
	if environments := environmentsOf(c.Places); a.environment == "" && a.group == "" && a.hosts == "" && len(environments) > 1 {
		out = append(out, wrong{Field: control.FieldEnvironment, Label: say(l, "start.env"), Message: say(l, "start.env.choose")})
	}
	if r := a.recipe(c); r != nil {
		for _, p := range r.Params {
			text, given := a.value(r.Name, p)
			field := formField(r.Name, p.Name)
			switch {
			case given:
				_, err := p.Check(text)
				find(field, p.Name, err)
			case p.Default == nil:
				out = append(out, wrong{Field: field, Label: restart.Escape(p.Name), Message: say(l, "start.param.needed")})
			}
		}
	}
	_, err := restart.CheckReason(a.reason)
	find(control.FieldReason, say(l, "start.reason"), err)
	find(control.FieldTicket, say(l, "start.ticket"), control.CheckTicket(a.ticket))
	return out
}

// unknown gives what an address names and the service has not, in the order of
// the fields: nothing is chosen in its place.
func (s *site) unknown(v *visit, a asking, c control.Choice) ([]wrong, error) {
	var out []wrong
	add := func(field, label, key string, values ...any) {
		out = append(out, wrong{Field: field, Label: label, Message: say(v.lang, key, values...)})
	}
	environments := environmentsOf(c.Places)
	if a.environment != "" && len(environments) > 0 && !slices.Contains(environments, a.environment) {
		add(control.FieldEnvironment, labelOf(v.lang, control.FieldEnvironment), "start.env.unknown", a.service, v.lang.Quote(a.environment))
	}
	if a.group != "" {
		group, err := s.cfg.Control.GroupOf(v.Context(), v.actor, a.service, a.group)
		switch {
		case restart.CodeOf(err) == restart.CodeNotFound || restart.CodeOf(err) == restart.CodeInvalid:
			add(control.FieldGroup, labelOf(v.lang, control.FieldGroup), "start.group.unknown", a.service, v.lang.Quote(a.group))
		case err != nil:
			return nil, err
		case a.environment != "" && group.Environment != a.environment:
			add(control.FieldGroup, labelOf(v.lang, control.FieldGroup), "start.group.elsewhere", a.group, v.lang.Quote(group.Environment), v.lang.Quote(a.environment))
		}
	}
	r := a.recipe(c)
	if a.scenario != "" && r == nil {
		add(control.FieldScenario, labelOf(v.lang, control.FieldScenario), "start.scenario.none", v.lang.Quote(a.scenario), a.service)
	}
	if r == nil {
		return out, nil
	}
	for _, x := range a.kept() {
		name, ok := strings.CutPrefix(x.Name, "param.")
		if !ok {
			continue
		}
		i := slices.IndexFunc(r.Params, func(p restart.Param) bool { return p.Name == name })
		if i < 0 {
			add(control.FieldScenario, labelOf(v.lang, control.FieldScenario), "start.param.unknown", r.Name, v.lang.Quote(name))
			continue
		}
		if _, err := r.Params[i].Check(strings.TrimSpace(x.Value)); err != nil {
			if e := personalOf(err); e != nil {
				x := wrongOf(v.lang, e)
				x.Field, x.Label = formField(r.Name, name), restart.Escape(name)
				out = append(out, x)
			}
		}
	}
	return out, nil
}

// wrongAt tells whether something is wrong with a field.
func wrongAt(wrongs []wrong, field string) bool {
	return slices.ContainsFunc(wrongs, func(x wrong) bool { return x.Field == field })
}

func environmentsOf(places []control.Place) []string {
	var out []string
	for _, p := range places {
		if !slices.Contains(out, p.Environment) {
			out = append(out, p.Environment)
		}
	}
	return out
}
