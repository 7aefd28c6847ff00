package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	skew       = time.Minute // how far the issuer's clock may be off
	unsaid     = time.Hour   // ago is when a person proved himself, where the issuer does not say it
	mostGroups = 500         // of one person
)

// claims is the body of an id token whose signature is good.
type claims map[string]any

func readClaims(b []byte) (claims, error) {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	var c claims
	if err := decoder.Decode(&c); err != nil {
		return nil, err
	}
	if c == nil {
		return nil, errors.New("the id token has no claims")
	}
	return c, nil
}

// at gives what a path leads to: the claim of that very name, dots included, or
// else one within objects. nil = nothing.
func (c claims) at(path string) any {
	if v, ok := c[path]; ok {
		return v
	}
	for i, r := range path {
		if r != '.' {
			continue
		}
		if within, ok := c[path[:i]].(map[string]any); ok {
			if v := claims(within).at(path[i+1:]); v != nil {
				return v
			}
		}
	}
	return nil
}

func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// seconds gives a claim that is a time; ok = false where there is none.
func (c claims) seconds(name string) (time.Time, bool, error) {
	v, there := c[name]
	if !there || v == nil {
		return time.Time{}, false, nil
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false, fmt.Errorf("%s is not a number", name)
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > 1<<40 {
		return time.Time{}, false, fmt.Errorf("%s is not a time", name)
	}
	return time.Unix(int64(f), 0), true, nil
}

// times checks that the token is of now. since is when the person was asked to
// prove himself anew; zero = he was not.
func (c claims) times(now, since time.Time) error {
	expires, ok, err := c.seconds("exp")
	if err != nil {
		return err
	}
	if !ok || now.After(expires.Add(skew)) {
		return errors.New("the id token has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		at, ok, err := c.seconds(name)
		if err != nil {
			return err
		}
		if !ok && name == "iat" {
			return errors.New("the id token does not say when it was made")
		}
		if ok && at.After(now.Add(skew)) {
			return fmt.Errorf("the id token is of the future (%s): the clocks of the issuer and of this server differ", name)
		}
	}
	if since.IsZero() {
		return nil
	}
	at, ok, err := c.seconds("auth_time")
	if err != nil {
		return err
	}
	if !ok || at.Before(since.Add(-skew)) {
		return errors.New("the id token does not say that the person has proved himself anew (auth_time)")
	}
	return nil
}

// proved gives when the person proved himself at the issuer: often earlier than
// just now, for an issuer knows him for the day.
func (c claims) proved(now time.Time) time.Time {
	at, ok, err := c.seconds("auth_time")
	switch {
	case err != nil || !ok:
		return now.Add(-unsaid)
	case at.After(now):
		return now
	}
	return at
}

// party checks for whom the token is, where it names several.
func (c claims) party(clientID, audience string) error {
	all, err := names(c["aud"])
	if err != nil {
		return fmt.Errorf("aud: %w", err)
	}
	azp, _ := c["azp"].(string)
	if (len(all) > 1 || azp != "") && azp != clientID {
		return fmt.Errorf("the id token was made for %s", restart.Quote(azp))
	}
	if audience == "" || slices.Contains(all, audience) {
		return nil
	}
	return fmt.Errorf("the audience %s is not named in the id token", restart.Quote(audience))
}

// identity reads who it is.
func (c claims) identity(cfg Config) (authn.Identity, error) {
	name, _ := c.at(cfg.UsernameClaim).(string)
	if name == "" {
		return authn.Identity{}, fmt.Errorf("the id token has no claim %s", cfg.UsernameClaim)
	}
	mail := c.text("email")
	if !c.mailVerified() {
		if cfg.UsernameClaim == "email" {
			return authn.Identity{}, errors.New("the issuer has not verified the mail address (email_verified), which is the user name")
		}
		mail = ""
	}
	name = strings.ToLower(name)
	if err := restart.CheckPerson(name); err != nil {
		return authn.Identity{}, err
	}
	subject := c.text("sub")
	if subject == "" || len(subject) > 255 {
		return authn.Identity{}, errors.New("the id token has no usable sub")
	}
	groups, err := names(c.at(cfg.GroupsClaim))
	if err != nil {
		return authn.Identity{}, fmt.Errorf("%s: %w", cfg.GroupsClaim, err)
	}
	return authn.Identity{Name: name, Method: authn.MethodOIDC, Subject: subject, Groups: groups, Mail: mail, Display: c.text("name")}, nil
}

// mailVerified takes the text "true" too: some issuers write it.
func (c claims) mailVerified() bool {
	return c["email_verified"] == true || c["email_verified"] == "true"
}

// names reads one name or a list of them.
func names(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		if v == "" {
			return nil, nil
		}
		return []string{v}, nil
	case []any:
		if len(v) > mostGroups {
			return nil, fmt.Errorf("it has more than %d names: let the issuer send those alone that matter here", mostGroups)
		}
		var out []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, errors.New("it is not a list of names")
			}
			if s != "" {
				out = append(out, s)
			}
		}
		return out, nil
	}
	return nil, errors.New("it is neither a name nor a list of names")
}
