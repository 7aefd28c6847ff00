package api

import (
	"bytes"
	"context"
	"net"
	"net/http"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) planLater(ctx context.Context, actor restart.Actor, in *struct {
	ID   string `path:"id"`
	Body wire.LaterRequest
}) (wire.Planned, error) {
	s, err := a.cfg.Control.Later(ctx, actor, in.ID, in.Body)
	if err != nil {
		return wire.Planned{}, err
	}
	return a.cfg.Control.PlannedOne(ctx, actor, s.ID)
}

func (a *api) listPlanned(ctx context.Context, actor restart.Actor, in *struct {
	Over bool `query:"over" doc:"those that are over, the last first, instead of those to come; for 90 days"`
}) (wire.List[wire.Planned], error) {
	list, err := a.cfg.Control.Planned(ctx, actor, in.Over)
	return wire.ListOf(list, ""), err
}

// plannedID is the input of an operation on what is planned.
type plannedID struct {
	ID string `path:"id"`
}

func (a *api) getPlanned(ctx context.Context, actor restart.Actor, in *plannedID) (wire.Planned, error) {
	return a.cfg.Control.PlannedOne(ctx, actor, in.ID)
}

func (a *api) cancelPlanned(ctx context.Context, actor restart.Actor, in *plannedID) (wire.Planned, error) {
	if _, err := a.cfg.Control.CancelLater(ctx, actor, in.ID); err != nil {
		return wire.Planned{}, err
	}
	return a.cfg.Control.PlannedOne(ctx, actor, in.ID)
}

// decidePlanned is an operation that approves or rejects.
func (a *api) decidePlanned(
	ask func(ctx context.Context, actor restart.Actor, id string, req wire.DecideLaterRequest) (restart.Schedule, error),
) func(context.Context, restart.Actor, *struct {
	ID   string `path:"id"`
	Body wire.DecideLaterRequest
}) (wire.Planned, error) {
	return func(ctx context.Context, actor restart.Actor, in *struct {
		ID   string `path:"id"`
		Body wire.DecideLaterRequest
	},
	) (wire.Planned, error) {
		if _, err := ask(ctx, actor, in.ID, in.Body); err != nil {
			return wire.Planned{}, err
		}
		return a.cfg.Control.PlannedOne(ctx, actor, in.ID)
	}
}

func (a *api) listWindows(ctx context.Context, actor restart.Actor, in *struct {
	Service     string `query:"service" doc:"only those that this service can be planned for" maxLength:"64"`
	Environment string `query:"environment" doc:"with service" maxLength:"64"`
}) (wire.List[wire.MaintenanceWindow], error) {
	list, err := a.cfg.Control.Windows(ctx, actor, in.Service, in.Environment)
	return wire.ListOf(list, ""), err
}

// plannedCalendar gives what is planned as a calendar's file.
func (a *api) plannedCalendar(ctx context.Context, actor restart.Actor, _ *none) (http.HandlerFunc, error) {
	var b bytes.Buffer
	if err := a.cfg.Control.WriteCalendar(ctx, actor, &b); err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/calendar; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="restartilka.ics"`)
		w.Write(b.Bytes()) //nolint:errcheck // the reader has gone
	}, nil
}

// subscribedCalendar is plannedCalendar for calendar programs.
func (a *api) subscribedCalendar(ctx context.Context, actor restart.Actor, _ *struct {
	Token string `query:"token" doc:"of the address"`
}) (http.HandlerFunc, error) {
	return a.plannedCalendar(ctx, actor, nil)
}

// subscriber finds out whose address of a calendar a request is for.
func (a *api) subscriber(req *http.Request) (restart.Actor, error) {
	from, _, _ := net.SplitHostPort(req.RemoteAddr)
	return a.cfg.Control.Subscriber(req.Context(), req.URL.Query().Get("token"), from)
}

func (a *api) getCalendar(ctx context.Context, actor restart.Actor, _ *none) (wire.Calendar, error) {
	return a.cfg.Control.Calendar(ctx, actor)
}

func (a *api) makeCalendar(ctx context.Context, actor restart.Actor, _ *none) (wire.Calendar, error) {
	return a.cfg.Control.MakeCalendar(ctx, actor)
}

func (a *api) endCalendar(ctx context.Context, actor restart.Actor, _ *none) error {
	return a.cfg.Control.EndCalendar(ctx, actor)
}
