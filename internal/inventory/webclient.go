package inventory

import (
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
	largestAnswer = 16 << 20 // bytes, of one request
	largestToken  = 4 << 10  // bytes
)

// webClient gets pages below one address. It follows redirects within that
// origin only, uses no proxy, and bounds time and size of each answer.
type webClient struct {
	base      *url.URL
	http      *http.Client
	tokenFile string
	scheme    string
}

func newWebClient(c Config) (*webClient, error) {
	base, err := checkURL(c.URL, c.TokenFile != "")
	if err != nil {
		return nil, err
	}
	if c.TokenScheme != "" && c.TokenFile == "" {
		return nil, bad("token_scheme", "is given without token_file")
	}
	if strings.ContainsFunc(c.TokenScheme, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, bad("token_scheme", "%s is not one word", restart.Quote(c.TokenScheme))
	}
	networks, err := outgoing.ParseNetworks(c.AllowNetworks)
	if err != nil {
		return nil, bad("allow_networks", "%v", err)
	}
	timeout, scheme := 10*time.Second, "Bearer"
	if c.Timeout > 0 {
		timeout = c.Timeout
	}
	if c.TokenScheme != "" {
		scheme = c.TokenScheme
	}
	client, err := outgoing.New(outgoing.Config{
		URL: base, CAFile: c.CAFile, Timeout: timeout, Redirects: 3, Networks: networks, AtOnce: conductorAtOnce,
	})
	if err != nil {
		return nil, bad("ca_file", "%v", err)
	}
	return &webClient{base: base, tokenFile: c.TokenFile, scheme: scheme, http: client}, nil
}

// address is BASE/verb/name?query.
func (c *webClient) address(verb, name string, query url.Values) string {
	u := c.base.JoinPath(verb, url.PathEscape(name))
	u.RawQuery = query.Encode()
	return u.String()
}

// get asks once. The status is 200 or a 4xx or 5xx; every failure to get an
// answer is a *restart.Error with CodeUnavailable.
func (c *webClient) get(ctx context.Context, verb, name string, query url.Values) (status int, body []byte, err error) {
	address := c.address(verb, name, query)
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
		request.Header.Set("Authorization", c.scheme+" "+token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, nil, c.silent(err)
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, largestAnswer+1))
	if err != nil {
		return 0, nil, c.silent(err)
	}
	if len(body) > largestAnswer {
		return 0, nil, restart.Errorf(restart.CodeUnavailable, "the answer to %s is over %d MiB", address, largestAnswer>>20)
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
		sentence, advice = fmt.Sprintf("it does not answer within %s", c.http.Timeout), "raise inventory.timeout where it is slow by nature"
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
		return e.WithHint("inventory.url must be what comes before groups2hosts")
	}
	return e.WithHint("the inventory has a fault of its own; the server asks again by itself")
}
