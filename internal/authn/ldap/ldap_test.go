package ldap_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authn/ldap"
	"github.com/restartilka/restartilka/internal/authn/ldap/ldaptest"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

var (
	_ authn.Password  = (*ldap.Directory)(nil)
	_ authn.Refresher = (*ldap.Directory)(nil)
)

// settings are those of a company whose directory s is.
func settings(s *ldaptest.Slapd) ldap.Config {
	return ldap.Config{
		URLs: []string{"ldaps://" + s.TLS}, CAFile: s.CAFile(), BindDN: ldaptest.Account, BindPasswordFile: s.PasswordFile(),
		UserBase: ldaptest.People, GroupBase: ldaptest.Groups, GroupFilter: "(&(objectClass=groupOfNames)(member={dn}))",
	}
}

func open(t *testing.T, c ldap.Config) *ldap.Directory {
	t.Helper()
	d, err := ldap.Open(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	anna := s.Person("anna", "right")
	boris := s.Person("boris", "other")
	s.Group("Web", anna, boris)
	s.Group("shop", boris)

	ways := map[string]func(*ldap.Config){
		"TLS from the first byte": func(*ldap.Config) {},
		"StartTLS":                func(c *ldap.Config) { c.URLs, c.StartTLS = []string{"ldap://" + s.Plain}, true },
		"without TLS, loopback":   func(c *ldap.Config) { c.URLs, c.Insecure = []string{"ldap://" + s.Plain}, true },
		"groups by memberOf":      func(c *ldap.Config) { c.GroupFilter, c.MemberOf = "", "memberOf" },
		"both":                    func(c *ldap.Config) { c.MemberOf = "memberOf" },
		"as themselves": func(c *ldap.Config) {
			c.BindDN, c.BindPasswordFile, c.UserTemplate = "", "", "uid={name},"+ldaptest.People
			c.GroupFilter, c.MemberOf = "", "memberOf"
		},
	}
	for name, change := range ways {
		t.Run(name, func(t *testing.T) {
			c := settings(s)
			change(&c)
			d := open(t, c)
			id, err := d.SignIn(t.Context(), "Anna", "right")
			if err != nil {
				t.Fatal(err)
			}
			if id.Subject == "" {
				t.Error("no subject")
			}
			id.Subject = ""
			want := authn.Identity{Name: "anna", Method: "ldap", Groups: []string{"web"}, Mail: "anna@example.com", Display: "anna of the test"}
			if c.UserTemplate != "" {
				want.Groups = nil // people of this directory may not read groups
				id.Groups = nil
			}
			if diff := cmp.Diff(want, id); diff != "" {
				t.Error(diff)
			}
			for _, wrong := range [][2]string{{"anna", "wrong"}, {"anna", "other"}, {"anna", ""}, {"nobody", "right"}, {"nobody", ""}, {"", "right"}} {
				refused(t, d, wrong[0], wrong[1])
			}
		})
	}
}

// refused wants the one answer that says nothing.
func refused(t *testing.T, d *ldap.Directory, name, password string) {
	t.Helper()
	id, err := d.SignIn(t.Context(), name, password)
	if restart.CodeOf(err) != restart.CodeUnauthorised || id.Name != "" {
		t.Errorf("%q with %q: %+v, %v", name, password, id, err)
	} else if got, _ := err.(*restart.Error); got == nil || got.Message != "the name or the password is wrong" { //nolint:errorlint // it is what SignIn returns
		t.Errorf("%q with %q: the answer says more: %v", name, password, err)
	}
}

// An entry of that very name is in the directory, and a filter that a name has
// become part of would find another.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Person("anna", "right")
	s.Person("a*", "right")
	s.Person("x)(uid=anna", "right")
	d := open(t, settings(s))
	if _, err := d.SignIn(t.Context(), "anna", "right"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"*", "a*", "ann*", "anna)(objectClass=*", "x)(uid=anna", "*)(uid=*))(|(uid=*", `anna\2a`, `\61nna`, "anna\x00", "anna\n", " anna", "anna ", "anna,ou=people",
		"uid=anna", "-anna", "аnna", "\xff", strings.Repeat("a", 100), strings.Repeat("(", 1000), "{name}", "{dn}", "anna}{name",
	} {
		refused(t, d, name, "right")
		if _, err := d.Refresh(t.Context(), name); restart.CodeOf(err) != restart.CodeNotFound {
			t.Errorf("refresh %q: %v", name, err)
		}
	}
	for _, password := range []string{"right\x00", strings.Repeat("p", 2000), "*", "Right"} {
		refused(t, d, "anna", password)
	}
}

