package web

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/restartilka/restartilka/internal/control"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// personPage is one person: what he may be, for those who may know it, and what
// he has asked for.
type personPage struct {
	layout
	Name     string
	Told     bool // the reader may know his roles and teams
	Unknown  bool // why they could not be found out: the directory does not answer
	Roles    []string
	Teams    []string
	Services []string // of his own
	Runs     []runLine
	All      string
}

func (s *site) showPerson(w http.ResponseWriter, v *visit) error {
	name := v.PathValue("name")
	page := personPage{layout: s.layout(v, name), Name: name, All: withQuery("/runs", url.Values{"person": {name}})}
	who, err := s.cfg.Control.Somebody(v.Context(), v.actor, name)
	switch restart.CodeOf(err) {
	case "":
		page.Told = true
		for _, role := range who.Roles {
			page.Roles = append(page.Roles, string(role))
		}
		page.Teams = who.Teams
	case restart.CodeForbidden:
		who = restart.Actor{Name: name}
	case restart.CodeUnavailable:
		who, page.Unknown = restart.Actor{Name: name}, true
	default:
		return err
	}
	if page.Runs, err = s.recent(v, wire.RunQuery{Actor: name}); err != nil {
		return err
	}
	now, err := s.cfg.Control.Inventory(v.Context(), v.actor)
	if err != nil {
		s.unread(v.Context(), v, err)
	}
	for _, x := range now.Services {
		if control.Owns(who, x) && len(page.Services) < namesPerPage {
			page.Services = append(page.Services, x.Name)
		}
	}
	slices.Sort(page.Services)
	if len(page.Runs) == 0 && len(page.Services) == 0 && len(page.Roles) == 0 && name != v.actor.Name {
		return restart.Errorf(restart.CodeNotFound, "%s", say(v.lang, "person.none", v.lang.Quote(name)))
	}
	return s.show(w, v, http.StatusOK, pagePerson, page)
}
