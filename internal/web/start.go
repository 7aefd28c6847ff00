package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
)

// Bounds of what the form offers.
const (
	offersShown = 12 // services, in a page or of a suggestion
	reasonsKept = 10
	groupsShown = 200
)

// personalOf gives the error for people that err is; nil where there is none.
func personalOf(err error) *restart.Error {
	e, _ := errors.AsType[*restart.Error](err)
	return e
}

// trouble tells an error that is about no field; names are those that its
// sentences may begin with.
func (s *site) trouble(v *visit, e *restart.Error, names ...string) *troubleView {
	names, now := append(names, v.actor.Name), s.cfg.Now()
	t := &troubleView{Message: saidWhole(v.lang, e.Message, now, names...)}
	t.Hint, t.Shell = hintSentences(v.lang, e.Hint, now, names...)
	return t
}

// startForm shows the form, with what the address says filled in. It changes
// nothing.
func (s *site) startForm(w http.ResponseWriter, v *visit) error {
	a := askingOf(v.URL.Query(), false)
	if a.service == "" {
		return s.chooseService(w, v, a, nil)
	}
	choice, err := s.cfg.Control.Choice(v.Context(), v.actor, a.service)
	if err != nil {
		return s.chooseService(w, v, a, err)
	}
	wrongs, err := s.unknown(v, a, choice)
	if err != nil {
		return err
	}
	return s.showStart(w, v, http.StatusOK, a, choice, wrongs, nil)
}

// chooseService shows the search for a service, and what was wrong with the one
// that was named.
func (s *site) chooseService(w http.ResponseWriter, v *visit, a asking, refused error) error {
	page := startPage{layout: s.layout(v, say(v.lang, "start.title"))}
	status := http.StatusOK
	if e := personalOf(refused); refused != nil {
		if e == nil || e.Code == restart.CodeInternal {
			return refused
		}
		status = protocol.StatusOf(e.Code)
		if e.Code != restart.CodeNotFound {
			page.Trouble = s.trouble(v, e, a.service)
		}
	}
	chooser, err := s.chooser(v, a, a.q)
	if err != nil {
		return err
	}
	chooser.Focus = true
	if e := personalOf(refused); e != nil && page.Trouble == nil {
		var hint []string
		if chooser.Near = a.near(e.Hint); chooser.Near == nil {
			hint = hintWords(v.lang, e.Hint)
		}
		chooser.Sent, chooser.Query = filled{Name: "find", Wrongs: []wrong{{Field: "q", Message: whole(said.In(v.lang, e.Message), a.service), Hint: hint}}}, a.service
	}
	if page.Trouble != nil {
		chooser.Trouble = nil // it is said already
	} else if chooser.Trouble != nil && !chooser.Trouble.Mild {
		status = http.StatusServiceUnavailable
	}
	page.Chooser, page.Scripts = chooser, true
	page.Files = []string{"start.js"}
	return s.show(w, v, status, pageStart, page)
}

// chooser makes the search for a service. An inventory that can't be read is
// said there.
func (s *site) chooser(v *visit, a asking, text string) (*chooserView, error) {
	out := &chooserView{Query: text, Keep: a.kept()}
	var err error
	out.Offers, err = s.offers(v, a, text)
	if e := personalOf(err); err != nil {
		if e == nil || e.Code == restart.CodeInternal {
			return nil, err
		}
		out.Trouble = s.trouble(v, e)
		return out, nil
	}
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	if err != nil {
		return nil, err
	}
	out.Trouble = s.age(v, now.Stale, now.Problem)
	return out, nil
}

// near links the services that the inventory thinks were meant; nil = it knows
// none.
func (a asking) near(hint string) []nearLine {
	names, ok := strings.CutPrefix(strings.TrimSuffix(hint, "?"), "did you mean ")
	if !ok {
		return nil
	}
	var out []nearLine
	for name := range strings.SplitSeq(names, " or ") {
		if restart.CheckServiceName(name) == nil {
			out = append(out, nearLine{Name: name, URL: a.address(name)})
		}
	}
	return out
}

// age says that an inventory is not as it is now.
func (s *site) age(v *visit, stale bool, problem string) *troubleView {
	if !stale {
		return nil
	}
	now := s.cfg.Now()
	t := &troubleView{Message: sentenceOf(say(v.lang, "start.stale"), now), Mild: true}
	t.Hint, t.Shell = hintSentences(v.lang, problem, now)
	return t
}

