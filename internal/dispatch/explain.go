package dispatch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

// handshakeError marks failures before any byte of a request could be sent.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// Reach says how far a call came that no agent has answered.
type Reach string

// The reaches.
const (
	Unresolved Reach = "unresolved" // the name has no address
	NoRoute    Reach = "no-route"   // the network does not lead there
	Silent     Reach = "silent"     // no answer in time
	Closed     Reach = "closed"     // the host refuses connections to the port
	NoAgent    Reach = "no-agent"   // something answers, and not as an agent does
)

// reachError keeps the reach beside an error's cause.
type reachError struct {
	reach Reach
	err   error
}

func (e *reachError) Error() string { return e.err.Error() }
func (e *reachError) Unwrap() error { return e.err }

// ReachOf tells how far a failed call came; "" where an agent has answered, or
// where it is not known.
func ReachOf(err error) Reach {
	if e, ok := errors.AsType[*reachError](err); ok {
		return e.reach
	}
	return ""
}

// Unreached is what a Client says of a host that it has not reached.
func Unreached(host string, reach Reach) *NotSentError {
	return &NotSentError{unreached(host, reach, errors.New(string(reach)))}
}

// explain sorts a transport's error into "nothing was sent" and "no answer".
func (c *Client) explain(ctx context.Context, host restart.Host, err error, fresh bool) error {
	var hs *handshakeError
	if !errors.As(err, &hs) {
		if e := certificateRefused(host, err); e != nil {
			return &NotSentError{e}
		}
		if e := c.refusedSilently(ctx, host, fresh); e != nil {
			return &NotSentError{e}
		}
		if foreign(err) {
			return fmt.Errorf("no agent answers on %s: %w", host.Name, &reachError{NoAgent, err})
		}
		return fmt.Errorf("no answer from %s: %w", host.Name, err)
	}
	if ctx.Err() != nil {
		return &NotSentError{restart.Errorf(restart.CodeUnreachable, "%s did not answer in time", host.Name).
			WithHint("%s", silentHint).Because(&reachError{Silent, ctx.Err()})}
	}
	if e := pki.Explain(hs.err); e != nil {
		cause, hint := hs.err, e.Hint
		if strangeTLS(hs.err) {
			cause, hint = &reachError{NoAgent, hs.err}, strangerHint
		}
		return &NotSentError{restart.Errorf(e.Code, "%s: %s", host.Name, e.Message).WithHint("%s", hint).Because(cause)}
	}
	return &NotSentError{unreachable(host, hs)}
}

// strangeTLS tells whether a handshake has ended before any certificate was
// judged: the peer does not speak TLS, or not that of an agent.
func strangeTLS(err error) bool {
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return !strings.Contains(op.Err.Error(), "certificate")
	}
	text := err.Error()
	return strings.Contains(text, "unsupported versions") || strings.Contains(text, "protocol version") || strings.Contains(text, "application protocol") ||
		strings.Contains(text, "first record does not look like") || strings.Contains(text, "unsupported SSL")
}

// certificateRefused recognises the alert by which an agent refuses our
// certificate. In TLS 1.3 a client learns of it only after its own handshake
// (RFC 8446, 4.4.2.4 and 6.2): the request may be on its way, but the agent
// closes before reading it, so nothing can have happened there.
func certificateRefused(host restart.Host, err error) *restart.Error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || !strings.Contains(op.Err.Error(), "certificate") {
		return nil
	}
	e := pki.Explain(op)
	if e == nil {
		return nil
	}
	return restart.Errorf(e.Code, "%s: %s", host.Name, e.Message).WithHint("%s", e.Hint).Because(err)
}

// refusedSilently asks a second time, sending nothing, whether the agent
// refuses our certificate: on a connection made for the request that broke, the
// reset can arrive before the alert that explains it.
func (c *Client) refusedSilently(ctx context.Context, host restart.Host, fresh bool) *restart.Error {
	if !fresh || ctx.Err() != nil {
		return nil
	}
	conf, err := c.config(host)
	if err != nil {
		return nil
	}
	e := pki.Diagnose(ctx, c.address(host), conf)
	if e == nil || e.Code != restart.CodeCertificate {
		return nil
	}
	return restart.Errorf(e.Code, "%s: %s", host.Name, e.Message).WithHint("%s", e.Hint)
}

const strangerHint = "find out what has the agent's port there: ss -ltnp; a proxy on the way can answer so, too"

const silentHint = "the host is down or hangs, or a firewall drops the agent's port (3131 by default)"

// unreachable explains an error of dialling or of a handshake that is not about
// certificates.
func unreachable(host restart.Host, hs *handshakeError) *restart.Error {
	err := hs.err
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return unreached(host.Name, Unresolved, err)
	case errors.As(err, &dns):
		return restart.Errorf(restart.CodeUnreachable, "%s: the name can't be resolved now", host.Name).
			WithHint("the name service of this server does not answer: ask it there with getent hosts; a host with an address in the inventory needs none").Because(&reachError{Unresolved, err})
	case isRefused(err):
		return unreached(host.Name, Closed, err)
	case isTimeout(err), errors.Is(err, context.DeadlineExceeded):
		if connected(err) {
			return restart.Errorf(restart.CodeUnreachable, "%s takes connections on the agent's port, and says nothing", host.Name).
				WithHint("the agent hangs, or another program has the port: ss -ltnp and systemctl status restartilka-agent there").Because(&reachError{Silent, err})
		}
		return unreached(host.Name, Silent, err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EINVAL):
		return unreached(host.Name, NoRoute, err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrUnexpectedEOF):
		return unreached(host.Name, NoAgent, err)
	}
	e := restart.Errorf(restart.CodeUnreachable, "%s can't be reached: %s", host.Name, restart.Escape(err.Error())).
		WithHint("the name service or the network of this server may be at fault: try from there")
	return e.Because(&reachError{NoRoute, err})
}

// unreached says in words how far a call came, with what to do.
func unreached(host string, reach Reach, cause error) *restart.Error {
	say := func(format, hint string) *restart.Error {
		return restart.Errorf(restart.CodeUnreachable, format, host).WithHint("%s", hint).Because(&reachError{reach, cause})
	}
	switch reach {
	case Unresolved:
		return say("%s: the name can't be resolved", "correct the name, or give the host an address in the inventory")
	case NoRoute:
		return say("%s: the network has no route to the host", "correct its address in the inventory, or the routes of this server; a firewall can answer so, too")
	case Closed:
		return say("%s: nothing listens on the agent's port", "install restartilka-agent there, or start it: journalctl -u restartilka-agent says why it does not run")
	case NoAgent:
		return say("%s: what listens on the agent's port is no agent: it ends the connection", strangerHint)
	}
	return say("%s: no answer on the agent's port", silentHint)
}

// connected tells whether the peer had taken the connection when it fell silent.
func connected(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return !ok || op.Op != "dial"
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// foreign tells whether an answer came that is not HTTP.
func foreign(err error) bool {
	return strings.Contains(err.Error(), "malformed HTTP")
}