func TestGroupsWithinGroups(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	anna := s.Person("anna", "right")
	one := s.Group("one", anna)
	two := s.Group("two", one)
	three := s.Group("three", two)
	s.Join(one, three) // a circle
	s.Join(one, one)
	s.Group("others", s.Person("boris", "other"))
	// A group of a well-known name, where somebody else may make groups.
	sandbox := "ou=sandbox," + ldaptest.Base
	s.Add(sandbox, "objectClass", "organizationalUnit")
	s.Add("cn=admins,"+sandbox, "objectClass", "groupOfNames", "member", anna)

	for depth, want := range [][]string{{"one"}, {"one", "two"}, {"one", "three", "two"}, {"one", "three", "two"}, {"one", "three", "two"}} {
		for _, how := range []string{"search", "memberOf", "both"} {
			c := settings(s)
			c.GroupsInGroup = depth
			if how != "search" {
				c.MemberOf = "memberOf"
			}
			if how == "memberOf" {
				c.GroupFilter = ""
			}
			id, err := open(t, c).Refresh(t.Context(), "anna")
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(id.Groups, want) {
				t.Errorf("%s, %d levels: %v, want %v", how, depth, id.Groups, want)
			}
		}
	}
}

// Groups of the other kind list names.
func TestGroupsByName(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Person("anna", "right")
	s.Add("cn=web,"+ldaptest.Groups, "objectClass", "groupOfNames", "member", ldaptest.Account, "description", "anna")
	c := settings(s)
	c.GroupFilter = "(description={name})"
	id, err := open(t, c).SignIn(t.Context(), "anna", "right")
	if err != nil || !slices.Equal(id.Groups, []string{"web"}) {
		t.Errorf("%v, %v", id.Groups, err)
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	anna, boris := s.Person("anna", "right"), s.Person("boris", "other")
	web := s.Group("web", anna, boris)
	c := settings(s)
	c.DisabledFilter = "(employeeType=gone)"
	d := open(t, c)
	groups := func() []string {
		t.Helper()
		id, err := d.Refresh(t.Context(), "anna")
		if err != nil {
			t.Fatal(err)
		}
		return id.Groups
	}
	if got := groups(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("at first: %v", got)
	}
	s.Leave(web, anna)
	if got := groups(); len(got) != 0 {
		t.Errorf("after leaving: %v", got)
	}
	s.Set(anna, "employeeType", "gone")
	if _, err := d.Refresh(t.Context(), "anna"); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("disabled: %v", err)
	}
	refused(t, d, "anna", "right")
	s.Set(anna, "employeeType", "here")
	if _, err := d.SignIn(t.Context(), "anna", "right"); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	s.Delete(anna)
	if _, err := d.Refresh(t.Context(), "anna"); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("deleted: %v", err)
	}

	themselves := settings(s)
	themselves.BindDN, themselves.BindPasswordFile, themselves.UserTemplate = "", "", "uid={name},"+ldaptest.People
	own := open(t, themselves)
	if own.Refreshes() {
		t.Error("it would refresh without an account")
	}
	if _, err := own.Refresh(t.Context(), "boris"); restart.CodeOf(err) != restart.CodeUnavailable {
		t.Errorf("without an account: %v", err)
	}
}

// The user account control of Active Directory is a number of bits, and so is
// the rule that reads it; slapd knows the rule.
func TestDisabledByBits(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Write("attribute", nil)
	anna := s.Person("anna", "right", "objectClass", "extensibleObject", "mailPreferenceOption", "512")
	c := settings(s)
	c.DisabledFilter = "(mailPreferenceOption:1.2.840.113556.1.4.803:=2)"
	d := open(t, c)
	if _, err := d.SignIn(t.Context(), "anna", "right"); err != nil {
		t.Fatal(err)
	}
	s.Set(anna, "mailPreferenceOption", "514")
	refused(t, d, "anna", "right")
}

