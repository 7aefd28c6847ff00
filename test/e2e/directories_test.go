package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"
	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/authn/ldap/ldaptest"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// visitor is a browser: it keeps cookies, says which page it comes from, and
// follows no redirect by itself.
type visitor struct {
	t    *testing.T
	c    *company.Company
	http *http.Client
}

func newVisitor(t *testing.T, c *company.Company, authorities ...[]byte) *visitor {
	t.Helper()
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(c.CA)
	must(t, err)
	for _, pem := range append(authorities, ca) {
		if !pool.AppendCertsFromPEM(pem) {
			t.Fatal("no certificate")
		}
	}
	jar, err := cookiejar.New(nil)
	must(t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t, c, &http.Client{
		Transport: transport, Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// do asks for an address, or a path of the server; form is nil for GET.
func (v *visitor) do(address string, form url.Values) (status int, to, body string) {
	v.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = v.c.URL + address
	}
	method, content := http.MethodGet, ""
	if form != nil {
		method, content = http.MethodPost, form.Encode()
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, address, strings.NewReader(content))
	must(v.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", v.c.URL)
	}
	resp, err := v.http.Do(req)
	must(v.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(v.t, err)
	return resp.StatusCode, resp.Header.Get("Location"), string(b)
}

// api calls the API with the session's cookie.
func (v *visitor) api(method, path string, ask, answer any) int {
	v.t.Helper()
	b, err := json.Marshal(ask)
	must(v.t, err)
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.c.URL+"/api/v1"+path, bytes.NewReader(b))
	must(v.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", v.c.URL)
	resp, err := v.http.Do(req)
	must(v.t, err)
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	must(v.t, err)
	if resp.StatusCode/100 == 2 && answer != nil {
		must(v.t, json.Unmarshal(b, answer))
	} else if resp.StatusCode/100 != 2 {
		v.t.Logf("%s %s: %s", method, path, b)
	}
	return resp.StatusCode
}

// password signs in with one on the page.
func (v *visitor) password(name, password string) (status int, to string) {
	v.t.Helper()
	status, to, _ = v.do("/sign-in", url.Values{"name": {name}, "secret": {password}, "next": {"/runs?service=hello"}})
	return status, to
}

// start asks for a restart and confirms it.
func (v *visitor) start() (run restart.Run, status int) {
	v.t.Helper()
	if status = v.api(http.MethodPost, "/runs", restart.Request{Service: demo.ServiceName, Reason: reason}, &run); status != http.StatusCreated {
		return run, status
	}
	status = v.api(http.MethodPost, "/runs/"+run.ID+"/start", wire.StartRequest{}, &run)
	return run, status
}

// ownedByWeb makes the team web the owner of the service.
func ownedByWeb(t *testing.T) func(*company.Company) {
	return func(c *company.Company) {
		t.Helper()
		path := filepath.Join(c.ServerDir(), "inventory.yaml")
		b, err := os.ReadFile(path)
		must(t, err)
		mine := bytes.Replace(b, []byte("owners: ["+demo.Developer+"]"), []byte(`owners: ["team:web"]`), 1)
		if bytes.Equal(b, mine) {
			t.Fatalf("the inventory has no owner:\n%s", b)
		}
		must(t, os.WriteFile(path, mine, 0o600))
	}
}

// atItsAddress makes the server know the address that it is called by here,
// for providers send people back to it.
func atItsAddress(t *testing.T, then func(*company.Company)) func(*company.Company) {
	return func(c *company.Company) {
		t.Helper()
		b, err := os.ReadFile(c.Config())
		must(t, err)
		line := regexp.MustCompile(`(?m)^url: .*$`)
		if !line.Match(b) {
			t.Fatalf("server.yaml has no url:\n%s", b)
		}
		must(t, os.WriteFile(c.Config(), line.ReplaceAll(b, []byte("url: "+c.URL)), 0o640))
		then(c)
	}
}

// makeDeveloper gives somebody who has signed in the role that owners need.
func makeDeveloper(t *testing.T, c *company.Company, name string) {
	t.Helper()
	_, err := c.Admin.ChangeUser(t.Context(), name, wire.UserChange{Roles: &[]restart.Role{restart.RoleDeveloper}})
	must(t, err)
}

// age makes the groups that are known of people a while old, as if that time
// had passed.
func age(t *testing.T, c *company.Company, by time.Duration) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+c.Database()+"?_pragma=busy_timeout(10000)")
	must(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), "UPDATE users SET teams_at = teams_at - $1", by.Microseconds())
	must(t, err)
}

