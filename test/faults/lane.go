package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit/audittest"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// Settings that make a fault's consequences come as soon as the product allows.
const (
	lease          = 3 * time.Second  // the shortest
	contactTimeout = 30 * time.Second // the shortest: an envelope's life
	taskTimeout    = 8 * time.Second
	grace          = 300 * time.Millisecond
	spoolSize      = "24m"
	dataSize       = "192m" // thousands of runs, and what a server wants free to be ready
)

// lane is one company with everything that can be broken in it, and the
// injections that it gets, one after another. Lanes run side by side.
type lane struct {
	laneKind
	b        *bed
	dir      string // its logs; kept where something was found
	c        *company.Company
	servers  []*server
	hosts    []*host
	pg       *postgres
	log      *audittest.Rsyslog // nil: there is none on this machine
	services []string
	prefix   string // of the services' names: what tells this lane's scripts from others'
	witness  witness
	ledger   *ledger

	person   atomic.Pointer[string] // the token of the one who restarts
	personID string
	admin    atomic.Pointer[string]
	noDecide atomic.Bool // this version of the API has no decide
	under    map[string][]string
	traces   int
	keys     int
}

// laneKind is what a lane is made of.
type laneKind struct {
	name    string
	servers int // 1 = SQLite
}

func (k laneKind) postgres() bool { return k.servers > 1 }

// server is one server of a lane.
type server struct {
	name    string // its process, and its source in the audit trail
	config  string
	url     string
	audit   string
	program string
	api     *api
}

// host is one host of a lane, behind its proxy.
type host struct {
	demo.Host
	proxy   *proxy
	program string
	boot    string // the file that stands for the kernel's boot id; "" = this user may not mount
}

func (h *host) spool() string { return filepath.Join(h.Dir, "spool") }

const laneHosts = 3

var laneNumber atomic.Int32

// newLane stands a lane up on a bed. random serves its names only.
func newLane(b *bed, k laneKind, means means, led *ledger) *lane {
	n := laneNumber.Add(1)
	l := &lane{laneKind: k, b: b, dir: b.dir, ledger: led, prefix: fmt.Sprintf("f%dx%d", os.Getpid(), n), under: map[string][]string{}}
	for i := range 3 {
		l.services = append(l.services, fmt.Sprintf("%ss%d", l.prefix, i+1))
	}
	options := company.Options{
		Hosts: laneHosts, Server: fmt.Sprintf("runs: {lease: %s, contact_timeout: %s}\n", lease, contactTimeout),
		Agent:    fmt.Sprintf("task_rate_per_hour: 100000\ngrace: %s\n", grace),
		Scenario: func(c *company.Company) (string, string) { return "witness", l.scenario(c) },
		Prepare:  func(c *company.Company) { l.prepare(c, means) },
		Under:    func(program string) []string { return l.before(program) },
	}
	if means.rsyslog {
		l.log = audittest.NewRsyslog(b, "RSYSLOG_FileFormat", "")
		l.log.Start()
		options.Audit = fmt.Sprintf("    - {kind: syslog, address: %q, ca: %s, server_name: %s}\n", l.log.Address, l.log.CAFile(), audittest.ServerName)
	}
	if k.postgres() {
		l.pg = newPostgres(b)
		options.DSN = l.pg.dsn()
	}
	b.Cleanup(func() { kill(l.scripts("")...) })
	l.c = company.New(b, options)
	l.witness.path = l.c.WitnessFile()
	l.ledger.witness = l.witness.path
	for _, s := range l.servers {
		var err error
		s.api, err = newAPI(s.url, l.c.CA, &l.person)
		b.must(err)
	}
	for _, s := range l.servers[1:] {
		l.launch(s)
	}
	token, err := l.c.Admin.CreateToken(b.Context(), wire.TokenRequest{Name: "the harness", Roles: []restart.Role{restart.RoleAdmin, restart.RoleDeveloper}})
	b.must(err)
	l.admin.Store(&token.Secret)
	b.must(l.newPerson(b.Context()))
	if !l.serversReady(20 * time.Second) {
		b.Fatalf("%s: the servers are not ready", l.name)
	}
	return l
}

// asAdmin gives a client of the first server with the admin's token.
func (l *lane) asAdmin() *api {
	return &api{url: l.servers[0].url, http: l.servers[0].api.http, token: &l.admin}
}

// newPerson gives the person who restarts a token.
func (l *lane) newPerson(ctx context.Context) error {
	var made wire.NewToken
	err := l.asAdmin().call(ctx, 10*time.Second, http.MethodPost, "/api/v1/tokens", "",
		wire.TokenRequest{Name: "person", Owner: demo.Developer, Roles: []restart.Role{restart.RoleDeveloper}}, &made)
	if err != nil {
		return err
	}
	l.person.Store(&made.Secret)
	l.personID = made.ID
	return nil
}

