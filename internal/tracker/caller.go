package tracker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
	"github.com/restartilka/restartilka/internal/version"
)

const (
	maxAnswer = 1 << 20 // bytes
	maxToken  = 16 << 10
)

var (
	// errMissing: there is none of that key, or none that the token may see.
	errMissing = errors.New("it has none of that key, or none that the server's token may see")
	// errConflict: what was to be made is there already.
	errConflict = errors.New("it has that already")
)

// caller asks one tracker's API.
type caller struct {
	base      string // without a slash at its end
	tokenFile string
	http      *http.Client
	sign      func(h http.Header, token string)
}

// call asks for a path, whose parts are escaped, with a body where in is not
// nil, and reads the answer into out where that is not nil. Errors are sentences
// about the tracker, which they call "it", and never have its address or token.
func (c *caller) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	token, err := secret.ReadWord(c.tokenFile, maxToken) // for each request, so that a new one is good at once
	if err != nil {
		return fmt.Errorf("its token: %w", err)
	}
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return errors.New("its address can't be used")
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "restartilka/"+version.Current().Version)
	c.sign(req.Header, token)
	resp, err := c.http.Do(req)
	if err != nil {
		return unreached(err)
	}
	defer resp.Body.Close()
	return read(resp, out)
}

// unreached says why there is no answer.
func unreached(err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it has not answered in time")
	}
	why, _ := outgoing.Why(err)
	return fmt.Errorf("it can't be reached: %s", why)
}

// read judges an answer by its status and its type before its content.
func read(resp *http.Response, out any) error {
	switch s := resp.StatusCode; {
	case s == http.StatusNotFound, s == http.StatusGone:
		return errMissing
	case s == http.StatusConflict:
		return errConflict
	case s == http.StatusUnauthorized:
		return errors.New("it does not accept the server's token (401)")
	case s == http.StatusForbidden:
		return errors.New("it does not let the server's token do that (403)")
	case s == http.StatusTooManyRequests:
		return errors.New("it was asked too often (429)")
	case s/100 == 3:
		return fmt.Errorf("it sends elsewhere (%d): is its address in the configuration right?", s)
	case s/100 != 2:
		return fmt.Errorf("it answers %d %s", s, strings.TrimSpace(http.StatusText(s)))
	}
	if out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection can be used again
		return nil
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return errors.New("it answers with a page instead of data: is its address in the configuration right?")
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return unreached(err)
	case len(b) > maxAnswer:
		return errors.New("its answer is longer than 1 MiB")
	case json.Unmarshal(b, out) != nil:
		return errors.New("its answer can't be read")
	}
	return nil
}

// bounds of text from trackers, in characters.
const (
	mostTitle = 200
	mostWord  = 60
)

// clean bounds and escapes text from a tracker.
func clean(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return restart.Escape(s)
}
