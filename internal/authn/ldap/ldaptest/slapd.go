// Package ldaptest gives tests a real directory: slapd, with a folder, an
// authority and loopback ports of its own.
package ldaptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	ldap "github.com/go-ldap/ldap/v3"
	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/pki"
)

// T is what a directory needs of a test: any testing.TB.
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

// What every directory of a test has.
const (
	Base         = "dc=example,dc=com"
	People       = "ou=people," + Base
	Groups       = "ou=groups," + Base
	Account      = "cn=restartilka," + Base // may read people and groups
	Password     = "the-account's-own"      // of Account
	manager      = "cn=manager," + Base
	managersWord = "manager's"
)

// Slapd is a real slapd.
type Slapd struct {
	CA    *pki.CA
	Plain string // HOST:PORT, with StartTLS
	TLS   string // HOST:PORT, TLS from the first byte

	t       T
	dir     string
	process *exec.Cmd
	ended   chan struct{}
}

// Start starts a directory with the account, no people and no groups; the end
// of the test stops it. Where slapd is not installed, the test fails in CI, and
// is skipped loudly elsewhere.
func Start(t T) *Slapd {
	t.Helper()
	s := New(t)
	s.Start()
	return s
}

// New prepares a directory that is not started.
func New(t T) *Slapd {
	t.Helper()
	if _, err := os.Stat("/usr/sbin/slapd"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs: apt-get install slapd")
		}
		t.Skipf("NOT TESTED against a real directory: apt-get install slapd")
	}
	s := &Slapd{t: t, dir: t.TempDir(), Plain: freeAddress(t), TLS: freeAddress(t)}
	var err error
	s.CA, err = pki.NewCA("directory", time.Now())
	s.must(err)
	cert, key, err := s.CA.IssueServer("directory", []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	s.must(err)
	s.Write("ca.crt", s.CA.CertPEM())
	s.Write("slapd.crt", cert)
	s.Write("slapd.key", key)
	s.Write("account.password", []byte(Password+"\n"))
	s.must(os.Mkdir(s.path("data"), 0o700))
	s.Write("slapd.conf", fmt.Appendf(nil, `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile %[1]s/slapd.pid
TLSCACertificateFile %[1]s/ca.crt
TLSCertificateFile %[1]s/slapd.crt
TLSCertificateKeyFile %[1]s/slapd.key
database mdb
maxsize 16777216
suffix %[2]q
rootdn %[3]q
rootpw %[4]q
directory %[1]s/data
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree=%[6]q by users read by * none
access to * by dn.exact=%[5]q read by * none
overlay memberof
`, s.dir, Base, manager, managersWord, Account, People))
	t.Cleanup(func() { s.Stop(unix.SIGTERM) })
	return s
}

// Start starts the directory and waits until it listens.
func (s *Slapd) Start() {
	s.t.Helper()
	fresh := s.process == nil && !exists(s.path("data", "data.mdb"))
	log, err := os.OpenFile(s.path("slapd.out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.must(err)
	defer log.Close()
	s.process = exec.CommandContext(context.WithoutCancel(s.t.Context()), "/usr/sbin/slapd", "-d", "0", "-f", s.path("slapd.conf"),
		"-h", "ldap://"+s.Plain+" ldaps://"+s.TLS)
	s.process.Stdout, s.process.Stderr = log, log
	s.must(s.process.Start())
	s.ended = make(chan struct{})
	go func() {
		s.process.Wait() //nolint:errcheck // how it ended does not matter
		close(s.ended)
	}()
	s.wait()
	if fresh {
		s.Add(Base, "objectClass", "dcObject", "objectClass", "organization", "o", "Example", "dc", "example")
		s.Add(People, "objectClass", "organizationalUnit")
		s.Add(Groups, "objectClass", "organizationalUnit")
		s.Add(Account, "objectClass", "organizationalRole", "objectClass", "simpleSecurityObject", "userPassword", Password)
	}
}

func (s *Slapd) wait() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, address := range []string{s.Plain, s.TLS} {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-tick.C:
			case <-s.ended:
				s.t.Fatalf("slapd has ended:\n%s", s.Said())
			case <-ctx.Done():
				s.t.Fatalf("slapd does not listen:\n%s", s.Said())
			}
		}
	}
}

