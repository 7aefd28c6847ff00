package inventory

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

const (
	largestAnswer  = 16 << 20 // bytes, of one request for a part
	largestWhole   = 64 << 20 // bytes, of one request for everything
	largestToken   = 4 << 10  // bytes
	requestsAtOnce = 8
)

// webClient gets pages below one address. It follows redirects within that
// origin only, uses no proxy, and bounds time and size of each answer.
type webClient struct {
	base      *url.URL
	http      *http.Client
	tokenFile string
	header    string // that the token goes into
	scheme    string // that goes before it; "" = none
	most      int    // bytes of an answer
	lost      string // what to do when the address is not there
}

// web says what is special of a source's requests.
type web struct {
	query  bool   // the address may have a query
	header string // for the token alone; "" = Authorization, with a scheme
	most   int    // bytes of an answer
	lost   string // what to do when the address is not there
}

func newWebClient(c Config, w web) (*webClient, error) {
	base, err := checkURL(c.URL, c.TokenFile != "", w.query)
	if err != nil {
		return nil, err
	}
	for _, x := range [][2]string{{"token_scheme", c.TokenScheme}, {"token_header", c.TokenHeader}} {
		if x[1] != "" && c.TokenFile == "" {
			return nil, bad(x[0], "is given without token_file")
		}
		if strings.ContainsFunc(x[1], func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			return nil, bad(x[0], "%s is not one word", restart.Quote(x[1]))
		}
	}
	if c.TokenScheme != "" && c.TokenHeader != "" {
		return nil, bad("token_header", "and token_scheme are both given").WithHint("use one of them")
	}
	networks, err := outgoing.ParseNetworks(c.AllowNetworks)
	if err != nil {
		return nil, bad("allow_networks", "%v", err)
	}
	timeout := 10 * time.Second
	if c.Timeout > 0 {
		timeout = c.Timeout
	}
	client, err := outgoing.New(outgoing.Config{
		URL: base, CAFile: c.CAFile, Timeout: timeout, Redirects: 3, Networks: networks, AtOnce: requestsAtOnce,
	})
	if err != nil {
		return nil, bad("ca_file", "%v", err)
	}
	out := &webClient{base: base, tokenFile: c.TokenFile, http: client, header: w.header, most: w.most, lost: w.lost}
	if c.TokenHeader != "" {
		out.header = c.TokenHeader
	}
	if out.header == "" {
		out.header, out.scheme = "Authorization", cmp.Or(c.TokenScheme, "Bearer")+" "
	}
	return out, nil
}

// address is BASE/PART/PART…?query, each part as one segment of the path.
func (c *webClient) address(query url.Values, parts ...string) string {
	u := c.base
	for _, p := range parts {
		u = u.JoinPath(url.PathEscape(p))
	}
	with := *u
	with.RawQuery = query.Encode()
	return with.String()
}

// withoutQuery is an address as people may see it: its query may hold a secret.
func withoutQuery(address string) string {
	bare, _, _ := strings.Cut(address, "?")
	return bare
}

// getWhole asks for everything there is: any other status than 200 is an error.
func (c *webClient) getWhole(ctx context.Context, address string) ([]byte, error) {
	status, body, err := c.get(ctx, address)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, c.refused(status, withoutQuery(address))
	}
	return body, nil
}

// get asks once. The status is 200 or a 4xx or 5xx; every failure to get an
// answer is a *restart.Error with CodeUnavailable.
func (c *webClient) get(ctx context.Context, address string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("make request %s: %w", address, err)
	}
	request.Header.Set("User-Agent", "restartilka")
	if c.tokenFile != "" {
		token, err := secret.ReadWord(c.tokenFile, largestToken)
		if e, ok := errors.AsType[*restart.Error](err); ok {
			return 0, nil, restart.Errorf(restart.CodeUnavailable, "inventory.token_file: %s", e.Message).WithHint("%s", e.Hint).Because(err)
		}
		if err != nil {
			return 0, nil, err
		}
		request.Header.Set(c.header, c.scheme+token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, c.silent(err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, int64(c.most)+1))
	if err != nil {
		return 0, nil, c.silent(err)
	}
	if len(body) > c.most {
		return 0, nil, restart.Errorf(restart.CodeUnavailable, "the answer to %s is over %d MiB", withoutQuery(address), c.most>>20)
	}
	return response.StatusCode, body, nil
}

// silent says in words why there is no answer.
func (c *webClient) silent(err error) *restart.Error {
	var sentence, advice string
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var timeout net.Error
	switch {
	case errors.Is(err, outgoing.ErrOrigin):
		sentence, advice = "it redirects to another address, which is not followed", "set inventory.url to the final address"
	case errors.Is(err, outgoing.ErrAddress):
		sentence, advice = "its name leads to an address that is not asked", "inventory.allow_networks makes an exception; the server's log has the address"
	case errors.As(err, &dns):
		sentence, advice = "its name can't be resolved", "check inventory.url and the DNS"
	case errors.As(err, &unknown), errors.As(err, &name):
		sentence, advice = "its certificate is not trusted", "name the company's certificates in inventory.ca_file"
	case errors.Is(err, syscall.ECONNREFUSED):
		sentence, advice = "it refuses the connection", "check inventory.url, and whether the inventory runs"
	case errors.As(err, &timeout) && timeout.Timeout():
		sentence, advice = fmt.Sprintf("it does not answer within %s", restart.Span(c.http.Timeout)), "raise inventory.timeout where it is slow by nature"
	default:
		sentence, advice = "the connection breaks", "the server's log has the details"
	}
	return restart.Errorf(restart.CodeUnavailable, "%s", sentence).WithHint("%s", advice).Because(err)
}

// refused says what a status means.
func (c *webClient) refused(status int, asked string) *restart.Error {
	e := restart.Errorf(restart.CodeUnavailable, "it answers %d %s when asked for %s", status, http.StatusText(status), asked)
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return e.WithHint("check inventory.token_file and inventory.token_scheme")
	case http.StatusNotFound:
		return e.WithHint("%s", c.lost)
	}
	return e.WithHint("the inventory has a fault of its own; the server asks again by itself")
}
