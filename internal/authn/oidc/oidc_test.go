package oidc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/oauth2-proxy/mockoidc"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authn/oidc"
	"github.com/restartilka/restartilka/internal/restart"
)

var _ authn.Redirect = (*oidc.Provider)(nil)

var anna = authn.Identity{Name: "anna", Method: "oidc", Subject: "the person's own id", Groups: []string{"web", "shop"}, Mail: "anna@example.com", Display: "Anna A."}

func TestSignIn(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	p := open(t, oidc.Options{Config: h.config()})
	b := &browser{}
	asked := b.begin(t, p, "/sign-in/oidc", "/runs?service=web")
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "restartilka", "scope": "openid profile email", "code_challenge_method": "S256",
		"redirect_uri": "https://restart.example.com/sign-in/oidc/callback",
	} {
		if got := asked.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if asked.Has("prompt") || len(asked.Get("state")) < 20 || len(asked.Get("nonce")) < 20 || asked.Get("state") == asked.Get("nonce") {
		t.Errorf("asked with %v", asked)
	}
	h.nonce = asked.Get("nonce")
	answer := url.Values{"state": {asked.Get("state")}, "code": {"the code"}}
	copied := maps.Clone(b.cookies)
	id, next, err := b.finish(t, p, answer)
	if err != nil {
		t.Fatal(err)
	}
	if ago := time.Since(id.ProvedAt); ago < 50*time.Minute {
		t.Errorf("the issuer does not say when she proved herself, and it counts as %s ago", ago)
	}
	id.ProvedAt = time.Time{}
	if diff := cmp.Diff(anna, id); diff != "" || next != "/runs?service=web" {
		t.Errorf("next %q, %s", next, diff)
	}
	if len(b.cookies) != 0 {
		t.Errorf("cookies are left: %v", b.cookies)
	}
	form := h.asked[0]
	challenge := sha256.Sum256([]byte(form.Get("code_verifier")))
	if form.Get("code") != "the code" || base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge") {
		t.Errorf("the token endpoint got %v", form)
	}
	// The same answer once more: without the cookie, and with a copy of it.
	for _, again := range []*browser{b, {cookies: copied}} {
		if _, _, err := again.finish(t, p, answer); restart.CodeOf(err) != restart.CodeUnauthorised {
			t.Errorf("the same answer again: %v", err)
		}
	}
	if len(h.asked) != 1 {
		t.Errorf("%d codes were sent", len(h.asked))
	}
}

// The real program of others does the other side.
func TestSignInWithMockOIDC(t *testing.T) {
	t.Parallel()
	h := newHostile(t) // for its certificate
	m, err := mockoidc.NewServer(nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(tls.NewListener(plain, h.server.TLS), h.server.TLS); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Shutdown() })
	c := h.config()
	c.Issuer, c.ClientID, c.Scopes = m.Issuer(), m.ClientID, []string{"openid", "profile", "email", "groups"}
	write(t, c.ClientSecretFile, []byte(m.ClientSecret))
	p := open(t, oidc.Options{Config: c})

	visit := func(user *mockoidc.MockUser) (authn.Identity, error) {
		m.QueueUser(user)
		b := &browser{}
		to := m.AuthorizationEndpoint() + "?" + b.begin(t, p, "/sign-in/oidc", "/").Encode()
		client := h.server.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		back, err := resp.Location()
		if err != nil {
			t.Fatalf("status %s: %v", resp.Status, err)
		}
		id, _, err := b.finish(t, p, back.Query())
		return id, err
	}
	id, err := visit(&mockoidc.MockUser{Subject: "1", PreferredUsername: "anna", Email: "anna@example.com", EmailVerified: true, Groups: []string{"web"}})
	if err != nil {
		t.Fatal(err)
	}
	id.ProvedAt = time.Time{}
	if diff := cmp.Diff(authn.Identity{Name: "anna", Method: "oidc", Subject: "1", Groups: []string{"web"}, Mail: "anna@example.com"}, id); diff != "" {
		t.Error(diff)
	}
	if _, err := visit(&mockoidc.MockUser{Subject: "2", PreferredUsername: "../../etc", Groups: []string{"web"}}); restart.CodeOf(err) != restart.CodeUnauthorised {
		t.Errorf("a name that is none: %v", err)
	}
}

