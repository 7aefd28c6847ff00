package agent_test

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/test/company"
)

// aged gives the bed an authority and certificates that are a while old, so
// that new ones live longer.
func (b *bed) aged() {
	b.t.Helper()
	before := time.Now().Add(-48 * time.Hour)
	var err error
	b.ca, err = pki.NewCA("test", before)
	b.must(err)
	b.write("ca.crt", b.ca.CertPEM(), 0o644)
	cert, key, err := b.ca.IssueAgent(testHost, nil, before)
	b.must(err)
	b.write("agent.crt", cert, 0o644)
	b.write("agent.key", key, 0o600)
	cert, key, err = b.ca.IssueClient(testServer, time.Now())
	b.must(err)
	b.write("client.crt", cert, 0o644)
	b.write("client.key", key, 0o600)
}

func (b *bed) serial() string {
	b.t.Helper()
	cert, err := pki.ReadCertificate(b.path("agent.crt"))
	b.must(err)
	return pki.SerialOf(cert)
}

// renew does a whole renewal, as a server does whose clock is ahead by so much.
func (r *running) renew(ahead time.Duration) (protocol.CertificateReport, error) {
	var report protocol.CertificateReport
	var request protocol.RenewalRequest
	if err := r.call(http.MethodPost, "/v1/certificate/request", struct{}{}, &request); err != nil {
		return report, err
	}
	cert, err := r.ca.SignAgentCSR([]byte(request.CSR), testHost, time.Now().Add(ahead))
	r.must(err)
	return report, r.call(http.MethodPut, "/v1/certificate", protocol.Renewal{Certificate: string(cert)}, &report)
}

// shown gives what the agent shows at a handshake.
func (r *running) shown() *x509.Certificate {
	r.t.Helper()
	r.client = r.connect(r.clientPair[0], r.clientPair[1])
	resp, err := r.client.Post(r.url+"/v1/check", "application/json", strings.NewReader("{}"))
	r.must(err)
	defer resp.Body.Close()
	var report protocol.CheckReport
	r.must(json.NewDecoder(resp.Body).Decode(&report))
	cert := resp.TLS.PeerCertificates[0]
	if report.Certificate == nil || report.Certificate.Serial != pki.SerialOf(cert) || !report.Certificate.NotAfter.Equal(cert.NotAfter) || !strings.Contains(report.Certificate.Issuer, "test") {
		r.t.Errorf("the report tells of %+v", report.Certificate)
	}
	return cert
}

func TestAnAgentIsRenewed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.aged()
	r := b.start()
	before := r.shown()
	report, err := r.renew(0)
	b.must(err)
	after := r.shown()
	if pki.SerialOf(after) != report.Serial || after.Equal(before) || b.serial() != report.Serial {
		t.Errorf("reported %s, shown %s, on the disk %s", report.Serial, pki.SerialOf(after), b.serial())
	}
	// One that ends no later is of no use.
	_, err = r.renew(-time.Minute)
	wantCode(t, err, restart.CodeCertificate)
	// A certificate for another host, or of another authority, changes nothing.
	shown := r.shown()
	var request protocol.RenewalRequest
	b.must(r.call(http.MethodPost, "/v1/certificate/request", struct{}{}, &request))
	other, err := pki.NewCA("another", time.Now())
	b.must(err)
	foreign, err := other.SignAgentCSR([]byte(request.CSR), testHost, time.Now().Add(2*time.Minute))
	b.must(err)
	wantCode(t, r.call(http.MethodPut, "/v1/certificate", protocol.Renewal{Certificate: string(foreign)}, nil), restart.CodeCertificate)
	wantCode(t, r.call(http.MethodPut, "/v1/certificate", protocol.Renewal{Certificate: strings.Repeat("x", pki.MaxCSR+1)}, nil), restart.CodeTooLarge)
	wantCode(t, r.call(http.MethodPut, "/v1/certificate", protocol.Renewal{Certificate: "x"}, nil), restart.CodeCertificate)
	if !r.shown().Equal(shown) {
		t.Error("a refused certificate is in use")
	}
	// It starts with what it has now.
	r.kill()
	if got := b.start().shown(); !got.Equal(shown) {
		t.Error("another certificate after a restart")
	}
}

