// Package oidc signs people in with the company's OpenID provider (Keycloak,
// Entra ID, Okta, Google and others): authorization code with PKCE.
//
//	browser → /sign-in/oidc           Begin: cookie with state, nonce, verifier
//	        → issuer                  the person proves himself there
//	        → /sign-in/oidc/callback  Finish: cookie, state, code → id token → identity
//
// The cookie is encrypted, lives for ten minutes and is for one sign-in, so
// that several tabs don't disturb each other. Whatever comes back is believed
// only if it fits the cookie of this very browser, and the id token only if the
// issuer's own key has signed it, for us, for this sign-in, just now.
//
// The issuer is looked up when it is first needed, and again after a failure:
// the server starts while it is down.
package oidc

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
)

// Config is the section sign_in.oidc of server.yaml.
type Config struct {
	Issuer           string        `yaml:"issuer"`             // https://…, exactly as the issuer writes it itself
	ClientID         string        `yaml:"client_id"`          // as which we are registered there
	ClientSecretFile string        `yaml:"client_secret_file"` // file with the secret, 16 bytes at least; "" = a public client, with PKCE alone
	Scopes           []string      `yaml:"scopes"`             // [] = openid, profile, email
	UsernameClaim    string        `yaml:"username_claim"`     // the user name; "" = preferred_username
	GroupsClaim      string        `yaml:"groups_claim"`       // a name or a list of names; dots lead into objects; "" = groups
	Audience         string        `yaml:"audience"`           // that the id token must name beside client_id; "" = none
	CAFile           string        `yaml:"ca_file"`            // PEM certificates to believe; "" = the system's
	Timeout          time.Duration `yaml:"timeout"`            // of one request to the issuer; 0 = 10s; 1s to 1m
	Logout           bool          `yaml:"logout"`             // signing out here goes on to signing out there
	Insecure         bool          `yaml:"insecure"`           // http://, to a loopback address alone
}

const (
	defaultTimeout = 10 * time.Second
	minSecret      = 16 // bytes; the key of the cookies is made of it
)

func bad(key, format string, args ...any) *restart.Error {
	return restart.Errorf(restart.CodeInvalid, "sign_in.oidc."+key+": "+format, args...)
}

// Filled gives the configuration with its defaults. It refuses what can't work,
// and says what to write instead (CodeInvalid).
func (c Config) Filled() (Config, error) {
	for value, otherwise := range map[*string]string{&c.UsernameClaim: "preferred_username", &c.GroupsClaim: "groups"} {
		if *value == "" {
			*value = otherwise
		}
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"openid", "profile", "email"}
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Timeout < time.Second || c.Timeout > time.Minute {
		return c, bad("timeout", "%s is not from 1s to 1m", c.Timeout)
	}
	if c.Issuer == "" {
		return c, bad("issuer", "is not given").WithHint("such as https://id.example.com/realms/company, as the issuer writes it in its /.well-known/openid-configuration")
	}
	if err := c.checkURL("issuer", c.Issuer); err != nil {
		return c, err
	}
	if c.ClientID == "" || !plain(c.ClientID) {
		return c, bad("client_id", "%s can't be it", restart.Quote(c.ClientID)).WithHint("as which restartilka is registered at the issuer")
	}
	if !slices.Contains(c.Scopes, "openid") {
		return c, bad("scopes", "openid is not among them").WithHint("such as scopes: [openid, profile, email, groups]")
	}
	for _, s := range c.Scopes {
		if !plain(s) || strings.ContainsAny(s, ` "\`) {
			return c, bad("scopes", "%s is not a scope", restart.Quote(s))
		}
	}
	for key, claim := range map[string]string{"username_claim": c.UsernameClaim, "groups_claim": c.GroupsClaim, "audience": c.Audience} {
		if !plain(claim) {
			return c, bad(key, "%s can't be it", restart.Quote(claim))
		}
	}
	return c, nil
}

// checkURL accepts an address that nobody on the way can read or change.
func (c Config) checkURL(key, text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.User != nil || u.Fragment != "":
		return bad(key, "%s is not the address of a page", restart.Quote(text)).WithHint("such as https://id.example.com/realms/company")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http" || !c.Insecure:
		return bad(key, "%s is not https://", restart.Quote(text)).WithHint("without TLS anybody on the way could sign in as anybody")
	case !outgoing.Local(u):
		return bad("insecure", "is for an issuer at a loopback address, not for %s", restart.Quote(text)).WithHint("write https://")
	}
	return nil
}

func plain(s string) bool {
	return restart.Escape(s) == s && strings.TrimSpace(s) == s && len(s) <= 256
}
