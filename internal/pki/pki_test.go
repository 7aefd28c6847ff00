package pki_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestSaveAndLoad(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	ca := newCA(t, "restartilka of example.com", now)
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, pki.CertFile), filepath.Join(dir, pki.KeyFile)
	for path, want := range map[string]fs.FileMode{certFile: 0o644, keyFile: 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
	}
	again, err := pki.LoadCA(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.CertPEM(), ca.CertPEM()) || !again.NotAfter().Equal(ca.NotAfter()) {
		t.Error("another authority came back")
	}
	if err := ca.Save(dir); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("saved over an authority: %v", err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o601} {
		if err := os.Chmod(keyFile, mode); err != nil {
			t.Fatal(err)
		}
		_, err := pki.LoadCA(certFile, keyFile)
		if e, ok := errors.AsType[*restart.Error](err); !ok || e.Code != restart.CodeCertificate || !strings.Contains(e.Hint, "chmod 0600 "+keyFile) {
			t.Errorf("key of mode %v: %v", mode, err)
		}
	}
}

// systemd hands out a credential with an access list, which shows as mode 0440.
func TestKeyFromSystemd(t *testing.T) {
	f := agent(t, newCA(t, "ca", time.Now()), "web1", time.Now())
	for _, c := range []struct {
		dir      string
		mode     fs.FileMode
		accepted bool
	}{
		{filepath.Dir(f.key), 0o440, true}, {filepath.Dir(f.key) + "/", 0o440, true}, {filepath.Dir(f.key), 0o444, false},
		{filepath.Dir(f.key), 0o460, false}, {filepath.Dir(filepath.Dir(f.key)), 0o440, false}, {"", 0o440, false},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", c.dir)
		if err := os.Chmod(f.key, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.LoadCredentials(f.cert, f.key, f.ca); (err == nil) != c.accepted {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestIssued(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now)
	seen := map[string]bool{}
	for range 20 {
		text, _, err := ca.IssueAgent("web1.example.com", []net.IP{net.IPv4(127, 0, 0, 11)}, now)
		if err != nil {
			t.Fatal(err)
		}
		cert := parse(t, text)
		if cert.SerialNumber.BitLen() < 120 || cert.SerialNumber.BitLen() > 127 || seen[cert.SerialNumber.String()] {
			t.Errorf("serial %x", cert.SerialNumber)
		}
		seen[cert.SerialNumber.String()] = true
		if !cert.NotBefore.Equal(now.Add(-pki.Backdate).UTC().Truncate(time.Second)) || !cert.NotAfter.Equal(now.Add(pki.LeafLife).UTC().Truncate(time.Second)) {
			t.Errorf("valid from %v to %v", cert.NotBefore, cert.NotAfter)
		}
		if id, ok, err := pki.IdentityOf(cert); err != nil || !ok || id != (pki.Identity{Role: pki.RoleAgent, Name: "web1.example.com"}) {
			t.Errorf("identity %v %v %v", id, ok, err)
		}
	}

	late := ca.NotAfter().AddDate(0, -1, 0)
	text, _, err := ca.IssueClient("main", late)
	if err != nil {
		t.Fatal(err)
	}
	if cert := parse(t, text); !cert.NotAfter.Equal(ca.NotAfter()) {
		t.Errorf("outlives its authority: %v after %v", cert.NotAfter, ca.NotAfter())
	}
	if _, _, err := ca.IssueClient("main", ca.NotAfter()); restart.CodeOf(err) != restart.CodeCertificate {
		t.Errorf("issued by an authority that is over: %v", err)
	}
	for _, host := range []string{"", "*.example.com", "Web1", "web1/../web2", "-rf", "web1\n", "web1?x", strings.Repeat("a", 254)} {
		if _, _, err := ca.IssueAgent(host, nil, now); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("host %q: %v", host, err)
		}
		if _, _, err := pki.NewAgentCSR(host); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("request of host %q: %v", host, err)
		}
	}
	long := strings.Repeat("a23456789.", 12) + "example.com"
	text, _, err = ca.IssueAgent(long, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := pki.Is(parse(t, text), pki.Identity{Role: pki.RoleAgent, Name: long}); err != nil {
		t.Error(err)
	}
}

func TestSignRequest(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now)
	keyPEM, csrPEM, err := pki.NewAgentCSR("web1")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, err := ca.SignAgentCSR(csrPEM, "web1", now)
	if err != nil {
		t.Fatal(err)
	}
	agentErr, serverErr := meet(t, lay(t, certPEM, keyPEM, ca.CertPEM()).listen(t, "main"), server(t, ca, "main", now).call(t, "web1"))
	if agentErr != nil || serverErr != nil {
		t.Fatalf("agent: %v, server: %v", agentErr, serverErr)
	}
	if _, err := ca.SignAgentCSR(csrPEM, "web2", now); restart.CodeOf(err) != restart.CodeCertificate || !strings.Contains(err.Error(), `"web1"`) {
		t.Errorf("a request of web1 was signed for web2: %v", err)
	}
	torn := bytes.Clone(csrPEM)
	block, _ := pem.Decode(torn)
	block.Bytes[len(block.Bytes)-1] ^= 1
	for name, text := range map[string][]byte{
		"nothing": nil, "a certificate": certPEM, "two": append(bytes.Clone(csrPEM), csrPEM...), "a bit flipped": pem.EncodeToMemory(block),
		"too much": bytes.Repeat([]byte("x"), pki.MaxCSR+1),
	} {
		if _, err := ca.SignAgentCSR(text, "web1", now); err == nil {
			t.Errorf("signed: %s", name)
		}
	}
}

func TestEnvelopeKeys(t *testing.T) {
	dir := t.TempDir()
	secret, public := filepath.Join(dir, "envelope.key"), filepath.Join(dir, "envelope.pub")
	key, err := pki.GenerateEnvelopeKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := pki.SaveEnvelopeKey(secret, key); err != nil {
		t.Fatal(err)
	}
	if again, err := pki.LoadEnvelopeKey(secret); err != nil || !again.Equal(key) {
		t.Errorf("another key came back: %v", err)
	}
	half := key.Public().(ed25519.PublicKey)
	if err := pki.SaveEnvelopePublicKey(public, half); err != nil {
		t.Fatal(err)
	}
	next, err := pki.GenerateEnvelopeKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pki.EnvelopePublicPEM(next.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(public, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	f.Close()
	keys, err := pki.LoadEnvelopePublicKeys(public)
	if err != nil || len(keys) != 2 || !keys[protocol.KeyID(half)].Equal(half) {
		t.Errorf("keys %v, %v", keys, err)
	}
	if _, err := pki.LoadEnvelopePublicKeys(secret); restart.CodeOf(err) != restart.CodeCertificate {
		t.Errorf("a private key laid on a host: %v", err)
	}
	if err := os.Chmod(secret, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.LoadEnvelopeKey(secret); restart.CodeOf(err) != restart.CodeCertificate {
		t.Errorf("a key that others can read: %v", err)
	}
}

func TestBrokenFiles(t *testing.T) {
	now := time.Now()
	ca := newCA(t, "ca", now)
	other := agent(t, ca, "web2", now)
	for name, c := range map[string]struct {
		spoil func(f files) error
		want  string
	}{
		"no certificate":        {func(f files) error { return os.Remove(f.cert) }, "can't be read"},
		"empty certificate":     {func(f files) error { return os.WriteFile(f.cert, nil, 0o644) }, "holds no certificate"},
		"key for a certificate": {func(f files) error { return copyFile(f.key, f.cert) }, "only certificates may stand"},
		"another key":           {func(f files) error { return copyFile(other.key, f.key) }, "does not belong to"},
		"open key":              {func(f files) error { return os.Chmod(f.key, 0o644) }, "has mode 0644"},
		"leaf as authority":     {func(f files) error { return copyFile(f.cert, f.ca) }, "no authority's"},
		"endless file":          {func(f files) error { return os.Truncate(f.cert, 1<<40) }, "is over"},
		"a folder":              {func(f files) error { return errors.Join(os.Remove(f.ca), os.Mkdir(f.ca, 0o755)) }, "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			f := agent(t, ca, "web1", now)
			if err := c.spoil(f); err != nil {
				t.Fatal(err)
			}
			_, err := pki.LoadCredentials(f.cert, f.key, f.ca)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	good := agent(t, ca, "web1", now)
	credentials, err := pki.LoadCredentials(good.cert, good.key, good.ca)
	if err != nil {
		t.Fatal(err)
	}
	for _, servers := range [][]string{nil, {""}, {"*"}, {"main", "a/b"}} {
		if _, err := credentials.Listen(servers); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("servers %q: %v", servers, err)
		}
	}
	if _, err := credentials.Call("*.example.com"); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("calling a wildcard: %v", err)
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func TestExplainLeavesOthersAlone(t *testing.T) {
	for _, err := range []error{nil, errors.New("connection refused"), &net.OpError{Op: "dial", Err: errors.New("no route to host")}, restart.Errorf(restart.CodeBusy, "busy")} {
		if e := pki.Explain(err); e != nil {
			t.Errorf("%v became %v", err, e)
		}
	}
	if e := pki.Explain(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}); e == nil || !strings.Contains(e.Message, "does not speak TLS") {
		t.Errorf("plain text: %v", e)
	}
	host := x509.HostnameError{Host: "ctl", Certificate: &x509.Certificate{DNSNames: []string{"a\x1b[31m"}}}
	if e := pki.Explain(host); e == nil || !strings.Contains(e.Message, `"a\x1b[31m"`) {
		t.Errorf("names of a stranger: %v", e)
	}
}

// FuzzIdentity feeds PEM texts to everything that reads one: nothing may panic,
// and no certificate may be two peers at once.
func FuzzIdentity(f *testing.F) {
	now := time.Now()
	ca, err := pki.NewCA("ca", now)
	if err != nil {
		f.Fatal(err)
	}
	agentCert, agentKey, err := ca.IssueAgent("web1", nil, now)
	if err != nil {
		f.Fatal(err)
	}
	serverCert, _, err := ca.IssueClient("main", now)
	if err != nil {
		f.Fatal(err)
	}
	_, csr, err := pki.NewAgentCSR("web1")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{ca.CertPEM(), agentCert, serverCert, agentKey, csr, append(agentCert, serverCert...), []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "input.pem")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = pki.LoadCredentials(path, path, path)
		_, _ = pki.LoadCA(path, path)
		_, _ = pki.LoadEnvelopeKey(path)
		_, _ = pki.LoadEnvelopePublicKeys(path)
		_, _ = ca.SignAgentCSR(text, "web1", now)
		for rest := text; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				return
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				continue
			}
			id, ok, err := pki.IdentityOf(cert)
			if ok && (err != nil || restart.CheckHost(id.Name) != nil) {
				t.Fatalf("identity %v with %v", id, err)
			}
			asAgent := pki.Is(cert, pki.Identity{Role: pki.RoleAgent, Name: "web1"}) == nil
			asServer := pki.Is(cert, pki.Identity{Role: pki.RoleServer, Name: "web1"}) == nil
			if ok && asAgent && asServer {
				t.Fatal("one certificate is agent and server")
			}
			if printed := pki.Names(cert); restart.Escape(printed) != printed {
				t.Fatalf("names can forge a line: %q", printed)
			}
		}
	})
}
