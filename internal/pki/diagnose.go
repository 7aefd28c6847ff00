package pki

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Diagnose asks an agent once more, sending nothing, whether it accepts our
// certificate: it shakes hands at address (HOST:PORT) and waits for the agent's
// first word, which in HTTP/2 comes unasked. It gives what Explain gives of the alert
// by which the agent refuses, and nil for everything else: only the agent
// itself, known by its certificate, can say that it refuses us. What a handshake
// that fails says may come from anybody in between, who has let the request
// through before.
//
// It is for a connection that broke before anything was answered. Whether the
// agent's refusal or the mere end of the connection is seen there depends on
// which of the two packets comes first.
func Diagnose(ctx context.Context, address string, config *tls.Config) *restart.Error {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil
	}
	_, err = conn.Read(make([]byte, 1))
	if alert, ok := errors.AsType[*net.OpError](err); !ok || alert.Op != "remote error" {
		return nil
	}
	return Explain(err)
}