// People of the directory sign in on the page; a group of the directory owns
// the service; who leaves the group in mid-run touches no other host.
func TestPeopleOfTheDirectory(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	anna, boris := s.Person("anna.petrova", "right"), s.Person("boris", "other")
	web := s.Group("Web", anna, s.Person("dana", "third"))
	settings := fmt.Sprintf(`sign_in:
  ldap:
    urls: [ldaps://%s]
    ca_file: %s
    bind_dn: %q
    bind_password_file: %s
    user_base: %q
    disabled_filter: (employeeType=gone)
    group_base: %q
    group_filter: (member={dn})
`, s.TLS, s.CAFile(), ldaptest.Account, s.PasswordFile(), ldaptest.People, ldaptest.Groups)
	c := company.New(t, company.Options{Work: 700 * time.Millisecond, Server: settings, Prepare: ownedByWeb(t)})
	if out, talk, code := c.Program("config", "check", "--config", c.Config(), "--user", ""); code != 0 {
		t.Errorf("config check: exit %d\n%s\n%s", code, out, talk)
	}

	v := newVisitor(t, c)
	for _, wrong := range [][2]string{{"anna.petrova", "wrong"}, {"anna.petrova", ""}, {"anna*", "right"}, {"nobody", "right"}, {"*)(uid=*", "right"}} {
		want := http.StatusUnauthorized
		if wrong[1] == "" { // said beside the field: nobody has tried anything
			want = http.StatusUnprocessableEntity
		}
		if status, to := v.password(wrong[0], wrong[1]); status != want {
			t.Errorf("%v: status %d to %q", wrong, status, to)
		}
	}
	if status, to := v.password("Anna.Petrova", "right"); status != http.StatusSeeOther || to != "/runs?service=hello" {
		t.Fatalf("status %d to %q", status, to)
	}
	makeDeveloper(t, c, "anna.petrova")
	outsider := newVisitor(t, c)
	if status, _ := outsider.password("boris", "other"); status != http.StatusSeeOther {
		t.Fatalf("status %d", status)
	}
	makeDeveloper(t, c, "boris")
	if _, status := outsider.start(); status != http.StatusForbidden {
		t.Errorf("who is in no group of the owners: status %d", status)
	}

	run, status := v.start()
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	c.Eventually("the first script to run", func() bool { return len(c.WitnessLines()) >= 1 })
	s.Leave(web, anna)
	age(t, c, 2*time.Minute)
	run = c.Until(run.ID, restart.RunPaused)
	if run.Cause != restart.CauseRightsLost || states(run) != "succeeded planned planned" {
		t.Errorf("paused (%s) %s: %s", run.Cause, run.Explanation, states(run))
	}
	if n := len(c.WitnessLines()); n != 2 {
		t.Errorf("the witness saw %d lines, want 2: %v", n, c.WitnessLines())
	}
	if status := v.api(http.MethodPost, "/runs/"+run.ID+"/resume", struct{}{}, nil); status != http.StatusForbidden {
		t.Errorf("resumed by who has left: status %d", status)
	}
	s.Join(web, anna)
	age(t, c, 2*time.Minute)
	if status := v.api(http.MethodPost, "/runs/"+run.ID+"/resume", struct{}{}, nil); status != http.StatusOK {
		t.Fatalf("resumed by who is back: status %d", status)
	}
	if run = settle(t, c, run.ID); run.State != restart.RunCompleted {
		t.Errorf("run is %s (%s)", run.State, run.Explanation)
	}

	directoryGoes(t, c, s, v, anna, boris)
	c.StopServer()
	if out, talk, code := c.CLI("audit", "verify", c.AuditFile()); code != 0 {
		t.Errorf("audit verify: exit %d\n%s\n%s", code, out, talk)
	}
	trail, err := os.ReadFile(c.AuditFile())
	must(t, err)
	if n := strings.Count(string(trail), `"action":"sign_in.refused"`); n < 6 {
		t.Errorf("%d refusals are recorded", n)
	}
	for _, secret := range []string{ldaptest.Password, "wrong"} {
		if bytes.Contains(trail, []byte(`"`+secret)) || strings.Contains(c.ServerLog(), secret+" ") {
			t.Errorf("%q is told", secret)
		}
	}
}

