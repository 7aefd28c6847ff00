package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/sshd"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/scenarios"
)

// InitOptions says what `restartilka server init` is to write.
type InitOptions struct {
	Dir    string   // for the configuration and the credentials; made with mode 0750
	Data   string   // for the database and the audit trail; made with mode 0700
	Name   string   // of the server; "" = main
	Listen string   // "" = 0.0.0.0:8443
	DNS    []string // names in the listener's certificate, beside localhost
	IPs    []net.IP // addresses in it, beside 127.0.0.1 and ::1
	Admin  string   // first admin's user name; "" = admin

	Password string // of the first admin; "" = one is made
	User     string // who will run the server, if not the one who asks: gets the keys and the data. Needs root
	Now      time.Time
}

// InitResult is what a person needs to go on. Token and password are shown once
// and stored nowhere.
type InitResult struct {
	Config string `json:"config"`
	CA     string `json:"ca"`

	AuditKey string `json:"audit_key"` // file of the public key by which auditors verify the trail

	URL   string `json:"url"` // by the first of the names, or localhost
	Admin string `json:"admin"`
	Token string `json:"token"`

	Password string `json:"password,omitempty"` // shown once; "" = the one that was given
	User     string `json:"user,omitempty"`     // who got the keys and the data
}

// Init writes a configuration, an authority and credentials of its own, the
// shipped scenarios and rules and an example inventory, and makes the database with the
// first admin's token. It touches nothing that is there: an existing
// configuration is CodeConflict.
func Init(ctx context.Context, o InitOptions) (InitResult, error) {
	if o.Name == "" {
		o.Name = "main"
	}
	if o.Listen == "" {
		o.Listen = "0.0.0.0:8443"
	}
	if o.Admin == "" {
		o.Admin = "admin"
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if err := errors.Join(audit.CheckSource(o.Name), restart.CheckPerson(o.Admin)); err != nil {
		return InitResult{}, err
	}
	made := ""
	if o.Password == "" {
		o.Password = authn.NewPassword()
		made = o.Password
	}
	if err := authn.CheckPassword(o.Admin, o.Password); err != nil {
		return InitResult{}, err
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return InitResult{}, restart.Errorf(restart.CodeInvalid, "listen: %s is not ADDRESS:PORT", restart.Quote(o.Listen))
	}
	for _, dir := range []*string{&o.Dir, &o.Data} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return InitResult{}, fmt.Errorf("find %s: %w", *dir, err)
		}
		*dir = abs
	}
	config := filepath.Join(o.Dir, "server.yaml")
	if _, err := os.Lstat(config); err == nil {
		return InitResult{}, restart.Errorf(restart.CodeConflict, "%s is there already", config).WithHint("nothing was changed; to begin anew, move it away first")
	}
	var owner *account
	if o.User != "" {
		a, err := lookAccount(o.User)
		if err != nil {
			return InitResult{}, err
		}
		owner = &a
	}
	for dir, mode := range map[string]fs.FileMode{o.Dir: 0o750, o.Data: 0o700, filepath.Join(o.Dir, "scenarios"): 0o755} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return InitResult{}, fmt.Errorf("make %s: %w", dir, err)
		}
	}
	if err := writeCredentials(o); err != nil {
		return InitResult{}, err
	}
	if err := layScenarios(filepath.Join(o.Dir, "scenarios")); err != nil {
		return InitResult{}, err
	}
	for name, content := range map[string][]byte{"inventory.yaml": []byte(firstInventory), "rules.yaml": authz.Shipped} {
		if err := writeNew(filepath.Join(o.Dir, name), content, 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
			return InitResult{}, err
		}
	}
	token, err := firstAdmin(ctx, o)
	if err != nil {
		return InitResult{}, err
	}
	if owner != nil {
		if err := handOver(o.Dir, o.Data, *owner); err != nil {
			return InitResult{}, err
		}
	}
	// The configuration comes last: while it is absent, init can be run again.
	if err := writeConfig(config, firstConfig(o), owner); err != nil {
		return InitResult{}, err
	}
	return InitResult{Config: config, CA: filepath.Join(o.Dir, "ca.crt"), AuditKey: filepath.Join(o.Dir, "audit.pub"), URL: o.url(), Admin: o.Admin, Token: token, Password: made, User: o.User}, nil
}

