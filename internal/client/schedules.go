package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/restartilka/restartilka/internal/wire"
)

// Later confirms a draft for a time to come.
func (c *Client) Later(ctx context.Context, id string, req wire.LaterRequest) (wire.Planned, error) {
	return post[wire.Planned](ctx, c, "runs/"+segment(id)+"/later", req, nil)
}

// Planned lists the runs that are planned; over: those that are over instead.
func (c *Client) Planned(ctx context.Context, over bool) ([]wire.Planned, error) {
	query := url.Values{}
	if over {
		query.Set("over", "true")
	}
	list, err := get[wire.List[wire.Planned]](ctx, c, "planned", query)
	return list.Items, err
}

// PlannedOne gives one with the plan as it was shown.
func (c *Client) PlannedOne(ctx context.Context, id string) (wire.Planned, error) {
	return get[wire.Planned](ctx, c, "planned/"+segment(id), nil)
}

// CancelPlanned cancels a planned run.
func (c *Client) CancelPlanned(ctx context.Context, id string) (wire.Planned, error) {
	return post[wire.Planned](ctx, c, "planned/"+segment(id)+"/cancel", nil, nil)
}

// ApprovePlanned lets a planned run start at its time.
func (c *Client) ApprovePlanned(ctx context.Context, id string, req wire.DecideLaterRequest) (wire.Planned, error) {
	return post[wire.Planned](ctx, c, "planned/"+segment(id)+"/approve", req, nil)
}

// RejectPlanned ends a planned run that waits for an approval.
func (c *Client) RejectPlanned(ctx context.Context, id string, req wire.DecideLaterRequest) (wire.Planned, error) {
	return post[wire.Planned](ctx, c, "planned/"+segment(id)+"/reject", req, nil)
}

// Windows lists the maintenance windows.
func (c *Client) Windows(ctx context.Context) ([]wire.MaintenanceWindow, error) {
	list, err := get[wire.List[wire.MaintenanceWindow]](ctx, c, "windows", nil)
	return list.Items, err
}

// WriteCalendar writes what is planned as a calendar's file.
func (c *Client) WriteCalendar(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "planned.ics", nil, nil, http.Header{"Accept": {"*/*"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("copy the calendar: %w", err)
	}
	return nil
}

// MakeCalendar makes the address of one's calendar.
func (c *Client) MakeCalendar(ctx context.Context) (wire.Calendar, error) {
	return post[wire.Calendar](ctx, c, "calendar", nil, nil)
}

// EndCalendar ends it.
func (c *Client) EndCalendar(ctx context.Context) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "calendar", nil, nil, nil)
	return err
}
