package web

import (
	"net/http"
	"strings"

	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/wire"
)

// freezeForm is how a freeze is made; only for who may.
type freezeForm struct {
	filled
	Late         bool     // who sends it would have to sign in again
	Environments []string // of the inventory
	Down         string   // why those are not known
	Zone         string   // that times are meant in unless another is typed
	Zones        []string // some to choose from
	Days         []dayChoice
}

type dayChoice struct{ Name, Text string }

// zones are offered beside the server's own; any other may be typed.
func zones() []string {
	return []string{"UTC", "Europe/London", "Europe/Berlin", "Europe/Moscow", "Asia/Yekaterinburg", "Asia/Dubai", "Asia/Singapore", "America/New_York", "America/Los_Angeles"}
}

// freezeForm gives the form to who may freeze something; nil to others.
func (s *site) freezeForm(v *visit) (*freezeForm, error) {
	if !s.cfg.Control.MayFreeze(v.actor) {
		return nil, nil
	}
	f := &freezeForm{Late: !s.cfg.Control.SignedInLately(v.actor), Zones: zones()}
	var err error
	f.Environments, f.Zone, err = s.cfg.Control.FreezePlaces(v.Context(), v.actor)
	if e, ok := asProblem(err); ok {
		f.Down, err = said.In(v.lang, e.Message), nil
	}
	for _, day := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		f.Days = append(f.Days, dayChoice{day, say(v.lang, "day."+day)})
	}
	return f, err
}

// freezeTyped reads the form of a new freeze.
func freezeTyped(v *visit) wire.FreezeRequest {
	form := v.PostForm
	get := func(name string) string { return strings.TrimSpace(form.Get(name)) }
	req := wire.FreezeRequest{Environments: form["environments"], Services: wordsTyped(v, "services"), Zone: get("zone"), Reason: form.Get("reason")}
	if get("kind") == "weekly" {
		req.Weekly = get("from_day") + " " + get("from_time") + "-" + get("to_day") + " " + get("to_time")
		return req
	}
	req.From, req.To = get("from"), get("to")
	return req
}

func (s *site) addFreeze(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	if _, err := s.cfg.Control.AddFreeze(v.Context(), v.actor, freezeTyped(v)); err != nil {
		return s.freezeRefused(w, v, "add", err)
	}
	return done(w, v, "/freezes", "frozen")
}

func (s *site) endFreeze(w http.ResponseWriter, v *visit) error {
	if err := s.form(w, v); err != nil {
		return err
	}
	id := v.PostForm.Get("id")
	if err := s.cfg.Control.RemoveFreeze(v.Context(), v.actor, id, v.PostForm.Get("reason")); err != nil {
		return s.freezeRefused(w, v, "end-"+id, err)
	}
	return done(w, v, "/freezes", "thawed")
}

// freezeRefused shows the freezes again with what is wrong with the form.
func (s *site) freezeRefused(w http.ResponseWriter, v *visit, name string, err error) error {
	again, err := refill(v, name, err)
	if err != nil {
		return err
	}
	page, err := s.freezesPage(v)
	if err != nil {
		return err
	}
	if page.Add != nil {
		page.Add.filled = again.For("add")
	}
	for i := range page.Freezes {
		page.Freezes[i].Form = again.For("end-" + page.Freezes[i].ID)
	}
	return s.show(w, v, http.StatusUnprocessableEntity, pageFreezes, page)
}
