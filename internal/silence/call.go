package silence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
)

const (
	callTimeout    = 5 * time.Second // of one question, its answer included
	largestAnswer  = 1 << 20         // bytes
	maxCredentials = 4 << 10         // bytes
	mostSaid       = 300             // bytes of what a system says that people are shown
)

// How a call failed.
type callKind int

const (
	unreached callKind = iota + 1 // it was never asked
	doubtful                      // it was asked, and no answer came that says what it did
	answered                      // it has said no
)

// callError is why a system did not do what it was asked for.
type callError struct {
	kind   callKind
	status int // of an answer; 0 = none
	Err    *restart.Error
}

func (e *callError) Error() string { return e.Err.Error() }

func (e *callError) Unwrap() error { return e.Err }

// inDoubt tells whether what was asked for may have been done all the same.
func inDoubt(err error) bool {
	e, ok := errors.AsType[*callError](err)
	return ok && e.kind == doubtful
}

// silent tells whether a system did not answer, or not as itself.
func silent(err error) bool {
	e, ok := errors.AsType[*callError](err)
	return ok && (e.kind == unreached || e.kind == doubtful)
}

// caller asks one system, at the first of its addresses that answers.
type caller struct {
	name        string
	urls        []*url.URL
	clients     []*http.Client
	credentials string // file; "" = none
}

// request is one question.
type request struct {
	method, path string
	query        url.Values
	body         any   // encoded as JSON; nil = none
	doubted      *bool // is set where an address that was asked before the last one may have done it too; nil = that is no matter
}

// do asks, and reads the answer, which must have status 200, by read. Where
// several addresses are tried and one of them may have done what must not be done
// twice, the error is in doubt, whatever the last one has said.
func (c *caller) do(ctx context.Context, r request, read func(io.Reader) error) error {
	var worst error
	for i := range c.urls {
		err := c.once(ctx, i, r, read)
		told := err == nil || !silent(err)
		if r.doubted != nil && inDoubt(worst) {
			*r.doubted = true
			if e, ok := errors.AsType[*callError](err); ok {
				e.kind = doubtful
			}
		}
		if told {
			return err
		}
		if worst == nil || inDoubt(err) {
			worst = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return worst
}

func (c *caller) once(ctx context.Context, i int, r request, read func(io.Reader) error) error {
	request, err := c.make(ctx, c.urls[i], r)
	if err != nil {
		return err
	}
	response, err := c.clients[i].Do(request)
	if err != nil {
		return c.silence(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return c.refusal(response)
	}
	if read == nil {
		return nil
	}
	if err := read(io.LimitReader(response.Body, largestAnswer)); err != nil {
		if e, ok := errors.AsType[*callError](err); ok {
			return e
		}
		return &callError{kind: doubtful, Err: restart.Errorf(restart.CodeUnavailable, "monitoring system %s answers with something else than was asked for", c.name).
			WithHint("does its address lead to a login page?").Because(err)}
	}
	return nil
}

func (c *caller) make(ctx context.Context, base *url.URL, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode a question: %w", err)
		}
		body = bytes.NewReader(b)
	}
	u := base.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	request, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make a question: %w", err)
	}
	authorization, err := c.authorization()
	if err != nil {
		return nil, &callError{kind: unreached, Err: restart.Errorf(restart.CodeUnavailable, "the credentials for monitoring system %s can't be read", c.name).Because(err)}
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "restartilka/"+version.Current().Version)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// refusal tells of an answer that is not a yes. One of the kind 5xx, or that
// leads elsewhere, is of whatever stands before the system.
func (c *caller) refusal(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // what came is enough
	e := &callError{kind: answered, status: response.StatusCode}
	if response.StatusCode/100 != 4 {
		e.kind = doubtful
	}
	e.Err = restart.Errorf(restart.CodeUnavailable, "monitoring system %s answers with %d", c.name, response.StatusCode)
	var said string
	if json.Unmarshal(text, &said) == nil && said != "" { // an Alertmanager's way to say why
		e.Err = restart.Errorf(restart.CodeUnavailable, "monitoring system %s answers with %d: %s", c.name, response.StatusCode, bounded(said))
	}
	return e
}

// silence says in words why there is no answer.
func (c *caller) silence(err error) error {
	why, asked := outgoing.Why(err)
	kind := unreached
	if asked {
		kind = doubtful
	}
	if errors.Is(err, context.Canceled) {
		why = outgoing.TookTooLong
	}
	return &callError{kind: kind, Err: restart.Errorf(restart.CodeUnavailable, "monitoring system %s does not answer: %s", c.name, why).Because(err)}
}

// bounded escapes and cuts what comes from outside.
func bounded(text string) string {
	if len(text) > mostSaid {
		text = text[:mostSaid] + "…"
	}
	return restart.Escape(text)
}

// into decodes one JSON document.
func into(out any) func(io.Reader) error {
	return func(r io.Reader) error { return json.NewDecoder(r).Decode(out) }
}
