package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// admin runs the command line as an admin.
func admin(t *testing.T, c *company.Company, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	token, err := c.Admin.CreateToken(t.Context(), wire.TokenRequest{Name: "test", Roles: []restart.Role{restart.RoleAdmin, restart.RoleDeveloper}})
	must(t, err)
	before := c.DevToken
	c.DevToken = token.Secret
	defer func() { c.DevToken = before }()
	return c.CLI(args...)
}

// join runs the real agent's verb on a host, with a token on standard input.
func join(t *testing.T, c *company.Company, h demo.Host, token string, user *syscall.Credential, args ...string) (said string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.Programs.Agent, append([]string{"join", c.URL, "--config", filepath.Join(h.Dir, "agent.yaml")}, args...)...)
	cmd.Stdin = strings.NewReader(token + "\n")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// strip takes a host's credentials away, and its settings where they are to be
// made by the join.
func strip(t *testing.T, c *company.Company, h demo.Host) {
	t.Helper()
	c.StopAgent(h)
	for _, name := range []string{"agent.crt", "agent.key", "ca.crt", "server.pub"} {
		must(t, os.Remove(filepath.Join(h.Dir, name)))
	}
}

func joinToken(t *testing.T, c *company.Company, args ...string) string {
	t.Helper()
	out, talk, code := admin(t, c, append([]string{"host", "join-token"}, args...)...)
	if code != 0 || !strings.HasPrefix(out, "rj1.") {
		t.Fatalf("exit %d\n%s\n%s", code, out, talk)
	}
	return strings.TrimSpace(out)
}

// reached tells whether server and host talk to each other, and otherwise why
// they do not.
func reached(t *testing.T, c *company.Company, h demo.Host) (ok bool, why string) {
	t.Helper()
	checks, err := c.Dev.CheckHosts(t.Context(), wire.HostCheckRequest{Hosts: h.Name})
	must(t, err)
	if checks[0].Report != nil {
		return true, ""
	}
	return false, checks[0].Error.Error()
}

// A host without credentials joins, and is restarted like the others. Whatever
// is wrong with a token is said, with the way out, and on the trail.
func TestAHostJoins(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{})
	first, second := c.Hosts[0], c.Hosts[1]
	strip(t, c, first)
	strip(t, c, second)
	token := joinToken(t, c, first.Name)

	said, code := join(t, c, second, token, nil)
	if code != 1 || !strings.Contains(said, "this join token is for "+first.Name) || !strings.Contains(said, "host join-token "+second.Name) {
		t.Errorf("for another name: exit %d: %s", code, said)
	}
	said, code = join(t, c, first, token, nil)
	if code != 0 || !strings.Contains(said, first.Name+" has joined") || !strings.Contains(said, "hosts check "+first.Name) {
		t.Fatalf("exit %d: %s", code, said)
	}
	c.StartAgent(first)
	c.Eventually("the host to be reached", func() bool { ok, _ := reached(t, c, first); return ok })

	said, code = join(t, c, first, token, nil)
	if code != 1 || !strings.Contains(said, "has credentials already") || !strings.Contains(said, "--again") {
		t.Errorf("a second time: exit %d: %s", code, said)
	}
	said, code = join(t, c, first, token, nil, "--again")
	if code != 1 || !strings.Contains(said, "used already") || !strings.Contains(said, "host join-token "+first.Name) {
		t.Errorf("the token twice: exit %d: %s", code, said)
	}
	if ok, why := reached(t, c, first); !ok {
		t.Errorf("after a refused join: %s", why)
	}
	// Late: the server's own clock decides.
	late := lateToken(t, c, second.Name)
	said, code = join(t, c, second, late, nil)
	if code != 1 || !strings.Contains(said, "was good until") || !strings.Contains(said, "host join-token "+second.Name) {
		t.Errorf("late: exit %d: %s", code, said)
	}
	// By a pattern, and by the authority in place of the pin.
	many := joinToken(t, c, "--pattern", "host*.test.internal", "--count", "2", "--window", "1h")
	said, code = join(t, c, second, many, nil, "--ca", c.CA)
	if code != 0 {
		t.Fatalf("by a pattern: exit %d: %s", code, said)
	}
	c.StartAgent(second)
	// The key of the machine that was here before is gone, and the name alone is
	// not enough to get another certificate.
	said, code = join(t, c, second, many, nil, "--again")
	if code != 1 || !strings.Contains(said, "is enrolled already") {
		t.Errorf("a re-created host inherits trust: exit %d: %s", code, said)
	}
	run := c.Until(c.Start(reason).ID, restart.RunCompleted)
	if s := states(run); s != "succeeded succeeded succeeded" {
		t.Errorf("tasks: %s", s)
	}
	out, _, code := admin(t, c, "audit", "search", "--action", "host.join", "--json")
	if code != 0 || strings.Count(out, `"action":"host.join"`)+strings.Count(out, `"action": "host.join"`) != 6 {
		t.Errorf("the trail: exit %d: %s", code, out)
	}
}

