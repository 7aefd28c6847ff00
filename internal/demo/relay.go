package demo

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// A scenario has one address for the goroutines of its program, each host its
// own loopback. The demo's hosts share one: so a relay leads from the name of a
// host, in the path, to the service of that host.

const relayAddress = "127.0.0.10"

// relay serves /HOST/… with what the service of that host serves at /….
func (l Layout) relay() http.Handler {
	mux := http.NewServeMux()
	for _, h := range l.Hosts {
		to := &url.URL{Scheme: "http", Host: h.ServiceAddress()}
		mux.Handle("/"+h.Name+"/", http.StripPrefix("/"+h.Name, httputil.NewSingleHostReverseProxy(to)))
	}
	return mux
}

// startRelay serves until the fleet is stopped.
func (f *Fleet) startRelay(ctx context.Context) error {
	address := fmt.Sprintf("%s:%d", relayAddress, servicePort)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return restart.Errorf(restart.CodeUnavailable, "the demo's relay needs %s: %v", address, err).
			WithHint("another demo may be running; stop it first").Because(err)
	}
	f.relay = &http.Server{Handler: f.layout.relay(), ReadHeaderTimeout: 5 * time.Second}
	f.served = make(chan error, 1)
	go func() { f.served <- f.relay.Serve(l) }()
	return nil
}
