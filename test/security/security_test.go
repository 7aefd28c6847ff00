// Package security attacks the real programs, as others were attacked: see
// docs/security.md, which names the test that shows each of its lines.
package security

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) {
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}

const reason = "workers hang since the 14:00 deploy"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// site asks a company's server over TLS, with nothing but what it is told to.
type site struct {
	t    *testing.T
	url  string
	http *http.Client
}

func siteOf(t *testing.T, c *company.Company) *site {
	t.Helper()
	pem, err := os.ReadFile(c.CA)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}
	t.Cleanup(transport.CloseIdleConnections)
	return &site{t: t, url: c.URL, http: &http.Client{
		Transport: transport, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body string
}

// ask makes one request; headers come in pairs.
func (s *site) ask(method, path, body string, headers ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	must(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.http.Do(req)
	must(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	must(s.t, err)
	return answer{resp, string(b)}
}

// signIn opens a browser's session by the sign-in form, and gives its cookie.
func (s *site) signIn(name, secret string) string {
	s.t.Helper()
	form := url.Values{"name": {name}, "secret": {secret}}.Encode()
	a := s.ask("POST", "/sign-in", form, "Content-Type", "application/x-www-form-urlencoded", "Origin", s.url, "Sec-Fetch-Site", "same-origin")
	for _, cookie := range a.Cookies() {
		if cookie.Value != "" {
			return cookie.Name + "=" + cookie.Value
		}
	}
	s.t.Fatalf("%s could not sign in: %s", name, a.Status)
	return ""
}

// operation is a path of the API's own description.
type operation struct{ method, path string }

// operations gives every operation that the server describes, with ids filled in.
func (s *site) operations(token string) []operation {
	s.t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	must(s.t, json.Unmarshal([]byte(s.ask("GET", "/api/openapi.json", "", "Authorization", "Bearer "+token).body), &doc))
	fill := strings.NewReplacer("{id}", strings.Repeat("0", 26), "{run}", strings.Repeat("0", 26), "{task}", strings.Repeat("0", 26), "{digest}", strings.Repeat("ab", 32), "{name}", demo.ServiceName)
	var out []operation
	for path, methods := range doc.Paths {
		for method := range methods {
			out = append(out, operation{strings.ToUpper(method), fill.Replace(path)})
		}
	}
	return out
}

// token makes one for somebody, by the admin.
func token(t *testing.T, c *company.Company, owner string, roles ...restart.Role) wire.NewToken {
	t.Helper()
	made, err := c.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "test", Owner: owner, Roles: roles})
	must(t, err)
	return made
}

// trail gives the server's audit file as it is now.
func trail(t *testing.T, c *company.Company) string {
	t.Helper()
	b, err := os.ReadFile(c.AuditFile())
	must(t, err)
	return string(b)
}

// recorded waits until the trail has a record with all of the texts.
func recorded(t *testing.T, c *company.Company, texts ...string) {
	t.Helper()
	c.Eventually("a record with "+strings.Join(texts, ", "), func() bool {
	next:
		for line := range strings.Lines(trail(t, c)) {
			for _, text := range texts {
				if !strings.Contains(line, text) {
					continue next
				}
			}
			return true
		}
		return false
	})
}

// undone gives a check that nothing has been done since: no new run, and no
// script on any host.
func undone(t *testing.T, c *company.Company) func(what string) {
	t.Helper()
	count := func() (runs, scripts int) {
		list, err := c.Admin.Runs(t.Context(), wire.RunQuery{Limit: 200})
		must(t, err)
		return len(list.Items), len(c.WitnessLines())
	}
	runs, scripts := count()
	return func(what string) {
		t.Helper()
		if r, s := count(); r != runs || s != scripts {
			t.Errorf("%s: %d new runs, %d new lines of the witness", what, r-runs, s-scripts)
		}
	}
}

// talkative is a scenario that prints a parameter as it got it, and witnesses.
func talkative(c *company.Company) (name, content string) {
	return "witness", strings.Replace(strings.Replace(c.Witness(0), "strategy:", "params: {text: {type: string, default: \"x\"}}\nstrategy:", 1),
		"      echo \"restarted", "      printf '<%s>\\n' \"$PARAM_TEXT\"\n      echo \"restarted", 1)
}

// code of an error for people.
func code(err error) restart.Code { return restart.CodeOf(err) }

// readAll gives every regular file below some folders, by path.
func readAll(t *testing.T, folders ...string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, folder := range folders {
		must(t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			out[path] = b
			return err
		}))
	}
	return out
}

// holds tells which of the texts some bytes hold.
func holds(b []byte, texts map[string]string) (found []string) {
	for name, text := range texts {
		if bytes.Contains(b, []byte(text)) {
			found = append(found, name)
		}
	}
	return found
}
