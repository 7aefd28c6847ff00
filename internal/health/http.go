package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	defaultHTTPTimeout = 5 * time.Second
	// MaxBody is how much of an answer an http check looks at, in bytes.
	MaxBody = 64 << 10
)

// httpCheck holds where a GET is answered with the status, and with the text
// where one is asked for. The answer must be the service's own: proxies of the
// environment are not used, redirects not followed, connections not kept.
func httpCheck(probe restart.HTTPProbe) check {
	timeout := orDefault(probe.Timeout, defaultHTTPTimeout)
	want := probe.Status
	if want == 0 {
		want = http.StatusOK
	}
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: MaxBody,
			TLSClientConfig:        tlsFor(probe.URL),
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, probe.URL, nil)
		if err != nil {
			return "", fmt.Errorf("%s can't be asked: %w", restart.Quote(probe.URL), err)
		}
		req.Header.Set("User-Agent", "restartilka-health")
		resp, err := client.Do(req)
		if err != nil {
			return "", fmt.Errorf("%s does not answer: %s", probe.URL, plain(err, timeout))
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			return "", fmt.Errorf("%s answered %d, not %d", probe.URL, resp.StatusCode, want)
		}
		if probe.Body != "" {
			body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
			if err != nil {
				return "", fmt.Errorf("%s answered %d and then broke off: %s", probe.URL, resp.StatusCode, plain(err, timeout))
			}
			if !strings.Contains(string(body), probe.Body) {
				return "", fmt.Errorf("%s answered %d without the text %s", probe.URL, resp.StatusCode, restart.Quote(probe.Body))
			}
		}
		return fmt.Sprintf("%s answered %d", probe.URL, resp.StatusCode), nil
	}
}

// tlsFor verifies certificates as usual, except on this host's own loopback:
// the certificate there is that of the public name, and nobody is in between.
func tlsFor(rawURL string) *tls.Config {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || (err == nil && addr.IsLoopback())
	return &tls.Config{InsecureSkipVerify: loopback, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
}