// Each of these is refused, and none of them stops the server.
func TestHostileIssuers(t *testing.T) {
	t.Parallel()
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, v any) func(*hostile) {
		return func(h *hostile) { h.claims[name] = v }
	}
	sign := func(f func(h *hostile, claims []byte) string) func(*hostile) {
		return func(h *hostile) { h.sign = f }
	}
	now := time.Now()
	for name, change := range map[string]func(*hostile){
		"alg none":              sign(func(_ *hostile, c []byte) string { return unsigned(c) }),
		"HS256 with our secret": sign(func(h *hostile, c []byte) string { return signed(h.t, jose.HS256, []byte(clientSecret), c) }),
		"another key":           sign(func(h *hostile, c []byte) string { return signed(h.t, jose.ES256, other, c) }),
		"cut off":               sign(func(h *hostile, c []byte) string { s := signed(h.t, jose.ES256, h.key, c); return s[:len(s)-10] }),
		"no token at all":       sign(func(*hostile, []byte) string { return "" }),
		"text":                  sign(func(*hostile, []byte) string { return "<html>" }),
		"claims that are none":  sign(func(h *hostile, _ []byte) string { return signed(h.t, jose.ES256, h.key, []byte(`[1,2]`)) }),
		"null":                  sign(func(h *hostile, _ []byte) string { return signed(h.t, jose.ES256, h.key, []byte(`null`)) }),
		"another issuer":        claim("iss", "https://evil.example.com"),
		"another audience":      claim("aud", "somebody-else"),
		"two audiences, no azp": claim("aud", []string{"restartilka", "somebody-else"}),
		"another azp":           claim("azp", "somebody-else"),
		"no nonce":              claim("nonce", nil),
		"another nonce":         claim("nonce", "x"),
		"expired":               claim("exp", now.Add(-2*time.Minute).Unix()),
		"no expiry":             claim("exp", nil),
		"expiry is text":        claim("exp", "tomorrow"),
		"expiry is huge":        claim("exp", 1e300),
		"of the future":         claim("iat", now.Add(2*time.Minute).Unix()),
		"not yet":               claim("nbf", now.Add(2*time.Minute).Unix()),
		"made at no time":       claim("iat", nil),
		"another access token":  claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"no name":               claim("preferred_username", nil),
		"a name that is none":   claim("preferred_username", "../admin"),
		"a name with an escape": claim("preferred_username", "anna\x1b[2J"),
		"a name that is a list": claim("preferred_username", []string{"anna"}),
		"no subject":            claim("sub", ""),
		"groups are a number":   claim("groups", 7),
		"groups of numbers":     claim("groups", []any{"web", 7}),
		"too many groups":       claim("groups", slices.Repeat([]string{"g"}, 501)),
		"the code is refused": func(h *hostile) {
			h.token = func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			}
		},
		"no id token": func(h *hostile) {
			h.token = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"access_token":"a","token_type":"Bearer"}`))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			change(h)
			id, next, err := h.signIn(t, open(t, oidc.Options{Config: h.config()}))
			if restart.CodeOf(err) != restart.CodeUnauthorised || id.Name != "" || next != "" {
				t.Errorf("%+v, %q, %v", id, next, err)
			}
			if err != nil && restart.Escape(err.Error()) != err.Error() {
				t.Errorf("the error is not harmless: %q", err)
			}
		})
	}
}

func TestAcceptable(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tc := range map[string]struct {
		claims map[string]any
		config func(*oidc.Config)
		groups []string
		user   string
	}{
		"a clock that is off":         {claims: map[string]any{"exp": now.Add(-30 * time.Second).Unix(), "iat": now.Add(30 * time.Second).Unix()}, groups: anna.Groups, user: "anna"},
		"numbers with a point":        {claims: map[string]any{"exp": float64(now.Unix()) + 60.5}, groups: anna.Groups, user: "anna"},
		"two audiences, made for us":  {claims: map[string]any{"aud": []string{"api", "restartilka"}, "azp": "restartilka"}, config: func(c *oidc.Config) { c.Audience = "api" }, groups: anna.Groups, user: "anna"},
		"no groups":                   {claims: map[string]any{"groups": nil}, user: "anna"},
		"one group":                   {claims: map[string]any{"groups": "web"}, groups: []string{"web"}, user: "anna"},
		"groups within objects":       {claims: map[string]any{"realm_access": map[string]any{"roles": []string{"web"}}}, config: func(c *oidc.Config) { c.GroupsClaim = "realm_access.roles" }, groups: []string{"web"}, user: "anna"},
		"groups by a name with dots":  {claims: map[string]any{"https://example.com/groups": []string{"web"}}, config: func(c *oidc.Config) { c.GroupsClaim = "https://example.com/groups" }, groups: []string{"web"}, user: "anna"},
		"another claim for the name":  {claims: map[string]any{"nick": "ANN"}, config: func(c *oidc.Config) { c.UsernameClaim = "nick" }, groups: anna.Groups, user: "ann"},
		"a public client":             {config: func(c *oidc.Config) { c.ClientSecretFile = "" }, groups: anna.Groups, user: "anna"},
		"mail verified as text":       {claims: map[string]any{"email_verified": "true"}, groups: anna.Groups, user: "anna"},
		"mail as a name, verified":    {config: func(c *oidc.Config) { c.UsernameClaim = "email" }, groups: anna.Groups, user: "anna@example.com"},
		"mail as a name, unverified":  {claims: map[string]any{"email_verified": false}, config: func(c *oidc.Config) { c.UsernameClaim = "email" }},
		"mail as a name, not said":    {claims: map[string]any{"email_verified": nil}, config: func(c *oidc.Config) { c.UsernameClaim = "email" }},
		"an audience that is missing": {config: func(c *oidc.Config) { c.Audience = "api" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			if tc.claims != nil {
				h.claims = tc.claims
			}
			c := h.config()
			if tc.config != nil {
				tc.config(&c)
			}
			id, _, err := h.signIn(t, open(t, oidc.Options{Config: c}))
			if tc.user == "" && restart.CodeOf(err) != restart.CodeUnauthorised {
				t.Errorf("%+v, %v", id, err)
			}
			if tc.user != "" && (err != nil || id.Name != tc.user || !slices.Equal(id.Groups, tc.groups)) {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}

func TestAnswersThatWereNotAskedFor(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.metadata["authorization_response_iss_parameter_supported"] = true
	now := time.Now()
	p := open(t, oidc.Options{Config: h.config(), Now: func() time.Time { return now }})
	good := func(b *browser) url.Values {
		asked := b.begin(t, p, "/sign-in/oidc", "/")
		h.nonce = asked.Get("nonce")
		return url.Values{"state": {asked.Get("state")}, "code": {"the code"}, "iss": {h.server.URL}}
	}
	if _, _, err := func() (authn.Identity, string, error) { b := &browser{}; return b.finish(t, p, good(b)) }(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b *browser, answer url.Values){
		"no state":          func(_ *browser, a url.Values) { a.Del("state") },
		"another state":     func(_ *browser, a url.Values) { a.Set("state", "x") },
		"a huge state":      func(_ *browser, a url.Values) { a.Set("state", strings.Repeat("x", 10000)) },
		"another browser":   func(b *browser, _ url.Values) { b.cookies = nil },
		"a forged cookie":   func(b *browser, _ url.Values) { setAll(b, "AAAA") },
		"no base64":         func(b *browser, _ url.Values) { setAll(b, "…") },
		"no code":           func(_ *browser, a url.Values) { a.Del("code") },
		"a huge code":       func(_ *browser, a url.Values) { a.Set("code", strings.Repeat("x", 5000)) },
		"no iss":            func(_ *browser, a url.Values) { a.Del("iss") },
		"another iss":       func(_ *browser, a url.Values) { a.Set("iss", "https://evil.example.com") },
		"eleven minutes on": func(*browser, url.Values) { now = now.Add(11 * time.Minute) },
		"an error": func(_ *browser, a url.Values) {
			a.Del("code")
			a.Set("error", "access_denied")
			a.Set("error_description", "<script>\x1b[2J\u202e"+strings.Repeat("x", 5000))
		},
		"the cookie of another tab": func(b *browser, _ url.Values) {
			other := &browser{}
			good(other)
			for name := range b.cookies {
				for _, value := range other.cookies {
					b.cookies[name] = value
				}
			}
		},
	} {
		b := &browser{}
		answer := good(b)
		change(b, answer)
		id, _, err := b.finish(t, p, answer)
		if restart.CodeOf(err) != restart.CodeUnauthorised || id.Name != "" {
			t.Errorf("%s: %+v, %v", name, id, err)
			continue
		}
		if text := err.Error(); restart.Escape(text) != text || len(text) > 500 {
			t.Errorf("%s: the error is not harmless: %q", name, text)
		}
	}
}

func setAll(b *browser, value string) {
	for name := range b.cookies {
		b.cookies[name] = value
	}
}

func TestSeveralTabs(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	c := h.config()
	p, replica := open(t, oidc.Options{Config: c}), open(t, oidc.Options{Config: c})
	b := &browser{}
	first, second := b.begin(t, p, "/sign-in/oidc", "/first"), b.begin(t, p, "/sign-in/oidc", "/second")
	for _, tab := range []struct {
		asked url.Values
		next  string
	}{{second, "/second"}, {first, "/first"}} {
		h.nonce = tab.asked.Get("nonce")
		_, next, err := b.finish(t, replica, url.Values{"state": {tab.asked.Get("state")}, "code": {"c"}}) // whichever server is asked
		if err != nil || next != tab.next {
			t.Errorf("%q, %v", next, err)
		}
	}
	for range 30 {
		b.begin(t, p, "/sign-in/oidc", "/")
	}
	if len(b.cookies) > 7 {
		t.Errorf("%d cookies", len(b.cookies))
	}
}

// Who signs in again for administration must not come through by what the
// issuer still knows.
func TestAgain(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	p := open(t, oidc.Options{Config: h.config()})
	again := func(at any) error {
		h.claims["auth_time"] = at
		b := &browser{}
		asked := b.begin(t, p, "/sign-in/oidc?again=1", "/")
		if asked.Get("prompt") != "login" || asked.Get("max_age") != "0" {
			t.Errorf("asked with %v", asked)
		}
		h.nonce = asked.Get("nonce")
		id, _, err := b.finish(t, p, url.Values{"state": {asked.Get("state")}, "code": {"c"}})
		if err == nil && time.Since(id.ProvedAt) > 5*time.Second {
			t.Errorf("proved at %s", id.ProvedAt)
		}
		return err
	}
	if err := again(time.Now().Unix()); err != nil {
		t.Error(err)
	}
	for _, at := range []any{nil, time.Now().Add(-2 * time.Minute).Unix(), "now"} {
		if err := again(at); restart.CodeOf(err) != restart.CodeUnauthorised {
			t.Errorf("auth_time %v: %v", at, err)
		}
	}
}

// The server starts while its issuer is down, asks again later, and does not
// ask for each visitor.
func TestTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	h.down = true
	now := time.Now()
	p := open(t, oidc.Options{Config: h.config(), Now: func() time.Time { return now }})
	begin := func() error {
		return p.Begin(nopWriter{}, (&browser{}).request("/sign-in/oidc"), "/")
	}
	for range 3 {
		if err := begin(); restart.CodeOf(err) != restart.CodeUnavailable {
			t.Fatal(err)
		}
	}
	if err := p.Try(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("config check says %v", err)
	}
	h.down = false
	if err := begin(); restart.CodeOf(err) != restart.CodeUnavailable || h.found != 0 {
		t.Errorf("it was asked again at once: %v", err)
	}
	now = now.Add(6 * time.Second)
	if _, _, err := h.signIn(t, p); err != nil || h.found != 1 {
		t.Errorf("%d, %v", h.found, err)
	}
	now = now.Add(2 * time.Hour)
	h.down = true
	if err := begin(); err != nil {
		t.Errorf("what it said before is good: %v", err)
	}
	h.server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(t, oidc.Options{Config: h.config()}).Try(ctx); err == nil {
		t.Error("a closed issuer answers")
	}
}

type nopWriter struct{}

func (nopWriter) Header() http.Header         { return http.Header{} }
func (nopWriter) Write(b []byte) (int, error) { return len(b), nil }
func (nopWriter) WriteHeader(int)             {}

func TestIssuersThatCantBeUsed(t *testing.T) {
	t.Parallel()
	var credentials int
	trap := newHostile(t)
	trap.token = func(http.ResponseWriter, *http.Request) { credentials++ }
	for name, change := range map[string]func(*hostile){
		"another issuer":     func(h *hostile) { h.metadata["issuer"] = "https://evil.example.com" },
		"a page without TLS": func(h *hostile) { h.metadata["authorization_endpoint"] = "http://evil.example.com/authorize" },
		"tokens without TLS": func(h *hostile) { h.metadata["token_endpoint"] = "http://127.0.0.1/token" },
		"a script":           func(h *hostile) { h.metadata["authorization_endpoint"] = "javascript:alert(1)" },
		"no keys":            func(h *hostile) { h.metadata["jwks_uri"] = "" },
		"no S256":            func(h *hostile) { h.metadata["code_challenge_methods_supported"] = []string{"plain"} },
		"something huge":     func(h *hostile) { h.metadata["x"] = strings.Repeat("x", 2<<20) },
		"metadata of the cloud": func(h *hostile) {
			h.metadata["token_endpoint"] = "https://169.254.169.254/latest/meta-data"
		},
		"a redirect with the code": func(h *hostile) {
			h.token = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, trap.server.URL+"/token", http.StatusTemporaryRedirect)
			}
		},
		"our secret is wrong": func(h *hostile) {
			h.token = func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			}
		},
		"a huge answer": func(h *hostile) {
			h.token = func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 3<<20)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHostile(t)
			change(h)
			p := open(t, oidc.Options{Config: h.config()})
			b := &browser{}
			w := &recorder{header: http.Header{}}
			err := p.Begin(w, b.request("/sign-in/oidc"), "/")
			if err == nil {
				asked, parseErr := url.Parse(w.header.Get("Location"))
				if parseErr != nil {
					t.Fatal(parseErr)
				}
				b.keep(t, &http.Response{Header: w.header, Body: http.NoBody})
				h.nonce = asked.Query().Get("nonce")
				_, _, err = b.finish(t, p, url.Values{"state": {asked.Query().Get("state")}, "code": {"c"}})
			}
			if restart.CodeOf(err) != restart.CodeUnavailable {
				t.Errorf("%v", err)
			}
		})
	}
	if credentials != 0 {
		t.Error("a redirect was followed with the code and our secret")
	}
}

type recorder struct {
	nopWriter
	header http.Header
}

func (r *recorder) Header() http.Header { return r.header }

func TestLogout(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	c := h.config()
	if got := open(t, oidc.Options{Config: c}).Logout("s"); got != "" {
		t.Errorf("it is not asked for: %s", got)
	}
	c.Logout = true
	got, err := url.Parse(open(t, oidc.Options{Config: c}).Logout("s"))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"from": {"here"}, "client_id": {"restartilka"}, "post_logout_redirect_uri": {"https://restart.example.com/sign-in"}}
	if diff := cmp.Diff(want, got.Query()); diff != "" || got.Path != "/logout" {
		t.Errorf("%s %s", got, diff)
	}
	h.metadata["end_session_endpoint"] = "javascript:alert(1)"
	if got := open(t, oidc.Options{Config: c}).Logout("s"); got != "" {
		t.Error(got)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := oidc.Config{Issuer: "https://id.example.com/realms/company", ClientID: "restartilka"}
	if _, err := good.Filled(); err != nil {
		t.Fatal(err)
	}
	loopback := good
	loopback.Issuer, loopback.Insecure = "http://127.0.0.1:5556/dex", true
	if _, err := loopback.Filled(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*oidc.Config){
		"issuer: is not given":           func(c *oidc.Config) { c.Issuer = "" },
		"is not https://":                func(c *oidc.Config) { c.Issuer = "http://id.example.com" },
		"insecure: is for an issuer":     func(c *oidc.Config) { c.Issuer, c.Insecure = "http://id.example.com", true },
		"is not the address of a page":   func(c *oidc.Config) { c.Issuer = "https://me:pass@id.example.com" },
		"client_id: \"\" can't be it":    func(c *oidc.Config) { c.ClientID = "" },
		"scopes: openid is not among":    func(c *oidc.Config) { c.Scopes = []string{"profile"} },
		"scopes: \"a b\" is not a scope": func(c *oidc.Config) { c.Scopes = []string{"openid", "a b"} },
		"timeout: 5m0s is not":           func(c *oidc.Config) { c.Timeout = 5 * time.Minute },
		"groups_claim: ":                 func(c *oidc.Config) { c.GroupsClaim = "a\n" },
	} {
		c := good
		change(&c)
		if _, err := c.Filled(); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	h := newHostile(t)
	c := h.config()
	write(t, c.ClientSecretFile, []byte("short"))
	if _, err := oidc.Open(oidc.Options{Config: c}); restart.CodeOf(err) != restart.CodeInvalid {
		t.Error(err)
	}
}
