package agent_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

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

func TestEveryVerbNeedsTheServersCertificate(t *testing.T) {
	b := newBed(t)
	digest := b.script("true")
	r := b.start()
	e := b.envelope(digest)

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(b.ca.CertPEM())
	nobody := newClient(t, &tls.Config{RootCAs: pool, ServerName: testHost, MinVersion: tls.VersionTLS13})

	cert, key, err := b.ca.IssueClient("other.example.com", time.Now())
	b.must(err)
	otherServer := b.connect(b.write("other.crt", cert, 0o644), b.write("other.key", key, 0o600))

	cert, key, err = b.ca.IssueAgent("web2.example.com", nil, time.Now())
	b.must(err)
	anAgent := b.connect(b.write("agent2.crt", cert, 0o644), b.write("agent2.key", key, 0o600))

	foreign, err := pki.NewCA("foreign", time.Now())
	b.must(err)
	cert, key, err = foreign.IssueClient(testServer, time.Now())
	b.must(err)
	foreigner := b.connect(b.write("foreign.crt", cert, 0o644), b.write("foreign.key", key, 0o600))

	for name, client := range map[string]*http.Client{"no certificate": nobody, "another server": otherServer, "an agent": anAgent, "another authority": foreigner} {
		t.Run(name, func(t *testing.T) {
			for _, v := range [][2]string{
				{http.MethodPut, "/v1/tasks/" + e.Task}, {http.MethodGet, "/v1/tasks/" + e.Task}, {http.MethodGet, "/v1/tasks/" + e.Task + "/output"},
				{http.MethodPost, "/v1/tasks/" + e.Task + "/cancel"}, {http.MethodDelete, "/v1/tasks/" + e.Task},
				{http.MethodPost, "/v1/check"}, {http.MethodPost, "/v1/probe"}, {http.MethodPost, "/v1/discover"}, {http.MethodGet, "/"},
			} {
				req, err := http.NewRequest(v[0], r.url+v[1], strings.NewReader("{}"))
				b.must(err)
				resp, err := client.Do(req)
				if err == nil {
					resp.Body.Close()
					t.Errorf("%s %s was answered with %s", v[0], v[1], resp.Status)
				}
			}
		})
	}
	if left := b.entries(); len(left) > 0 {
		t.Errorf("the spool holds %v", left)
	}
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
