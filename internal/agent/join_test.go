package agent_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// entrance is a server that hosts join, and an admin there.
type entrance struct {
	*apitest.Server
	t    *testing.T
	root string
}

func newEntrance(t *testing.T) entrance {
	s := apitest.Start(t, nil)
	return entrance{s, t, s.Token("root", restart.RoleAdmin)}
}

func (e entrance) token(body string) string {
	e.t.Helper()
	resp := e.Request("POST", "/api/v1/join-tokens", e.root, []byte(body), nil)
	var made wire.NewJoinToken
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.Token == "" {
		e.t.Fatalf("%s: %v", resp.Status, err)
	}
	return made.Token
}

func (e entrance) named() string { return e.token(`{"host":"` + testHost + `"}`) }

// machine is a host's /etc/restartilka, empty.
func machine(t *testing.T, e entrance, token string) agent.JoinOptions {
	t.Helper()
	return agent.JoinOptions{URL: e.URL, Token: token, Host: testHost, Config: filepath.Join(t.TempDir(), "agent.yaml")}
}

func beside(o agent.JoinOptions, name string) string {
	return filepath.Join(filepath.Dir(o.Config), name)
}

func files(t *testing.T, o agent.JoinOptions) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(o.Config))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

const allFiles = "agent.crt agent.key agent.yaml ca.crt server.pub"

