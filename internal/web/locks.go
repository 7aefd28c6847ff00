package web

import (
	"net/http"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/said"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

type (
	// heldPage is which run holds what, ours and what is shared with others.
	heldPage struct {
		layout
		Locks []heldService
	}
	heldService struct {
		Service, Where, Run, Actor, State string
		Tone                              tone // of the run's state
		Since                             moment
		Outside                           []outsideLine
	}
	outsideLine struct {
		Name, Place, State, Note string
		Tone                     tone
		Since                    moment
	}
)

func (s *site) listLocks(w http.ResponseWriter, v *visit) error {
	list, err := s.cfg.Control.Locks(v.Context(), v.actor)
	if err != nil {
		return err
	}
	page := heldPage{layout: s.layout(v, say(v.lang, "heldlocks.title"))}
	for _, l := range list[:min(len(list), wire.MaxPage)] {
		line := heldService{Service: l.Service, Where: l.Environment, Run: l.Run, Actor: restart.Escape(l.Actor), State: say(v.lang, "runstate."+string(l.State)), Tone: toneOfRun(l.State), Since: momentOf(l.Since, s.cfg.Now())}
		if l.Group != "" {
			line.Where += " · " + l.Group
		}
		for _, o := range l.Outside {
			line.Outside = append(line.Outside, outsideLine{
				Name: o.Name, Place: o.Place, State: say(v.lang, "outsidelock."+o.State), Note: said.In(v.lang, o.Note),
				Tone: toneOfOutside(store.OutsideLockState(o.State)), Since: momentOf(o.Since, s.cfg.Now()),
			})
		}
		page.Locks = append(page.Locks, line)
	}
	return s.show(w, v, http.StatusOK, pageHeldLocks, page)
}

func toneOfOutside(s store.OutsideLockState) tone {
	switch s {
	case store.OutsideHeld:
		return toneDone
	case store.OutsideWaiting:
		return toneWait
	case store.OutsideLost:
		return toneHold
	}
	return toneUnknown
}
