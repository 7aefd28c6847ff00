package agent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/ledger"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// entries lists what tasks have left in the spool.
func (b *bed) entries() []string {
	b.t.Helper()
	all, err := os.ReadDir(b.spoolDir)
	b.must(err)
	var out []string
	for _, e := range all {
		if e.Name() != "lock" && e.Name() != "tombstones" && e.Name() != ledger.AskedFile {
			out = append(out, e.Name())
		}
	}
	return out
}

// asked reads the host's own record of what servers asked.
func (b *bed) asked() []audit.Record {
	b.t.Helper()
	f, err := os.Open(b.spoolDir + "/" + ledger.AskedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	b.must(err)
	defer f.Close()
	report, err := audit.Verify(f)
	b.must(err)
	if !report.OK {
		b.t.Fatalf("the host's own record does not verify: %.300v", report)
	}
	text, err := os.ReadFile(f.Name())
	b.must(err)
	var out []audit.Record
	for line := range strings.Lines(string(text)) {
		r, err := audit.Decode([]byte(strings.TrimSuffix(line, "\n")))
		b.must(err)
		out = append(out, r)
	}
	return out
}

func TestWhatDoesNotFitIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	b := newBed(t)
	b.extra = "groups: [shop-testing]\nenvironments: [testing]\n"
	good := b.script("touch " + b.path("ran"))
	withParam := b.scenario("params: {count: {type: int, min: 1, max: 5}}\nsteps:\n  run: {script: \"true\"}\n")
	otherService := b.scenario("package: no-such-package-here\nsteps:\n  run: {script: \"true\"}\n")
	b.write("services.d/listed.yaml", nil, 0o644)
	b.write("services.d/broken.yaml", []byte("unti: x.service\n"), 0o644)
	unlaid := strings.Repeat("ab", 32)
	loose := b.script("touch " + b.path("ran") + " # by a file that anyone could write")
	b.must(os.Chmod(b.path("scenarios.d/"+loose[:12]+".yaml"), 0o666))
	linked := b.script("touch " + b.path("ran") + " # through a symlink")
	b.must(os.Rename(b.path("scenarios.d/"+linked[:12]+".yaml"), b.path("elsewhere.yaml")))
	b.must(os.Symlink(b.path("elsewhere.yaml"), b.path("scenarios.d/"+linked[:12]+".yaml")))
	_, stranger, err := ed25519.GenerateKey(nil)
	b.must(err)
	r := b.start()

	for name, c := range map[string]struct {
		change func(*protocol.Envelope)
		submit func(*protocol.Submission)
		code   restart.Code
	}{
		"unknown key": {nil, func(s *protocol.Submission) {
			e := b.envelope(good)
			s.Sealed, _ = protocol.Seal(e, stranger)
		}, restart.CodeBadSignature},
		"changed payload":   {nil, func(s *protocol.Submission) { s.Sealed.Payload[20] ^= 1 }, restart.CodeBadSignature},
		"changed signature": {nil, func(s *protocol.Submission) { s.Sealed.Signature[3] ^= 1 }, restart.CodeBadSignature},
		"no signature":      {nil, func(s *protocol.Submission) { s.Sealed.Signature = nil }, restart.CodeBadSignature},
		"other host":        {func(e *protocol.Envelope) { e.Host = "web2.example.com" }, nil, restart.CodeWrongHost},
		"expired": {func(e *protocol.Envelope) {
			e.NotBefore, e.Expiry = e.NotBefore.Add(-40*time.Second), e.Expiry.Add(-40*time.Second)
		}, nil, restart.CodeReplay},
		"an hour old": {func(e *protocol.Envelope) {
			e.NotBefore, e.Expiry = e.NotBefore.Add(-time.Hour), e.Expiry.Add(-time.Hour)
		}, nil, restart.CodeClockSkew},
		"an hour early": {func(e *protocol.Envelope) {
			e.NotBefore, e.Expiry = e.NotBefore.Add(time.Hour), e.Expiry.Add(time.Hour)
		}, nil, restart.CodeClockSkew},
		"lives too long":     {func(e *protocol.Envelope) { e.Expiry = e.Expiry.Add(time.Minute) }, nil, restart.CodeInvalid},
		"no epoch":           {nil, func(s *protocol.Submission) { s.Epoch = 0 }, restart.CodeInvalid},
		"unknown service":    {func(e *protocol.Envelope) { e.Service = "nginx" }, nil, restart.CodeUnknownService},
		"broken service":     {func(e *protocol.Envelope) { e.Service = "broken" }, nil, restart.CodeUnknownService},
		"traversal":          {func(e *protocol.Envelope) { e.Service = "../../etc/cron.d/x" }, nil, restart.CodeInvalid},
		"an option":          {func(e *protocol.Envelope) { e.Service = "-rf" }, nil, restart.CodeInvalid},
		"other group":        {func(e *protocol.Envelope) { e.Group = "shop-production" }, nil, restart.CodeWrongGroup},
		"other environment":  {func(e *protocol.Envelope) { e.Environment = "production" }, nil, restart.CodeWrongGroup},
		"unknown digest":     {func(e *protocol.Envelope) { e.Digest = unlaid }, nil, restart.CodeNotReviewed},
		"writable file":      {func(e *protocol.Envelope) { e.Digest = loose }, nil, restart.CodeNotReviewed},
		"symlinked file":     {func(e *protocol.Envelope) { e.Digest = linked }, nil, restart.CodeNotReviewed},
		"not for it":         {func(e *protocol.Envelope) { e.Service = "listed" }, nil, restart.CodeNotReviewed},
		"other name":         {func(e *protocol.Envelope) { e.Scenario = "nginx-restart" }, nil, restart.CodeNotReviewed},
		"unknown parameter":  {func(e *protocol.Envelope) { e.Params = map[string]string{"mode": "fast"} }, nil, restart.CodeParam},
		"missing parameter":  {func(e *protocol.Envelope) { e.Digest = withParam }, nil, restart.CodeParam},
		"bad parameter":      {func(e *protocol.Envelope) { e.Digest, e.Params = withParam, map[string]string{"count": "6"} }, nil, restart.CodeParam},
		"missing package":    {func(e *protocol.Envelope) { e.Digest = otherService }, nil, restart.CodeNotInstalled},
		"no reason":          {func(e *protocol.Envelope) { e.Reason = "." }, nil, restart.CodeReason},
		"unprintable person": {func(e *protocol.Envelope) { e.Actor = "dana\x1b[2J" }, nil, restart.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			e := b.envelope(good)
			if c.change != nil {
				c.change(&e)
			}
			s := b.seal(e)
			if c.submit != nil {
				c.submit(&s)
			}
			id := e.Task
			if name == "unknown key" {
				id = restart.NewID(time.Now())
			}
			_, err := r.put(s, id)
			wantCode(t, err, c.code)
			if left := b.entries(); len(left) > 0 {
				t.Errorf("the spool holds %v", left)
			}
			records := b.asked()
			if len(records) == 0 {
				t.Fatal("nothing is recorded")
			}
			if r := records[len(records)-1]; r.Action != audit.TaskRefused || r.Task != id || r.Outcome != string(c.code) || r.Detail == "" || r.Host != testHost {
				t.Errorf("the host's own record has %+v", r)
			}
		})
	}
	t.Run("other id", func(t *testing.T) {
		_, err := r.put(b.seal(b.envelope(good)), restart.NewID(time.Now()))
		wantCode(t, err, restart.CodeInvalid)
	})
	for _, path := range []string{"/v1/tasks/..%2f..%2fetc%2fcron.d%2fx", "/v1/tasks/-rf", "/v1/tasks/ALLUPPERCASEALLUPPERCASE00"} {
		t.Run(path, func(t *testing.T) {
			err := r.call(http.MethodPut, path, b.seal(b.envelope(good)), nil)
			wantCode(t, err, restart.CodeInvalid)
			wantCode(t, r.call(http.MethodGet, path, nil, nil), restart.CodeInvalid)
			wantCode(t, r.call(http.MethodDelete, path, protocol.Forget{Run: restart.NewID(time.Now()), Epoch: 1}, nil), restart.CodeInvalid)
		})
	}
	t.Run("unknown field", func(t *testing.T) {
		e := b.envelope(good)
		err := r.call(http.MethodPut, "/v1/tasks/"+e.Task, map[string]any{"sealed": b.seal(e).Sealed, "epoch": 1, "run_as": "root"}, nil)
		wantCode(t, err, restart.CodeInvalid)
	})
	t.Run("too large", func(t *testing.T) {
		err := r.call(http.MethodPut, "/v1/tasks/"+restart.NewID(time.Now()), map[string]string{"x": strings.Repeat("x", protocol.MaxBody)}, nil)
		wantCode(t, err, restart.CodeTooLarge)
	})
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("something ran")
	}
}