// lateToken makes a token that was over before it is used.
func lateToken(t *testing.T, c *company.Company, host string) string {
	t.Helper()
	made, err := pki.ParseJoinToken(joinToken(t, c, host))
	must(t, err)
	late := pki.NewJoinToken(made.Pin)
	c.StopServer()
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(c.Dir, "data", "restartilka.db")})
	must(t, err)
	long := time.Now().Add(-time.Hour)
	must(t, s.CreateJoinToken(t.Context(), store.JoinToken{
		ID: restart.NewID(long), Host: host, Hash: late.Hash(), Uses: 1, Left: 1, CreatedBy: "admin", CreatedAt: long, ExpiresAt: long.Add(15 * time.Minute),
	}))
	must(t, s.Close())
	c.StartServer()
	return late.String()
}

// Who is not root is told so; nothing is asked of the server.
func TestAJoinNeedsRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("root is needed to be somebody else")
		}
		t.Skip("NOT TESTED: only root can be somebody else")
	}
	c := company.New(t, company.Options{Hosts: 1})
	h := c.Hosts[0]
	strip(t, c, h)
	token := joinToken(t, c, h.Name)
	program, err := os.ReadFile(c.Programs.Agent)
	must(t, err)
	open, err := os.MkdirTemp("/tmp", "restartilka-join-") //nolint:usetesting // t.TempDir lies where nobody may enter
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(open) })
	must(t, os.Chmod(open, 0o755))
	must(t, os.WriteFile(filepath.Join(open, "agent"), program, 0o755))
	must(t, os.Chmod(filepath.Join(open, "agent"), 0o755))
	cmd := exec.CommandContext(t.Context(), filepath.Join(open, "agent"), "join", c.URL, "--host", h.Name, "--config", filepath.Join(open, "agent.yaml"))
	cmd.Stdin, cmd.Env = strings.NewReader(token), []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "join as root") {
		t.Errorf("%v: %s", err, out)
	}
	if said, code := join(t, c, h, token, nil); code != 0 { // the token was not used
		t.Errorf("exit %d: %s", code, said)
	}
}

// A revoked host is not talked to, says why, and can be trusted again.
func TestAHostIsRevoked(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{})
	h := c.Hosts[1]
	if said, code := join(t, c, h, joinToken(t, c, h.Name), nil, "--again"); code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	c.Eventually("the host to be reached", func() bool { ok, _ := reached(t, c, h); return ok })
	out, talk, code := admin(t, c, "host", "revoke", h.Name, "--reason", "its disk left the building")
	if code != 0 || !strings.Contains(out, "is revoked") {
		t.Fatalf("exit %d\n%s\n%s", code, out, talk)
	}
	ok, why := reached(t, c, h) // at once, on the connection that was open
	if ok || !strings.Contains(why, "the certificate of "+h.Name+" was revoked on") || !strings.Contains(why, "host join-token "+h.Name) {
		t.Errorf("%v: %s", ok, why)
	}
	run, err := c.Dev.Draft(t.Context(), restart.Request{Service: demo.ServiceName, Reason: reason}, "")
	must(t, err)
	if line := run.Plan.Hosts[1]; !line.LeftOut || line.Code != restart.CodeRevoked {
		t.Errorf("the plan says %+v", line)
	}
	// It stays so over a restart of the server.
	c.StopServer()
	c.StartServer()
	if ok, why = reached(t, c, h); ok || !strings.Contains(why, "was revoked on") {
		t.Errorf("after a restart of the server: %v: %s", ok, why)
	}
	if said, code := join(t, c, h, joinToken(t, c, h.Name), nil, "--again"); code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	c.Eventually("the host to be reached again", func() bool { ok, _ := reached(t, c, h); return ok })
}

