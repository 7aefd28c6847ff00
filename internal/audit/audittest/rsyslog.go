// Package audittest gives tests a real remote log server: rsyslogd or syslog-ng,
// with a folder, an authority and a loopback port of its own.
package audittest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/pki"
)

// ServerName is the name in the receiver's certificate.
const ServerName = "logs.example.com"

// T is what a receiver needs of a test: any testing.TB, or a program that has
// use for a log server.
type T interface {
	Helper()
	Context() context.Context
	TempDir() string
	Cleanup(f func())
	Errorf(format string, args ...any)
	Fatal(args ...any) // does not return
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any) // does not return
}

// Rsyslog is a real rsyslogd, or another program in its place, that writes what
// it gets over TLS into one file.
type Rsyslog struct {
	CA      *pki.CA
	Address string // HOST:PORT

	t           T
	dir         string
	command     []string
	environment []string // nil = this program's
	process     *exec.Cmd
	ended       chan struct{}
}

// NewRsyslog prepares a receiver with one of rsyslog's own templates; Start
// starts it, and the end of the test stops it. It asks for a client certificate
// of that name, unless it is "". Where rsyslog is not installed, the test fails
// in CI, and is skipped loudly elsewhere.
func NewRsyslog(t T, template, client string) *Rsyslog {
	t.Helper()
	mode := `StreamDriver.AuthMode="anon"`
	if client != "" {
		mode = fmt.Sprintf(`StreamDriver.AuthMode="x509/name" PermittedPeer=[%q]`, client)
	}
	return newRsyslog(t, template, "lmnsd_gtls", "rsyslog-gnutls", `
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" `+mode+`)
input(type="imtcp" address="127.0.0.1" port="%[2]s")`)
}

// NewRelp is NewRsyslog for a receiver of RELP over TLS. It asks for a client
// certificate always: imrelp with a certificate of its own does.
func NewRelp(t T, template, client string) *Rsyslog {
	t.Helper()
	return newRsyslog(t, template, "imrelp", "rsyslog-relp", `
module(load="imrelp")
input(type="imrelp" address="127.0.0.1" port="%[2]s" tls="on" tls.authMode="name" tls.permittedPeer="`+client+`"
      tls.caCert="%[1]s/ca.crt" tls.myCert="%[1]s/logs.crt" tls.myPrivKey="%[1]s/logs.key")`)
}

// newRsyslog prepares a receiver by its input, in which %[1]s is its folder and
// %[2]s its port. It needs that module of rsyslog, out of that package.
func newRsyslog(t T, template, module, packages, input string) *Rsyslog {
	t.Helper()
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		needs(t, "rsyslog "+packages)
	}
	if found, _ := filepath.Glob("/usr/lib/*/rsyslog/" + module + ".so"); len(found) == 0 {
		needs(t, packages)
	}
	r := prepare(t)
	r.Write("rsyslog.conf", fmt.Appendf(nil, `
global(workDirectory="%[1]s" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="%[1]s/ca.crt"
       defaultNetstreamDriverCertFile="%[1]s/logs.crt" defaultNetstreamDriverKeyFile="%[1]s/logs.key")
`+input+`
action(type="omfile" file="%[1]s/stored.log" template="%[3]s" fileCreateMode="0600")
`, r.dir, r.port(), template))
	return r
}

// prepare makes folder, port and certificates of a receiver. Its command is that
// of rsyslogd.
func prepare(t T) *Rsyslog {
	t.Helper()
	r := &Rsyslog{t: t, dir: t.TempDir()}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	r.must(err)
	r.Address = listener.Addr().String()
	r.must(listener.Close())
	r.CA, err = pki.NewCA("logs", time.Now())
	r.must(err)
	cert, key, err := r.CA.IssueServer("logs", []string{ServerName}, nil, time.Now())
	r.must(err)
	r.Write("ca.crt", r.CA.CertPEM())
	r.Write("logs.crt", cert)
	r.Write("logs.key", key)
	r.command = []string{"rsyslogd", "-n", "-f", r.path("rsyslog.conf"), "-i", r.path("rsyslogd.pid")}
	t.Cleanup(func() { r.Stop(unix.SIGTERM) })
	return r
}

func (r *Rsyslog) port() string {
	_, port, err := net.SplitHostPort(r.Address)
	r.must(err)
	return port
}

// needs ends a test that lacks a Debian package: in CI as a failure.
func needs(t T, packages string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs: apt-get install %s", packages)
	}
	t.Skipf("NOT TESTED against a real log server: apt-get install %s", packages)
}

func (r *Rsyslog) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// Write puts a file into the receiver's folder and gives its path.
func (r *Rsyslog) Write(name string, content []byte) string {
	r.t.Helper()
	path := r.path(name)
	r.must(os.WriteFile(path, content, 0o600))
	return path
}

func (r *Rsyslog) path(name string) string { return filepath.Join(r.dir, name) }

// CAFile is the certificate of the receiver's authority.
func (r *Rsyslog) CAFile() string { return r.path("ca.crt") }

// StoredFile is what the receiver writes.
func (r *Rsyslog) StoredFile() string { return r.path("stored.log") }

// Start starts the receiver and waits until it listens.
func (r *Rsyslog) Start() {
	r.t.Helper()
	log, err := os.OpenFile(r.path("rsyslogd.out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	r.must(err)
	defer log.Close()
	r.process = exec.CommandContext(context.WithoutCancel(r.t.Context()), r.command[0], r.command[1:]...)
	r.process.Env, r.process.Stdout, r.process.Stderr = r.environment, log, log
	r.must(r.process.Start())
	r.ended = make(chan struct{})
	go func() {
		r.process.Wait() //nolint:errcheck // how it ended does not matter
		close(r.ended)
	}()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.Address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("%s does not listen:\n%s", r.command[0], r.Said())
		}
	}
}

// Send sends the receiver a signal and waits for nothing: to freeze it, say.
func (r *Rsyslog) Send(signal os.Signal) {
	if r.process == nil {
		return
	}
	if err := r.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.t.Errorf("signal rsyslogd: %v", err)
	}
}

// Stop ends the receiver with a signal and waits for it. rsyslogd does not
// listen to SIGINT.
func (r *Rsyslog) Stop(signal os.Signal) {
	if r.process == nil {
		return
	}
	if err := r.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.t.Errorf("stop rsyslogd: %v", err)
	}
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		r.process.Process.Kill() //nolint:errcheck // it is told below
		<-r.ended
		r.t.Errorf("rsyslogd did not end at %s", signal)
	}
	r.process = nil
}

// Stored gives what the receiver has written.
func (r *Rsyslog) Stored() []byte {
	b, err := os.ReadFile(r.StoredFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.t.Fatal(err)
	}
	return b
}

// Said gives what the receiver's program has said of itself.
func (r *Rsyslog) Said() []byte {
	b, _ := os.ReadFile(r.path("rsyslogd.out"))
	return b
}