func TestOneNameOnePerson(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Person("anna", "right")
	other := "ou=leavers," + ldaptest.People
	s.Add(other, "objectClass", "organizationalUnit")
	s.Add("cn=ann,"+other, "objectClass", "inetOrgPerson", "sn", "x", "uid", "anna", "userPassword", "other")
	d := open(t, settings(s))
	refused(t, d, "anna", "right")
	refused(t, d, "anna", "other")
	if _, err := d.Refresh(t.Context(), "anna"); restart.CodeOf(err) != restart.CodeNotFound {
		t.Errorf("refresh: %v", err)
	}
	// With a template that binds one of them, the other is not taken for him.
	s.Set("cn=ann,"+other, "uid", "ann")
	c := settings(s)
	c.BindDN, c.BindPasswordFile, c.UserTemplate, c.UserFilter = "", "", "uid={name},"+ldaptest.People, "(&(uid=ann)(!(description={name})))"
	refused(t, open(t, c), "anna", "right")
}

// Another of somebody's names leads to the same user.
func TestTheNameIsTheDirectorys(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Person("anna", "right")
	c := settings(s)
	c.UserFilter = "(|(uid={name})(mail={name}@example.com)(sn={name}))"
	s.Set("uid=anna,"+ldaptest.People, "sn", "petrova")
	id, err := open(t, c).SignIn(t.Context(), "petrova", "right")
	if err != nil || id.Name != "anna" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestServersAreAskedInOrder(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Person("anna", "right")
	c := settings(s)
	c.URLs = []string{"ldaps://" + closedPort(t), "ldaps://" + s.TLS}
	d := open(t, c)
	if _, err := d.SignIn(t.Context(), "anna", "right"); err != nil {
		t.Error(err)
	}
	refused(t, d, "anna", "wrong")

	s.Stop(unix.SIGTERM)
	if _, err := d.SignIn(t.Context(), "anna", "right"); restart.CodeOf(err) != restart.CodeUnavailable {
		t.Errorf("none answers: %v", err)
	}
	if _, err := d.Refresh(t.Context(), "anna"); restart.CodeOf(err) != restart.CodeUnavailable {
		t.Errorf("none answers: %v", err)
	}
	if wrong := d.TryAll(t.Context()); len(wrong) != 2 {
		t.Errorf("config check says %v", wrong)
	}
	s.Start()
	if _, err := d.SignIn(t.Context(), "anna", "right"); err != nil {
		t.Errorf("it is back: %v", err)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Person("anna", "right")
	for name, change := range map[string]func(*ldap.Config){
		"another authority": func(c *ldap.Config) {
			ca, err := pki.NewCA("other", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			c.CAFile = s.Write("other.crt", ca.CertPEM())
		},
		"another name than the certificate's": func(c *ldap.Config) {
			c.URLs = []string{"ldaps://ip6-localhost:" + port(s.TLS)}
		},
		"StartTLS, another authority": func(c *ldap.Config) {
			ca, err := pki.NewCA("other", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			c.URLs, c.StartTLS, c.CAFile = []string{"ldap://" + s.Plain}, true, s.Write("other2.crt", ca.CertPEM())
		},
		"the account's password": func(c *ldap.Config) { c.BindPasswordFile = s.Write("wrong.password", []byte("wrong")) },
		"no such account":        func(c *ldap.Config) { c.BindDN = "cn=nobody," + ldaptest.Base },
		"no such user base":      func(c *ldap.Config) { c.UserBase = "ou=nowhere," + ldaptest.Base },
		"no such group base":     func(c *ldap.Config) { c.GroupBase = "ou=nowhere," + ldaptest.Base },
		"TLS where there is none": func(c *ldap.Config) {
			c.URLs = []string{"ldaps://" + s.Plain}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := settings(s)
			c.Timeout = time.Second
			change(&c)
			d := open(t, c)
			if id, err := d.SignIn(t.Context(), "anna", "right"); restart.CodeOf(err) != restart.CodeUnavailable || id.Name != "" {
				t.Errorf("%+v, %v", id, err)
			}
			if wrong := d.TryAll(t.Context()); len(wrong) != 1 {
				t.Errorf("config check says %v", wrong)
			}
		})
	}
	if wrong := open(t, settings(s)).TryAll(t.Context()); len(wrong) != 0 {
		t.Errorf("config check says %v", wrong)
	}
}

// A frozen directory takes no longer than its time; so does one that says
// something that is no LDAP, or speaks for ever.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Person("anna", "right")
	within := func(t *testing.T, c ldap.Config) {
		t.Helper()
		c.Timeout = time.Second
		d := open(t, c)
		began := time.Now()
		if _, err := d.SignIn(t.Context(), "anna", "right"); restart.CodeOf(err) != restart.CodeUnavailable {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	}
	for name, say := range map[string]func(net.Conn){
		"nothing":       func(c net.Conn) { c.Read(make([]byte, 1<<10)); c.Read(make([]byte, 1<<10)) },
		"an end":        func(net.Conn) {},
		"text":          func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) },
		"a huge packet": func(c net.Conn) { c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}); c.Read(make([]byte, 1<<10)) },
		"a huge value": func(c net.Conn) {
			c.Write([]byte{0x30, 0x84, 0x00, 0x30, 0x00, 0x00, 0x04, 0x84, 0x7f, 0xff, 0xff, 0xff})
		},
		"zeros, for ever":   func(c net.Conn) { forEver(c, make([]byte, 64<<10)) },
		"packets, for ever": func(c net.Conn) { forEver(c, []byte{0x30, 0x05, 0x02, 0x01, 0x01, 0x65, 0x00}) },
		"a deep packet":     func(c net.Conn) { forEver(c, slices.Repeat([]byte{0x30, 0x80}, 32<<10)) },
		"a bind without body": func(c net.Conn) {
			c.Read(make([]byte, 1<<10))
			c.Write([]byte{0x30, 0x05, 0x02, 0x01, 0x01, 0x61, 0x00})
		},
		"a referral": func(c net.Conn) {
			c.Read(make([]byte, 1<<10))
			c.Write([]byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x0a, 0x04, 0x00, 0x04, 0x00})
			c.Read(make([]byte, 1<<10))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := settings(s)
			c.URLs = []string{"ldaps://" + serveTLS(t, s, say)}
			within(t, c)
		})
	}
	t.Run("frozen", func(t *testing.T) {
		frozen := ldaptest.Start(t)
		frozen.Send(unix.SIGSTOP)
		within(t, settings(frozen))
	})
}

