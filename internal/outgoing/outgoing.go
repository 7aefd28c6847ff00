// Package outgoing makes the clients by which the server calls what its
// configuration names. Whatever a name leads to, the address that is dialled
// in the end is checked; no redirect is followed and no proxy used, so that
// credentials go where they were meant to; time and size are bounded.
package outgoing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Options of a client.
type Options struct {
	CAFile  string        // PEM certificates to believe; "" = the system's
	Timeout time.Duration // of one request, its answer included
	Plain   bool          // without TLS: loopback addresses alone are dialled
	Most    int64         // bytes of an answer that are read; past them is an error
}

// Client makes an HTTP client. A redirect is given back as the answer.
func Client(o Options) (*http.Client, error) {
	trust, err := Trust(o.CAFile)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &bounded{most: o.Most, next: &http.Transport{
			DialContext: Dialer(o.Plain, o.Timeout).DialContext, TLSClientConfig: trust, TLSHandshakeTimeout: o.Timeout, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		}},
	}, nil
}

// Trust gives the settings of TLS that believe the certificates of a file, or
// the system's where the path is "".
func Trust(caFile string) (*tls.Config, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return trust, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "ca_file can't be read: %v", err)
	}
	trust.RootCAs = x509.NewCertPool()
	if !trust.RootCAs.AppendCertsFromPEM(pem) {
		return nil, restart.Errorf(restart.CodeInvalid, "ca_file: %s holds no PEM certificate", caFile)
	}
	return trust, nil
}

// Dialer dials checked addresses only, see CheckAddress.
func Dialer(plain bool, timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, ControlContext: CheckAddress(plain)}
}

// CheckAddress refuses to dial what nothing of ours answers at, at the address
// that a name has led to: link-local (metadata services of clouds), multicast
// and unspecified ones; and without TLS any but loopback ones.
func CheckAddress(plain bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("dial %s: %w", address, err)
		}
		ip := to.Addr().Unmap()
		switch {
		case ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified():
			return fmt.Errorf("dial %s: nothing is called at a link-local, multicast or unspecified address", ip)
		case plain && !ip.IsLoopback():
			return fmt.Errorf("dial %s: without TLS only a loopback address is called", ip)
		}
		return nil
	}
}

// Loopback tells whether a host of a URL is this machine, by its name or
// address alone.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// bounded lets no answer be longer than most bytes.
type bounded struct {
	next http.RoundTripper
	most int64
}

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: b.most}
	return resp, nil
}

// CloseIdleConnections is for http.Client.
func (b *bounded) CloseIdleConnections() {
	if t, ok := b.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, restart.Errorf(restart.CodeTooLarge, "the answer is too long")
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, restart.Errorf(restart.CodeTooLarge, "the answer is too long")
	}
	return n, err
}
