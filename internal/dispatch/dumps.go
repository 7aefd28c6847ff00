package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Small is what of a dump or of evidence is read in any case, in bytes: few have more.
const Small = 1 << 20

// Room waits for room in memory for an answer that turns out to be longer than
// Small, up to its bound: hosts answer many at a time. nil = there is always room.
type Room func(ctx context.Context) error

// Dump fetches the capture n of a task, compressed as its host keeps it. What is
// in it nobody has looked at. One that is longer than an agent may keep is
// CodeTooLarge, and one that the agent does not have a RefusedError with
// CodeNotFound.
func (c *Client) Dump(ctx context.Context, host restart.Host, task string, n int, more Room) ([]byte, error) {
	resp, err := c.do(ctx, host, http.MethodGet, "/v1/tasks/"+task+"/dumps/"+strconv.Itoa(n), nil)
	if err != nil {
		return nil, err
	}
	return readUpTo(ctx, resp, host, protocol.MaxStoredDump, more)
}

// Evidence asks a host for the evidence of a reviewed scenario, apart from a
// task.
func (c *Client) Evidence(ctx context.Context, host restart.Host, m protocol.EvidenceRequest, more Room) (protocol.EvidenceReport, error) {
	var out protocol.EvidenceReport
	err := c.callUpTo(ctx, host, http.MethodPost, "/v1/evidence", m, &out, protocol.MaxEvidenceReport, more)
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Err.Code == restart.CodeNotReviewed {
		laid, why := c.Lay(ctx, host, m.Digest)
		if laid {
			err = c.callUpTo(ctx, host, http.MethodPost, "/v1/evidence", m, &out, protocol.MaxEvidenceReport, more)
		} else if refused, ok := errors.AsType[*RefusedError](why); ok {
			err = refused
		}
	}
	return out, err
}

// readUpTo reads an answer that has at most so many bytes.
func readUpTo(ctx context.Context, resp *http.Response, host restart.Host, most int64, more Room) ([]byte, error) {
	defer resp.Body.Close() // read to its end, or given up
	var body bytes.Buffer
	_, err := io.CopyN(&body, resp.Body, min(most, Small)+1)
	if err == nil && most > Small && more != nil {
		err = more(ctx)
	}
	if err == nil {
		_, err = io.Copy(&body, io.LimitReader(resp.Body, most+1-int64(body.Len())))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the answer of %s: %w", host.Name, err)
	}
	if int64(body.Len()) > most {
		return nil, restart.Errorf(restart.CodeTooLarge, "%s answered with more than %d MiB", host.Name, most>>20)
	}
	return body.Bytes(), nil
}
