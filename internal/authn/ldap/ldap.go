package ldap

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	ldap "github.com/go-ldap/ldap/v3"

	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/secret"
)

const maxPassword = 1 << 10 // bytes

// Directory is the method of signing in by LDAP: authn.Password, and
// authn.Refresher where it has an account of its own.
type Directory struct {
	cfg     Config
	servers []server
	trust   *tls.Config
	log     *slog.Logger
}

// Open checks the configuration and reads the files that it names. It connects
// to nothing: a server starts while its directory is down.
func Open(c Config, log *slog.Logger) (*Directory, error) {
	cfg, err := c.Filled()
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d := &Directory{cfg: cfg, servers: cfg.servers(), log: log}
	if d.trust, err = (outgoing.Config{CAFile: cfg.CAFile}).Trust(); err != nil {
		return nil, fmt.Errorf("sign_in.ldap.ca_file: %w", err)
	}
	if cfg.BindDN != "" {
		if _, err := d.password(); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Directory) password() (string, error) {
	b, err := secret.Read(d.cfg.BindPasswordFile, maxPassword)
	if err != nil {
		return "", fmt.Errorf("sign_in.ldap.bind_password_file: %w", err)
	}
	if b = bytes.TrimSpace(b); len(b) == 0 {
		return "", bad("bind_password_file", "it is empty").WithHint("it holds one line, the password of bind_dn")
	}
	return string(b), nil
}

// Method implements authn.Password and authn.Refresher.
func (d *Directory) Method() string { return authn.MethodLDAP }

// Refreshes tells whether Refresh can find out anything: without an account of
// our own nobody can be looked up while he does not sign in.
func (d *Directory) Refreshes() bool { return d.cfg.BindDN != "" }

// refused is the same whatever was wrong; the cause is for the log.
func refused(cause error) error {
	return restart.Errorf(restart.CodeUnauthorised, "the name or the password is wrong").
		WithHint("they are those of the company's directory").Because(cause)
}

var (
	errPassword  = errors.New("the directory refuses the password")
	errNobody    = errors.New("the directory has no such person, or he is disabled")
	errAmbiguous = errors.New("the directory has more than one person of that name")
)

// SignIn implements authn.Password.
func (d *Directory) SignIn(ctx context.Context, name, password string) (authn.Identity, error) {
	name = strings.ToLower(name)
	if err := restart.CheckPerson(name); err != nil {
		return authn.Identity{}, refused(err)
	}
	if password == "" || len(password) > maxPassword || strings.ContainsRune(password, 0) {
		return authn.Identity{}, refused(errors.New("the password is empty, or none that a directory takes"))
	}
	return d.ask(ctx, func(ctx context.Context, c *conn) (authn.Identity, error) {
		if d.cfg.UserTemplate != "" {
			return d.bindAsTemplate(c, name, password)
		}
		return d.findAndBind(c, name, password)
	})
}

// Refresh implements authn.Refresher.
func (d *Directory) Refresh(ctx context.Context, name string) (authn.Identity, error) {
	gone := restart.Errorf(restart.CodeNotFound, "the directory does not have %s any more, or has disabled the account", restart.Quote(name))
	if err := restart.CheckPerson(name); err != nil {
		return authn.Identity{}, gone.Because(err)
	}
	if !d.Refreshes() {
		return authn.Identity{}, restart.Errorf(restart.CodeUnavailable, "the directory can't be asked about %s without bind_dn", name)
	}
	return d.ask(ctx, func(_ context.Context, c *conn) (authn.Identity, error) {
		if err := d.bindAsOurselves(c); err != nil {
			return authn.Identity{}, err
		}
		entry, err := d.find(c, name)
		if errors.Is(err, errNobody) || errors.Is(err, errAmbiguous) {
			return authn.Identity{}, gone.Because(err)
		}
		if err != nil {
			return authn.Identity{}, err
		}
		return d.identity(c, entry, name)
	})
}

// ask puts a question to the servers in their order, until one answers.
func (d *Directory) ask(ctx context.Context, question func(context.Context, *conn) (authn.Identity, error)) (authn.Identity, error) {
	var last error
	for _, s := range d.servers {
		id, err := d.askOne(ctx, s, question)
		if restart.CodeOf(err) != restart.CodeUnavailable {
			return id, err
		}
		d.log.Warn("a directory does not answer", "server", s.text, "error", errors.Unwrap(err))
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return authn.Identity{}, last
}

func (d *Directory) askOne(ctx context.Context, s server, question func(context.Context, *conn) (authn.Identity, error)) (authn.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	c, err := d.dial(ctx, s)
	if err != nil {
		return authn.Identity{}, err
	}
	defer c.close()
	return question(ctx, c)
}

func (d *Directory) bindAsOurselves(c *conn) error {
	password, err := d.password()
	if err != nil {
		return restart.Errorf(restart.CodeUnavailable, "the directory can't be asked: the password of our account can't be read").Because(err)
	}
	ok, err := c.bind(d.cfg.BindDN, password)
	if err == nil && !ok {
		err = c.server.silent(fmt.Errorf("it refuses the bind of %s: check bind_dn and bind_password_file", d.cfg.BindDN))
	}
	return err
}

func (d *Directory) findAndBind(c *conn, name, password string) (authn.Identity, error) {
	if err := d.bindAsOurselves(c); err != nil {
		return authn.Identity{}, err
	}
	entry, err := d.find(c, name)
	nobody := errors.Is(err, errNobody) || errors.Is(err, errAmbiguous)
	if err != nil && !nobody {
		return authn.Identity{}, err
	}
	dn := d.nowhere()
	if !nobody {
		dn = entry.DN
	}
	ok, bindErr := c.bind(dn, password)
	switch {
	case bindErr != nil:
		return authn.Identity{}, bindErr
	case nobody:
		return authn.Identity{}, refused(err)
	case !ok:
		return authn.Identity{}, refused(errPassword)
	}
	if err := d.bindAsOurselves(c); err != nil { // who may read groups
		return authn.Identity{}, err
	}
	return d.identity(c, entry, name)
}

// principalName is the attribute of Active Directory that a user_template such
// as {name}@corp.example.com fills.
const principalName = "userPrincipalName"

// nowhere is the name of an entry that no directory has.
func (d *Directory) nowhere() string { return "cn=" + rand.Text() + "," + d.cfg.UserBase }

func (d *Directory) template(name string) string {
	return strings.ReplaceAll(d.cfg.UserTemplate, "{name}", ldap.EscapeDN(name))
}

func (d *Directory) bindAsTemplate(c *conn, name, password string) (authn.Identity, error) {
	dn := d.template(name)
	ok, err := c.bind(dn, password)
	if err != nil {
		return authn.Identity{}, err
	}
	if !ok {
		return authn.Identity{}, refused(errPassword)
	}
	entry, err := d.find(c, name)
	switch {
	case errors.Is(err, errNobody) || errors.Is(err, errAmbiguous):
		return authn.Identity{}, refused(err)
	case err != nil:
		return authn.Identity{}, err
	case !strings.Contains(dn, "=") && !strings.EqualFold(dn, entry.GetAttributeValue(principalName)):
		return authn.Identity{}, refused(fmt.Errorf("user_filter finds %s, whose %s is not %s, who signed in", entry.DN, principalName, dn))
	case strings.Contains(dn, "=") && !sameDN(dn, entry.DN):
		return authn.Identity{}, refused(fmt.Errorf("user_filter finds %s, but who signed in is %s", entry.DN, dn))
	}
	return d.identity(c, entry, name)
}

// find gives the one entry of a name: errNobody, errAmbiguous, or another error
// where it could not be found out.
func (d *Directory) find(c *conn, name string) (*ldap.Entry, error) {
	filter := fill(d.cfg.UserFilter, name, "")
	if d.cfg.DisabledFilter != "" {
		filter = "(&" + filter + "(!" + d.cfg.DisabledFilter + "))"
	}
	attributes := []string{principalName, d.cfg.NameAttribute, d.cfg.SubjectAttribute, d.cfg.MailAttribute, d.cfg.DisplayAttribute}
	if d.cfg.MemberOf != "" {
		attributes = append(attributes, d.cfg.MemberOf)
	}
	found, err := c.search(d.cfg.UserBase, ldap.ScopeWholeSubtree, filter, 2, attributes...)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, errNobody
	case len(found) > 1:
		return nil, errAmbiguous
	}
	return found[0], nil
}

// identity reads who an entry is, and asks for the groups. The name is the
// entry's own, in lower case: what was typed may have been another of its
// names, such as the mail address.
func (d *Directory) identity(c *conn, entry *ldap.Entry, typed string) (authn.Identity, error) {
	names := entry.GetEqualFoldAttributeValues(d.cfg.NameAttribute)
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
	name := typed
	if !slices.Contains(names, typed) {
		if len(names) != 1 {
			return authn.Identity{}, refused(fmt.Errorf("%s has %d values of %s, and none is %s", entry.DN, len(names), d.cfg.NameAttribute, typed))
		}
		name = names[0]
	}
	if err := restart.CheckPerson(name); err != nil {
		return authn.Identity{}, refused(err)
	}
	groups, err := d.groups(c, entry, name)
	if err != nil {
		return authn.Identity{}, err
	}
	return authn.Identity{
		Name: name, Method: authn.MethodLDAP, Groups: groups,
		Subject: subject(entry.GetEqualFoldRawAttributeValue(d.cfg.SubjectAttribute)),
		Mail:    entry.GetEqualFoldAttributeValue(d.cfg.MailAttribute),
		Display: entry.GetEqualFoldAttributeValue(d.cfg.DisplayAttribute),
	}, nil
}

// subject is text as it is, and hex of anything else (Active Directory's
// objectGUID is 16 bytes).
func subject(b []byte) string {
	for _, c := range b {
		if c < '!' || c > '~' {
			return hex.EncodeToString(b)
		}
	}
	return string(b)
}

func sameDN(a, b string) bool {
	left, err := ldap.ParseDN(a)
	if err != nil {
		return false
	}
	right, err := ldap.ParseDN(b)
	return err == nil && left.EqualFold(right)
}

// TryAll asks every server for what the configuration names, as a sign-in
// would; it gives all that is wrong. For restartilka config check.
func (d *Directory) TryAll(ctx context.Context) []error {
	var wrong []error
	for _, s := range d.servers {
		_, err := d.askOne(ctx, s, func(_ context.Context, c *conn) (authn.Identity, error) {
			if !d.Refreshes() {
				return authn.Identity{}, nil // only people can bind
			}
			if err := d.bindAsOurselves(c); err != nil {
				return authn.Identity{}, err
			}
			for _, base := range []string{d.cfg.UserBase, d.cfg.GroupBase} {
				if base == "" {
					continue
				}
				if _, err := c.search(base, ldap.ScopeBaseObject, "(objectClass=*)", 1, "1.1"); err != nil {
					return authn.Identity{}, err
				}
			}
			return authn.Identity{}, nil
		})
		if err != nil {
			if cause := errors.Unwrap(err); cause != nil {
				err = cause
			}
			wrong = append(wrong, err)
		}
	}
	return wrong
}
