// Package ldap signs people in with the company's directory, by LDAP version 3
// (OpenLDAP, Active Directory, 389 and others), and tells in which groups they
// are. A sign-in is:
//
//	connect, TLS → bind as our own account → find the one entry of that name
//	→ bind as that entry with the password → bind as our own account → groups
//
// or, without an account of our own, bind with the password as what
// user_template makes of the name, and look for entry and groups as that
// person. A name that has no entry costs a bind too, at a name that no entry
// has, so that the time says nothing.
//
// What a person typed reaches the wire only if it is a user name by our own
// rule, and escaped all the same. Referrals are not followed. A connection is
// for one question: its time and the bytes read from it are bounded.
package ldap

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
)

// Config is the section sign_in.ldap of server.yaml.
type Config struct {
	URLs     []string      `yaml:"urls"`      // ldaps://HOST, or ldap://HOST with start_tls; tried in this order
	StartTLS bool          `yaml:"start_tls"` // with ldap://: TLS before anything is said
	CAFile   string        `yaml:"ca_file"`   // PEM certificates to believe; "" = the system's
	Insecure bool          `yaml:"insecure"`  // ldap:// without TLS, to a loopback address alone
	Timeout  time.Duration `yaml:"timeout"`   // of one server's whole answer; 0 = 5s; at most 30s

	BindDN           string `yaml:"bind_dn"`            // our own account, which finds people and groups
	BindPasswordFile string `yaml:"bind_password_file"` // file with its password; read for each bind
	UserTemplate     string `yaml:"user_template"`      // instead of bind_dn: as what {name} binds, such as uid={name},ou=people,dc=example,dc=com

	UserBase         string `yaml:"user_base"`         // below which people are
	UserFilter       string `yaml:"user_filter"`       // finds {name}; "" = (uid={name})
	DisabledFilter   string `yaml:"disabled_filter"`   // whom it matches can't sign in and has no rights; "" = nobody
	NameAttribute    string `yaml:"name_attribute"`    // the user name; "" = uid
	SubjectAttribute string `yaml:"subject_attribute"` // what stays when somebody's name changes; "" = entryUUID
	MailAttribute    string `yaml:"mail_attribute"`    // "" = mail
	DisplayAttribute string `yaml:"display_attribute"` // "" = cn

	GroupBase     string `yaml:"group_base"`      // below which groups are; others don't count; "" = no groups
	GroupFilter   string `yaml:"group_filter"`    // finds the groups of {dn}, or of {name}; "" = no search
	MemberOf      string `yaml:"member_of"`       // attribute of an entry that lists its groups; "" = not looked at
	GroupName     string `yaml:"group_name"`      // attribute with a group's name; "" = cn
	GroupsInGroup int    `yaml:"groups_in_group"` // how many levels of groups within groups count; 0 = none; at most 10
}

const (
	defaultTimeout = 5 * time.Second
	maxTimeout     = 30 * time.Second
	maxDepth       = 10
)

func bad(key, format string, args ...any) *restart.Error {
	return restart.Errorf(restart.CodeInvalid, "sign_in.ldap."+key+": "+format, args...)
}

// Filled gives the configuration with its defaults. It refuses what can't work,
// and says what to write instead (CodeInvalid).
func (c Config) Filled() (Config, error) {
	for value, otherwise := range map[*string]string{
		&c.UserFilter: "(uid={name})", &c.NameAttribute: "uid", &c.SubjectAttribute: "entryUUID", &c.MailAttribute: "mail",
		&c.DisplayAttribute: "cn", &c.GroupName: "cn",
	} {
		if *value == "" {
			*value = otherwise
		}
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Timeout < time.Second || c.Timeout > maxTimeout {
		return c, bad("timeout", "%s is not from 1s to %s", c.Timeout, maxTimeout)
	}
	for _, check := range []func() error{c.checkURLs, c.checkAccount, c.checkPeople, c.checkGroups} {
		if err := check(); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c Config) checkURLs() error {
	if len(c.URLs) == 0 {
		return bad("urls", "is not given").WithHint("such as urls: [ldaps://ldap.example.com]")
	}
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			return bad("urls", "%s is not the address of a server", restart.Quote(text)).WithHint("such as ldaps://ldap.example.com or ldaps://ldap.example.com:3269; bases and filters have keys of their own")
		case u.Scheme == "ldaps" && c.StartTLS:
			return bad("start_tls", "is for ldap://; %s has TLS from its first byte", text).WithHint("leave start_tls out, or write ldap://%s", u.Host)
		case u.Scheme == "ldaps":
		case u.Scheme != "ldap":
			return bad("urls", "%s is neither ldaps:// nor ldap://", restart.Quote(text))
		case c.StartTLS:
		case !c.Insecure:
			return bad("urls", "%s has no TLS: anybody on the way could read passwords and name groups", text).WithHint("write ldaps://%s, or add start_tls: true", u.Hostname())
		case !outgoing.Local(u):
			return bad("insecure", "is for a server at a loopback address, not for %s", text).WithHint("write ldaps://%s, or start_tls: true", u.Hostname())
		}
	}
	return nil
}