// A company's own certificate is not touched, whoever asks.
func TestACompanysCertificateIsNotRenewed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	theirs := company.NewPKI(t)
	theirs.Lay(testHost, company.ServerAuth, b.path("agent.crt"), b.path("agent.key"))
	theirs.Lay(testServer, company.ClientAuth, b.clientPair[0], b.clientPair[1])
	root, err := os.ReadFile(theirs.Root())
	b.must(err)
	b.write("ca.crt", root, 0o644)
	r := b.start()
	before, err := os.ReadFile(b.path("agent.crt"))
	b.must(err)
	wantCode(t, r.call(http.MethodPost, "/v1/certificate/request", struct{}{}, nil), restart.CodeConflict)
	left, err := filepath.Glob(b.path("*.next"))
	after, readErr := os.ReadFile(b.path("agent.crt"))
	if err != nil || readErr != nil || len(left) > 0 || string(before) != string(after) {
		t.Errorf("left %v", left)
	}
}

// traced starts an agent that the kernel kills when it is about to rename to
// or from a path.
func (b *bed) traced(path string) *running {
	b.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			b.t.Fatal("strace is needed")
		}
		b.t.Skip("NOT TESTED: strace is not installed")
	}
	return b.startBy("strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=rename,renameat,renameat2", "-e", "inject=rename,renameat,renameat2:signal=KILL", os.Args[0])
}

// The agent is killed with -9 at each step of a renewal. It starts again, with
// the old pair or the new one, leaves nothing behind, and can be renewed.
func TestAnAgentIsKilledInMidRenewal(t *testing.T) {
	t.Parallel()
	for _, step := range []struct {
		path      string
		exchanged bool
	}{{"agent.key.next", false}, {"agent.crt.next", false}, {"agent.crt", true}, {"agent.key", true}} {
		t.Run(step.path, func(t *testing.T) {
			b := newBed(t)
			b.aged()
			before := b.serial()
			r := b.traced(b.path(step.path))
			if _, err := r.renew(0); err == nil {
				t.Fatal("the agent has survived")
			}
			<-r.gone
			if state := r.cmd.ProcessState; !killed(state) { // strace ends as its child did
				t.Fatalf("it ended with %v", state)
			}
			r = b.start()
			shown := pki.SerialOf(r.shown())
			if shown != b.serial() || (shown != before) != step.exchanged {
				t.Errorf("shown %s, on the disk %s, before %s", shown, b.serial(), before)
			}
			if left, err := filepath.Glob(b.path("*.next")); err != nil || len(left) > 0 {
				t.Errorf("left %v", left)
			}
			if _, err := r.renew(time.Minute); err != nil {
				t.Errorf("the next renewal: %v", err)
			}
		})
	}
}

// A connection does not outlive the server's certificate: the agent asks for
// another.
func TestAServersCertificateEndsOnAnOpenConnection(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.aged()
	var err error
	short := time.Now().Add(-pki.LeafLife).Add(3 * time.Second)
	b.ca, err = pki.NewCA("test", short.Add(-time.Hour))
	b.must(err)
	b.write("ca.crt", b.ca.CertPEM(), 0o644)
	cert, key, err := b.ca.IssueAgent(testHost, nil, time.Now())
	b.must(err)
	b.write("agent.crt", cert, 0o644)
	b.write("agent.key", key, 0o600)
	cert, key, err = b.ca.IssueClient(testServer, short)
	b.must(err)
	b.write("client.crt", cert, 0o644)
	b.write("client.key", key, 0o600)
	r := b.start()
	b.must(r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, nil))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 400 { // 20 s
		err := r.call(http.MethodPost, "/v1/check", protocol.CheckRequest{}, nil)
		if restart.CodeOf(err) == restart.CodeUnauthorised && strings.Contains(err.Error(), "has expired since") {
			return
		}
		b.must(err)
		<-tick.C
	}
	t.Error("the connection is still good")
}

// killed tells whether a process was ended by SIGKILL.
func killed(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