// The server renews by itself, over the connection it has to its hosts anyway.
func TestACertificateIsRenewedByItself(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 2})
	h, away := c.Hosts[0], c.Hosts[1]
	c.StopServer()
	ca, err := pki.LoadCA(filepath.Join(c.ServerDir(), "ca.crt"), filepath.Join(c.ServerDir(), "ca.key"))
	must(t, err)
	s, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(c.Dir, "data", "restartilka.db")})
	must(t, err)
	before := map[string]string{}
	for _, host := range c.Hosts {
		// It ends a little before one that is made now, and the table says that
		// most of its life is over.
		cert, key, err := ca.IssueAgent(host.Name, nil, time.Now().Add(-time.Minute))
		must(t, err)
		must(t, (pki.Pair{Cert: filepath.Join(host.Dir, "agent.crt"), Key: filepath.Join(host.Dir, "agent.key")}).Install(key, cert))
		leaf, err := pki.ReadCertificate(filepath.Join(host.Dir, "agent.crt"))
		must(t, err)
		before[host.Name] = pki.SerialOf(leaf)
		must(t, s.PutCertificate(t.Context(), store.Certificate{Serial: before[host.Name], Host: host.Name, IssuedAt: time.Now().AddDate(-3, 0, 0), NotAfter: leaf.NotAfter}))
	}
	must(t, s.Close())
	c.KillAgent(away)
	c.StartServer()
	var list []wire.Certificate
	c.Eventually("one renewal and one failure", func() bool {
		list, err = c.Admin.Certificates(t.Context())
		must(t, err)
		return len(list) == 3 && list[0].State == wire.CertificateGood && list[1].State == wire.CertificateGood && list[2].RenewalFailure != ""
	})
	leaf, err := pki.ReadCertificate(filepath.Join(h.Dir, "agent.crt"))
	must(t, err)
	if now := pki.SerialOf(leaf); now == before[h.Name] || now != list[1].Serial {
		t.Errorf("on the disk %s, before %s, stored %+v", now, before[h.Name], list)
	}
	if list[2].Host != away.Name || !strings.Contains(list[2].RenewalFailure, "nothing listens") {
		t.Errorf("%+v", list[2])
	}
	shown, err := tls.Dial("tcp", h.Address+":3131", &tls.Config{InsecureSkipVerify: true}) // looks only at what is shown
	if err == nil {
		if got := pki.SerialOf(shown.ConnectionState().PeerCertificates[0]); got != list[1].Serial {
			t.Errorf("the agent shows %s", got)
		}
		shown.Close()
	} else {
		t.Error(err)
	}
	if ok, why := reached(t, c, h); !ok {
		t.Error(why)
	}
}

// The company's own PKI, by DNS names: a restart goes through; a certificate
// for another name is refused, on both sides; new files are taken up.
func TestTheCompanysOwnPKI(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 1})
	h, theirs := c.Hosts[0], company.NewPKI(t)
	const control = "control.test.internal"
	c.StopServer()
	c.StopAgent(h)
	in := func(name string) string { return filepath.Join(c.ServerDir(), name) }
	theirs.Lay(control, company.ClientAuth, in("client.crt"), in("client.key"))
	onHost := func(name string) string { return filepath.Join(h.Dir, name) }
	theirs.Lay(h.Name, company.ServerAuth, onHost("agent.crt"), onHost("agent.key"))
	root, err := os.ReadFile(theirs.Root())
	must(t, err)
	must(t, os.WriteFile(in("company.crt"), root, 0o600))
	must(t, os.WriteFile(onHost("ca.crt"), root, 0o600))
	replace(t, in("server.yaml"), "  ca: ca.crt\n  ca_key: ca.key\n", "  ca: company.crt\n")
	replace(t, onHost("agent.yaml"), "servers: [demo]", "servers: ["+control+"]")
	c.StartServer()
	c.StartAgent(h)
	c.Eventually("the host to be reached", func() bool { ok, _ := reached(t, c, h); return ok })
	if run := c.Until(c.Start(reason).ID, restart.RunCompleted); states(run) != "succeeded" {
		t.Errorf("tasks: %s", states(run))
	}
	for _, args := range [][]string{{"host", "join-token", h.Name}, {"host", "issue", h.Name, "--out", filepath.Join(c.Dir, "issued")}} {
		if _, talk, code := admin(t, c, args...); code != 3 || !strings.Contains(talk, "no certificate authority of its own") {
			t.Errorf("%v: exit %d: %s", args, code, talk)
		}
	}
	serial := func() string {
		checks, err := c.Dev.CheckHosts(t.Context(), wire.HostCheckRequest{Hosts: h.Name})
		must(t, err)
		if checks[0].Report == nil || checks[0].Report.Certificate == nil {
			return ""
		}
		return checks[0].Report.Certificate.Serial
	}
	// New files, without a restart.
	before := serial()
	theirs.Lay(h.Name, company.ServerAuth, onHost("agent.crt"), onHost("agent.key"))
	theirs.Lay(control, company.ClientAuth, in("client.crt"), in("client.key"))
	c.Eventually("the new files to be in use", func() bool { now := serial(); return now != "" && now != before })
	// Another name, on the host's side, and then on the server's.
	theirs.Lay("other.test.internal", company.ServerAuth, onHost("agent.crt"), onHost("agent.key"))
	theirs.Lay(control, company.ClientAuth, in("client.crt"), in("client.key")) // and with it a new connection
	c.Eventually("the other host's certificate to be refused", func() bool {
		_, why := reached(t, c, h)
		return strings.Contains(why, `it is for "other.test.internal"`)
	})
	theirs.Lay(h.Name, company.ServerAuth, onHost("agent.crt"), onHost("agent.key"))
	c.Eventually("the host to be reached again", func() bool { ok, _ := reached(t, c, h); return ok })
	theirs.Lay("evil.test.internal", company.ClientAuth, in("client.crt"), in("client.key"))
	c.Eventually("the other server's certificate to be refused", func() bool {
		_, why := reached(t, c, h)
		return strings.Contains(why, "refused our certificate")
	})
	theirs.Lay(control, company.ClientAuth, in("client.crt"), in("client.key"))
	c.Eventually("the host to be reached in the end", func() bool { ok, _ := reached(t, c, h); return ok })
}

