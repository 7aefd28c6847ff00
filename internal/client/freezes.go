package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/restartilka/restartilka/internal/wire"
)

// Freezes lists the freezes that stand.
func (c *Client) Freezes(ctx context.Context) ([]wire.Freeze, error) {
	list, err := get[wire.List[wire.Freeze]](ctx, c, "freezes", nil)
	return list.Items, err
}

// AddFreeze makes a freeze.
func (c *Client) AddFreeze(ctx context.Context, req wire.FreezeRequest) (wire.Freeze, error) {
	return post[wire.Freeze](ctx, c, "freezes", req, nil)
}

// RemoveFreeze lifts a freeze.
func (c *Client) RemoveFreeze(ctx context.Context, id, reason string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "freezes/"+segment(id), url.Values{"reason": {reason}}, nil, nil)
	return err
}

// BrokenGlass lists the runs that broke the glass and that nobody has reviewed.
func (c *Client) BrokenGlass(ctx context.Context) ([]wire.BrokenGlass, error) {
	list, err := get[wire.List[wire.BrokenGlass]](ctx, c, "break-glass", nil)
	return list.Items, err
}

// ReviewGlass notes what a review of such a run has found.
func (c *Client) ReviewGlass(ctx context.Context, run, note string) (wire.BrokenGlass, error) {
	return post[wire.BrokenGlass](ctx, c, "break-glass/"+segment(run)+"/review", wire.ReviewRequest{Note: note}, nil)
}