// scenario is what every host runs: the witness, and the moods that a fault
// can put a host's scripts into.
func (l *lane) scenario(c *company.Company) string {
	moods := filepath.Join(c.Dir, "moods")
	l.b.must(os.MkdirAll(moods, 0o755))
	return fmt.Sprintf(`format: 1
name: witness
serial: 1
author: faults@restartilka.invalid
kind: restart
services: [%s]
description: Appends its task to a file and syncs it, in one of several moods
strategy: {batches: [1], task_timeout: %s}
steps:
  run:
    script: |
      tell() { echo "$RESTARTILKA_TASK #host# $1 $(date +%%s.%%N)" | dd of=%s oflag=append conv=notrunc,fsync status=none; }
      tell begin
      mood=calm
      if [ -e %[4]s/#host# ]; then read mood < %[4]s/#host#; fi
      case "$mood" in
      slow) sleep 0.7 ;;
      forks) for i in 1 2 3 4 5 6 7 8; do sleep 1 & done ;;
      daemon) setsid sh -c 'sleep 2' >/dev/null 2>&1 </dev/null & ;;
      no-term) trap '' TERM; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2 || true; done ;;
      kill-parent) kill -9 $PPID ;;
      fills-disk) dd if=/dev/zero of=%[5]s/#host#/spool/script-filler bs=64k status=none || true ;;
      prints) head -c 200000000 /dev/zero | tr '\000' 'x' ;;
      chats) for i in 1 2 3 4 5 6 7 8; do head -c 60000 /dev/zero | tr '\000' 'y'; sleep 0.05; done ;;
      esac
      sleep 0.1
      tell end
`, strings.Join(l.services, ", "), taskTimeout, c.WitnessFile(), moods, filepath.Join(c.Dir, "hosts"))
}

// mood says how the scripts of a host behave from now on; "" = as they should.
func (l *lane) mood(h *host, word string) {
	path := filepath.Join(l.c.Dir, "moods", h.Name)
	if word == "" {
		os.Remove(path)
		return
	}
	l.b.must(os.WriteFile(path, []byte(word+"\n"), 0o644))
}

// prepare gives the company its services, proxies, further servers and small
// disks, before anything of it runs.
func (l *lane) prepare(c *company.Company, means means) {
	l.c = c
	l.servers = []*server{{name: "server", config: c.Config(), url: c.URL, audit: c.AuditFile(), program: c.Programs.Server}}
	l.inventory(c)
	for i, d := range c.Hosts {
		h := &host{Host: d, program: c.Programs.Agent}
		var err error
		h.proxy, err = newProxy(l.b, proxied(d.Address)+":3131", d.Address+":3131")
		l.b.must(err)
		if means.root {
			h.boot = filepath.Join(d.Dir, "boot_id")
			l.boot(h)
		}
		for _, s := range l.services {
			b, err := os.ReadFile(filepath.Join(d.Dir, "services.d", "hello.yaml"))
			l.b.must(err)
			l.b.must(os.WriteFile(filepath.Join(d.Dir, "services.d", s+".yaml"), b, 0o600))
		}
		l.replace(filepath.Join(d.Dir, "agent.yaml"), "servers: [demo]", "servers: [demo, demo2, demo3]")
		if means.root && i == 0 {
			l.small(h.spool(), spoolSize)
		}
		l.hosts = append(l.hosts, h)
	}
	for n := 2; n <= l.laneKind.servers; n++ {
		l.servers = append(l.servers, l.another(c, n))
	}
	if means.root && !l.postgres() {
		l.small(filepath.Dir(c.Database()), dataSize)
	}
}

// proxied is the address of the proxy before a host: 127.x.y.11 → 127.x.y.111.
func proxied(address string) string {
	ip := net.ParseIP(address).To4()
	return net.IPv4(ip[0], ip[1], ip[2], ip[3]+100).String()
}

func (l *lane) replace(path, old, fresh string) {
	b, err := os.ReadFile(path)
	l.b.must(err)
	if !strings.Contains(string(b), old) {
		l.b.Fatalf("%s does not hold %q", path, old)
	}
	l.b.must(os.WriteFile(path, []byte(strings.ReplaceAll(string(b), old, fresh)), 0o640))
}

func (l *lane) inventory(c *company.Company) {
	path := filepath.Join(c.ServerDir(), "inventory.yaml")
	b, err := os.ReadFile(path)
	l.b.must(err)
	_, rest, ok := strings.Cut(string(b), "\ngroups:")
	if !ok {
		l.b.Fatalf("%s has no groups", path)
	}
	text := "services:\n"
	for i, s := range l.services {
		text += fmt.Sprintf("  - {name: %s, description: Broken on purpose, runtime: go, port: %d, project: shop, owners: [%s]}\n", s, 8180+i, demo.Developer)
	}
	rest = strings.Replace(rest, "services: ["+demo.ServiceName+"]", "services: ["+strings.Join(l.services, ", ")+"]", 1)
	for _, h := range c.Hosts {
		rest = strings.Replace(rest, "address: "+h.Address+",", "address: "+proxied(h.Address)+",", 1)
	}
	l.b.must(os.WriteFile(path, []byte(text+"groups:"+rest), 0o640))
}