// directoryGoes: who is disabled there is nobody here; while it is down groups
// count for a quarter of an hour.
func directoryGoes(t *testing.T, c *company.Company, s *ldaptest.Slapd, v *visitor, anna, boris string) {
	t.Helper()
	whoami := func() int { return v.api(http.MethodGet, "/whoami", nil, nil) }
	s.Stop(unix.SIGTERM)
	age(t, c, 2*time.Minute)
	if status := whoami(); status != http.StatusOK {
		t.Errorf("the directory is down: status %d", status)
	}
	if status, _ := newVisitor(t, c).password("dana", "third"); status != http.StatusServiceUnavailable {
		t.Errorf("sign-in while the directory is down: status %d", status)
	}
	age(t, c, 20*time.Minute)
	if _, status := v.start(); status != http.StatusForbidden {
		t.Errorf("restart with groups of 20 minutes ago: status %d", status)
	}
	if _, talk, code := c.Program("config", "check", "--config", c.Config(), "--user", ""); code == 0 || !strings.Contains(talk, "sign_in") {
		t.Errorf("config check: exit %d\n%s", code, talk)
	}
	s.Start()
	s.Set(anna, "employeeType", "gone")
	s.Delete(boris)
	c.Eventually("who is disabled in the directory to be nobody", func() bool { return whoami() == http.StatusUnauthorized })
	if status, _ := v.password("anna.petrova", "right"); status != http.StatusUnauthorized {
		t.Errorf("who is disabled signs in: status %d", status)
	}
}

