package dispatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// handshakeError marks failures before any byte of a request could be sent.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

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
		return fmt.Errorf("no answer from %s: %w", host.Name, err)
	}
	if ctx.Err() != nil {
		return &NotSentError{restart.Errorf(restart.CodeUnreachable, "%s did not answer in time", host.Name).Because(ctx.Err())}
	}
	if e := pki.Explain(hs.err); e != nil {
		return &NotSentError{restart.Errorf(e.Code, "%s: %s", host.Name, e.Message).WithHint("%s", e.Hint).Because(hs.err)}
	}
	return &NotSentError{unreachable(host, hs.err)}
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
	conf, err := c.creds.Call(host.Name)
	if err != nil {
		return nil
	}
	conf.NextProtos = []string{"h2"}
	e := pki.Diagnose(ctx, c.address(host), conf)
	if e == nil || e.Code != restart.CodeCertificate {
		return nil
	}
	return restart.Errorf(e.Code, "%s: %s", host.Name, e.Message).WithHint("%s", e.Hint)
}

func unreachable(host restart.Host, err error) *restart.Error {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return restart.Errorf(restart.CodeUnreachable, "%s: the name can't be resolved", host.Name).WithHint("correct the name or give the host an address in the inventory").Because(err)
	case isRefused(err):
		return restart.Errorf(restart.CodeUnreachable, "%s: nothing listens on the agent's port", host.Name).WithHint("is restartilka-agent installed and running there?").Because(err)
	case isTimeout(err):
		return restart.Errorf(restart.CodeUnreachable, "%s: no answer on the agent's port", host.Name).WithHint("the host is down, or a firewall drops port %d", protocol.Port).Because(err)
	}
	return restart.Errorf(restart.CodeUnreachable, "%s can't be reached: %v", host.Name, err).Because(err)
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