// Stop ends the directory with a signal and waits for it.
func (s *Slapd) Stop(signal os.Signal) {
	if s.process == nil {
		return
	}
	s.Send(signal)
	if signal == unix.SIGTERM {
		s.Send(unix.SIGCONT) // it may have been frozen
	}
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		s.process.Process.Kill() //nolint:errcheck // it is told below
		<-s.ended
		s.t.Errorf("slapd did not end at %s", signal)
	}
	s.process = nil
}

// Send sends the directory a signal and waits for nothing: to freeze it, say.
func (s *Slapd) Send(signal os.Signal) {
	if err := s.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal slapd: %v", err)
	}
}

// Person adds a person who signs in with a password, and gives its DN.
func (s *Slapd) Person(name, password string, more ...string) string {
	s.t.Helper()
	dn := "uid=" + ldap.EscapeDN(name) + "," + People
	s.Add(dn, append([]string{"objectClass", "inetOrgPerson", "cn", name + " of the test", "sn", "test", "uid", name,
		"mail", name + "@example.com", "userPassword", password}, more...)...)
	return dn
}

// Group adds a group with members, at least one, and gives its DN.
func (s *Slapd) Group(name string, members ...string) string {
	s.t.Helper()
	dn := "cn=" + ldap.EscapeDN(name) + "," + Groups
	pairs := []string{"objectClass", "groupOfNames"}
	for _, m := range members {
		pairs = append(pairs, "member", m)
	}
	s.Add(dn, pairs...)
	return dn
}

// Add adds an entry; attributes are pairs of name and value.
func (s *Slapd) Add(dn string, attributes ...string) {
	s.t.Helper()
	values := map[string][]string{}
	for i := 0; i < len(attributes); i += 2 {
		values[attributes[i]] = append(values[attributes[i]], attributes[i+1])
	}
	request := ldap.NewAddRequest(dn, nil)
	for name, v := range values {
		request.Attribute(name, v)
	}
	s.asManager(func(c *ldap.Conn) error { return c.Add(request) })
}

// Join puts a member into a group.
func (s *Slapd) Join(group, member string) {
	s.t.Helper()
	request := ldap.NewModifyRequest(group, nil)
	request.Add("member", []string{member})
	s.asManager(func(c *ldap.Conn) error { return c.Modify(request) })
}

// Leave takes a member out of a group that has others.
func (s *Slapd) Leave(group, member string) {
	s.t.Helper()
	request := ldap.NewModifyRequest(group, nil)
	request.Delete("member", []string{member})
	s.asManager(func(c *ldap.Conn) error { return c.Modify(request) })
}

// Set gives an attribute of an entry these values.
func (s *Slapd) Set(dn, attribute string, values ...string) {
	s.t.Helper()
	request := ldap.NewModifyRequest(dn, nil)
	request.Replace(attribute, values)
	s.asManager(func(c *ldap.Conn) error { return c.Modify(request) })
}

// Delete takes an entry away.
func (s *Slapd) Delete(dn string) {
	s.t.Helper()
	s.asManager(func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest(dn, nil)) })
}

func (s *Slapd) asManager(do func(*ldap.Conn) error) {
	s.t.Helper()
	raw, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", s.Plain)
	s.must(err)
	c := ldap.NewConn(raw, false)
	c.Start()
	defer c.Close()
	s.must(c.Bind(manager, managersWord))
	s.must(do(c))
}

// Write puts a file into the directory's folder and gives its path.
func (s *Slapd) Write(name string, content []byte) string {
	s.t.Helper()
	s.must(os.WriteFile(s.path(name), content, 0o600))
	return s.path(name)
}

// CAFile is the certificate of the directory's authority.
func (s *Slapd) CAFile() string { return s.path("ca.crt") }

// PasswordFile holds the password of Account.
func (s *Slapd) PasswordFile() string { return s.path("account.password") }

// Said gives what the directory's program has said of itself.
func (s *Slapd) Said() []byte {
	b, _ := os.ReadFile(s.path("slapd.out"))
	return b
}

func (s *Slapd) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

func (s *Slapd) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// freeAddress gives an address that nobody listens on now.
func freeAddress(t T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