// provider starts a real OpenID provider of others.
func provider(t *testing.T) (*mockoidc.MockOIDC, []byte) {
	t.Helper()
	ca, err := pki.NewCA("provider", time.Now())
	must(t, err)
	cert, key, err := ca.IssueServer("provider", nil, []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	must(t, err)
	pair, err := tls.X509KeyPair(cert, key)
	must(t, err)
	settings := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", settings)
	must(t, err)
	m, err := mockoidc.NewServer(nil)
	must(t, err)
	must(t, m.Start(listener, settings))
	t.Cleanup(func() { m.Shutdown() })
	return m, ca.CertPEM()
}

// People of the OpenID provider sign in there; their groups own the service.
func TestPeopleOfTheProvider(t *testing.T) {
	t.Parallel()
	m, ca := provider(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "ca.crt"), ca, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "secret"), []byte(m.ClientSecret), 0o600))
	settings := fmt.Sprintf("sign_in:\n  oidc: {issuer: %q, client_id: %q, client_secret_file: %s, ca_file: %s, scopes: [openid, profile, email, groups]}\n",
		m.Issuer(), m.ClientID, filepath.Join(dir, "secret"), filepath.Join(dir, "ca.crt"))
	c := company.New(t, company.Options{Server: settings, Prepare: atItsAddress(t, ownedByWeb(t))})
	if out, talk, code := c.Program("config", "check", "--config", c.Config(), "--user", ""); code != 0 {
		t.Errorf("config check: exit %d\n%s\n%s", code, out, talk)
	}
	user := func(subject, name string, groups ...string) *mockoidc.MockUser {
		return &mockoidc.MockUser{Subject: subject, PreferredUsername: name, Email: name + "@example.com", EmailVerified: true, Groups: groups}
	}
	// back goes to the provider, and gives the address that it sends back to.
	back := func(v *visitor, u *mockoidc.MockUser) string {
		t.Helper()
		m.QueueUser(u)
		status, to, body := v.do("/sign-in/oidc?next=/runs%3Fservice%3Dhello", nil)
		if status != http.StatusSeeOther || !strings.HasPrefix(to, m.Issuer()) {
			t.Fatalf("status %d to %q\n%s", status, to, body)
		}
		status, to, body = v.do(to, nil)
		if status != http.StatusFound || !strings.HasPrefix(to, c.URL+"/sign-in/oidc/callback?") {
			t.Fatalf("status %d to %q\n%s", status, to, body)
		}
		return to
	}
	v := newVisitor(t, c, ca)
	if _, _, body := v.do("/sign-in", nil); !strings.Contains(body, `href="/sign-in/oidc?`) {
		t.Errorf("the page has no way to the provider:\n%s", body)
	}
	answer := back(v, user("1", "jane.doe", "web"))
	if status, to, body := v.do(answer, nil); status != http.StatusSeeOther || to != "/runs?service=hello" {
		t.Fatalf("status %d to %q\n%s", status, to, body)
	}
	makeDeveloper(t, c, "jane.doe")
	run, status := v.start()
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if run = settle(t, c, run.ID); run.State != restart.RunCompleted {
		t.Errorf("run is %s (%s)", run.State, run.Explanation)
	}

	outsider := newVisitor(t, c, ca)
	outsider.do(back(outsider, user("2", "erik", "shop")), nil)
	makeDeveloper(t, c, "erik")
	if _, status := outsider.start(); status != http.StatusForbidden {
		t.Errorf("who is in no group of the owners: status %d", status)
	}

	stranger := newVisitor(t, c, ca)
	foreign := back(stranger, user("3", "mallory"))
	for what, address := range map[string]string{
		"the answer once more":       answer,
		"an answer for another":      back(newVisitor(t, c, ca), user("4", "victim")),
		"an answer nobody asked for": "/sign-in/oidc/callback?state=x&code=y",
		"an answer without anything": "/sign-in/oidc/callback",
		"an error nobody asked for":  "/sign-in/oidc/callback?state=x&error=%3Cscript%3Ealert(1)%3C/script%3E",
		"another's error":            strings.Replace(foreign, "code=", "error=%3Cscript%3Ealert(1)%3C/script%3E&was=", 1),
		"the name of another person": back(stranger, user("5", "jane.doe", "web")),
		"a name that is none":        back(stranger, user("6", "../admin", "web")),
	} {
		status, to, body := stranger.do(address, nil)
		if status != http.StatusUnauthorized || strings.Contains(body, "<script>alert") {
			t.Errorf("%s: status %d to %q\n%s", what, status, to, body)
		}
	}
	if status := stranger.api(http.MethodGet, "/whoami", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("the stranger is in: status %d", status)
	}

	// Groups are as of the sign-in, and good for twelve hours.
	age(t, c, 13*time.Hour)
	if _, status := v.start(); status != http.StatusForbidden {
		t.Errorf("restart with groups of yesterday: status %d", status)
	}
	c.StopServer()
	trail, err := os.ReadFile(c.AuditFile())
	must(t, err)
	if n := strings.Count(string(trail), `"action":"sign_in.refused"`); n != 8 {
		t.Errorf("%d refusals are recorded, want 8", n)
	}
	if bytes.Contains(trail, []byte("<script>")) {
		t.Error("the trail repeats it as it came")
	}
}