func writeCredentials(o InitOptions) error {
	in := func(name string) string { return filepath.Join(o.Dir, name) }
	ca, err := pki.LoadCA(in("ca.crt"), in("ca.key"))
	if err != nil {
		if _, statErr := os.Lstat(in("ca.key")); statErr == nil {
			return err // a key that is there and can't be used is not written over
		}
		if ca, err = pki.NewCA("restartilka "+o.Name, o.Now); err != nil {
			return err
		}
		if err := ca.Save(o.Dir); err != nil {
			return err
		}
	}
	dns := append([]string{"localhost"}, o.DNS...)
	if host, err := os.Hostname(); err == nil && restart.CheckHost(host) == nil && host != "localhost" {
		dns = append(dns, host)
	}
	ips := append([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, o.IPs...)
	cert, key, err := ca.IssueServer(o.Name, dns, ips, o.Now)
	if err != nil {
		return err
	}
	if err := writePair(in("server.crt"), cert, in("server.key"), key); err != nil {
		return err
	}
	if cert, key, err = ca.IssueClient(o.Name, o.Now); err != nil {
		return err
	}
	if err := writePair(in("client.crt"), cert, in("client.key"), key); err != nil {
		return err
	}
	if _, err := os.Lstat(in("audit.key")); errors.Is(err, fs.ErrNotExist) {
		if _, err := audit.MakeKey(in("audit.key"), o.Now); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(in("ssh_host_ed25519_key")); errors.Is(err, fs.ErrNotExist) {
		key, err := sshd.NewHostKey("restartilka " + o.Name)
		if err != nil {
			return err
		}
		if err := writeFile(in("ssh_host_ed25519_key"), key, 0o600); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(in("envelope.key")); err == nil {
		return nil
	}
	envelope, err := pki.GenerateEnvelopeKey()
	if err != nil {
		return err
	}
	return pki.SaveEnvelopeKey(in("envelope.key"), envelope)
}

// layScenarios writes the shipped scenarios, except those that are there.
func layScenarios(dir string) error {
	entries, err := scenarios.Files.ReadDir(".")
	if err != nil {
		return fmt.Errorf("read the shipped scenarios: %w", err)
	}
	for _, e := range entries {
		b, err := scenarios.Files.ReadFile(e.Name())
		if err != nil {
			return fmt.Errorf("read the shipped scenarios: %w", err)
		}
		if err := writeNew(filepath.Join(dir, e.Name()), b, 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func writePair(certFile string, cert []byte, keyFile string, key []byte) error {
	if err := writeFile(keyFile, key, 0o600); err != nil {
		return err
	}
	return writeFile(certFile, cert, 0o644)
}

// firstAdmin makes the database and the first admin in it, with his password
// and a token. Where an earlier try has made him, his password is set anew.
func firstAdmin(ctx context.Context, o InitOptions) (string, error) {
	s, err := store.Open(ctx, store.Config{DSN: "sqlite:" + filepath.Join(o.Data, "restartilka.db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	secret, err := admit(ctx, s, o)
	return secret, errors.Join(err, s.Close())
}

func admit(ctx context.Context, s *store.Store, o InitOptions) (string, error) {
	now := o.Now.UTC()
	rec := audit.Record{Time: now, Actor: "server init", Origin: "local", Action: audit.UserCreated, Detail: "first admin " + o.Admin}
	password, err := authn.NewHasher().Hash(ctx, o.Password)
	if err != nil {
		return "", err
	}
	roles := []restart.Role{restart.RoleAdmin, restart.RoleDeveloper}
	err = s.CreateUser(ctx, store.User{Name: o.Admin, Method: authn.MethodLocal, Roles: roles, Password: password, PasswordAt: now, CreatedAt: now}, rec)
	if restart.CodeOf(err) == restart.CodeConflict {
		rec.Action = audit.UserChanged
		err = s.ChangeUser(ctx, o.Admin, store.UserChange{Roles: &roles, Password: &password, Records: []audit.Record{rec}})
	}
	if err != nil {
		return "", err
	}
	secret, hash := authn.NewSecret()
	err = s.CreateToken(ctx, store.Token{
		ID: restart.NewID(now), Name: "first admin, by server init", Owner: o.Admin,
		Roles: roles, Hash: hash, CreatedAt: now, ExpiresAt: now.Add(90 * 24 * time.Hour),
	}, audit.Record{Time: now, Actor: "server init", Origin: "local", Action: audit.TokenCreated, Detail: "first admin's token for " + o.Admin})
	return secret, err
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// writeFile replaces a file as a whole: temp, fsync, rename, fsync the folder.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := writeNew(temp, b, mode); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// url is where people find the server. Others copy it from what the command
// line prints, so that localhost is only for a server without another name.
func (o InitOptions) url() string {
	name := "localhost"
	if len(o.DNS) > 0 {
		name = o.DNS[0]
	}
	_, port, _ := net.SplitHostPort(o.Listen)
	return "https://" + net.JoinHostPort(name, port)
}

func firstConfig(o InitOptions) string {
	return fmt.Sprintf(`# restartilka's server. Every key: docs/reference/server.md; check a change
# with: restartilka config check
name: %s
listen: %s
url: %s
database:
  sqlite: %s/restartilka.db
tls:
  certificate: server.crt
  key: server.key
agents:
  certificate: client.crt
  key: client.key
  ca: ca.crt
  ca_key: ca.key
  envelope_key: envelope.key
scenarios: scenarios
rules: rules.yaml
# People come by SSH as well, where this is no comment: docs/guide/ssh.md
# ssh:
#   listen: 0.0.0.0:2222
#   host_keys: [ssh_host_ed25519_key]
inventory:
  kind: yaml
  path: inventory.yaml
audit:
  # spool: the record of a start is on this server's disk before a host is
  # touched, and no more. Add your log server as a sink of kind relp, http or
  # syslog, and take this line out: hosts then wait until it has the record.
  require: spool
  # Seals the trail once a minute; auditors verify it by audit.pub.
  key: audit.key
  sinks:
    - kind: file
      path: %s/audit/audit.jsonl
`, o.Name, o.Listen, o.url(), o.Data, o.Data)
}

const firstInventory = `# What there is to restart. Formats and other sources: docs/reference/inventory.md
services: []
groups: []
hosts: []
`
