package ldap_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/restartilka/restartilka/internal/authn/ldap"
	"github.com/restartilka/restartilka/internal/authn/ldap/ldaptest"
)

// Active Directory lets people bind by their userPrincipalName. Whom user_filter
// finds then must have that very name: the filter may find somebody else by it,
// whom a person has no business to be.
func TestThePrincipalNameIsWhoSignedIn(t *testing.T) {
	t.Parallel()
	s := ldaptest.Start(t)
	anna := s.Person("anna", "right", "objectClass", "extensibleObject", "userPrincipalName", "Anna@Corp.example.com")
	boris := s.Person("boris", "other", "objectClass", "extensibleObject", "userPrincipalName", "boris@corp.example.com")
	c := settings(s)
	c.URLs, c.Insecure = []string{"ldap://" + activeDirectory(t, s.Plain, map[string]string{"anna@corp.example.com": anna})}, true
	c.BindDN, c.BindPasswordFile, c.UserTemplate = "", "", "{name}@corp.example.com"
	c.GroupFilter, c.MemberOf = "", "memberOf"
	d := open(t, c)
	if id, err := d.SignIn(t.Context(), "anna", "right"); err != nil || id.Name != "anna" {
		t.Fatalf("%+v, %v", id, err)
	}
	refused(t, d, "anna", "other")
	refused(t, d, "boris", "other") // the directory knows no such principal

	s.Set(boris, "description", "anna")
	c.UserFilter = "(description={name})" // finds boris for anna
	refused(t, open(t, c), "anna", "right")
	s.Set(boris, "userPrincipalName")
	refused(t, open(t, c), "anna", "right")
	s.Set(boris, "userPrincipalName", "anna@corp.example.com.evil.example")
	refused(t, open(t, c), "anna", "right")
	s.Set(anna, "userPrincipalName") // she is found, and nothing says that it is she
	refused(t, open(t, withFilter(c, "")), "anna", "right")
}

func withFilter(c ldap.Config, filter string) ldap.Config {
	c.UserFilter = filter
	return c
}

// activeDirectory is a way to a real directory that lets people bind by a
// principal name, as slapd does not: the DN takes its place in the bind, which
// is what a connection begins with. It gives its address.
func activeDirectory(t *testing.T, to string, principals map[string]string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer near.Close()
				far, err := net.Dial("tcp", to)
				if err != nil {
					t.Error(err)
					return
				}
				defer far.Close()
				if err := passBind(far, near, principals); err != nil {
					return
				}
				serving.Go(func() {
					io.Copy(near, far)
					near.Close()
				})
				io.Copy(far, near)
			})
		}
	})
	return listener.Addr().String()
}

// passBind hands on one bind request, all of whose lengths are below 128:
// 30 LEN (02 01 ID) 60 LEN (02 01 03) 04 LEN NAME 80 LEN PASSWORD.
func passBind(far io.Writer, near io.Reader, principals map[string]string) error {
	head := make([]byte, 2)
	if _, err := io.ReadFull(near, head); err != nil {
		return err
	}
	body := make([]byte, head[1])
	if _, err := io.ReadFull(near, body); err != nil {
		return err
	}
	const nameAt = 3 + 2 + 3 + 2
	name, rest := body[nameAt:nameAt+int(body[nameAt-1])], body[nameAt+int(body[nameAt-1]):]
	if dn, ok := principals[string(bytes.ToLower(name))]; ok {
		name = []byte(dn)
	}
	bind := append([]byte{2, 1, 3, 4, byte(len(name))}, append(bytes.Clone(name), rest...)...)
	message := append(bytes.Clone(body[:3]), append([]byte{0x60, byte(len(bind))}, bind...)...)
	_, err := far.Write(append([]byte{0x30, byte(len(message))}, message...))
	return err
}
