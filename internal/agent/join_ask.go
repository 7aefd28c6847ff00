package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/version"
)

const (
	joinTime   = 30 * time.Second // for the whole request
	maxJoin    = 1 << 20          // bytes of an answer
	nameTime   = 3 * time.Second  // to find out this host's name
	problemDoc = "application/problem+json"
)

// askToJoin sends the request, to nobody but the server that the token or the
// authorities name.
func askToJoin(ctx context.Context, o JoinOptions, token pki.JoinToken, in protocol.JoinRequest) (protocol.JoinAnswer, error) {
	var out protocol.JoinAnswer
	base, err := joinURL(o.URL)
	if err != nil {
		return out, err
	}
	conf, err := joinTLS(o.CAFile, token.Pin)
	if err != nil {
		return out, err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath("api", "v1", "join").String(), bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token.Secret)
	req.Header.Set("User-Agent", "restartilka-agent/"+version.Current().Version)
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return out, joinUnreachable(base, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxJoin+1))
	if err != nil || len(text) > maxJoin {
		return out, restart.Errorf(restart.CodeUnavailable, "the answer of %s can't be read to its end", base).
			WithHint("join again: the same token gives the same answer while it lives").Because(err)
	}
	if resp.StatusCode != http.StatusCreated {
		return out, joinProblem(base, resp, text)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, foreign(base, "its answer can't be read")
	}
	return out, nil
}

func joinURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, restart.Errorf(restart.CodeInvalid, "%s is not the URL of a server", restart.Quote(text)).WithHint("such as https://restartilka.example.com:8443")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// joinTLS knows the server by the pin of its key, or, with authorities, by
// those and its name, as behind a proxy that has a certificate of its own.
func joinTLS(caFile string, pin pki.Pin) (*tls.Config, error) {
	if caFile == "" {
		return &tls.Config{
			MinVersion: tls.VersionTLS13,
			// Neither authority nor name count, and no clock: the key itself is
			// known, and the handshake proves that the server has it.
			InsecureSkipVerify: true, //nolint:gosec // see above
			VerifyConnection: func(cs tls.ConnectionState) error {
				if !pki.PinOf(cs.PeerCertificates[0]).Equal(pin) {
					return errPin
				}
				return nil
			},
		}, nil
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the authority's certificate can't be read: %v", err).Because(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, restart.Errorf(restart.CodeInvalid, "%s holds no certificate", caFile).WithHint("a PEM file: -----BEGIN CERTIFICATE-----")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, VerifyConnection: func(cs tls.ConnectionState) error {
		return pki.CheckWeb(cs.PeerCertificates[0])
	}}, nil
}

var errPin = restart.Errorf(restart.CodeCertificate, "whoever answers there is not the server that the join token names").
	WithHint("is the URL right? Behind a proxy, join with --ca FILE. If the server got a new key since, make a new token")

func joinUnreachable(base *url.URL, err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if e := pki.Explain(err); e != nil {
		return restart.Errorf(e.Code, "%s: %s", base, e.Message).WithHint("%s", e.Hint).Because(err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return restart.Errorf(restart.CodeUnavailable, "%s has not answered within %s", base, restart.Span(joinTime)).
			WithHint("is a firewall in between? Join again: the same token gives the same answer while it lives").Because(err)
	}
	hint := "is the URL right, and does the server listen there? The token has not been used"
	if base.Port() == "" {
		hint = "the URL names no port, and the server's usual one is 8443: " + base.String() + ":8443. The token has not been used"
	}
	return restart.Errorf(restart.CodeUnavailable, "%s can't be reached: %s", base, restart.Escape(err.Error())).WithHint("%s", hint).Because(err)
}

// joinProblem gives the server's own words, or says that it is not one.
func joinProblem(base *url.URL, resp *http.Response, text []byte) error {
	var p struct {
		Code         restart.Code
		Detail, Hint string
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != problemDoc || json.Unmarshal(text, &p) != nil || p.Code == "" || p.Detail == "" {
		return foreign(base, "it answers "+restart.Escape(resp.Status))
	}
	e := restart.Errorf(p.Code, "%s", restart.Escape(p.Detail))
	if p.Hint != "" {
		e = e.WithHint("%s", restart.Escape(p.Hint))
	}
	return e
}

func foreign(base *url.URL, what string) error {
	return restart.Errorf(restart.CodeUnavailable, "%s does not answer as a restartilka server does: %s", base, what).WithHint("is the URL right, and is there a proxy in between?")
}

// FullName finds this host's full name: the host name of the kernel where it
// has a dot, else what the hosts file or the name service makes of it.
func FullName(ctx context.Context) (string, error) {
	short, err := os.Hostname()
	if err != nil {
		return "", err
	}
	name := strings.ToLower(short)
	if !strings.Contains(name, ".") {
		ctx, cancel := context.WithTimeout(ctx, nameTime)
		defer cancel()
		if full, err := net.DefaultResolver.LookupCNAME(ctx, name); err == nil {
			name = strings.ToLower(strings.TrimSuffix(full, "."))
		}
	}
	if !strings.Contains(name, ".") || strings.HasPrefix(name, "localhost.") || restart.CheckHost(name) != nil {
		return "", restart.Errorf(restart.CodeInvalid, "this host calls itself %s, and its full name can't be found", restart.Quote(short)).
			WithHint("name it as the inventory does: --host web01.example.com")
	}
	return name, nil
}
