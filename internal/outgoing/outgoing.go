// Package outgoing makes the HTTP clients by which a server asks others:
// inventories, webhooks. Whoever may write an address into the configuration,
// or into the DNS that it is looked up in, could otherwise make the server ask
// what only the server can reach: the metadata service of a cloud, an admin
// page on its loopback address.
//
// So the address is judged when it is dialled, after every look-up, and not
// when the name is read: a name that leads somewhere else the second time gains
// nothing. No proxy of the environment is used, redirects stay within the
// origin or are not followed, and what carries a secret goes over TLS or to
// this machine.
package outgoing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Config of a client.
type Config struct {
	URL       *url.URL       // whom it asks; see CheckURL
	CAFile    string         // PEM certificates to believe; "" = the system's
	Timeout   time.Duration  // of one request, its answer included
	Redirects int            // that are followed, within the origin; 0 = an answer that redirects is the answer
	Networks  []netip.Prefix // that may be dialled although they are refused otherwise
	AtOnce    int            // connections that are kept; 0 = 1

	Resolver *net.Resolver // nil = the system's
}

var (
	// ErrOrigin is why a redirect to another origin is not followed.
	ErrOrigin = errors.New("redirect to another origin")
	// ErrAddress is why an address is not dialled.
	ErrAddress = errors.New("the address may not be dialled")
)

// New makes a client. An error is CodeInvalid and about CAFile.
func New(c Config) (*http.Client, error) {
	trust, err := c.Trust()
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout:       c.Timeout,
		CheckRedirect: c.redirect,
		Transport: &http.Transport{
			DialContext: c.Dialer().DialContext, TLSClientConfig: trust, TLSHandshakeTimeout: c.Timeout, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: max(c.AtOnce, 1), IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
	}, nil
}

// Dialer dials addresses that Check lets pass, for what is not HTTP.
func (c Config) Dialer() *net.Dialer {
	return &net.Dialer{Timeout: c.Timeout, Resolver: c.Resolver, ControlContext: c.control}
}

// Trust gives the settings of TLS that believe the certificates of CAFile. An
// error is CodeInvalid.
func (c Config) Trust() (*tls.Config, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile == "" {
		return trust, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "%s can't be read", c.CAFile).Because(err)
	}
	trust.RootCAs = x509.NewCertPool()
	if !trust.RootCAs.AppendCertsFromPEM(pem) {
		return nil, restart.Errorf(restart.CodeInvalid, "%s holds no PEM certificate", c.CAFile)
	}
	return trust, nil
}

// CheckURL accepts an absolute https URL without credentials or fragment; http
// where that is allowed, and always to a loopback address. The error says in a
// word what is wrong, and never the address, which may be a secret itself.
func CheckURL(text string, plain bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, errors.New("it is not given")
	case err != nil:
		return nil, errors.New("it can't be read")
	case u.Hostname() == "" || u.Opaque != "" || u.Fragment != "":
		return nil, errors.New("it is not the address of a page on a host")
	case u.User != nil:
		return nil, errors.New("a name or password does not belong there")
	case u.Scheme == "https":
		return u, nil
	case u.Scheme != "http":
		return nil, errors.New("its scheme is not https")
	case !plain && !Local(u):
		return nil, errors.New("without TLS anybody on the way could read and change what is sent; http is for a loopback address alone")
	}
	return u, nil
}

// Local tells whether a URL names this machine itself.
func Local(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// redirect keeps the credentials, and us, where the configuration says.
func (c Config) redirect(next *http.Request, via []*http.Request) error {
	if c.Redirects == 0 {
		return http.ErrUseLastResponse
	}
	if first := via[0].URL; next.URL.Scheme != first.Scheme || next.URL.Host != first.Host {
		return ErrOrigin
	}
	if len(via) > c.Redirects {
		return fmt.Errorf("more than %d redirects", c.Redirects)
	}
	return nil
}

// control is called with the address that is about to be dialled.
func (c Config) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	return c.Check(to.Addr())
}

// metadata are services of clouds that give keys to whoever asks, at addresses
// that are not link-local.
var metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192")}

var (
	// translated are IPv6 addresses that lead to the IPv4 address in their end (RFC 6052).
	translated = netip.MustParsePrefix("64:ff9b::/96")
	// tunnelled are those that lead to the IPv4 address in their third to sixth byte (6to4, RFC 3056).
	tunnelled = netip.MustParsePrefix("2002::/16")
	// translatedHere are those that an operator's own translator takes (RFC 8215):
	// where in them the IPv4 address stands, only it knows.
	translatedHere = netip.MustParsePrefix("64:ff9b:1::/48")
)

// embedded gives the IPv4 address that an IPv6 address leads to, where it says
// so, else the address itself.
func embedded(ip netip.Addr) netip.Addr {
	b := ip.As16()
	switch {
	case translated.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:]))
	case tunnelled.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}

// Check judges an address that is about to be dialled: ErrAddress where no
// business of a server's is. A loopback address is for a URL that names one; a
// name that leads there does not. Config.Networks makes exceptions.
func (c Config) Check(address netip.Addr) error {
	ip := embedded(address.WithZone("").Unmap())
	for _, n := range c.Networks {
		if n.Contains(ip) {
			return nil
		}
	}
	local := c.URL != nil && Local(c.URL)
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("dial %s: %w: it is nobody's", ip, ErrAddress)
	case ip.IsLinkLocalUnicast():
		return fmt.Errorf("dial %s: %w: it is link-local, where clouds give out keys", ip, ErrAddress)
	case translatedHere.Contains(ip):
		return fmt.Errorf("dial %s: %w: it leads through a translator to an address that it does not show", ip, ErrAddress)
	case slices.Contains(metadata, ip):
		return fmt.Errorf("dial %s: %w: it is where clouds give out keys", ip, ErrAddress)
	case ip.IsLoopback() && !local:
		return fmt.Errorf("dial %s: %w: the configured address does not name this machine", ip, ErrAddress)
	case local && !ip.IsLoopback():
		return fmt.Errorf("dial %s: %w: the configured address is this machine's", ip, ErrAddress)
	}
	return nil
}

// ParseNetworks reads the networks of a configuration: 169.254.0.0/16, or one
// address. Everything (0.0.0.0/0, ::/0) is refused: that is no exception.
func ParseNetworks(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			ip, ipErr := netip.ParseAddr(text)
			if ipErr != nil {
				return nil, restart.Errorf(restart.CodeInvalid, "%s is neither a network nor an address", restart.Quote(text)).WithHint("such as 169.254.0.0/16")
			}
			prefix = netip.PrefixFrom(ip, ip.BitLen())
		}
		if prefix.Bits() == 0 {
			return nil, restart.Errorf(restart.CodeInvalid, "%s is every address there is", text).WithHint("name the network that is meant")
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}
