package ldap

import (
	"strings"
	"testing"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/restartilka/restartilka/internal/restart"
)

func working() Config {
	return Config{
		URLs: []string{"ldaps://ldap.example.com"}, BindDN: "cn=restartilka,dc=example,dc=com", BindPasswordFile: "/etc/restartilka/ldap.password",
		UserBase: "ou=people,dc=example,dc=com", GroupBase: "ou=groups,dc=example,dc=com", GroupFilter: "(member={dn})",
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := map[string]func(*Config){
		"as it is": func(*Config) {},
		"StartTLS": func(c *Config) { c.URLs, c.StartTLS = []string{"ldap://ldap.example.com:1389/"}, true },
		"loopback": func(c *Config) {
			c.URLs, c.Insecure = []string{"ldap://127.0.0.1:389", "ldap://localhost", "ldap://[::1]"}, true
		},
		"without groups": func(c *Config) { c.GroupBase, c.GroupFilter = "", "" },
		"memberOf":       func(c *Config) { c.GroupFilter, c.MemberOf = "", "memberOf" },
		"as themselves":  func(c *Config) { c.BindDN, c.BindPasswordFile, c.UserTemplate = "", "", "{name}@corp.example.com" },
		"Active Directory": func(c *Config) {
			c.UserFilter, c.NameAttribute, c.SubjectAttribute = "(&(objectCategory=person)(sAMAccountName={name}))", "sAMAccountName", "objectGUID"
			c.DisabledFilter, c.GroupFilter = "(userAccountControl:1.2.840.113556.1.4.803:=2)", "(member:1.2.840.113556.1.4.1941:={dn})"
		},
	}
	for name, change := range good {
		c := working()
		change(&c)
		if _, err := c.Filled(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := map[string]func(*Config){
		"urls: is not given":                      func(c *Config) { c.URLs = nil },
		"urls: \"ldap.example.com\" is not":       func(c *Config) { c.URLs = []string{"ldap.example.com"} },
		"urls: \"https://ldap.example.com\" is":   func(c *Config) { c.URLs = []string{"https://ldap.example.com"} },
		"urls: \"ldaps://ldap.example.com/dc=x\"": func(c *Config) { c.URLs = []string{"ldaps://ldap.example.com/dc=x"} },
		"urls: \"ldaps://me:pass@h\"":             func(c *Config) { c.URLs = []string{"ldaps://me:pass@h"} },
		"has no TLS":                              func(c *Config) { c.URLs = []string{"ldap://ldap.example.com"} },
		"insecure: is for a server at a loopback": func(c *Config) { c.URLs, c.Insecure = []string{"ldap://ldap.example.com"}, true },
		"start_tls: is for ldap://":               func(c *Config) { c.StartTLS = true },
		"timeout: 1m0s is not":                    func(c *Config) { c.Timeout = 60e9 },
		"bind_dn: is not given":                   func(c *Config) { c.BindDN, c.BindPasswordFile = "", "" },
		"user_template: is given beside":          func(c *Config) { c.UserTemplate = "uid={name}" },
		"bind_password_file: is not given":        func(c *Config) { c.BindPasswordFile = "" },
		"bind_password_file: is given without":    func(c *Config) { c.BindDN, c.UserTemplate = "", "uid={name}" },
		"user_template: has no {name}":            func(c *Config) { c.BindDN, c.BindPasswordFile, c.UserTemplate = "", "", "uid=x" },
		"user_template: it has a { or }":          func(c *Config) { c.BindDN, c.BindPasswordFile, c.UserTemplate = "", "", "uid={name},{dn}" },
		"user_base: \"\" is not":                  func(c *Config) { c.UserBase = "" },
		"user_base: \"people\" is not":            func(c *Config) { c.UserBase = "people" },
		"user_filter: it is not a filter":         func(c *Config) { c.UserFilter = "(uid={name}" },
		"user_filter: has no {name}":              func(c *Config) { c.UserFilter = "(uid=*)" },
		"user_filter: it has a { or }":            func(c *Config) { c.UserFilter = "(uid={user})" },
		"disabled_filter: it is not":              func(c *Config) { c.DisabledFilter = "disabled" },
		"name_attribute: \"u(id\" is":             func(c *Config) { c.NameAttribute = "u(id" },
		"member_of: \"9\" is":                     func(c *Config) { c.MemberOf = "9" },
		"group_base: is not given":                func(c *Config) { c.GroupBase = "" },
		"group_base: \"groups\" is not":           func(c *Config) { c.GroupBase = "groups" },
		"group_base: is given, but":               func(c *Config) { c.GroupFilter = "" },
		"group_filter: has neither":               func(c *Config) { c.GroupFilter = "(cn=*)" },
		"group_filter: it has a { or }":           func(c *Config) { c.GroupFilter = "(member={user})" },
		"groups_in_group: 11 is not":              func(c *Config) { c.GroupsInGroup = 11 },
		"groups_in_group: can't be followed":      func(c *Config) { c.GroupsInGroup, c.GroupFilter = 1, "(memberUid={name})" },
	}
	for want, change := range bad {
		c := working()
		change(&c)
		_, err := c.Filled()
		if restart.CodeOf(err) != restart.CodeInvalid || !strings.HasPrefix(err.Error(), "sign_in.ldap.") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Whatever stands in a name or a DN, the filter has the parts that were
// written, and the value is the name, byte by byte.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"anna", "*", "a)(uid=*", `\2a`, "\x00", "{dn}", "{name}", "é", "\xff", "(", ")", "&|!=<>~:"} {
		f.Add(s, "cn="+s)
	}
	const filter = "(&(objectClass=person)(uid={name})(member:1.2.840.113556.1.4.1941:={dn}))"
	f.Fuzz(func(t *testing.T, name, dn string) {
		packet, err := ldap.CompileFilter(fill(filter, name, dn))
		if err != nil {
			t.Fatalf("%q, %q: %v", name, dn, err)
		}
		if len(packet.Children) != 3 || packet.Tag != ldap.FilterAnd {
			t.Fatalf("%q, %q: the filter has other parts", name, dn)
		}
		uid := packet.Children[1]
		if uid.Tag != ldap.FilterEqualityMatch && name != "" {
			t.Fatalf("%q makes it another kind of filter", name)
		}
		if name == "" {
			return
		}
		if got := uid.Children[1].Data.String(); got != name {
			t.Fatalf("%q became %q", name, got)
		}
		member := packet.Children[2]
		if member.Tag != ldap.FilterExtensibleMatch {
			t.Fatalf("%q makes it another kind of filter", dn)
		}
		if got := member.Children[2].Data.String(); got != dn {
			t.Fatalf("%q became %q", dn, got)
		}
	})
}

// What a template makes of a name is one entry, however the name is written.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"anna", "a,ou=admins", "a+cn=b", `a\`, "#a", " a ", "a=b", "\x00", "é", "\xff", `"`, "<;>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d := Directory{cfg: Config{UserTemplate: "uid={name},ou=people,dc=example,dc=com"}}
		if restart.CheckPerson(name) != nil {
			return // never reaches the template
		}
		dn, err := ldap.ParseDN(d.template(name))
		if err != nil || len(dn.RDNs) != 4 || len(dn.RDNs[0].Attributes) != 1 || dn.RDNs[0].Attributes[0].Value != name {
			t.Fatalf("%q: %v, %v", name, dn, err)
		}
	})
}
