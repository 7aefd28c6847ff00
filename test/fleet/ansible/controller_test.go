package ansible

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/fleet"
)

// role is the folder with the play, seen from here.
const role = "../../../packaging/ansible"

// need ends the test where there is no ansible.
func need(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"ansible-playbook", "ssh", "ssh-keygen"} {
		_, err := exec.LookPath(tool)
		switch {
		case err == nil:
		case os.Getenv("CI") == "true":
			t.Fatalf("the role can't be tried without %s (see scripts/packages.txt)", tool)
		default:
			t.Skipf("NOT TESTED: the role of ansible needs %s (see scripts/packages.txt)", tool)
		}
	}
}

// controller is this machine, from which ansible reaches the hosts: in their
// network, with their names, and with a key that they accept.
type controller struct {
	*fleet.Company
	t     *testing.T
	dir   string
	token string // for all hosts that join
	web02 string // instead of it, for web02
}

func newController(t *testing.T, c *fleet.Company) *controller {
	a := &controller{Company: c, t: t, dir: t.TempDir()}
	a.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", a.path("key"))
	public, err := os.ReadFile(a.path("key.pub"))
	a.must(err)
	var names, known strings.Builder
	names.WriteString("127.0.0.1 localhost\n")
	for _, h := range c.Hosts {
		fmt.Fprintf(&names, "%s %s\n", h.Address, h.Name)
	}
	for i, h := range c.Web {
		h.Write("/root/.ssh/authorized_keys", string(public), 0o600)
		h.Shell("systemctl start ssh")
		fmt.Fprintf(&known, "%s %s", h.Name, h.Read("/etc/ssh/ssh_host_ed25519_key.pub"))
		if i == 2 {
			a.serveRepository(h)
		}
	}
	a.write("hosts", names.String())
	a.write("known_hosts", known.String())
	a.write("ca.crt", c.Server.Read("/etc/restartilka/ca.crt"))
	a.write("services.d/nginx.yaml", "package: nginx-light\nunit: nginx.service\n")
	for name, text := range quick {
		a.write("scenarios.d/"+name+".yaml", text)
	}
	a.run("dpkg-deb", "-x", c.Packages().Server, a.path("server")) // its command line
	a.run(a.path("server/usr/bin/restartilka"), "host", "issue", c.Web[2].Name, "--out", a.path("issued"))
	a.token = strings.TrimSpace(c.MustCLI("host", "join-token", "--pattern", "web*.example.com", "--count", "2", "--window", "1h"))
	return a
}

// serveRepository gives a host a package repository that has the agent.
func (a *controller) serveRepository(h *fleet.Host) {
	a.t.Helper()
	file := a.Packages().Agent
	b, err := os.ReadFile(file)
	a.must(err)
	h.Push(file, "/srv/repository/agent.deb", 0o644)
	h.Write("/srv/repository/Packages", a.run("dpkg-deb", "-f", file)+
		fmt.Sprintf("Filename: ./agent.deb\nSize: %d\nSHA256: %x\n", len(b), sha256.Sum256(b)), 0o644)
	h.Write("/etc/apt/sources.list", "deb [trusted=yes] file:/srv/repository ./\n", 0o644)
	h.Shell("apt-get -q update")
}

// on gives the same controller for a part of the test.
func (a *controller) on(t *testing.T) *controller {
	a.t, a.Company = t, a.Company.On(t)
	return a
}

func (a *controller) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *controller) path(name string) string { return filepath.Join(a.dir, name) }

func (a *controller) write(name, text string) string {
	a.t.Helper()
	a.must(os.MkdirAll(filepath.Dir(a.path(name)), 0o755))
	a.must(os.WriteFile(a.path(name), []byte(text), 0o600))
	return a.path(name)
}

// inventory writes what ansible knows of the hosts.
func (a *controller) inventory() string {
	a.t.Helper()
	return a.write("inventory.yml", fmt.Sprintf(`
restartilka_agents:
  hosts:
    web01.example.com:
    web02.example.com: {%s}
    web03.example.com:
      restartilka_agent_package_file: ''
      restartilka_agent_join_token: ''
      restartilka_agent_credentials_dir: %[2]s/issued
  vars:
    ansible_user: root
    ansible_python_interpreter: /usr/bin/python3
    ansible_ssh_private_key_file: %[2]s/key
    ansible_ssh_common_args: -o UserKnownHostsFile=%[2]s/known_hosts -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes
    restartilka_agent_package_file: %[3]s
    restartilka_agent_url: https://restartilka.example.com:8443
    restartilka_agent_join_token: '%[4]s'
    restartilka_agent_settings: {environments: [testing], groups: [web-testing], task_rate_per_hour: 100}
    restartilka_agent_services: ['%[2]s/services.d/*.yaml']
    restartilka_agent_scenarios: ['%[2]s/scenarios.d/quick.yaml']
    restartilka_agent_cli: %[2]s/server/usr/bin/restartilka
    restartilka_agent_hosts_check: true
`, a.override(), a.dir, a.Packages().Agent, a.token))
}

func (a *controller) override() string {
	if a.web02 == "" {
		return ""
	}
	return "restartilka_agent_join_token: " + a.web02
}

// play runs the play of packaging/ansible, and gives what it wrote and its exit
// code.
func (a *controller) play(args ...string) (string, int) {
	a.t.Helper()
	if len(args) == 0 || args[0] != "-i" {
		args = append([]string{"-i", a.inventory()}, args...)
	}
	return a.command("ansible-playbook", append(args, "site.yml")...)
}

// run runs a command that must succeed.
func (a *controller) run(name string, args ...string) string {
	a.t.Helper()
	out, code := a.command(name, args...)
	if code != 0 {
		a.t.Fatalf("%s: exit %d\n%s", name, code, out)
	}
	return out
}

// command runs a command as at the controller. The hosts' names are in an
// /etc/hosts that only this command sees.
func (a *controller) command(name string, args ...string) (string, int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.t.Context()), 2*time.Minute)
	defer cancel()
	script := `if [ -e "$0" ]; then mount --bind "$0" /etc/hosts; fi; exec "$@"`
	cmd := a.Command(ctx, "unshare", append([]string{"--mount", "sh", "-euc", script, a.path("hosts"), name}, args...)...)
	cmd.Dir = role
	cmd.WaitDelay = time.Second
	// Nothing of this machine's own settings, and nothing left in its home.
	cmd.Env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + a.dir, "ANSIBLE_NOCOLOR=1", "ANSIBLE_SSH_CONTROL_PATH_DIR=" + a.path("cp"),
		"RESTARTILKA_URL=https://restartilka.example.com:8443", "RESTARTILKA_CA=" + a.path("ca.crt"), "RESTARTILKA_TOKEN=" + a.Token,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		a.t.Fatalf("%s: %v\n%s", name, err, out.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// recap reads the end of ansible's output, by the hosts' short names.
func (a *controller) recap(out string) map[string]counts {
	a.t.Helper()
	_, end, _ := strings.Cut(out, "\nPLAY RECAP ")
	all := map[string]counts{}
	for _, line := range recapLine.FindAllStringSubmatch(end, -1) {
		all[line[1]] = counts{}
		for _, part := range recapPart.FindAllStringSubmatch(line[2], -1) {
			all[line[1]][part[1]], _ = strconv.Atoi(part[2])
		}
	}
	if len(all) == 0 {
		a.t.Fatalf("there is no recap in:\n%s", out)
	}
	return all
}
