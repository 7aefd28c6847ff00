package api_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/internal/wire"
)

// withPeople is a server with people who may sign in.
func withPeople(t *testing.T, people map[string]restart.Role) *apitest.Server {
	t.Helper()
	over := storetest.Open(t, storetest.SQLite(t))
	for name, role := range people {
		if err := over.CreateUser(t.Context(), store.User{Name: name, Method: "local", Roles: []restart.Role{role}, CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	return apitest.StartOn(t, over, nil)
}

// publicLine is a line of a .pub file.
func publicLine(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func addKey(t *testing.T, s *apitest.Server, token string, header http.Header, req wire.KeyRequest) (apitest.Answer, wire.Key) {
	t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	resp := s.Request("POST", "/api/v1/keys", token, body, header)
	var k wire.Key
	if resp.StatusCode == http.StatusCreated {
		if err := json.NewDecoder(resp.Body).Decode(&k); err != nil {
			t.Fatal(err)
		}
	}
	return resp, k
}

// TestKeysTakeARecentSignIn: whoever finds a browser open lays no key.
func TestKeysTakeARecentSignIn(t *testing.T) {
	s := withPeople(t, map[string]restart.Role{"anna": developer})
	key := publicLine(t)
	late, fresh := cookie(t, s, "anna", 16*time.Minute), cookie(t, s, "anna", 14*time.Minute)
	if resp, _ := addKey(t, s, "", late, wire.KeyRequest{Key: key}); resp.StatusCode != http.StatusForbidden || problem(t, resp, 403).Code != restart.CodeSignInAgain {
		t.Error(resp.StatusCode)
	}
	resp, k := addKey(t, s, "", fresh, wire.KeyRequest{Key: key + " anna@laptop"})
	if resp.StatusCode != http.StatusCreated || k.Owner != "anna" || k.Name != "anna@laptop" || k.ExpiresAt != nil || !strings.HasPrefix(k.Fingerprint, "SHA256:") {
		t.Fatalf("%d %+v", resp.StatusCode, k)
	}
	// To take one away, none is needed: it gives nobody anything.
	if resp := s.Request("DELETE", "/api/v1/keys/"+k.ID, "", nil, late); resp.StatusCode != http.StatusNoContent {
		t.Error(resp.StatusCode, read(t, resp))
	}
	list, _, err := s.Store.AuditSearch(t.Context(), store.AuditFilter{Area: audit.AreaPeople})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, r := range list {
		if r.Action == audit.KeyAdded || r.Action == audit.KeyRemoved {
			seen = append(seen, string(r.Action)+" "+r.Outcome)
			if strings.Contains(r.Detail, "AAAA") || r.Actor != "anna" {
				t.Errorf("%+v", r)
			}
		}
	}
	if got := strings.Join(seen, ", "); got != "ssh_key.added sign_in_again, ssh_key.added , ssh_key.removed " {
		t.Errorf("in the trail: %s", got)
	}
}

// TestKeysByTokens: a token lays no key that could do more, or longer, than it.
func TestKeysByTokens(t *testing.T) {
	s := withPeople(t, map[string]restart.Role{"anna": developer, "root": admin})
	whole := s.Token("anna", developer)
	resp, k := addKey(t, s, whole, nil, wire.KeyRequest{Key: publicLine(t), Name: "laptop", Life: restart.Duration(90 * 24 * time.Hour)})
	if resp.StatusCode != http.StatusCreated || k.ExpiresAt == nil || time.Until(*k.ExpiresAt) > time.Hour {
		t.Errorf("%d %+v", resp.StatusCode, k)
	}
	bounded := restart.NewID(time.Now())
	secret, hash := authn.NewSecret()
	if err := s.Store.CreateToken(t.Context(), store.Token{
		ID: bounded, Name: "x", Owner: "anna", Roles: []restart.Role{developer}, Scope: &restart.Scope{Services: []string{"shop"}}, Hash: hash, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"with bounds": secret, "with fewer roles": s.Token("anna", restart.RoleViewer), "of a program": s.Token("robot", admin)} {
		if resp, _ := addKey(t, s, token, nil, wire.KeyRequest{Key: publicLine(t)}); resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusConflict {
			t.Errorf("a token %s: %d %s", name, resp.StatusCode, read(t, resp))
		}
	}
	// Nobody has another's key, and what is none is refused.
	line := publicLine(t)
	if resp, _ := addKey(t, s, s.Token("root", admin), nil, wire.KeyRequest{Key: line}); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.StatusCode, read(t, resp))
	}
	for _, req := range []wire.KeyRequest{
		{Key: line}, {Key: "hello"}, {}, {Key: publicLine(t), Name: "a\x1b[2J"}, {Key: publicLine(t), Life: restart.Duration(time.Second)}, {Key: `command="id" ` + publicLine(t)},
	} {
		if resp, _ := addKey(t, s, whole, nil, req); resp.StatusCode/100 != 4 {
			t.Errorf("%+v: %d", req, resp.StatusCode)
		}
	}
}

// TestKeysOfOthers look as if they were not there, to all but admins.
func TestKeysOfOthers(t *testing.T) {
	s := withPeople(t, map[string]restart.Role{"anna": developer, "vera": developer, "root": admin})
	_, annas := addKey(t, s, s.Token("anna", developer), nil, wire.KeyRequest{Key: publicLine(t)})
	vera := s.Token("vera", developer)
	absent := restart.NewID(time.Now())
	there, none := s.Request("DELETE", "/api/v1/keys/"+annas.ID, vera, nil, nil), s.Request("DELETE", "/api/v1/keys/"+absent, vera, nil, nil)
	a, b := problem(t, there, 404), problem(t, none, 404)
	if strings.ReplaceAll(a.Detail, annas.ID, "") != strings.ReplaceAll(b.Detail, absent, "") {
		t.Errorf("%q and %q", a.Detail, b.Detail)
	}
	if body := read(t, s.Request("GET", "/api/v1/keys", vera, nil, nil)); strings.Contains(body, annas.ID) {
		t.Errorf("vera sees %s", body)
	}
	problem(t, s.Request("GET", "/api/v1/keys?all=true", vera, nil, nil), 403)
	root := s.Token("root", admin)
	if body := read(t, s.Request("GET", "/api/v1/keys?all=true", root, nil, nil)); !strings.Contains(body, annas.ID) {
		t.Errorf("root sees %s", body)
	}
	if resp := s.Request("DELETE", "/api/v1/keys/"+annas.ID, root, nil, nil); resp.StatusCode != http.StatusNoContent {
		t.Error(resp.StatusCode)
	}
}

// TestWhoComesByKey: a key is good as long as it is there, and its owner; who
// comes by it administers nothing. Nothing in a request from outside is one.
func TestWhoComesByKey(t *testing.T) {
	s := withPeople(t, map[string]restart.Role{"root": admin})
	now := time.Now()
	good := store.Key{ID: restart.NewID(now), Owner: "root", Name: "x", Kind: "ssh-ed25519", Fingerprint: "SHA256:good", CreatedAt: now}
	over := store.Key{ID: restart.NewID(now), Owner: "root", Name: "y", Kind: "ssh-ed25519", Fingerprint: "SHA256:over", CreatedAt: now.Add(-time.Hour), ExpiresAt: now.Add(-time.Minute)}
	program := store.Key{ID: restart.NewID(now), Owner: "robot", Name: "z", Kind: "ssh-ed25519", Fingerprint: "SHA256:program", CreatedAt: now}
	for _, k := range []store.Key{good, over, program} {
		if err := s.Store.AddKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	s.Token("robot", admin)
	ask := func(method, path, fingerprint, body string) *answered {
		return inProcess(t, s, authn.ShownKey{Fingerprint: fingerprint, From: "192.0.2.9"}, method, path, body)
	}
	if got := ask("GET", "/api/v1/whoami", "SHA256:good", ""); got.Code != http.StatusOK || !strings.Contains(got.Body.String(), `"via":"ssh","from":"192.0.2.9"`) || !strings.Contains(got.Body.String(), `"method":"key"`) {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := ask("POST", "/api/v1/plans", "SHA256:good", `{"service":"shop","reason":"workers hang since noon"}`); got.Code != http.StatusOK {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	for _, fingerprint := range []string{"SHA256:over", "SHA256:program", "SHA256:none", ""} {
		if got := ask("GET", "/api/v1/whoami", fingerprint, ""); got.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", fingerprint, got.Code, got.Body)
		}
	}
	key, err := json.Marshal(wire.KeyRequest{Key: publicLine(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, act := range [][3]string{
		{"POST", "/api/v1/users", `{"name":"igor"}`}, {"POST", "/api/v1/tokens", `{"name":"x","roles":["viewer"]}`}, {"POST", "/api/v1/keys", string(key)}, {"POST", "/api/v1/join-tokens", `{"host":"web1.example.com"}`},
	} {
		if got := ask(act[0], act[1], "SHA256:good", act[2]); got.Code != http.StatusForbidden || !strings.Contains(got.Body.String(), "sign_in_again") {
			t.Errorf("%s: %d %s", act[1], got.Code, got.Body)
		}
	}
	outside := http.Header{"Restartilka-Key": {"SHA256:good"}, "Restartilka-From": {"192.0.2.9"}}
	if resp := s.Request("GET", "/api/v1/whoami", "", nil, outside); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a header says who it is: %d", resp.StatusCode)
	}
	yes := true
	if err := s.Store.ChangeUser(t.Context(), "root", store.UserChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	if got := ask("GET", "/api/v1/whoami", "SHA256:good", ""); got.Code != http.StatusUnauthorized {
		t.Errorf("of somebody disabled: %d %s", got.Code, got.Body)
	}
}

type answered = httptest.ResponseRecorder

// inProcess asks the handler as a way in by SSH does.
func inProcess(t *testing.T, s *apitest.Server, shown authn.ShownKey, method, path, body string) *answered {
	t.Helper()
	r := httptest.NewRequestWithContext(authn.WithKey(t.Context(), shown), method, path, strings.NewReader(body))
	r.RemoteAddr = shown.From + ":0"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.HTTP.Config.Handler.ServeHTTP(w, r)
	return w
}
