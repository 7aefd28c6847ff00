package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	ldap "github.com/go-ldap/ldap/v3"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	mostRead   = 16 << 20 // bytes, of one connection
	mostPacket = 4 << 20  // bytes, of one value: the library makes room for what a server announces
)

func init() { ber.MaxPacketLengthBytes = mostPacket } // the library has it for the whole program

// conn is a connection for one question. Its errors are CodeUnavailable, but
// where it says otherwise.
type conn struct {
	*ldap.Conn
	server  server
	timeout time.Duration
	release func() bool
}

// dial connects and has TLS when it returns, unless the configuration allows
// that there is none.
func (d *Directory) dial(ctx context.Context, s server) (*conn, error) {
	raw, err := outgoing.Config{URL: s.url, Timeout: d.cfg.Timeout}.Dialer().DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, s.silent(err)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(d.cfg.Timeout)
	}
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, s.silent(errors.Join(err, raw.Close()))
	}
	trust := d.trust.Clone()
	trust.ServerName = s.host
	var wire net.Conn = &boundedConn{Conn: raw, left: mostRead}
	if s.tls {
		secured := tls.Client(wire, trust)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, s.silent(errors.Join(err, raw.Close()))
		}
		wire = secured
	}
	c := &conn{Conn: ldap.NewConn(wire, s.tls), server: s, timeout: d.cfg.Timeout}
	c.release = context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // of a closed connection, which is what is wanted
	c.SetTimeout(d.cfg.Timeout)
	c.Start()
	if d.cfg.StartTLS {
		if err := c.Conn.StartTLS(trust); err != nil {
			c.close()
			return nil, s.silent(err)
		}
	}
	return c, nil
}

func (c *conn) close() {
	c.release()
	c.Close()
}

// silent says that a server gave no answer that could be used.
func (s server) silent(err error) error {
	return restart.Errorf(restart.CodeUnavailable, "the directory %s does not answer as it should", s.text).
		WithHint("the server's log says why; restartilka config check tries it").Because(fmt.Errorf("%s: %w", s.text, err))
}

// bind tells whether the password is that of the DN. An empty one never is:
// a directory would take it for a bind of nobody, and say yes.
func (c *conn) bind(dn, password string) (bool, error) {
	if password == "" || dn == "" {
		return false, nil
	}
	err := c.Conn.Bind(dn, password)
	switch {
	case err == nil:
		return true, nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInappropriateAuthentication,
		ldap.LDAPResultInvalidDNSyntax, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultConstraintViolation, ldap.LDAPResultInsufficientAccessRights):
		return false, nil
	}
	return false, c.server.silent(fmt.Errorf("bind %s: %w", dn, err))
}

// search gives the entries below a base, or the base itself, that a filter
// finds. A base that is not there is an error: the configuration names it.
func (c *conn) search(base string, scope int, filter string, most int, attributes ...string) ([]*ldap.Entry, error) {
	seconds := max(1, int(c.timeout/time.Second))
	found, err := c.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, most, seconds, false, filter, attributes, nil))
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) && found != nil && len(found.Entries) >= most {
		return found.Entries, nil // as many as were asked for; fewer would be a bound of the server's own
	}
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
		err = fmt.Errorf("there is no such entry, or the account may not see it: %w", err)
	}
	if err != nil {
		return nil, c.server.silent(fmt.Errorf("search %s for %s: %w", base, filter, err))
	}
	return found.Entries, nil // referrals to other servers are left alone
}

// boundedConn ends a connection that says too much.
type boundedConn struct {
	net.Conn
	left int
}

var errTooMuch = errors.New("the directory says too much")

func (b *boundedConn) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.Conn.Read(p)
	b.left -= n
	return n, err
}
