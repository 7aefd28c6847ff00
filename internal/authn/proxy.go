package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// ProxyConfig is sign_in.proxy: a proxy in front, such as nginx with
// oauth2-proxy, which has found out who asks and says so in headers. Without
// addresses it is off.
type ProxyConfig struct {
	Addresses    []string `yaml:"addresses"`     // of the proxy, as this server sees its connections: addresses or networks (CIDR)
	UserHeader   string   `yaml:"user_header"`   // has the user name, such as X-Forwarded-User
	GroupsHeader string   `yaml:"groups_header"` // has the groups, with commas between them; "" = none
}

var headerName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)

// Check tells what is wrong with it.
func (c ProxyConfig) Check() error {
	_, err := NewProxy(c, People{})
	return err
}

// Proxy recognises people by the headers of a proxy, and believes only what
// comes over a connection from one of the proxy's own addresses: on any other
// the headers mean nothing.
type Proxy struct {
	networks     []netip.Prefix
	user, groups string // canonical header names
	people       People
}

// NewProxy gives the method. One without addresses recognises nobody.
func NewProxy(c ProxyConfig, people People) (*Proxy, error) {
	p := &Proxy{user: http.CanonicalHeaderKey(c.UserHeader), groups: http.CanonicalHeaderKey(c.GroupsHeader), people: people}
	for _, text := range c.Addresses {
		network, err := parseNetwork(text)
		if err != nil {
			return nil, err
		}
		p.networks = append(p.networks, network)
	}
	if len(p.networks) == 0 {
		if p.user != "" || p.groups != "" {
			return nil, errors.New("addresses is needed: without it nobody's headers are believed")
		}
		return p, nil
	}
	if p.user == "" {
		return nil, errors.New("user_header is needed")
	}
	for _, name := range []string{p.user, p.groups} {
		if name != "" && (!headerName.MatchString(name) || slices.Contains([]string{"Authorization", "Cookie", "Host", "Origin", "Sec-Fetch-Site"}, name)) {
			return nil, fmt.Errorf("%s can't be a header for this", restart.Quote(name))
		}
	}
	if p.user == p.groups {
		return nil, errors.New("user_header and groups_header are the same")
	}
	return p, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return network, fmt.Errorf("addresses: %s is neither an address nor a network such as 10.0.0.0/24", restart.Quote(text))
	}
	if network.Bits() == 0 {
		return network, fmt.Errorf("addresses: %s is everybody", text)
	}
	return network.Masked(), nil
}

// Authenticate implements Method. A person is taken in as with a sign-in: the
// first time with a record, and then whenever his groups have changed.
func (p *Proxy) Authenticate(ctx context.Context, r *http.Request) (restart.Actor, error) {
	if !p.trusts(r) {
		return restart.Actor{}, nil
	}
	id, err := p.identity(r.Header)
	var actor restart.Actor
	if err == nil && id.Name != "" {
		actor, err = p.people.Admit(ctx, id)
	}
	if e, ok := errors.AsType[*restart.Error](err); ok && e.Code == restart.CodeUnauthorised {
		// He has signed in, at the proxy: to be sent to sign in would tell him nothing.
		return restart.Actor{}, restart.Errorf(restart.CodeForbidden, "%s", e.Message).WithHint("%s", e.Hint)
	}
	if err != nil || actor.Name == "" {
		return restart.Actor{}, err
	}
	actor.Via, actor.From = "web", from(r)
	return actor, nil
}

// trusts tells whether the connection is the proxy's. What a header says of
// where a request comes from is not looked at.
func (p *Proxy) trusts(r *http.Request) bool {
	if len(p.networks) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	address := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(address) })
}

// identity reads the headers. A header that is there twice is refused: the
// proxy sets it once, so the other came from outside and passed through.
func (p *Proxy) identity(h http.Header) (Identity, error) {
	id := Identity{Method: MethodProxy}
	name, err := once(h, p.user)
	if err != nil || name == "" {
		return id, err
	}
	id.Name = strings.ToLower(name)
	if p.groups != "" {
		groups, err := once(h, p.groups)
		if err != nil {
			return id, err
		}
		for g := range strings.SplitSeq(groups, ",") {
			if g = strings.TrimSpace(g); g != "" {
				id.Groups = append(id.Groups, g)
			}
		}
	}
	return id.checked()
}

func once(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return strings.TrimSpace(values[0]), nil
	}
	return "", restart.Errorf(restart.CodeUnauthorised, "the request has the header %s more than once", name).
		WithHint("the proxy must replace what comes from outside, not add to it")
}
