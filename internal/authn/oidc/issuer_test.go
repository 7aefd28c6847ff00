package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authn/oidc"
)

const clientSecret = "a secret of the client, long enough"

// hostile is an issuer made by hand, which does whatever a test wants.
type hostile struct {
	t      *testing.T
	server *httptest.Server
	key    *ecdsa.PrivateKey

	mu       sync.Mutex
	metadata map[string]any // over what is right
	claims   map[string]any // over what is right; nil takes a claim away
	sign     func(h *hostile, claims []byte) string
	token    http.HandlerFunc // instead of the right answer
	nonce    string
	asked    []*url.Values // forms of the token endpoint
	found    int           // times that the metadata were asked for
	down     bool
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &hostile{t: t, key: key, metadata: map[string]any{}, claims: map[string]any{}}
	h.server = httptest.NewTLSServer(h)
	t.Cleanup(h.server.Close)
	return h
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		http.Error(w, "gone fishing", http.StatusServiceUnavailable)
		return
	}
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	base := h.server.URL
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		h.found++
		says := map[string]any{
			"issuer": base, "authorization_endpoint": base + "/authorize", "token_endpoint": base + "/token", "jwks_uri": base + "/keys",
			"end_session_endpoint": base + "/logout?from=here", "id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"},
		}
		maps.Copy(says, h.metadata)
		reply(says)
	case "/keys":
		reply(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: h.key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	case "/token":
		if err := r.ParseForm(); err != nil {
			h.t.Error(err)
		}
		h.asked = append(h.asked, &r.PostForm)
		if h.token != nil {
			h.token(w, r)
			return
		}
		reply(map[string]any{"access_token": "access", "token_type": "Bearer", "id_token": h.idToken()})
	default:
		http.NotFound(w, r)
	}
}

func (h *hostile) idToken() string {
	now := time.Now()
	says := map[string]any{
		"iss": h.server.URL, "aud": "restartilka", "sub": "the person's own id", "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "nonce": h.nonce,
		"preferred_username": "Anna", "groups": []string{"web", "shop"}, "email": "anna@example.com", "email_verified": true, "name": "Anna A.",
	}
	for name, v := range h.claims {
		if says[name] = v; v == nil {
			delete(says, name)
		}
	}
	b, err := json.Marshal(says)
	if err != nil {
		h.t.Error(err)
	}
	if h.sign != nil {
		return h.sign(h, b)
	}
	return signed(h.t, jose.ES256, h.key, b)
}

func signed(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims []byte) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	signature, err := signer.Sign(claims)
	if err != nil {
		t.Error(err)
		return ""
	}
	compact, err := signature.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return compact
}

// unsigned is what alg "none" looks like.
func unsigned(claims []byte) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + part(claims) + "."
}

func (h *hostile) config() oidc.Config {
	h.t.Helper()
	dir := h.t.TempDir()
	ca, secretFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "secret")
	write(h.t, ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.server.Certificate().Raw}))
	write(h.t, secretFile, []byte(clientSecret+"\n"))
	return oidc.Config{Issuer: h.server.URL, ClientID: "restartilka", ClientSecretFile: secretFile, CAFile: ca}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, o oidc.Options) *oidc.Provider {
	t.Helper()
	o.Callback, o.Home = "https://restart.example.com/sign-in/oidc/callback", "https://restart.example.com/sign-in"
	p, err := oidc.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// browser keeps cookies as one does.
type browser struct{ cookies map[string]string }

func (b *browser) request(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

func (b *browser) keep(t *testing.T, resp *http.Response) {
	t.Helper()
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if b.cookies == nil {
		b.cookies = map[string]string{}
	}
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		if !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || c.MaxAge > 600 {
			t.Errorf("cookie %+v", c)
		}
		b.cookies[c.Name] = c.Value
	}
}

// begin gives what the browser is sent to the issuer with.
func (b *browser) begin(t *testing.T, p *oidc.Provider, target, next string) url.Values {
	t.Helper()
	w := httptest.NewRecorder()
	if err := p.Begin(w, b.request(target), next); err != nil {
		t.Fatal(err)
	}
	b.keep(t, w.Result())
	if w.Code != http.StatusSeeOther {
		t.Fatalf("status %d", w.Code)
	}
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return to.Query()
}

func (b *browser) finish(t *testing.T, p *oidc.Provider, answer url.Values) (authn.Identity, string, error) {
	t.Helper()
	w := httptest.NewRecorder()
	id, next, err := p.Finish(w, b.request("/sign-in/oidc/callback?"+answer.Encode()))
	b.keep(t, w.Result())
	return id, next, err
}

// signIn goes the whole way with an issuer that lets everybody in.
func (h *hostile) signIn(t *testing.T, p *oidc.Provider) (authn.Identity, string, error) {
	t.Helper()
	b := &browser{}
	asked := b.begin(t, p, "/sign-in/oidc", "/runs?service=web")
	h.mu.Lock()
	h.nonce = asked.Get("nonce")
	h.mu.Unlock()
	return b.finish(t, p, url.Values{"state": {asked.Get("state")}, "code": {"the code"}})
}