// The account is nobody's door: an answer "yes" to an empty password would be.
func TestEmptyPasswordNeverReachesTheServer(t *testing.T) {
	t.Parallel()
	s := ldaptest.New(t)
	var asked atomic.Int32
	c := settings(s)
	c.URLs = []string{"ldaps://" + serveTLS(t, s, func(net.Conn) { asked.Add(1) })}
	d := open(t, c)
	refused(t, d, "anna", "")
	refused(t, d, "an*a", "right")
	if n := asked.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
	empty := s.Write("empty", []byte("\n"))
	c.BindPasswordFile = empty
	if _, err := ldap.Open(c, nil); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("an account with an empty password: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	s.Send(unix.SIGSTOP)
	c := settings(s)
	c.Timeout = 30 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := open(t, c).SignIn(ctx, "anna", "right"); restart.CodeOf(err) != restart.CodeUnavailable {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestAPasswordFileThatOthersRead(t *testing.T) {
	t.Parallel()
	s := ldaptest.New(t)
	c := settings(s)
	if err := os.Chmod(c.BindPasswordFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ldap.Open(c, nil); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "chmod 0600") {
		t.Error(err)
	}
	c.BindPasswordFile = filepath.Join(t.TempDir(), "none")
	if _, err := ldap.Open(c, nil); restart.CodeOf(err) != restart.CodeInvalid {
		t.Error(err)
	}
}

func forEver(c net.Conn, b []byte) {
	for {
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// serveTLS answers each connection at an address with the directory's own
// certificate.
func serveTLS(t *testing.T, s *ldaptest.Slapd, say func(net.Conn)) string {
	t.Helper()
	cert, key, err := s.CA.IssueServer("hostile", nil, []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				say(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func port(address string) string {
	_, p, _ := net.SplitHostPort(address)
	return p
}
