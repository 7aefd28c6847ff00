package dispatch

import (
	"context"
	"net/http"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// CheckAnew is Check over a new connection, so that each end judges the
// other's certificate as it is now. A connection on which something else goes
// on is kept, and used.
func (c *Client) CheckAnew(ctx context.Context, host restart.Host, m protocol.CheckRequest) (protocol.CheckReport, error) {
	if l, err := c.take(host); err == nil { // else Check says what is wrong
		l.http.CloseIdleConnections()
		c.give(l)
	}
	return c.Check(ctx, host, m)
}

// LearnKeys tells the host which envelope keys are good.
func (c *Client) LearnKeys(ctx context.Context, host restart.Host, m protocol.SealedKeys) (protocol.KeyReport, error) {
	var out protocol.KeyReport
	err := c.call(ctx, host, http.MethodPut, "/v1/envelope-keys", m, &out)
	return out, err
}

// Discover asks the host which services it sees.
func (c *Client) Discover(ctx context.Context, host restart.Host, m protocol.DiscoverRequest) (protocol.DiscoverReport, error) {
	var out protocol.DiscoverReport
	err := c.call(ctx, host, http.MethodPost, "/v1/discover", m, &out)
	return out, err
}