// The authority is changed by the very commands of docs/operations.md, and
// server and host talk to each other after every step.
func TestTheAuthorityIsChanged(t *testing.T) {
	t.Parallel()
	company.NewPKI(t) // for its demand of openssl
	c := company.New(t, company.Options{Hosts: 1})
	h := c.Hosts[0]
	document, err := os.ReadFile("../../docs/operations.md")
	must(t, err)
	_, chapter, _ := strings.Cut(string(document), "**Changing the authority**")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(chapter, 2)
	if len(blocks) != 2 {
		t.Fatalf("docs/operations.md has %d blocks of commands there", len(blocks))
	}
	// What is different here: the server's name, its user, and where it lies.
	here := strings.NewReplacer("/main", "/demo", "chown restartilka:", "chown "+strconv.Itoa(os.Getuid()),
		"restartilka config check", c.Programs.Server+" config check --config server.yaml")
	do := func(script string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-euc", here.Replace(script))
		cmd.Dir = c.ServerDir()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	still := func(step string) {
		t.Helper()
		if ok, why := reached(t, c, h); !ok {
			t.Fatalf("%s: %s", step, why)
		}
	}
	lay := func(name string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(c.ServerDir(), name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(h.Dir, "ca.crt"), b, 0o600))
	}
	settings := filepath.Join(c.ServerDir(), "server.yaml")
	do(blocks[0][1])
	lay("both.crt")
	still("hosts trust both")
	c.StopServer()
	replace(t, settings, "  ca: ca.crt\n  ca_key: ca.key\n", "  ca: both.crt\n  ca_key: new-ca.key\n")
	c.StartServer()
	still("the server trusts both")
	if said, code := join(t, c, h, joinToken(t, c, h.Name), nil, "--again"); code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	still("the host has a new certificate")
	do(blocks[1][1])
	still("the server has a new certificate")
	lay("new-ca.crt")
	c.StopServer()
	replace(t, settings, "  ca: both.crt\n", "  ca: new-ca.crt\n")
	c.StartServer()
	still("nobody trusts the old one")
	checks, err := c.Dev.CheckHosts(t.Context(), wire.HostCheckRequest{Hosts: h.Name})
	must(t, err)
	if report := checks[0].Report.Certificate; report == nil || !strings.Contains(report.Issuer, "restartilka 2") {
		t.Errorf("%+v", report)
	}
}

func replace(t *testing.T, path, old, with string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s does not hold %q", path, old)
	}
	must(t, os.WriteFile(path, bytes.Replace(b, []byte(old), []byte(with), 1), 0o600))
}

// Eight hundred hosts by one list take seconds.
func TestManyHostsAreIssued(t *testing.T) {
	t.Parallel()
	c := company.New(t, company.Options{Hosts: 1})
	const hosts = 800
	var list strings.Builder
	for i := range hosts {
		list.WriteString("web" + string(rune('0'+i/100)) + string(rune('0'+i/10%10)) + string(rune('0'+i%10)) + ".example.com\n")
	}
	file, out := filepath.Join(c.Dir, "list"), filepath.Join(c.Dir, "issued")
	must(t, os.WriteFile(file, []byte(list.String()), 0o600))
	began := time.Now()
	said, talk, code := admin(t, c, "host", "issue", "--from", file, "--out", out, "--json")
	took := time.Since(began)
	var made wire.List[string]
	if err := json.Unmarshal([]byte(said), &made); err != nil || code != 0 || len(made.Items) != hosts || made.Items[0] != filepath.Join(out, "web000.example.com") {
		t.Fatalf("exit %d, %d made: %v %s", code, len(made.Items), err, talk)
	}
	t.Logf("%d hosts in %v", hosts, took.Round(time.Millisecond))
	if took > time.Minute {
		t.Errorf("%v for %d hosts", took, hosts)
	}
	stored, err := c.Admin.Certificates(t.Context())
	if err != nil || len(stored) != hosts {
		t.Errorf("%d stored, %v", len(stored), err)
	}
	if _, talk, code := admin(t, c, "host", "issue", "--from", file, "--out", out, "--skip-existing"); code != 0 || !strings.Contains(talk, "800 hosts skipped") {
		t.Errorf("exit %d: %s", code, talk)
	}
}
