package inventory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
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
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, bad("ca_file", "%s can't be read", c.CAFile).Because(err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, bad("ca_file", "%s holds no PEM certificate", c.CAFile)
		}
	}
	timeout, scheme := 10*time.Second, "Bearer"
	if c.Timeout > 0 {
		timeout = c.Timeout
	}
	if c.TokenScheme != "" {
		scheme = c.TokenScheme
	}
	dialer := outgoing.Dialer(false, timeout)
	return &webClient{
		base: base, tokenFile: c.TokenFile, scheme: scheme,
		http: &http.Client{
			Timeout:       timeout,
			CheckRedirect: sameOrigin,
			Transport: &http.Transport{
				DialContext: dialer.DialContext, TLSClientConfig: trust, ForceAttemptHTTP2: true,
				MaxIdleConnsPerHost: conductorAtOnce, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			},
		},
	}, nil
}

var errOrigin = errors.New("redirect to another origin")

// sameOrigin keeps the credentials, and us, where the configuration says.
func sameOrigin(next *http.Request, via []*http.Request) error {
	if first := via[0].URL; next.URL.Scheme != first.Scheme || next.URL.Host != first.Host {
		return errOrigin
	}
	if len(via) > 3 {
		return errors.New("more than 3 redirects")
	}
	return nil
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
		token, err := readToken(c.tokenFile)
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
	case errors.Is(err, errOrigin):
		sentence, advice = "it redirects to another address, which is not followed", "set inventory.url to the final address"
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

// readToken reads a secret of one line. A file that anybody may read is refused.
func readToken(path string) (string, error) {
	b, info, err := readFile(path, largestToken)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", restart.Errorf(restart.CodeUnavailable, "token file %s is open to everybody on the machine", path).WithHint("chmod 600 %s", path)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", restart.Errorf(restart.CodeUnavailable, "token file %s does not hold one word", path)
	}
	return token, nil
}
