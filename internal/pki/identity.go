package pki

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

const scheme = "restartilka"

// Role is what the owner of a certificate is to the product.
type Role string

// The roles a certificate can carry.
const (
	RoleServer Role = "server" // calls agents
	RoleAgent  Role = "agent"  // answers servers
	RoleWeb    Role = "web"    // answers people
)

// Identity is the one answer to whose certificate it is.
type Identity struct {
	Role Role
	Name string // a host name by RFC 1123
}

// String gives the URI that stands in the certificate.
func (id Identity) String() string { return scheme + "://" + string(id.Role) + "/" + id.Name }

func (id Identity) url() *url.URL {
	return &url.URL{Scheme: scheme, Host: string(id.Role), Path: "/" + id.Name}
}

// IdentityOf reads the restartilka URI of a certificate; ok is false where it
// has none. Several of them, or one that is not in the canonical form, give
// CodeCertificate.
func IdentityOf(cert *x509.Certificate) (id Identity, ok bool, err error) {
	for _, u := range cert.URIs {
		if u.Scheme != scheme {
			continue
		}
		if ok {
			return Identity{}, false, restart.Errorf(restart.CodeCertificate, "the certificate carries more than one restartilka identity: %s", Names(cert))
		}
		id = Identity{Role: Role(u.Host), Name: strings.TrimPrefix(u.Path, "/")}
		if id.String() != u.String() || !slices.Contains([]Role{RoleServer, RoleAgent, RoleWeb}, id.Role) || restart.CheckHost(id.Name) != nil {
			return Identity{}, false, restart.Errorf(restart.CodeCertificate, "the certificate carries the unreadable identity %s", restart.Quote(u.String()))
		}
		ok = true
	}
	return id, ok, nil
}

// Is tells whether the certificate is that of id: by its restartilka URI, or,
// only where it has none, by a DNS name equal to id.Name. The error says which
// names the certificate has instead (CodeCertificate). It does not tell whether
// the certificate is to be trusted, or for which use.
func Is(cert *x509.Certificate, id Identity) error {
	own, ok, err := IdentityOf(cert)
	if err != nil {
		return err
	}
	if own == id || (!ok && restart.CheckHost(id.Name) == nil && slices.Contains(cert.DNSNames, id.Name)) {
		return nil
	}
	return restart.Errorf(restart.CodeCertificate, "the certificate is not that of %s %s: it is for %s", id.Role, id.Name, Names(cert)).
		WithHint("it must carry the URI %s, or, from a company's authority, exactly the DNS name %s", id, id.Name)
}

// Names lists for people whom a certificate is for: its URIs, DNS names and
// addresses, escaped, at most eight of them.
func Names(cert *x509.Certificate) string {
	var names []string
	for _, u := range cert.URIs {
		names = append(names, restart.Quote(u.String()))
	}
	for _, name := range cert.DNSNames {
		names = append(names, restart.Quote(name))
	}
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "nobody: it has no names but the subject " + restart.Quote(cert.Subject.String())
	}
	if len(names) > 8 {
		names = append(names[:8], "…")
	}
	return strings.Join(names, ", ")
}
