package web

import (
	"slices"
	"strconv"

	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
)

// At gives what is to be said at the field of a parameter.
func (p paramField) At(f filled) beside {
	if p.Description == "" && p.Help == "" {
		return f.At(p.Field)
	}
	return f.At(p.Field, p.Field+"-help")
}

// fields lays what was typed into the fields that the service has.
func (s *site) fields(v *visit, a asking, c control.Choice, wrongs []wrong) *startForm {
	f := &startForm{
		Sent: filled{Name: "ask", Wrongs: wrongs},
		Key:  a.key, Service: c.Service.Name, Description: restart.Escape(c.Service.Description), Other: a.address(""), Mine: authz.Owns(v.actor, c.Service),
		Group: restart.Escape(a.group), Hosts: restart.Escape(a.hosts), Except: restart.Escape(a.except), Reason: restart.Escape(a.reason), Ticket: restart.Escape(a.ticket), Rehearse: a.rehearse,
	}
	if f.Key == "" || restart.Escape(f.Key) != f.Key || len(wrongs) > 0 {
		f.Key = restart.NewID(s.cfg.Now()) // what was refused has made nothing under the old one
	}
	f.Places = s.places(v.lang, a, c)
	if wrongAt(wrongs, control.FieldGroup) && !a.posted { // of an address: it is said, and not chosen
		a.group, f.Group = "", ""
	}
	f.groups(v.lang, a, c)
	f.More = f.Hosts != "" || f.Except != "" || (f.Group != "" && !f.Several)
	for _, x := range wrongs {
		f.More = f.More || slices.Contains([]string{control.FieldHosts, control.FieldExcept, control.FieldGroup}, x.Field)
	}
	chosen := a.recipe(c)
	for i := range c.Scenarios {
		r := &c.Scenarios[i]
		f.Recipes = append(f.Recipes, s.recipe(v.lang, a, r, r == chosen))
	}
	return f
}

// places gives the environments of the service, each once.
func (s *site) places(l language, a asking, c control.Choice) []placeLine {
	now := s.cfg.Now()
	var out []placeLine
	environments := environmentsOf(c.Places)
	for _, name := range environments {
		var here []control.Place
		hosts := 0
		for _, p := range c.Places {
			if p.Environment == name {
				here, hosts = append(here, p), hosts+p.Hosts
			}
		}
		line := placeLine{Name: name, Value: name, Checked: a.environment == name || a.environment == "" && len(environments) == 1, Second: slices.ContainsFunc(here, func(p control.Place) bool { return p.Deliberate })}
		if name == "" {
			line.Name = say(l, "start.env.none")
		}
		if i := slices.IndexFunc(here, func(p control.Place) bool { return p.Group == a.group }); i >= 0 && a.environment == "" {
			line.Checked = true // the group says it
		}
		if len(here) == 1 {
			line.Text = say(l, "start.follows", here[0].Group, count(l, "start.count", hosts))
		} else {
			line.Text = count(l, "start.groups", len(here))
		}
		for _, p := range here {
			for _, n := range placeNotes(l, p) {
				if len(here) > 1 {
					n.Text = p.Group + ": " + n.Text
				}
				n.Words = sentenceOf(n.Text, now)
				if !slices.ContainsFunc(line.Notes, func(x noteLine) bool { return x.Text == n.Text }) {
					line.Notes = append(line.Notes, n)
				}
			}
		}
		out = append(out, line)
	}
	return out
}

func (f *startForm) groups(l language, a asking, c control.Choice) {
	known := false
	perEnvironment := map[string]int{}
	for _, p := range c.Places {
		perEnvironment[p.Environment]++
		f.Several = f.Several || perEnvironment[p.Environment] > 1
		known = known || p.Group == a.group
		if len(f.Groups) < groupsShown || p.Group == a.group {
			text := p.Group + " · " + count(l, "start.count", p.Hosts)
			if p.Project != "" {
				text += " · " + p.Project
			}
			f.Groups = append(f.Groups, groupLine{Name: p.Group, Environment: p.Environment, Text: text, Selected: p.Group == a.group})
		}
	}
	if a.group != "" && !known { // perhaps the inventory can look it up
		f.Groups = append(f.Groups, groupLine{Name: restart.Escape(a.group), Environment: a.environment, Text: restart.Escape(a.group), Selected: true})
	}
}

// recipe makes the line of a scenario, with a field for each parameter.
func (s *site) recipe(l language, a asking, r *control.Recipe, chosen bool) recipeLine {
	line := recipeLine{Name: r.Name, Kind: known(l, "kind."+string(r.Kind), string(r.Kind)), Description: restart.Escape(r.Description), Serial: r.Serial, Checked: chosen}
	if e := personalOf(r.Refused); e != nil {
		line.Notes = append(line.Notes, noteLine{Tone: toneFail, Words: saidWhole(l, e.Message, s.cfg.Now(), r.Name), Hint: hintWords(l, e.Hint)})
	}
	for _, p := range r.Params {
		line.Params = append(line.Params, fieldOf(l, a, r.Name, p))
	}
	return line
}

// fieldOf makes the field that fits a parameter's type.
func fieldOf(l language, a asking, scenario string, p restart.Param) paramField {
	f := paramField{Field: formField(scenario, p.Name), Name: restart.Escape(p.Name), Description: restart.Escape(p.Description), Required: p.Default == nil}
	value, given := a.value(scenario, p)
	if !given && p.Default != nil && !a.posted {
		value = *p.Default
	}
	f.Value = restart.Escape(value)
	switch p.Type {
	case "enum":
		f.Kind = "select"
		for _, x := range p.Values {
			f.Values = append(f.Values, choice{restart.Escape(x), x == value})
		}
	case "bool":
		f.Kind, f.Checked, f.Required = "check", value == "true", false
	case "int":
		f.Kind = "number"
		f.Min, f.Max = numberOf(p.Min), numberOf(p.Max)
		f.Help = rangeOf(l, f.Min, f.Max)
	case "duration":
		f.Kind, f.Help, f.MaxLength = "text", say(l, "start.param.duration"), 32
		f.Pattern = `([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+`
	default:
		f.Kind, f.MaxLength = "text", p.MaxLength
		if f.MaxLength == 0 {
			f.MaxLength = 128
		}
		f.Pattern = `[A-Za-z0-9_@%+=:,.\/][A-Za-z0-9_@%+=:,.\/\-]*`
		f.Help = say(l, "start.param.text", f.MaxLength)
	}
	return f
}

func numberOf(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

func rangeOf(l language, low, high string) string {
	switch {
	case low != "" && high != "":
		return say(l, "start.param.between", low, high)
	case low != "":
		return say(l, "start.param.atleast", low)
	case high != "":
		return say(l, "start.param.atmost", high)
	}
	return say(l, "start.param.whole")
}
