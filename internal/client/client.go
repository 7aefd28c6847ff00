package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
	"github.com/restartilka/restartilka/internal/wire"
)

const (
	maxAnswer  = 64 << 20 // a run over 10,000 hosts with its plan takes a few MiB
	maxProblem = 1 << 20
)

// Config says which server, and who asks.
type Config struct {
	URL    string // https://host:port; http only for a loopback address
	CAFile string // PEM certificates to trust; "" = CAPEM, or the system's
	CAPEM  []byte // the same, given directly
	Token  string // "" = none: only public routes answer
	// UserAgent names the program in the server's records; "" is
	// restartilka/VERSION.
	UserAgent string
	// Transport carries the requests; nil calls the server over the network.
	Transport http.RoundTripper
	// Patience is how long Follow tries to get a lost stream back; 0 is two
	// minutes. Wait waits between the tries; nil waits by the clock.
	Patience time.Duration
	Wait     func(ctx context.Context, d time.Duration) error
}

// Client asks one server. It is safe for concurrent use.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client

	answered atomic.Bool // a server of ours has, once
}

// New checks the configuration; it does not call the server.
func New(cfg Config) (*Client, error) {
	base, err := checkURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.CAFile != "" {
		if cfg.CAPEM, err = os.ReadFile(cfg.CAFile); err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "the CA's certificate can't be read: %w", err)
		}
	}
	if strings.ContainsFunc(cfg.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, restart.Errorf(restart.CodeInvalid, "the token holds a character that no token has")
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "restartilka/" + version.Current().Version
	}
	if cfg.Patience == 0 {
		cfg.Patience = 2 * time.Minute
	}
	if cfg.Wait == nil {
		cfg.Wait = wait
	}
	if cfg.Transport == nil {
		if cfg.Transport, err = overNetwork(cfg.CAPEM); err != nil {
			return nil, err
		}
	}
	return &Client{cfg: cfg, base: base, http: &http.Client{
		Transport:     cfg.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// overNetwork calls a server whose certificate is to be trusted by those of
// caPEM; without any, by the system's.
func overNetwork(caPEM []byte) (*http.Transport, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, VerifyConnection: func(cs tls.ConnectionState) error {
		return pki.CheckWeb(cs.PeerCertificates[0]) // the chain is verified by now
	}}
	if len(caPEM) > 0 {
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(caPEM) {
			return nil, restart.Errorf(restart.CodeInvalid, "there is no certificate in the CA's file").WithHint("a PEM file: -----BEGIN CERTIFICATE-----")
		}
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		IdleConnTimeout:     time.Minute,
		MaxIdleConns:        4,
	}, nil
}

// URL gives the server's address in its one form.
func (c *Client) URL() string { return c.base.String() }

// Close gives back idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func checkURL(text string) (*url.URL, error) {
	bad := func(why string) (*url.URL, error) {
		return nil, restart.Errorf(restart.CodeInvalid, "the server's URL %s is not usable: %s", restart.Quote(text), why).
			WithHint("such as https://restartilka.example.com:8443")
	}
	if text == "" {
		return nil, restart.Errorf(restart.CodeInvalid, "no server is named").WithHint("sign in with: restartilka login URL; or set RESTARTILKA_URL")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return bad("it can't be read")
	case u.Host == "" || u.Opaque != "":
		return bad("it names no host")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return bad("only scheme, host and port belong there")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return bad("without TLS anybody on the way could read the token")
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("its scheme is not https")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// get asks for path (escaped segments, "/api/v1" is added) and decodes the answer.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return ask[T](ctx, c, http.MethodGet, path, query, nil, nil)
}

// post sends in as JSON and decodes the answer.
func post[T any](ctx context.Context, c *Client, path string, in any, header http.Header) (T, error) {
	return ask[T](ctx, c, http.MethodPost, path, nil, in, header)
}

func ask[T any](ctx context.Context, c *Client, method, path string, query url.Values, in any, header http.Header) (T, error) {
	var out T
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return out, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.do(ctx, method, path, query, body, header)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close() // read to its end, or given up
	if resp.StatusCode == http.StatusNoContent {
		return out, nil
	}
	return out, c.decode(resp.Body, &out)
}

// do sends a request and gives an answer of status 2xx. The caller closes its body.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body io.Reader, header http.Header) (*http.Response, error) {
	u := c.base.JoinPath("api", "v1").JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	maps.Copy(req.Header, header)
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if body != nil && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, unreachable(c.base, err)
	}
	if resp.StatusCode/100 == 2 {
		c.answered.Store(true)
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.problem(resp)
}

func (c *Client) decode(r io.Reader, out any) error {
	if err := json.NewDecoder(io.LimitReader(r, maxAnswer)).Decode(out); err != nil {
		return c.foreign(fmt.Errorf("its answer can't be read: %w", err))
	}
	return nil
}

// problem gives the error that an answer tells. Whatever answers without a
// problem document is not a server of ours, or something stands before it.
func (c *Client) problem(resp *http.Response) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p wire.Problem
	if media != wire.ProblemType || json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&p) != nil || p.Code == "" || p.Detail == "" {
		return c.foreign(fmt.Errorf("it answers %s", restart.Escape(resp.Status)))
	}
	c.answered.Store(true)
	e := p.Err()
	if p.Code == restart.CodeInternal && p.RequestID != "" && p.Hint == "" {
		e = e.WithHint("the server's log tells more under request %s", p.RequestID)
	}
	return e
}

func (c *Client) foreign(err error) error {
	return &UnreachableError{URL: c.URL(), err: err, Hint: "is it a restartilka server, and is there a proxy between?"}
}

// UnreachableError says that the server could not be asked: it is away, its
// certificate does not fit, or something else answers in its place.
type UnreachableError struct {
	URL          string
	Hint         string
	Certificates []*x509.Certificate // shown by the server and not trusted, the leaf first
	err          error
}

func (e *UnreachableError) Error() string {
	s := fmt.Sprintf("server %s can't be reached: %v", e.URL, e.err)
	if len(e.Certificates) > 0 { // it was reached
		s = fmt.Sprintf("the certificate of server %s is not trusted: %v", e.URL, e.err)
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.err }

// unreachable words what went wrong on the way.
func unreachable(base *url.URL, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without method and URL, which are said already
	}
	out := &UnreachableError{URL: base.String(), err: err}
	if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		out.Certificates = v.UnverifiedCertificates
		out.Hint = "give its authority's certificate: restartilka login " + base.String() + " --ca FILE, or RESTARTILKA_CA=FILE"
		if h, ok := errors.AsType[x509.HostnameError](err); ok {
			out.Hint = "its certificate is for another name than " + h.Host
		}
	}
	return out
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