// No credential but a named server's opens any verb of the table, and none of
// the attempts leaves anything behind.
func TestEveryVerbNeedsTheServersCertificate(t *testing.T) {
	b := newBed(t)
	digest := b.script("touch " + b.path("ran"))
	now := time.Now()
	old, err := pki.NewCA("old", now.Add(-2*pki.LeafLife)) // pinned beside the first
	b.must(err)
	b.write("ca.crt", append(b.ca.CertPEM(), old.CertPEM()...), 0o644)
	r := b.start()
	e := b.envelope(digest)
	body, err := json.Marshal(b.seal(e)) // a good one: only the door stands in its way
	b.must(err)

	// bearer gives a client that shows what pki itself would not load.
	bearer := func(cert, key []byte, version uint16) *http.Client {
		pair, err := tls.X509KeyPair(cert, key)
		b.must(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(b.ca.CertPEM())
		return newClient(t, &tls.Config{RootCAs: pool, ServerName: testHost, MinVersion: tls.VersionTLS12, MaxVersion: version, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &pair, nil
		}})
	}
	issue := func(ca *pki.CA, name string, at time.Time) *http.Client {
		cert, key, err := ca.IssueClient(name, at)
		b.must(err)
		return bearer(cert, key, tls.VersionTLS13)
	}
	foreign, err := pki.NewCA("foreign", now)
	b.must(err)
	agentCert, agentKey, err := b.ca.IssueAgent("web2.example.com", nil, now)
	b.must(err)
	webCert, webKey, err := b.ca.IssueServer(testServer, []string{testServer}, nil, now)
	b.must(err)
	ownCert, err := os.ReadFile(b.path("agent.crt"))
	b.must(err)
	ownKey, err := os.ReadFile(b.path("agent.key"))
	b.must(err)
	goodCert, err := os.ReadFile(b.clientPair[0])
	b.must(err)
	goodKey, err := os.ReadFile(b.clientPair[1])
	b.must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.ca.CertPEM())

	for name, client := range map[string]*http.Client{
		"no certificate":          newClient(t, &tls.Config{RootCAs: pool, ServerName: testHost, MinVersion: tls.VersionTLS13}),
		"another server":          issue(b.ca, "other.example.com", now),
		"a host's":                bearer(agentCert, agentKey, tls.VersionTLS13),
		"this host's own":         bearer(ownCert, ownKey, tls.VersionTLS13),
		"the server's for people": bearer(webCert, webKey, tls.VersionTLS13),
		"another authority":       issue(foreign, testServer, now),
		"self-signed":             bearer(selfSigned(t, testServer)),
		"expired":                 issue(old, testServer, now.Add(-pki.LeafLife-time.Hour)),
		"not yet valid":           issue(b.ca, testServer, now.Add(48*time.Hour)),
		"TLS 1.2":                 bearer(goodCert, goodKey, tls.VersionTLS12),
	} {
		t.Run(name, func(t *testing.T) {
			walked := 0
			for _, v := range append(agent.Verbs(), agent.Verb{Method: http.MethodGet, Path: "/", Policy: "server"}) {
				if v.Policy != "server" {
					t.Errorf("%s %s has the policy %q", v.Method, v.Path, v.Policy)
				}
				path := strings.NewReplacer("{id}", e.Task, "{n}", "1").Replace(v.Path)
				req, err := http.NewRequestWithContext(t.Context(), v.Method, r.url+path, bytes.NewReader(body))
				b.must(err)
				resp, err := client.Do(req)
				if err == nil {
					resp.Body.Close()
					t.Errorf("%s %s was answered with %s", v.Method, path, resp.Status)
				}
				walked++
			}
			if walked < 12 {
				t.Errorf("only %d verbs were tried", walked)
			}
		})
	}
	for _, v := range agent.LocalVerbs() { // root's verbs are not for servers, however good their certificate is
		if v.Policy != "root" {
			t.Errorf("%s %s has the policy %q", v.Method, v.Path, v.Policy)
		}
		wantCode(t, r.call(v.Method, strings.NewReplacer("{id}", e.Task, "{n}", "1").Replace(v.Path), b.seal(e), nil), restart.CodeNotFound)
	}
	if left := b.entries(); len(left) > 0 {
		t.Errorf("the spool holds %v", left)
	}
	if _, err := os.Stat(b.path("ran")); err == nil {
		t.Error("something ran")
	}
	r.submit(e) // the same bytes by the right hand
	r.until(e.Task, done)
}

// selfSigned makes a client certificate that nobody has vouched for.
func selfSigned(t *testing.T, name string) (cert, key []byte, version uint16) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "restartilka", Host: "server", Path: "/" + name}}, DNSNames: []string{name},
	}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), tls.VersionTLS13
}

func TestAPackageThatIsNotInstalledOrLacksTheTag(t *testing.T) {
	if _, err := os.Stat("/usr/bin/dpkg-query"); err != nil {
		missing(t, "dpkg-query")
	}
	b := newBed(t)
	digest := b.script("true")
	r := b.start()

	b.service("package: dpkg\n")
	e := b.envelope(digest)
	r.submit(e)
	r.until(e.Task, done)

	b.service("package: dpkg\ntag: not-this-one\n")
	e = b.envelope(digest)
	_, err := r.put(b.seal(e), e.Task)
	wantCode(t, err, restart.CodeNotInstalled)

	b.service("package: no-such-package-here\n")
	_, err = r.put(b.seal(e), e.Task)
	wantCode(t, err, restart.CodeNotInstalled)
}

// missing ends a test that lacks something: loudly in CI, where all is installed.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s, and CI must have it", what)
	}
	t.Skipf("NOT TESTED: this test needs %s", what)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root")
	}
}
