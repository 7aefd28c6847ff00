package server_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/server"
	"github.com/restartilka/restartilka/internal/sshd"
	asked "github.com/restartilka/restartilka/internal/wire"
)

// TestBySSH: what init has laid there opens the way in by SSH, as its comment
// says; a server that stops closes it.
func TestBySSH(t *testing.T) {
	t.Parallel()
	r, _ := initialised(t)
	text, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	open := strings.NewReplacer("# ssh:", "ssh:", "#   listen: 0.0.0.0:2222", "  listen: 127.0.0.1:0", "#   host_keys:", "  host_keys:").Replace(string(text))
	if open == string(text) {
		t.Fatal("there is no such comment")
	}
	if err := os.WriteFile(r.Config, []byte(open), 0o600); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "shell.sock")
	s := serveAgain(t, r, func(cfg *server.Config) {
		if wrong := cfg.Check(t.Context()); len(wrong) > 0 {
			t.Error(errors.Join(wrong...))
		}
		cfg.SSH.Socket, cfg.SSH.SocketUser = socket, me.Username
	})
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(asked.KeyRequest{Key: string(ssh.MarshalAuthorizedKey(signer.PublicKey())), Name: "laptop"})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/keys", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
	c, err := ssh.Dial("tcp", s.ssh, &ssh.ClientConfig{User: sshd.Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.CombinedOutput("whoami"); err != nil || !strings.HasPrefix(string(out), "anna at https://localhost:18446, roles: admin, developer") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Error(err)
	}
	s.stop()
	if err := s.over(); err != nil {
		t.Error(err)
	}
	s.ended <- nil // for the end of the test
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is left behind")
	}
	if c, err := ssh.Dial("tcp", s.ssh, &ssh.ClientConfig{User: sshd.Login, HostKeyCallback: ssh.InsecureIgnoreHostKey()}); err == nil {
		c.Close()
		t.Error("somebody got in after the end")
	}
}

func TestSSHConfigurations(t *testing.T) {
	t.Parallel()
	r, _ := initialised(t)
	good, err := os.ReadFile(r.Config)
	if err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{
		"ssh: {listen: 127.0.0.1:2222}":                                                       "ssh.host_keys is needed",
		"ssh: {host_keys: [ssh_host_ed25519_key]}":                                            "without ssh.listen",
		"ssh: {listen: nonsense, host_keys: [ssh_host_ed25519_key]}":                          "ssh.listen",
		"ssh: {socket: s}":                                                                    "go together",
		"ssh: {socket_user: s}":                                                               "go together",
		"ssh: {socket: 'credential:x', socket_user: s}":                                       "no credential",
		"ssh: {port: 22}":                                                                     "port",
		"ssh: {listen: 127.0.0.1:0, host_keys: [server.crt]}":                                 "server.crt",
		"ssh: {listen: 127.0.0.1:0, host_keys: [audit.pub]}":                                  "audit.pub",
		"ssh: {listen: 127.0.0.1:0, host_keys: [ssh_host_ed25519_key, ssh_host_ed25519_key]}": "a second key",
		"ssh: {socket: s, socket_user: no-such-account}":                                      "no account",
	} {
		path := filepath.Join(filepath.Dir(r.Config), "bad.yaml")
		if err := os.WriteFile(path, append(good, []byte(text+"\n")...), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := server.ReadConfig(path)
		if err == nil { // it is found out where files and accounts are looked at
			err = errors.Join(cfg.Check(t.Context())...)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
		if restart.CodeOf(err) == restart.CodeInternal {
			t.Errorf("%s: %v", text, err)
		}
	}
}