func (s *site) offers(v *visit, a asking, text string) (offersView, error) {
	text = clipped(text)
	found, n, err := s.cfg.Control.Offers(v.Context(), v.actor, text, offersShown)
	out := offersView{Asked: strings.TrimSpace(text) != "", More: n - len(found)}
	now := s.cfg.Now()
	for _, o := range found {
		line := offerLine{Name: o.Name, Description: restart.Escape(o.Description), URL: a.address(o.Name), Mine: o.Mine}
		if !o.Used.IsZero() {
			line.Used = new(momentOf(o.Used, now))
		}
		out.Offers = append(out.Offers, line)
	}
	return out, err
}

// clipped bounds what was typed to search for.
func clipped(text string) string { return text[:min(len(text), 200)] }

// suggest answers the search while somebody types.
func (s *site) suggest(w http.ResponseWriter, v *visit) error {
	a := askingOf(v.URL.Query(), false)
	out, err := s.offers(v, a, a.q)
	if err != nil {
		return err
	}
	return s.part(w, v, pageStart, "offers", out)
}

// makeDraft makes the plan of what the form asks for. What is wrong is said
// beside its field, and what was typed is kept.
func (s *site) makeDraft(w http.ResponseWriter, v *visit) error {
	if err := readForm(w, v, maxPressed); err != nil {
		return err
	}
	a := askingOf(v.PostForm, true)
	choice, err := s.cfg.Control.Choice(v.Context(), v.actor, a.service)
	if err != nil {
		return s.chooseService(w, v, a, err)
	}
	run, err := s.cfg.Control.Draft(v.Context(), v.actor, a.request(choice), a.key)
	if err == nil {
		http.Redirect(w, v.Request, "/runs/"+run.ID, http.StatusSeeOther)
		return nil
	}
	e := personalOf(err)
	if e == nil || e.Code == restart.CodeInternal || e.Code == restart.CodeUnauthorised || e.Code == restart.CodeSignInAgain {
		return err
	}
	wrongs := a.wrongs(v.lang, choice)
	field := restart.FieldOf(e)
	if name, ok := strings.CutPrefix(field, "param."); ok {
		if r := a.recipe(choice); r != nil {
			field = formField(r.Name, name)
		}
	}
	var trouble *troubleView
	switch {
	case slices.ContainsFunc(wrongs, func(x wrong) bool { return x.Field == field }):
	case field != "" && field != control.FieldService:
		x := wrongOf(v.lang, e)
		x.Field, x.Label = field, labelOf(v.lang, field)
		wrongs = append(wrongs, x)
	default:
		trouble = s.trouble(v, e, a.service)
	}
	slices.SortStableFunc(wrongs, func(x, y wrong) int { return placeOf(x) - placeOf(y) })
	return s.showStart(w, v, protocol.StatusOf(e.Code), a, choice, wrongs, trouble)
}

// placeOf gives the place of a field in the form.
func placeOf(x wrong) int {
	fields := []string{control.FieldEnvironment, control.FieldGroup, control.FieldHosts, control.FieldExcept, control.FieldScenario, "", control.FieldReason, control.FieldTicket}
	if i := slices.Index(fields, x.Field); i >= 0 {
		return i
	}
	return slices.Index(fields, "") // a parameter's
}

// labelOf names a field in a sentence.
func labelOf(l language, field string) string {
	key := "start." + field
	if _, ok := catalogue[key]; !ok {
		_, name, _ := strings.Cut(field, "param.")
		return restart.Escape(name)
	}
	return say(l, key)
}

func (s *site) showStart(w http.ResponseWriter, v *visit, status int, a asking, c control.Choice, wrongs []wrong, trouble *troubleView) error {
	reasons, err := s.cfg.Control.Reasons(v.Context(), v.actor, a.service, reasonsKept)
	if err != nil {
		return err
	}
	names := []string{v.actor.Name, a.service, a.scenario}
	for _, p := range c.Places {
		names = append(names, p.Group, p.Environment)
	}
	for _, r := range c.Scenarios {
		names = append(names, r.Name)
	}
	for i, x := range wrongs {
		wrongs[i].Message = whole(x.Message, names...)
	}
	page := startPage{layout: s.layout(v, say(v.lang, "start.titled", a.service)), Form: s.fields(v, a, c, wrongs), Trouble: trouble}
	for _, r := range reasons {
		page.Form.Reasons = append(page.Form.Reasons, restart.Escape(r))
	}
	if page.Trouble == nil {
		page.Trouble = s.age(v, c.Inventory.Stale, c.Inventory.Problem)
	}
	page.Files = []string{"start.js"}
	return s.show(w, v, status, pageStart, page)
}
