package dispatch

import (
	"context"
	"net/http"
	"strconv"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Local asks what root has done on the host itself, and for the host's own
// records behind after. An agent that knows no such verb answers with a
// RefusedError with CodeNotFound.
func (c *Client) Local(ctx context.Context, host restart.Host, after int64) (protocol.LocalReport, error) {
	var out protocol.LocalReport
	err := c.call(ctx, host, http.MethodGet, "/v1/local?after="+strconv.FormatInt(after, 10), nil, &out)
	return out, err
}

// chain passes on where a host's own chain stands, as it says with an answer.
func (c *Client) chain(host restart.Host, head *protocol.ChainHead, err error) {
	if err == nil && head != nil && c.cfg.Chain != nil {
		c.cfg.Chain(host, *head)
	}
}
