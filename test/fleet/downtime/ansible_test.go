package downtime

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/test/fleet"
)

// needAnsible ends the test where a tool of it is missing: loudly skipped on
// somebody's machine, failed in CI.
func needAnsible(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"ansible-playbook", "ssh", "ssh-keygen", "wrk"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing, see scripts/packages.txt", tool)
		}
		t.Skipf("NOT TESTED, what a restart costs: %s is missing, see scripts/packages.txt", tool)
	}
}

// ansible is a control node on this machine, with a key that the hosts know.
type ansible struct {
	fleet *fleet.Fleet
	dir   string
}

func newAnsible(t *testing.T, f *fleet.Fleet) *ansible {
	t.Helper()
	a := &ansible{fleet: f, dir: t.TempDir()}
	key := filepath.Join(a.dir, "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	inventory := "[web]\n"
	for _, h := range f.Web {
		h.Push(key+".pub", "/root/.ssh/authorized_keys", 0o600)
		inventory += fmt.Sprintf("%s ansible_host=%s\n", h.Name, h.Address)
	}
	if err := fleet.Each(f.Web, func(h *fleet.Host) error { _, err := h.Try("systemctl start ssh"); return err }); err != nil {
		t.Fatal(err)
	}
	a.write(t, "inventory", inventory)
	return a
}

func (a *ansible) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// play restarts nginx as many a playbook does; serial is a line of the play.
func (a *ansible) play(t *testing.T, serial string) {
	t.Helper()
	a.write(t, "restart.yaml", strings.ReplaceAll(`- hosts: web
  gather_facts: false
  SERIAL
  tasks:
    - ansible.builtin.systemd: {name: nginx, state: restarted}
`, "  SERIAL\n", map[bool]string{true: "  " + serial + "\n"}[serial != ""]))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := a.fleet.Run(ctx, "env", "-C", a.dir, "HOME="+a.dir, "LC_ALL=C.UTF-8", "ANSIBLE_HOST_KEY_CHECKING=False", "ANSIBLE_PRIVATE_KEY_FILE=key",
		"ANSIBLE_REMOTE_USER=root", "ANSIBLE_PIPELINING=True", "ANSIBLE_SSH_ARGS=-o UserKnownHostsFile=/dev/null -o ControlMaster=no",
		"ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3", "ansible-playbook", "-i", "inventory", "restart.yaml")
	if err != nil {
		t.Fatalf("ansible-playbook: %v\n%s", err, out)
	}
}
