package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// sshd is a real sshd of this user on addresses of the loopback interface, with
// keys of its own. Everything of it lies in one folder.
type sshd struct {
	dir       string
	addresses []string
	port      string
	user      string
}

var daemons atomic.Int32

// mostListeners is how many addresses one sshd listens on: MAX_LISTEN_SOCKS in
// its source.
const mostListeners = 16

// startSSHD starts an sshd that answers for so many hosts. Its error is a
// sentence: there may be none to be had here.
func startSSHD(b *bed, hosts int) (*sshd, error) {
	program := "/usr/sbin/sshd" // it insists on an absolute path
	if _, err := os.Stat(program); err != nil {
		return nil, errors.New("sshd is not installed")
	}
	if _, err := exec.LookPath("ssh"); err != nil {
		return nil, errors.New("ssh is not installed")
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	d := &sshd{dir: b.TempDir(), user: me.Username}
	network := fmt.Sprintf("127.%d.%d", 20+os.Getpid()%200, 200+daemons.Add(1))
	for i := range hosts {
		d.addresses = append(d.addresses, fmt.Sprintf("%s.%d", network, 11+i))
	}
	l, err := (&net.ListenConfig{}).Listen(b.ctx, "tcp", d.addresses[0]+":0") // a port that is free now
	if err != nil {
		return nil, err
	}
	_, d.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	if err := d.configure(b.ctx); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) //nolint:errcheck // sshd says it better
	}
	log, err := os.Create(filepath.Join(d.dir, "sshd.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	for addresses := range slices.Chunk(d.addresses, mostListeners) {
		config := filepath.Join(d.dir, "sshd_config."+addresses[0])
		if err := os.WriteFile(config, []byte(d.config(addresses)), 0o600); err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(context.WithoutCancel(b.ctx), program, "-D", "-e", "-f", config)
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		b.Cleanup(func() {
			cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
			cmd.Wait()                          //nolint:errcheck // it was ended on purpose
		})
	}
	for deadline := time.Now().Add(5 * time.Second); ; b.pause(20 * time.Millisecond) {
		if err = errors.Join(d.ssh(b.ctx, 0), d.ssh(b.ctx, len(d.addresses)-1)); err == nil {
			return d, nil
		}
		if time.Now().After(deadline) || b.ctx.Err() != nil {
			said, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("sshd can't be used here: %w: %s", err, strings.Join(strings.Fields(string(said)), " "))
		}
	}
}

func (d *sshd) configure(ctx context.Context) error {
	for _, key := range []string{"host_key", "user_key"} {
		out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", filepath.Join(d.dir, key)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	public, err := os.ReadFile(filepath.Join(d.dir, "user_key.pub"))
	if err != nil {
		return err
	}
	host, err := os.ReadFile(filepath.Join(d.dir, "host_key.pub"))
	if err != nil {
		return err
	}
	for name, content := range map[string]string{"authorized_keys": string(public), "known_hosts": "* " + string(host)} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// config is sshd's own, for some of the addresses.
func (d *sshd) config(addresses []string) string {
	var config strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&config, "ListenAddress %s:%s\n", a, d.port)
	}
	fmt.Fprintf(&config, `HostKey %[1]s/host_key
AuthorizedKeysFile %[1]s/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
`, d.dir)
	return config.String()
}

// options are ssh's, so that nothing of this user's own is used or changed.
func (d *sshd) options() []string {
	return []string{
		"-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile=" + filepath.Join(d.dir, "known_hosts"), "-o", "GlobalKnownHostsFile=/dev/null",
	}
}

// ssh runs true on a host, over a connection of its own.
func (d *sshd) ssh(ctx context.Context, i int) error {
	args := append(d.options(), "-i", filepath.Join(d.dir, "user_key"), "-p", d.port, d.user+"@"+d.addresses[i], "true")
	if out, err := exec.CommandContext(ctx, "ssh", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ssh: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (d *sshd) name(i int) string { return fmt.Sprintf("host%d", i+1) }

// ansible is ansible over this sshd, with its own settings and folders.
type ansible struct {
	d            *sshd
	dir, control string
}

func (d *sshd) ansible(b *bed) (*ansible, error) {
	a := &ansible{d: d, dir: b.TempDir()}
	// A socket's path is short by nature.
	control, err := os.MkdirTemp("", "cp")
	if err != nil {
		return nil, err
	}
	a.control = control
	b.Cleanup(func() {
		a.hangUp()
		os.RemoveAll(control)
	})
	var inventory strings.Builder
	for i, address := range d.addresses {
		fmt.Fprintf(&inventory, "%s ansible_host=%s\n", d.name(i), address)
	}
	fmt.Fprintf(&inventory, "[all:vars]\nansible_port=%s\nansible_user=%s\nansible_ssh_private_key_file=%s\nansible_ssh_common_args='%s'\nansible_python_interpreter=/usr/bin/python3\n",
		d.port, d.user, filepath.Join(d.dir, "user_key"), strings.Join(d.options(), " "))
	for name, content := range map[string]string{
		"inventory": inventory.String(), "ansible.cfg": "[defaults]\n",
		"rolling.yml": "- hosts: all\n  serial: 1\n  gather_facts: false\n  tasks:\n    - ansible.builtin.command: \"true\"\n",
	} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// run runs ansible or ansible-playbook, with more of its environment.
func (a *ansible) run(ctx context.Context, more []string, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, append([]string{"-i", filepath.Join(a.dir, "inventory")}, args...)...)
	cmd.Env = append(os.Environ(), "ANSIBLE_CONFIG="+filepath.Join(a.dir, "ansible.cfg"), "ANSIBLE_HOME="+a.dir, "ANSIBLE_LOCAL_TEMP="+filepath.Join(a.dir, "local"),
		"ANSIBLE_REMOTE_TEMP="+filepath.Join(a.dir, "remote"), "ANSIBLE_SSH_CONTROL_PATH_DIR="+a.control, "LC_ALL=C.UTF-8")
	cmd.Env = append(cmd.Env, more...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// hangUp ends the connections that ansible leaves open for a minute.
func (a *ansible) hangUp() {
	sockets, err := filepath.Glob(filepath.Join(a.control, "*"))
	if err != nil {
		return
	}
	for _, socket := range sockets {
		exec.CommandContext(context.Background(), "ssh", "-F", "/dev/null", "-o", "ControlPath="+socket, "-O", "exit", "x").Run() //nolint:errcheck // it may be gone
	}
}
