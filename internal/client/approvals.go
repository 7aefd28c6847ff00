package client

import (
	"context"
	"net/url"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// Approvals lists the runs that wait for an approval, planned ones too.
func (c *Client) Approvals(ctx context.Context) ([]wire.AwaitingRun, error) {
	list, err := get[wire.List[wire.AwaitingRun]](ctx, c, "approvals", nil)
	return list.Items, err
}

// Approve lets a run start that waits for it.
func (c *Client) Approve(ctx context.Context, id string, req wire.ApprovalRequest) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs/"+segment(id)+"/approve", req, nil)
}

// Reject ends a run that waits for an approval.
func (c *Client) Reject(ctx context.Context, id string, req wire.ApprovalRequest) (restart.Run, error) {
	return post[restart.Run](ctx, c, "runs/"+segment(id)+"/reject", req, nil)
}

// Steps gives the scripts of a run as they are on one of its hosts; "" is the
// first that is touched.
func (c *Client) Steps(ctx context.Context, id, host string) (wire.Steps, error) {
	query := url.Values{}
	if host != "" {
		query.Set("host", host)
	}
	return get[wire.Steps](ctx, c, "runs/"+segment(id)+"/steps", query)
}
