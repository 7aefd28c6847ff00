package security

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/sshd"
	"github.com/restartilka/restartilka/internal/store"
)

// bySSH are commands of most rows of the matrix that are there by SSH.
func bySSH() []command {
	return []command{
		{"see", "show {run}"},
		{"restart", "restart {service} --plan " + because},
		{"restart", "retry {run} --plan " + because},
		{"dump", "dump {service} --scenario plain-dump --plan " + because},
		{"approve", "approve {run} --yes " + because},
		{"control", "pause {run}"},
		{"look", "whoami"},
		{"ask-of", "why kate restart own"},
		{"audit", "audit tail"},
	}
}

// users are the people of the matrix that are one person each, and what an admin
// has made them.
var users = map[string]restart.Role{
	"owner": restart.RoleDeveloper, "team": restart.RoleDeveloper, "stranger": restart.RoleDeveloper, "reviewer": restart.RoleReviewer, "auditor": restart.RoleAuditor, "admin": restart.RoleAdmin,
}

// TestMatrixBySSH asks by SSH as everybody, of every service.
func TestMatrixBySSH(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address, host := w.openSSH()
	for p, role := range users {
		signer := w.keyOf(names[p], role)
		for _, c := range bySSH() {
			cell, got, said := w.cells[c.row][p], "", ""
			of := services
			if len(cell) == 1 {
				of = services[:1]
			}
			for _, s := range of {
				code, text := bySSHAs(t, address, host, signer, w.fill(c.line, s))
				got, said = got+letterOf(code, text), said+text
			}
			if got != cell {
				t.Errorf("%s as %s: %s: got %s, want %s\n%s", c.row, p, c.line, got, cell, said)
			}
		}
		// What is not there by SSH is there for nobody.
		for _, line := range []string{"token create gift --owner kate", "host certificates", "hosts discover web1", `freeze add --env production --weekly "sun 03:00-sun 03:01" ` + because, "user list"} {
			if code, text := bySSHAs(t, address, host, signer, line); code != 2 {
				t.Errorf("%s: %s: exit code %d: %s", p, line, code, text)
			}
		}
	}
}

// openSSH lets people in by SSH until the end of the test.
func (w *world) openSSH() (address string, host ssh.PublicKey) {
	w.t.Helper()
	file, err := sshd.NewHostKey("test")
	must(w.t, err)
	key, err := ssh.ParsePrivateKey(file)
	must(w.t, err)
	server := sshd.New(sshd.Config{
		Handler: w.HTTP.Config.Handler, URL: w.URL, Keys: authn.Keys{Store: w.Store}, HostKeys: []ssh.Signer{key},
		Record: func(ctx context.Context, rec audit.Record) error { return w.Store.AppendAudit(ctx, rec) },
	})
	l, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	must(w.t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, l) }()
	w.t.Cleanup(func() {
		stop()
		must(w.t, <-ended)
	})
	return l.Addr().String(), key.PublicKey()
}

// keyOf makes a user, and a key in his profile.
func (w *world) keyOf(name string, role restart.Role) ssh.Signer {
	w.t.Helper()
	now := time.Now()
	must(w.t, w.Store.CreateUser(w.t.Context(), store.User{Name: name, Method: authn.MethodLocal, Roles: []restart.Role{role}, CreatedAt: now}))
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(w.t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(w.t, err)
	must(w.t, w.Store.AddKey(w.t.Context(), store.Key{ID: restart.NewID(now), Owner: name, Name: "test", Fingerprint: ssh.FingerprintSHA256(signer.PublicKey()), CreatedAt: now}))
	return signer
}

// bySSHAs gives a command, and how it has come off.
func bySSHAs(t *testing.T, address string, host ssh.PublicKey, signer ssh.Signer, line string) (code int, said string) {
	t.Helper()
	c, err := ssh.Dial("tcp", address, &ssh.ClientConfig{User: sshd.Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(host)})
	must(t, err)
	defer c.Close()
	s, err := c.NewSession()
	must(t, err)
	out, err := s.CombinedOutput(line)
	if e, ok := errors.AsType[*ssh.ExitError](err); ok {
		return e.ExitStatus(), string(out)
	}
	must(t, err)
	return 0, string(out)
}
