package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const defaultTCPTimeout = 5 * time.Second

// tcpCheck holds where a connection can be made. Nothing is sent.
func tcpCheck(probe restart.TCPProbe) check {
	timeout := orDefault(probe.Timeout, defaultTCPTimeout)
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", probe.Address)
		if err != nil {
			return "", fmt.Errorf("%s takes no connection: %s", probe.Address, plain(err, timeout))
		}
		conn.Close()
		return probe.Address + " takes connections", nil
	}
}

func orDefault(d restart.Duration, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d.Std()
}

// plain shortens an error of the network to what went wrong: the sentence
// around it has the address already.
func plain(err error, timeout time.Duration) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", restart.Span(timeout))
	}
	if timed, ok := errors.AsType[net.Error](err); ok && timed.Timeout() {
		return fmt.Sprintf("no answer within %s", restart.Span(timeout))
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