func (c Config) checkAccount() error {
	switch {
	case c.BindDN == "" && c.UserTemplate == "":
		return bad("bind_dn", "is not given").WithHint("an account that may read people and groups, with bind_password_file; or user_template, as what people bind themselves")
	case c.BindDN != "" && c.UserTemplate != "":
		return bad("user_template", "is given beside bind_dn").WithHint("people are found by bind_dn, or bind as user_template says: leave one out")
	case c.BindDN != "" && c.BindPasswordFile == "":
		return bad("bind_password_file", "is not given").WithHint("a file with the password of bind_dn, mode 600")
	case c.BindDN == "" && c.BindPasswordFile != "":
		return bad("bind_password_file", "is given without bind_dn")
	case c.UserTemplate == "":
		return nil
	}
	if err := checkPlaceholders(c.UserTemplate, "{name}"); err != nil {
		return bad("user_template", "%v", err).WithHint("such as uid={name},ou=people,dc=example,dc=com; for Active Directory {name}@corp.example.com")
	}
	if !strings.Contains(c.UserTemplate, "{name}") {
		return bad("user_template", "has no {name}").WithHint("such as uid={name},ou=people,dc=example,dc=com")
	}
	return nil
}

func (c Config) checkPeople() error {
	if _, err := ldap.ParseDN(c.UserBase); c.UserBase == "" || err != nil {
		return bad("user_base", "%s is not the name of an entry", restart.Quote(c.UserBase)).WithHint("such as ou=people,dc=example,dc=com")
	}
	if err := checkFilter(c.UserFilter, "{name}"); err != nil {
		return bad("user_filter", "%v", err).WithHint("such as (uid={name}); for Active Directory (sAMAccountName={name})")
	}
	if !strings.Contains(c.UserFilter, "{name}") {
		return bad("user_filter", "has no {name}: it would find everybody").WithHint("such as (uid={name})")
	}
	if c.DisabledFilter != "" {
		if err := checkFilter(c.DisabledFilter); err != nil {
			return bad("disabled_filter", "%v", err).WithHint("for Active Directory (userAccountControl:1.2.840.113556.1.4.803:=2)")
		}
	}
	for key, value := range map[string]string{
		"name_attribute": c.NameAttribute, "subject_attribute": c.SubjectAttribute, "mail_attribute": c.MailAttribute,
		"display_attribute": c.DisplayAttribute, "group_name": c.GroupName, "member_of": c.MemberOf,
	} {
		if !attributeName(value) && value != "" {
			return bad(key, "%s is not the name of an attribute", restart.Quote(value))
		}
	}
	return nil
}

func (c Config) checkGroups() error {
	if c.GroupsInGroup < 0 || c.GroupsInGroup > maxDepth {
		return bad("groups_in_group", "%d is not from 0 to %d", c.GroupsInGroup, maxDepth)
	}
	asked := c.GroupFilter != "" || c.MemberOf != ""
	if c.GroupBase == "" {
		if asked {
			return bad("group_base", "is not given").WithHint("such as ou=groups,dc=example,dc=com: only groups below it count, so that nobody gets rights by a group of the same name elsewhere")
		}
		return nil
	}
	if _, err := ldap.ParseDN(c.GroupBase); err != nil {
		return bad("group_base", "%s is not the name of an entry", restart.Quote(c.GroupBase)).WithHint("such as ou=groups,dc=example,dc=com")
	}
	if !asked {
		return bad("group_base", "is given, but not how groups are found").WithHint("group_filter: (member={dn}), or member_of: memberOf")
	}
	if c.GroupFilter == "" {
		return nil
	}
	if err := checkFilter(c.GroupFilter, "{dn}", "{name}"); err != nil {
		return bad("group_filter", "%v", err).WithHint("such as (member={dn}), or (memberUid={name})")
	}
	if !strings.Contains(c.GroupFilter, "{dn}") && !strings.Contains(c.GroupFilter, "{name}") {
		return bad("group_filter", "has neither {dn} nor {name}: it would put everybody into every group").WithHint("such as (member={dn})")
	}
	if c.GroupsInGroup > 0 && c.MemberOf == "" && !strings.Contains(c.GroupFilter, "{dn}") {
		return bad("groups_in_group", "can't be followed by group_filter, which has no {dn}").WithHint("such as group_filter: (member={dn})")
	}
	return nil
}

func attributeName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || (r < '0' || r > '9') && r != '-') {
			return false
		}
	}
	return s != ""
}

// checkFilter compiles a filter as it will be with its placeholders filled in.
func checkFilter(filter string, placeholders ...string) error {
	if err := checkPlaceholders(filter, placeholders...); err != nil {
		return err
	}
	if _, err := ldap.CompileFilter(fill(filter, "name", "cn=name")); err != nil {
		return errors.New("it is not a filter by RFC 4515, with all its brackets")
	}
	return nil
}

func checkPlaceholders(text string, known ...string) error {
	for _, p := range known {
		text = strings.ReplaceAll(text, p, "")
	}
	if strings.ContainsAny(text, "{}") {
		return errors.New("it has a { or } that is not of " + strings.Join(known, " or "))
	}
	return nil
}

// fill puts a name and a DN into a filter, escaped by RFC 4515. What stands in
// them is never itself a placeholder.
func fill(filter, name, dn string) string {
	return strings.NewReplacer("{name}", ldap.EscapeFilter(name), "{dn}", ldap.EscapeFilter(dn)).Replace(filter)
}

// server is one address to ask.
type server struct {
	text    string // as configured
	address string // HOST:PORT
	host    string // that its certificate must name
	tls     bool   // from the first byte
	url     *url.URL
}

func (c Config) servers() []server {
	var out []server
	for _, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil {
			continue // checked before
		}
		s := server{text: text, host: u.Hostname(), tls: u.Scheme == "ldaps", url: u}
		port := u.Port()
		switch {
		case port != "":
		case s.tls:
			port = ldap.DefaultLdapsPort
		default:
			port = ldap.DefaultLdapPort
		}
		s.address = net.JoinHostPort(s.host, port)
		out = append(out, s)
	}
	return out
}
