package demo

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
)

// Service and environment of the demo.
const (
	ServiceName = "hello"
	Environment = "testing"
	GroupName   = "shop_hello-testing"
	Developer   = "dana"
	servicePort = 8180
)

// Host is one of the demo's hosts.
type Host struct {
	Name    string
	Address string // of its loopback interface
	Dir     string
}

// ServiceAddress is where the host's service listens.
func (h Host) ServiceAddress() string { return fmt.Sprintf("%s:%d", h.Address, servicePort) }

// Layout is the demo's folder.
type Layout struct {
	Dir    string
	Self   string // path of the restartilka program: the scenario starts the little service with it
	Listen string
	Hosts  []Host
}

// NewLayout names everything in dir. The folder's path goes into the reviewed
// scenario's script, so it may hold only what needs no quoting there.
func NewLayout(dir, self, listen string) (Layout, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Layout{}, fmt.Errorf("find the demo's folder: %w", err)
	}
	for _, path := range []string{dir, self} {
		if strings.ContainsFunc(path, func(r rune) bool {
			return !strings.ContainsRune("/._-+=@%,:", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return Layout{}, restart.Errorf(restart.CodeInvalid, "the path %s holds a character that a script would read as more than text", restart.Quote(path)).
				WithHint("choose another folder with --dir")
		}
	}
	l := Layout{Dir: dir, Self: self, Listen: listen}
	for i := range 3 {
		name := fmt.Sprintf("shop%d.demo.internal", i+1)
		l.Hosts = append(l.Hosts, Host{Name: name, Address: fmt.Sprintf("127.0.0.%d", 11+i), Dir: filepath.Join(dir, "hosts", name)})
	}
	return l, nil
}

// ServerDir holds the server's configuration, DataDir its database.
func (l Layout) ServerDir() string { return filepath.Join(l.Dir, "server") }

// DataDir is the folder of the server's database.
func (l Layout) DataDir() string { return filepath.Join(l.Dir, "data") }

// AuditFile is where the audit trail goes.
func (l Layout) AuditFile() string { return filepath.Join(l.Dir, "audit", "audit.jsonl") }

// WriteServer adds the demo's inventory and scenario to a server's folder that
// `server init` has made, and points the audit trail to AuditFile.
func (l Layout) WriteServer() error {
	config := filepath.Join(l.ServerDir(), "server.yaml")
	b, err := os.ReadFile(config)
	if err != nil {
		return fmt.Errorf("read the demo's configuration: %w", err)
	}
	text := strings.Replace(string(b), filepath.Join(l.DataDir(), "audit", "audit.jsonl"), l.AuditFile(), 1)
	for path, content := range map[string]string{
		config: text,
		filepath.Join(l.ServerDir(), "inventory.yaml"):                  l.inventory(),
		filepath.Join(l.ServerDir(), "scenarios", "hello-restart.yaml"): l.scenario(),
		filepath.Join(l.ServerDir(), "scenarios", "hello-dump.yaml"):    l.dumpScenario(),
	} {
		if err := write(path, content, 0o640); err != nil {
			return err
		}
	}
	return nil
}

// WriteHosts lays out every host's folder, with credentials from the demo's
// own authority.
func (l Layout) WriteHosts(now time.Time) error {
	ca, err := pki.LoadCA(filepath.Join(l.ServerDir(), "ca.crt"), filepath.Join(l.ServerDir(), "ca.key"))
	if err != nil {
		return err
	}
	envelope, err := pki.LoadEnvelopeKey(filepath.Join(l.ServerDir(), "envelope.key"))
	if err != nil {
		return err
	}
	for _, h := range l.Hosts {
		for _, dir := range []string{"scenarios.d", "services.d", "spool"} {
			if err := os.MkdirAll(filepath.Join(h.Dir, dir), 0o700); err != nil {
				return fmt.Errorf("make a host's folder: %w", err)
			}
		}
		cert, key, err := ca.IssueAgent(h.Name, []net.IP{net.ParseIP(h.Address)}, now)
		if err != nil {
			return err
		}
		if err := pki.SaveEnvelopePublicKey(filepath.Join(h.Dir, "server.pub"), envelope.Public().(ed25519.PublicKey)); err != nil {
			return err
		}
		me, err := user.Current()
		if err != nil {
			return fmt.Errorf("find out who runs the demo: %w", err)
		}
		for path, content := range map[string]string{
			"agent.crt": string(cert), "agent.key": string(key), "ca.crt": string(ca.CertPEM()), "agent.yaml": l.agentConfig(h),
			"scenarios.d/hello-restart.yaml": l.scenario(),
			"scenarios.d/hello-dump.yaml":    l.dumpScenario(),
			"services.d/hello.yaml":          "description: The demo's little service\nuser: " + me.Username + "\n",
		} {
			if err := write(filepath.Join(h.Dir, path), content, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

func write(path, content string, mode os.FileMode) error {
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		return fmt.Errorf("write the demo's files: %w", err)
	}
	return nil
}

func (l Layout) inventory() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The demo's inventory. Change it while the server runs: it is read again.
services:
  - name: %s
    description: A little web service, restarted without anybody's sorrow
    runtime: go
    port: %d
    project: shop
    owners: [%s]
groups:
  - name: %s
    project: shop
    environment: %s
    services: [%s]
    hosts: [%s]
hosts:
`, ServiceName, servicePort, Developer, GroupName, Environment, ServiceName, strings.Join(l.hostNames(), ", "))
	for i, h := range l.Hosts {
		fmt.Fprintf(&b, "  - {name: %s, address: %s, data_centre: dc%d, tags: [demo]}\n", h.Name, h.Address, i%2+1)
	}
	return b.String()
}

func (l Layout) hostNames() []string {
	var out []string
	for _, h := range l.Hosts {
		out = append(out, h.Name)
	}
	return out
}

// scenario is what the demo's admins have reviewed: the same bytes lie on the
// server's shelf and in every host's scenarios.d.
func (l Layout) scenario() string {
	hosts := filepath.Join(l.Dir, "hosts")
	return fmt.Sprintf(`# Restarts the demo's service, out of the balancer while it is down.
format: 1
name: hello-restart
serial: 1
author: demo@restartilka.invalid
kind: restart
services: [%[1]s]
description: Restart hello, out of the balancer while it is down
strategy:
  batches: [1]
  min_available: N-1
  max_failures: 0
  on_failure: pause
  task_timeout: 30s
evidence: [process]
steps:
  drain:
    script: |
      echo "taking #host# out of the balancer"
      touch %[2]s/#host#/drained
  run:
    script: |
      echo "stopping #service# on #host#, pid $(cat %[2]s/#host#/hello.pid)"
      %[3]s demo service stop --dir %[2]s/#host#
      %[3]s demo service start --dir %[2]s/#host#
      echo "started again, pid $(cat %[2]s/#host#/hello.pid)"
  undrain:
    script: |
      rm -f %[2]s/#host#/drained
      echo "#host# is back in the balancer"
    when: healthy
health:
  new_process: {pid_file: %[2]s/#host#/hello.pid}
  command: {script: %[3]s demo service check --dir %[2]s/#host#}
  interval: 200ms
  healthy_for: 1s
  deadline: 20s
`, ServiceName, hosts, l.Self)
}

// dumpScenario is the other one: three thread dumps of the service.
func (l Layout) dumpScenario() string {
	return fmt.Sprintf(`# Takes thread dumps of the demo's service. The shipped thread-dump asks for the
# unit's main process; the demo has no units, so this one goes by a pid file.
format: 1
name: hello-dump
serial: 1
author: demo@restartilka.invalid
kind: thread-dump
services: [%s]
description: Thread dumps of hello, three, 1 s apart
strategy:
  batches: [50]
  on_failure: continue
  task_timeout: 1m
dump:
  runtime: go
  process: {pid_file: %s/#host#/%s}
  url: http://%s:%d/#host#/debug/pprof/goroutine
  count: 3
  interval: 1s
`, ServiceName, filepath.Join(l.Dir, "hosts"), pidFile, relayAddress, servicePort)
}

func (l Layout) agentConfig(h Host) string {
	return fmt.Sprintf(`# One of the demo's agents.
host: %s
listen: %s:3131
status_listen: ""
certificate: %[3]s/agent.crt
key: %[3]s/agent.key
ca: %[3]s/ca.crt
servers: [demo]
envelope_keys: [%[3]s/server.pub]
review: files
scenarios: %[3]s/scenarios.d
services: %[3]s/services.d
spool: %[3]s/spool
socket: %[6]q
groups: [%[4]s]
environments: [%[5]s]
cgroup: "off"
`, h.Name, h.Address, h.Dir, GroupName, Environment, l.Socket(h))
}

// Socket is where a host's agent serves who works there without a server; ""
// where the demo's folder has too long a name for one.
func (l Layout) Socket(h Host) string {
	path := filepath.Join(h.Dir, "agent.sock")
	if len(path) > 107 { // what the kernel takes
		return ""
	}
	return path
}
