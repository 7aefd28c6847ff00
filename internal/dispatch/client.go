// Package dispatch is the server's client of agents: one method per verb of
// internal/protocol, over plain HTTP/2 and mutual TLS 1.3. It decides nothing;
// it only says precisely what is known after a call, because at most once
// depends on telling "nothing was sent" apart from "no answer".
package dispatch

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// NotSentError says that no byte of the request left this server: the host
// could not be reached, or its certificate was not accepted. Nothing can have
// happened on the host. Every other error leaves that open.
type NotSentError struct{ Err *restart.Error }

func (e *NotSentError) Error() string { return e.Err.Error() }

// Unwrap gives the sentence for people.
func (e *NotSentError) Unwrap() error { return e.Err }

// RefusedError is the agent's own answer, authenticated by its certificate: it
// has understood the request and not done it.
type RefusedError struct{ Err *restart.Error }

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap gives the agent's sentence.
func (e *RefusedError) Unwrap() error { return e.Err }

// Config of a Client.
type Config struct {
	Certificate, Key, CA string        // files; re-read when they change
	Port                 int           // 0 = protocol.Port
	DialTimeout          time.Duration // 0 = 3 s
	Observe              func(Call)    // is told of every call; nil = nobody is. It must not block
	// Refuse judges an agent's certificate after everything else was found in
	// order, such as pki.Revocations.Check; nil = refuse none.
	Refuse func(*x509.Certificate) error
	Now    func() time.Time // nil = time.Now
	// Chain is told where the chain of a host's own records stands, whenever a
	// status or a report says so; nil = nobody is. It must not block.
	Chain func(restart.Host, protocol.ChainHead)
	// Scenarios are laid on hosts that trust signatures; nil = none are.
	Scenarios Scenarios
}

// Client calls agents. One http.Client a host is kept, because each demands
// another peer name; idle connections are closed after a minute. A connection
// counts no longer than the certificates that it was made with: see Recheck.
type Client struct {
	cfg    Config
	creds  *pki.Credentials
	mu     sync.Mutex
	hosts  map[string]*line
	recent recent // of those hosts
	// retired are lines that were replaced and may still have something on them.
	retired map[*line]struct{}

	shaking chan struct{} // has a place for each handshake in hand
	takers  takers
}

// New checks that the credentials can be read and returns a Client.
func New(cfg Config) (*Client, error) {
	if cfg.Port == 0 {
		cfg.Port = protocol.Port
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = 3 * time.Second
	}
	if cfg.Refuse == nil {
		cfg.Refuse = func(*x509.Certificate) error { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	creds, err := pki.LoadCredentials(cfg.Certificate, cfg.Key, cfg.CA)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, creds: creds, hosts: map[string]*line{}, retired: map[*line]struct{}{}, shaking: make(chan struct{}, atOnce)}, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.hosts {
		l.http.CloseIdleConnections()
	}
	c.hosts = map[string]*line{}
}

// Put sends a task, after the scenario that it is by: see Lay. The same
// submission may be sent any number of times.
func (c *Client) Put(ctx context.Context, host restart.Host, task string, s protocol.Submission) (protocol.TaskStatus, error) {
	refused := c.prepare(ctx, host, s.Sealed)
	var out protocol.TaskStatus
	err := c.call(ctx, host, http.MethodPut, "/v1/tasks/"+task, s, &out)
	return out, because(err, refused)
}

// Status asks for a task once its revision is above after, for at most wait
// (0 to protocol.MaxWait). An id unknown to the agent is a RefusedError with
// CodeNotFound.
func (c *Client) Status(ctx context.Context, host restart.Host, task string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	q := url.Values{"after": {strconv.FormatInt(after, 10)}, "wait": {wait.String()}}
	var out protocol.TaskStatus
	err := c.call(ctx, host, http.MethodGet, "/v1/tasks/"+task+"?"+q.Encode(), nil, &out)
	c.chain(host, out.Chain, err)
	return out, err
}

// Cancel asks the agent to end the task's whole process tree.
func (c *Client) Cancel(ctx context.Context, host restart.Host, task string, m protocol.Cancel) error {
	return c.call(ctx, host, http.MethodPost, "/v1/tasks/"+task+"/cancel", m, nil)
}

// Forget makes sure that the id never runs (again) and lets the agent drop
// what it kept. A task that is running is a RefusedError with CodeConflict.
func (c *Client) Forget(ctx context.Context, host restart.Host, task string, m protocol.Forget) (protocol.Tombstone, error) {
	var out protocol.Tombstone
	err := c.call(ctx, host, http.MethodDelete, "/v1/tasks/"+task, m, &out)
	return out, err
}

// Check asks the host about itself.
func (c *Client) Check(ctx context.Context, host restart.Host, m protocol.CheckRequest) (protocol.CheckReport, error) {
	var out protocol.CheckReport
	err := c.call(ctx, host, http.MethodPost, "/v1/check", m, &out)
	if err == nil {
		out, err = c.layAndCheck(ctx, host, m, out)
	}
	c.chain(host, out.Chain, err)
	return out, err
}

// Probe asks for one sample of a reviewed scenario's health section.
func (c *Client) Probe(ctx context.Context, host restart.Host, m protocol.ProbeRequest) (protocol.ProbeReport, error) {
	var out protocol.ProbeReport
	err := c.call(ctx, host, http.MethodPost, "/v1/probe", m, &out)
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Err.Code == restart.CodeNotReviewed {
		laid, why := c.Lay(ctx, host, m.Digest)
		if laid {
			err = c.call(ctx, host, http.MethodPost, "/v1/probe", m, &out)
		} else if refused, ok := errors.AsType[*RefusedError](why); ok {
			err = refused
		}
	}
	return out, err
}

// RequestRenewal asks the agent for a request to certify a new key, and gives
// the certificate that the agent shows now beside it.
func (c *Client) RequestRenewal(ctx context.Context, host restart.Host) (protocol.RenewalRequest, *x509.Certificate, error) {
	c.renew(host) // a pooled connection shows what the agent had when it was made
	resp, err := c.do(ctx, host, http.MethodPost, "/v1/certificate/request", struct{}{})
	if err != nil {
		return protocol.RenewalRequest{}, nil, err
	}
	defer resp.Body.Close()
	var out protocol.RenewalRequest
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&out); err != nil {
		return out, nil, fmt.Errorf("read the answer of %s: %w", host.Name, err)
	}
	return out, resp.TLS.PeerCertificates[0], nil
}