func TestAHostJoins(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	o := machine(t, e, e.named())
	joined, err := agent.Join(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if joined.Host != testHost || joined.Server != "test" || len(joined.Files) != 5 || joined.Files[4] != o.Config || len(joined.Warnings) > 0 {
		t.Errorf("%+v", joined)
	}
	if got := files(t, o); got != allFiles {
		t.Errorf("files: %s", got)
	}
	for name, mode := range map[string]os.FileMode{"agent.key": 0o600, "agent.crt": 0o644, "agent.yaml": 0o644} {
		if info, err := os.Stat(beside(o, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	s, err := agent.LoadSettings(o.Config)
	if err != nil || s.Host != testHost || len(s.Servers) != 1 || s.Servers[0] != "test" {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := pki.LoadCredentials(s.Certificate, s.Key, s.CA); err != nil {
		t.Error(err)
	}
	if _, err := agent.LoadKeys(s.EnvelopeKeys); err != nil {
		t.Error(err)
	}

	// What is there stays, unless it is asked for; the token is not used.
	again := o
	again.Token = e.named()
	if _, err := agent.Join(t.Context(), again); restart.CodeOf(err) != restart.CodeConflict || !strings.Contains(err.Error(), "--again") || !strings.Contains(err.Error(), testHost) {
		t.Errorf("%v", err)
	}
	again.Again = true
	second, err := agent.Join(t.Context(), again)
	if err != nil || second.Serial == joined.Serial || files(t, o) != allFiles {
		t.Errorf("%+v, %v: %s", second, err, files(t, o))
	}
}

// The admin's own agent.yaml is kept, and its paths count.
func TestAJoinKeepsTheAdminsSettings(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	o := machine(t, e, e.named())
	keys := t.TempDir()
	text := "# ours\nhost: " + testHost + "\nservers: [test, other]\ncertificate: " + keys + "/a.crt\nkey: " + keys + "/a.key\nca: " + keys + "/a.ca\nenvelope_keys: [" + keys + "/a.pub]\n"
	must(t, os.WriteFile(o.Config, []byte(text), 0o640))
	o.Host = ""
	joined, err := agent.Join(t.Context(), o)
	if err != nil || len(joined.Warnings) > 0 || len(joined.Files) != 4 {
		t.Fatalf("%+v, %v", joined, err)
	}
	if b, err := os.ReadFile(o.Config); err != nil || string(b) != text {
		t.Errorf("agent.yaml was changed: %s, %v", b, err)
	}
	if _, err := pki.LoadCredentials(keys+"/a.crt", keys+"/a.key", keys+"/a.ca"); err != nil {
		t.Error(err)
	}
	o.Host = "web2.example.com"
	if _, err := agent.Join(t.Context(), o); restart.CodeOf(err) != restart.CodeWrongHost {
		t.Errorf("another name: %v", err)
	}
	must(t, os.WriteFile(o.Config, []byte("hots: x\n"), 0o640))
	if _, err := agent.Join(t.Context(), o); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "hots") {
		t.Errorf("settings that can't be read: %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever goes wrong: a sentence, a way out, and a host that can join after it.
func TestAJoinThatGoesWrong(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	used := e.named()
	_, err := agent.Join(t.Context(), machine(t, e, used))
	must(t, err)
	good := e.named()
	parsed, err := pki.ParseJoinToken(good)
	must(t, err)
	parsed.Pin[0] ^= 1
	foreign := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(foreign.Close)
	parsedGood, err := pki.ParseJoinToken(good)
	must(t, err)
	theirs := pki.JoinToken{Pin: pki.PinOf(foreign.Certificate()), Secret: parsedGood.Secret}
	for name, c := range map[string]struct {
		change func(*agent.JoinOptions)
		code   restart.Code
		says   []string
	}{
		"wrong pin":          {func(o *agent.JoinOptions) { o.Token = parsed.String() }, restart.CodeCertificate, []string{"not the server that the join token names", "--ca FILE", "make a new token"}},
		"another authority":  {func(o *agent.JoinOptions) { o.CAFile = otherCA(t) }, restart.CodeCertificate, []string{"not trusted"}},
		"no authority":       {func(o *agent.JoinOptions) { o.CAFile = "/nowhere" }, restart.CodeInvalid, []string{"can't be read"}},
		"nobody there":       {func(o *agent.JoinOptions) { o.URL = "https://127.0.0.1:1" }, restart.CodeUnavailable, []string{"can't be reached", "has not been used"}},
		"no URL":             {func(o *agent.JoinOptions) { o.URL = "restartilka.example.com" }, restart.CodeInvalid, []string{"https://"}},
		"without TLS":        {func(o *agent.JoinOptions) { o.URL = strings.Replace(e.URL, "https", "http", 1) }, restart.CodeInvalid, []string{"https://"}},
		"another program":    {func(o *agent.JoinOptions) { o.URL, o.Token = foreign.URL, theirs.String() }, restart.CodeUnavailable, []string{"does not answer as a restartilka server"}},
		"token used twice":   {func(o *agent.JoinOptions) { o.Token = used }, restart.CodeForbidden, []string{"used already", "host join-token " + testHost}},
		"for another name":   {func(o *agent.JoinOptions) { o.Host = "web2.example.com" }, restart.CodeWrongHost, []string{"is for " + testHost, "--host"}},
		"unknown token":      {func(o *agent.JoinOptions) { o.Token = pki.NewJoinToken(parsedGood.Pin).String() }, restart.CodeUnauthorised, []string{"not valid", "host join-token"}},
		"no token":           {func(o *agent.JoinOptions) { o.Token = "rtk_x" }, restart.CodeInvalid, []string{"not a join token"}},
		"a bad name":         {func(o *agent.JoinOptions) { o.Host = "-x" }, restart.CodeInvalid, []string{"not a valid name"}},
		"no folder":          {func(o *agent.JoinOptions) { o.Config = "/nowhere/at/all/agent.yaml" }, restart.CodeNotFound, []string{"no folder /nowhere/at/all", "install the package"}},
		"clock an hour fast": {func(o *agent.JoinOptions) { o.Now = clock(time.Hour) }, restart.CodeClockSkew, []string{"1 hour ahead", "set the clock"}},
		"clock an hour slow": {func(o *agent.JoinOptions) { o.Now = clock(-time.Hour) }, restart.CodeClockSkew, []string{"1 hour behind", "set the clock"}},
	} {
		o := machine(t, e, good)
		c.change(&o)
		_, err := agent.Join(t.Context(), o)
		if restart.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, text := range c.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v does not say %q", name, err, text)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Config), "agent.*t")); len(left) > 0 { // agent.crt
			t.Errorf("%s: left %v", name, left)
		}
		if c.code == restart.CodeNotFound || c.code == restart.CodeInvalid {
			continue
		}
		o = agent.JoinOptions{URL: e.URL, Token: e.named(), Host: testHost, Config: o.Config}
		if _, err := agent.Join(t.Context(), o); err != nil || files(t, o) != allFiles {
			t.Errorf("%s, then in order: %v: %s", name, err, files(t, o))
		}
		good = e.named()
		parsedGood, err = pki.ParseJoinToken(good)
		must(t, err)
	}
}

// A clock that is set back between the request and the answer: the certificate
// would not hold, and that is said.
func TestAJoinWithAClockThatJumps(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	for _, jump := range []time.Duration{-time.Hour, 2 * pki.LeafLife} {
		o := machine(t, e, e.named())
		asked := 0
		o.Now = func() time.Time {
			if asked++; asked == 1 {
				return time.Now()
			}
			return time.Now().Add(jump)
		}
		_, err := agent.Join(t.Context(), o)
		if restart.CodeOf(err) != restart.CodeClockSkew || !strings.Contains(err.Error(), "the certificate does not hold") || !strings.Contains(err.Error(), "the same token") {
			t.Errorf("%v: %v", jump, err)
		}
		o.Now = nil
		if _, err := agent.Join(t.Context(), o); err != nil || files(t, o) != allFiles {
			t.Errorf("%v, then in order: %v: %s", jump, err, files(t, o))
		}
	}
}

func clock(off time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(off) }
}

func otherCA(t *testing.T) string {
	t.Helper()
	ca, err := pki.NewCA("another", time.Now())
	must(t, err)
	path := filepath.Join(t.TempDir(), "ca.crt")
	must(t, os.WriteFile(path, ca.CertPEM(), 0o600))
	return path
}

// With --ca the server is known by its authority and its name; an agent of the
// same authority on the same host is not the server.
func TestAJoinByAuthority(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	token, err := pki.ParseJoinToken(e.named())
	must(t, err)
	token.Pin = pki.Pin{} // as behind a proxy
	o := machine(t, e, token.String())
	o.CAFile = e.CAFile
	if _, err := agent.Join(t.Context(), o); err != nil {
		t.Error(err)
	}
}

// The answer is lost on its way: the same command gets the same certificate.
func TestAJoinWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	o := machine(t, e, e.named())
	lossy := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		e.HTTP.Config.Handler.ServeHTTP(rec, r)
		if rec.Code != http.StatusCreated {
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
		panic(http.ErrAbortHandler)
	}))
	lossy.TLS = e.HTTP.TLS.Clone()
	lossy.StartTLS()
	t.Cleanup(lossy.Close)
	broken := o
	broken.URL = lossy.URL
	if _, err := agent.Join(t.Context(), broken); err == nil {
		t.Fatal("an answer that was lost has arrived")
	}
	if got := files(t, o); got != "agent.key.join" {
		t.Errorf("files: %s", got)
	}
	if _, err := agent.Join(t.Context(), o); err != nil || files(t, o) != allFiles {
		t.Errorf("%v: %s", err, files(t, o))
	}
	list, err := e.Store.Certificates(context.Background())
	if err != nil || len(list) != 1 {
		t.Errorf("%d certificates, %v", len(list), err)
	}
}

// A join that was interrupted after any of its files is gone on with.
func TestAJoinIsGoneOnWith(t *testing.T) {
	t.Parallel()
	e := newEntrance(t)
	whole := machine(t, e, e.named())
	_, err := agent.Join(t.Context(), whole)
	must(t, err)
	for _, there := range []string{"ca.crt", "ca.crt server.pub", "ca.crt server.pub agent.crt", "ca.crt server.pub agent.crt agent.key", allFiles} {
		o := machine(t, e, e.named())
		key, err := os.ReadFile(beside(whole, "agent.key"))
		must(t, err)
		must(t, os.WriteFile(beside(o, "agent.key.join"), key, 0o600))
		for name := range strings.SplitSeq(there, " ") {
			b, err := os.ReadFile(beside(whole, name))
			must(t, err)
			if name == "agent.yaml" {
				b = []byte(strings.ReplaceAll(string(b), filepath.Dir(whole.Config), filepath.Dir(o.Config)))
			}
			must(t, os.WriteFile(beside(o, name), b, 0o600))
		}
		joined, err := agent.Join(t.Context(), o)
		if err != nil || files(t, o) != allFiles {
			t.Errorf("%s: %v: %s", there, err, files(t, o))
			continue
		}
		c, err := pki.LoadCredentials(beside(o, "agent.crt"), beside(o, "agent.key"), beside(o, "ca.crt"))
		if err != nil || pki.SerialOf(c.Leaf()) != joined.Serial {
			t.Errorf("%s: %v", there, err)
		}
	}
	// A try to replace that went wrong is no leave to replace.
	whole.Token, whole.Again = pki.NewJoinToken(pki.Pin{}).String(), true
	if _, err := agent.Join(t.Context(), whole); err == nil {
		t.Fatal("joined by an unknown token")
	}
	whole.Token, whole.Again = e.named(), false
	if _, err := agent.Join(t.Context(), whole); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("%v", err)
	}
}

func TestFullName(t *testing.T) {
	t.Parallel()
	name, err := agent.FullName(t.Context())
	if err != nil && !strings.Contains(err.Error(), "--host") {
		t.Errorf("%v", err)
	}
	if err == nil && (restart.CheckHost(name) != nil || !strings.Contains(name, ".")) {
		t.Errorf("%q", name)
	}
}
