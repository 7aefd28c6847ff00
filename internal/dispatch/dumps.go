package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Dump fetches the capture n of a task, compressed as its host keeps it. What is
// in it nobody has looked at. One that is longer than an agent may keep is
// CodeTooLarge, and one that the agent does not have a RefusedError with
// CodeNotFound.
func (c *Client) Dump(ctx context.Context, host restart.Host, task string, n int) ([]byte, error) {
	resp, err := c.do(ctx, host, http.MethodGet, "/v1/tasks/"+task+"/dumps/"+strconv.Itoa(n), nil)
	if err != nil {
		return nil, err
	}
	return readUpTo(resp, host, protocol.MaxStoredDump)
}

// Evidence asks a host for the evidence of a reviewed scenario, apart from a
// task.
func (c *Client) Evidence(ctx context.Context, host restart.Host, m protocol.EvidenceRequest) (protocol.EvidenceReport, error) {
	var out protocol.EvidenceReport
	err := c.callUpTo(ctx, host, http.MethodPost, "/v1/evidence", m, &out, protocol.MaxEvidenceReport)
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Err.Code == restart.CodeNotReviewed {
		laid, why := c.Lay(ctx, host, m.Digest)
		if laid {
			err = c.callUpTo(ctx, host, http.MethodPost, "/v1/evidence", m, &out, protocol.MaxEvidenceReport)
		} else if refused, ok := errors.AsType[*RefusedError](why); ok {
			err = refused
		}
	}
	return out, err
}

// readUpTo reads an answer that has at most so many bytes.
func readUpTo(resp *http.Response, host restart.Host, most int64) ([]byte, error) {
	defer resp.Body.Close() // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", host.Name, err)
	}
	if int64(len(body)) > most {
		return nil, restart.Errorf(restart.CodeTooLarge, "%s answered with more than %d MiB", host.Name, most>>20)
	}
	return body, nil
}
