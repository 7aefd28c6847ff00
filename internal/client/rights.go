package client

import (
	"context"
	"fmt"
	"strconv"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// WhoCan tells who can do something, of every page.
func (c *Client) WhoCan(ctx context.Context, q wire.WhoCanQuery) ([]wire.WhoCan, error) {
	var out []wire.WhoCan
	for {
		page, err := get[wire.List[wire.WhoCan]](ctx, c, "rights/whocan", q.Values())
		if err != nil {
			return nil, err
		}
		out = append(out, page.Items...)
		if page.Next == "" {
			return out, nil
		}
		next, err := strconv.ParseInt(page.Next, 10, 64)
		if err != nil || next <= q.After {
			return nil, c.foreign(fmt.Errorf("its cursor %s leads nowhere", restart.Quote(page.Next)))
		}
		q.After = next
	}
}

// Why tells whether somebody may do something, and why.
func (c *Client) Why(ctx context.Context, q wire.WhyQuery) (wire.Why, error) {
	return get[wire.Why](ctx, c, "rights/why", q.Values())
}