// another makes a further server on the same database: with a name, an address
// and credentials of its own.
func (l *lane) another(c *company.Company, n int) *server {
	first := strings.TrimPrefix(c.URL, "https://")
	listen := strings.Replace(first, ".1:", fmt.Sprintf(".%d:", n), 1)
	name := fmt.Sprintf("demo%d", n)
	s := &server{name: name, url: "https://" + listen, program: c.Programs.Server, config: filepath.Join(c.ServerDir(), name+".yaml"), audit: filepath.Join(filepath.Dir(c.AuditFile()), name+".jsonl")}
	dir := c.ServerDir()
	ca, err := pki.LoadCA(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	l.b.must(err)
	lay := func(kind string, cert, key []byte, err error) {
		l.b.must(err)
		l.b.must(os.WriteFile(filepath.Join(dir, name+"-"+kind+".crt"), cert, 0o644))
		l.b.must(os.WriteFile(filepath.Join(dir, name+"-"+kind+".key"), key, 0o600))
	}
	address, _, err := net.SplitHostPort(listen)
	l.b.must(err)
	cert, key, err := ca.IssueServer(name, nil, []net.IP{net.ParseIP(address)}, time.Now())
	lay("server", cert, key, err)
	cert, key, err = ca.IssueClient(name, time.Now())
	lay("client", cert, key, err)
	b, err := os.ReadFile(c.Config())
	l.b.must(err)
	text := strings.NewReplacer("name: demo\n", "name: "+name+"\n", first, listen, " server.crt", " "+name+"-server.crt", " server.key", " "+name+"-server.key",
		" client.crt", " "+name+"-client.crt", " client.key", " "+name+"-client.key", c.AuditFile(), s.audit).Replace(string(b))
	l.b.must(os.WriteFile(s.config, []byte(text), 0o640))
	return s
}

// small puts a folder with what is in it onto a disk of its own, which can be
// filled.
func (l *lane) small(dir, size string) {
	kept := l.b.TempDir()
	l.b.must(os.CopyFS(kept, os.DirFS(dir)))
	l.b.must(unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size))
	l.b.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) }) //nolint:errcheck // detached: nothing can be busy
	l.b.must(os.CopyFS(dir, os.DirFS(kept)))
	l.b.must(filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			err = os.Chmod(path, 0o600)
		}
		return err
	}))
}

// boot gives a host another boot id.
func (l *lane) boot(h *host) {
	l.b.must(os.WriteFile(h.boot, []byte(newBootID()), 0o644))
}

func newBootID() string {
	n := func() uint32 { return rand.Uint32() } //nolint:gosec // a name
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%08x%04x\n", n(), n()>>16, n()>>20, n()>>20, n(), n()>>16)
}

// before gives what is put before a program's command: a mount namespace in
// which the kernel tells the host's own boot id, and a tracer, once.
func (l *lane) before(program string) []string {
	var out []string
	for _, h := range l.hosts {
		if h.Name == program && h.boot != "" {
			out = append(out, "unshare", "--mount", "--propagation", "slave", "sh", "-c", `mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`, h.boot)
		}
	}
	out = append(out, l.under[program]...)
	delete(l.under, program)
	return out
}

// launch starts a server; it waits for nothing.
func (l *lane) launch(s *server) { l.c.Launch(s.name, s.program, "server", "--config", s.config) }

// wake starts a host's agent.
func (l *lane) wake(h *host) {
	l.c.Launch(h.Name, h.program, "serve", "--config", filepath.Join(h.Dir, "agent.yaml"))
}

func (l *lane) kill(name string) { l.c.End(name, syscall.SIGKILL) }

// ready tells whether a server says that it is.
func (s *server) ready(ctx context.Context) bool {
	err := s.api.call(ctx, 2*time.Second, http.MethodGet, "/readyz", "", nil, nil)
	if err != nil {
		s.api.http.CloseIdleConnections()
	}
	return err == nil
}

func (l *lane) serversReady(most time.Duration) bool {
	return eventually(l.b.Context(), most, func() bool {
		l.revive()
		for _, s := range l.servers {
			if !s.ready(l.b.Context()) {
				return false
			}
		}
		return true
	})
}

// mend puts everything right that a fault may have left.
func (l *lane) mend() {
	for _, h := range l.hosts {
		h.proxy.set(rule{})
		l.mood(h, "")
		os.Remove(filepath.Join(h.spool(), "script-filler"))
		l.c.Send(h.Name, syscall.SIGCONT)
	}
	for _, s := range l.servers {
		l.c.Send(s.name, syscall.SIGCONT)
	}
	l.revive()
}

// revive starts whatever does not run.
func (l *lane) revive() {
	for _, h := range l.hosts {
		if l.c.PID(h.Name) == 0 {
			l.wake(h)
		}
	}
	for _, s := range l.servers {
		if l.c.PID(s.name) == 0 {
			l.launch(s)
		}
	}
}