// Renew sends a certificate for the key that the agent has made last. The next
// connection to it is a new one.
func (c *Client) Renew(ctx context.Context, host restart.Host, m protocol.Renewal) (protocol.CertificateReport, error) {
	var out protocol.CertificateReport
	err := c.call(ctx, host, http.MethodPut, "/v1/certificate", m, &out)
	if err == nil {
		c.renew(host)
	}
	return out, err
}

// Output follows a task's output from an offset and gives each piece to each,
// until its end (nil), an error, or each's own error. A broken stream is
// resumed by calling again with the next offset.
func (c *Client) Output(ctx context.Context, host restart.Host, task string, offset int64, each func(protocol.Output) error) error {
	resp, err := c.do(ctx, host, http.MethodGet, "/v1/tasks/"+task+"/output?offset="+strconv.FormatInt(offset, 10), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(&boundedLines{r: resp.Body, most: maxStream})
	for {
		var o protocol.Output
		if err := dec.Decode(&o); err != nil {
			return fmt.Errorf("read output of task %s on %s: %w", task, host.Name, err)
		}
		if o.EOF {
			return nil
		}
		if err := each(o); err != nil {
			return err
		}
	}
}

// maxStream bounds one stream of output, in bytes as sent: more than twice
// what an agent keeps of a task that is over. A task that prints on and on is
// followed by another stream.
const maxStream = 128 << 20

// boundedLines ends a stream that is longer than maxStream.
type boundedLines struct {
	r    io.Reader
	most int64
}

func (b *boundedLines) Read(p []byte) (int, error) {
	if b.most <= 0 {
		return 0, errors.New("the host sent more output than an agent keeps")
	}
	n, err := b.r.Read(p)
	b.most -= int64(n)
	return n, err
}

// maxAnswer bounds what an agent answers to most requests, in bytes.
const maxAnswer = 4 << 20

func (c *Client) call(ctx context.Context, host restart.Host, method, path string, in, out any) error {
	return c.callUpTo(ctx, host, method, path, in, out, maxAnswer, nil)
}

func (c *Client) callUpTo(ctx context.Context, host restart.Host, method, path string, in, out any, most int64, more Room) error {
	resp, err := c.do(ctx, host, method, path, in)
	if err != nil {
		return err
	}
	body, err := readUpTo(ctx, resp, host, most, more)
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", host.Name, err)
	}
	return nil
}

// do sends one request. Only a status of 200 comes back without an error.
func (c *Client) do(ctx context.Context, host restart.Host, method, path string, in any) (*http.Response, error) {
	began := time.Now()
	resp, err := c.exchange(ctx, host, method, path, in)
	c.observe(ctx, method, path, began, err)
	return resp, err
}

func (c *Client) exchange(ctx context.Context, host restart.Host, method, path string, in any) (*http.Response, error) {
	l, err := c.take(host)
	if err != nil {
		return nil, &NotSentError{restart.Errorf(restart.CodeCertificate, "the server's credentials for agents can't be used: %v", err)}
	}
	defer c.give(l)
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode a request to %s: %w", host.Name, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.address(host)+path, body)
	if err != nil {
		return nil, fmt.Errorf("make a request to %s: %w", host.Name, err)
	}
	req.Header.Set("Content-Type", "application/json")
	fresh, reused := false, false // the connection was made for this request; was there before
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { fresh, reused = !i.Reused, i.Reused }}))
	resp, err := l.http.Do(req)
	if err != nil {
		if reused && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.renew(host) // the host may be well, and only this connection forgotten on the way
		}
		return nil, c.explain(ctx, host, err, fresh)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", host.Name, err)
	}
	var e restart.Error
	if json.Unmarshal(b, &e) != nil || e.Code == "" {
		return nil, fmt.Errorf("%s answered %s, not as an agent does", host.Name, resp.Status)
	}
	e.Message, e.Hint = restart.Escape(clip(e.Message, 500)), restart.Escape(clip(e.Hint, 500))
	if resp.StatusCode >= http.StatusInternalServerError && e.Code == restart.CodeInternal {
		return nil, fmt.Errorf("%s: %w", host.Name, &e)
	}
	return nil, &RefusedError{&e}
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

func (c *Client) address(host restart.Host) string {
	a := host.Address
	if a == "" {
		a = host.Name
	}
	if _, _, err := net.SplitHostPort(a); err == nil {
		return a
	}
	return net.JoinHostPort(a, strconv.Itoa(c.cfg.Port))
}
