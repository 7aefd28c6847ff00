package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

// files are one end's three files in a directory of their own.
type files struct{ cert, key, ca string }

func (f files) listen(t *testing.T, servers ...string) *tls.Config {
	t.Helper()
	config, err := pki.ServerConfig(f.cert, f.key, f.ca, servers)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func (f files) call(t *testing.T, host string) *tls.Config {
	t.Helper()
	config, err := pki.ClientConfig(f.cert, f.key, f.ca, host)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func lay(t *testing.T, certPEM, keyPEM, caPEM []byte) files {
	t.Helper()
	dir := t.TempDir()
	f := files{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "ca.crt")}
	f.write(t, certPEM, keyPEM, caPEM)
	return f
}

func (f files) write(t *testing.T, certPEM, keyPEM, caPEM []byte) {
	t.Helper()
	for path, data := range map[string][]byte{f.cert: certPEM, f.ca: caPEM} {
		if err := pki.WritePEM(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := pki.WritePEM(f.key, keyPEM, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newCA(t *testing.T, name string, now time.Time) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA(name, now)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// server lays the files of a server called name, agent those of a host's agent.
func server(t *testing.T, ca *pki.CA, name string, now time.Time) files {
	t.Helper()
	cert, key, err := ca.IssueClient(name, now)
	if err != nil {
		t.Fatal(err)
	}
	return lay(t, cert, key, ca.CertPEM())
}

func agent(t *testing.T, ca *pki.CA, host string, now time.Time) files {
	t.Helper()
	cert, key, err := ca.IssueAgent(host, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return lay(t, cert, key, ca.CertPEM())
}

// meet lets both ends shake hands over loopback and pass one byte, and gives
// what each of them says about it.
func meet(t *testing.T, agentSide, serverSide *tls.Config) (agentErr, serverErr error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	deadline := time.Now().Add(20 * time.Second)
	done := make(chan error, 1)
	go func() {
		raw, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer raw.Close()
		raw.SetDeadline(deadline)
		conn := tls.Server(raw, agentSide)
		if err = conn.Handshake(); err == nil {
			_, err = conn.Write([]byte{1})
		}
		done <- err
	}()
	raw, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(deadline)
	conn := tls.Client(raw, serverSide)
	if serverErr = conn.Handshake(); serverErr == nil {
		_, serverErr = conn.Read(make([]byte, 1))
	}
	raw.Close()
	return <-done, serverErr
}

func explains(t *testing.T, side string, err error, want string) {
	t.Helper()
	if want == "" {
		return // that end sees no more than a closed connection
	}
	e := pki.Explain(err)
	if e == nil {
		t.Fatalf("%s: %v is not explained", side, err)
	}
	if e.Code != restart.CodeCertificate || !strings.Contains(e.Message, want) {
		t.Errorf("%s says %s %q, want a sentence with %q", side, e.Code, e.Message, want)
	}
}

func TestHandshake(t *testing.T) {
	now := time.Now()
	ours, others := newCA(t, "ours", now.AddDate(-3, 0, 0)), newCA(t, "others", now)
	goodAgent, goodServer := agent(t, ours, "web1.example.com", now), server(t, ours, "main", now)
	old, soon := now.AddDate(-2, 0, 0), now.Add(time.Hour)

	webCert, webKey, err := ours.IssueServer("web1.example.com", []string{"web1.example.com"}, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	strangerCert, strangerKey, err := others.IssueClient("main", now)
	if err != nil {
		t.Fatal(err)
	}
	stranger := lay(t, strangerCert, strangerKey, ours.CertPEM())
	web := lay(t, webCert, webKey, ours.CertPEM())
	nobody := goodServer.call(t, "web1.example.com")
	nobody.GetClientCertificate = nil
	oldTLS := goodServer.call(t, "web1.example.com")
	oldTLS.MinVersion, oldTLS.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	oldAgent := goodAgent.listen(t, "main")
	oldAgent.GetConfigForClient, oldAgent.MinVersion, oldAgent.MaxVersion = nil, tls.VersionTLS12, tls.VersionTLS12

	for name, c := range map[string]struct {
		agent, server         *tls.Config
		agentSays, serverSays string
	}{
		"right": {agent: goodAgent.listen(t, "other", "main"), server: goodServer.call(t, "web1.example.com")},
		"agent of another authority": {
			agent: agent(t, others, "web1.example.com", now).listen(t, "main"), server: goodServer.call(t, "web1.example.com"),
			serverSays: "authority that is not trusted here"},
		"server of another authority": {
			agent: goodAgent.listen(t, "main"), server: stranger.call(t, "web1.example.com"),
			agentSays: "authority that is not trusted here", serverSays: "does not trust the authority of our certificate"},
		"agent of another host": {
			agent: agent(t, ours, "web2.example.com", now).listen(t, "main"), server: goodServer.call(t, "web1.example.com"),
			serverSays: `not that of agent web1.example.com: it is for "restartilka://agent/web2.example.com"`},
		"another server": {
			agent: goodAgent.listen(t, "main"), server: server(t, ours, "stray", now).call(t, "web1.example.com"),
			agentSays: `not that of server main: it is for "restartilka://server/stray"`, serverSays: "refused our certificate"},
		"expired agent": {
			agent: agent(t, ours, "web1.example.com", old).listen(t, "main"), server: goodServer.call(t, "web1.example.com"),
			serverSays: "expired on " + old.Add(pki.LeafLife).UTC().Format("2006-01-02")},
		"expired server": {
			agent: goodAgent.listen(t, "main"), server: server(t, ours, "main", old).call(t, "web1.example.com"),
			agentSays: "expired on", serverSays: "our certificate has expired"},
		"agent of the future": {
			agent: agent(t, ours, "web1.example.com", soon).listen(t, "main"), server: goodServer.call(t, "web1.example.com"),
			serverSays: "is valid only from " + soon.Add(-pki.Backdate).UTC().Format("2006-01-02 15:04")},
		"agent calls an agent": {
			agent: goodAgent.listen(t, "main"), server: agent(t, ours, "main", now).call(t, "web1.example.com"),
			agentSays: "may not be used in this direction", serverSays: "refused our certificate"},
		"server answers as an agent": {
			agent: server(t, ours, "main", now).listen(t, "main"), server: goodServer.call(t, "main"),
			serverSays: "may not be used in this direction"},
		"the server's pages answer as an agent": {
			agent: web.listen(t, "main"), server: goodServer.call(t, "web1.example.com"),
			serverSays: "not that of agent web1.example.com"},
		"no client certificate": {
			agent: goodAgent.listen(t, "main"), server: nobody,
			agentSays: "showed no certificate", serverSays: "wants a certificate, and none was shown"},
		"client of TLS 1.2": {
			agent: goodAgent.listen(t, "main"), server: oldTLS,
			agentSays: "does not speak TLS 1.3", serverSays: "refused our version of TLS"},
		"agent of TLS 1.2": {
			agent: oldAgent, server: goodServer.call(t, "web1.example.com"),
			serverSays: "refused our version of TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			agentErr, serverErr := meet(t, c.agent, c.server)
			if name == "right" {
				if agentErr != nil || serverErr != nil {
					t.Fatalf("agent: %v, server: %v", agentErr, serverErr)
				}
				return
			}
			if agentErr == nil && serverErr == nil {
				t.Fatal("accepted")
			}
			explains(t, "agent", agentErr, c.agentSays)
			explains(t, "server", serverErr, c.serverSays)
		})
	}
}

// A company's authority issues certificates with DNS names only, some with
// both usages, some with wildcards, some with no usage at all.
func TestCompanyAuthority(t *testing.T) {
	now := time.Now()
	company := newCompany(t, now)
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for name, c := range map[string]struct {
		agent, server files
		accepted      bool
	}{
		"exact names":            {company.lay(t, both, "web1.example.com"), company.lay(t, both, "ctl.example.com"), true},
		"agent by wildcard":      {company.lay(t, both, "*.example.com"), company.lay(t, both, "ctl.example.com"), false},
		"server by wildcard":     {company.lay(t, both, "web1.example.com"), company.lay(t, both, "*.example.com"), false},
		"other server":           {company.lay(t, both, "web1.example.com"), company.lay(t, both, "db1.example.com"), false},
		"agent without a usage":  {company.lay(t, nil, "web1.example.com"), company.lay(t, both, "ctl.example.com"), false},
		"server without a usage": {company.lay(t, both, "web1.example.com"), company.lay(t, nil, "ctl.example.com"), false},
		"no names":               {company.lay(t, both), company.lay(t, both, "ctl.example.com"), false},
	} {
		t.Run(name, func(t *testing.T) {
			agentErr, serverErr := meet(t, c.agent.listen(t, "ctl.example.com"), c.server.call(t, "web1.example.com"))
			if accepted := agentErr == nil && serverErr == nil; accepted != c.accepted {
				t.Errorf("accepted %v, want %v (agent: %v, server: %v)", accepted, c.accepted, agentErr, serverErr)
			}
			if !c.accepted && pki.Explain(serverErr) == nil {
				t.Errorf("%v is not explained", serverErr)
			}
		})
	}
}

type company struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCompany(t *testing.T, now time.Time) company {
	t.Helper()
	key := newTestKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return company{cert, key}
}

func (c company) lay(t *testing.T, usage []x509.ExtKeyUsage, dns ...string) files {
	t.Helper()
	key := newTestKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: c.cert.NotBefore, NotAfter: c.cert.NotAfter, ExtKeyUsage: usage, DNSNames: dns}
	template.Subject.CommonName = "web1.example.com" // must never be looked at
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return lay(t, block("CERTIFICATE", der), block("PRIVATE KEY", secret), block("CERTIFICATE", c.cert.Raw))
}

func newTestKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Both ends change over to a new authority while running: each handshake goes
// by the files of its moment, and half a change leaves the last good files.
func TestFilesSwappedWhileRunning(t *testing.T) {
	now := time.Now()
	before, after := newCA(t, "before", now), newCA(t, "after", now)
	agentFiles, serverFiles := agent(t, before, "web1", now), server(t, before, "main", now)
	credentials, err := pki.LoadCredentials(serverFiles.cert, serverFiles.key, serverFiles.ca)
	if err != nil {
		t.Fatal(err)
	}
	calling, err := credentials.Call("web1")
	if err != nil {
		t.Fatal(err)
	}
	listening := agentFiles.listen(t, "main")
	expect := func(step string, want bool) {
		t.Helper()
		agentErr, serverErr := meet(t, listening, calling)
		if got := agentErr == nil && serverErr == nil; got != want {
			t.Fatalf("%s: accepted %v, want %v (agent: %v, server: %v)", step, got, want, agentErr, serverErr)
		}
	}
	expect("before", true)

	cert, key, err := after.IssueAgent("web1", nil, now)
	if err != nil {
		t.Fatal(err)
	}
	agentFiles.write(t, cert, key, after.CertPEM())
	expect("only the agent has changed", false)

	cert, key, err = after.IssueClient("main", now)
	if err != nil {
		t.Fatal(err)
	}
	if err := pki.WritePEM(serverFiles.cert, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := credentials.Err(); err == nil || !strings.Contains(err.Error(), "does not belong to the certificate") {
		t.Fatalf("certificate without its key: %v", err)
	}
	expect("half of the server's files", false)
	serverFiles.write(t, cert, key, after.CertPEM())
	expect("both have changed", true)
	if err := credentials.Err(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(serverFiles.ca); err != nil {
		t.Fatal(err)
	}
	expect("the pinned authorities are away for a moment", true)
	if err := credentials.Err(); err == nil || !strings.Contains(err.Error(), "ca.crt can't be read") {
		t.Fatalf("missing file: %v", err)
	}
}
