package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent"
	"github.com/restartilka/restartilka/internal/agent/host"
	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/supervisor"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/test/company"
)

// fleet is very many hosts in this process: each has its own address,
// certificate, agent and spool. The agents are real; only the execution of
// scripts and fsync are replaced.
type fleet struct {
	ctx     context.Context
	port    int    // of every host: one of their own, in case a real agent has 3131 here
	dir     string // what all hosts share: scenarios.d, services.d
	keys    map[string]ed25519.PublicKey
	log     *slog.Logger
	hosts   []*simulated
	byAddr  map[string]*simulated
	working sync.WaitGroup
	done    atomic.Int64 // scripts
}

// simulated is one host.
type simulated struct {
	f       *fleet
	name    string
	address string
	spool   string
	tls     *tls.Config
	agent   *agent.Agent
	handler http.Handler

	spooling sync.Mutex
	open     *spool.Spool // nil = not now

	mu    sync.Mutex
	alive map[string]bool // supervisors by task
}

// startFleet makes so many hosts, and serves them until the end of the bed.
func startFleet(b *bed, c *company.Company, hosts int) (*fleet, error) {
	first := c.Hosts[0]
	ca, err := pki.LoadCA(filepath.Join(c.ServerDir(), "ca.crt"), filepath.Join(c.ServerDir(), "ca.key"))
	if err != nil {
		return nil, err
	}
	f := &fleet{ctx: b.ctx, dir: first.Dir, log: slog.New(slog.DiscardHandler), byAddr: map[string]*simulated{}}
	if f.keys, err = pki.LoadEnvelopePublicKeys(filepath.Join(first.Dir, "server.pub")); err != nil {
		return nil, err
	}
	all, network := b.memoryDir(), 20+os.Getpid()%200
	for i := range hosts {
		h := &simulated{
			f: f, name: fmt.Sprintf("sim%05d.test.internal", i+1), address: fmt.Sprintf("127.%d.%d.%d", network, 100+i/200, 10+i%200), alive: map[string]bool{},
		}
		if err := h.equip(filepath.Join(all, h.name), ca); err != nil {
			return nil, err
		}
		f.hosts, f.byAddr[h.address] = append(f.hosts, h), h
	}
	return f, f.serve(b)
}

// equip gives a host its certificate, spool and agent.
func (h *simulated) equip(dir string, ca *pki.CA) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	cert, key, err := ca.IssueAgent(h.name, []net.IP{net.ParseIP(h.address)}, time.Now())
	if err != nil {
		return err
	}
	certFile, keyFile := filepath.Join(dir, "agent.crt"), filepath.Join(dir, "agent.key")
	for path, content := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	credentials, err := pki.LoadCredentials(certFile, keyFile, filepath.Join(h.f.dir, "ca.crt"))
	if err != nil {
		return err
	}
	if h.tls, err = credentials.Listen([]string{"demo"}); err != nil {
		return err
	}
	h.spool = filepath.Join(dir, "spool")
	h.agent, err = agent.New(agent.Config{
		Host: h.facts(), Keys: func() (map[string]ed25519.PublicKey, error) { return h.f.keys, nil },
		Spool: h, Archive: h, Launcher: h, Packages: host.Packages{}, Containment: "simulated", BootID: host.BootID(), Logger: h.f.log,
	})
	if err != nil {
		return err
	}
	h.handler = h.agent.Handler()
	return nil
}

func (h *simulated) facts() host.Host {
	return host.Host{
		Name: h.name, Groups: []string{demo.GroupName}, Environments: []string{demo.Environment},
		Scenarios: filepath.Join(h.f.dir, "scenarios.d"), Services: filepath.Join(h.f.dir, "services.d"),
	}
}

// Launch lets a supervisor work in this process.
func (h *simulated) Launch(_ context.Context, id string) error {
	h.mu.Lock()
	lives := h.alive[id]
	h.alive[id] = true
	h.mu.Unlock()
	if lives {
		return nil
	}
	h.f.working.Go(func() {
		job := supervisor.Job{Task: id, Spool: h.spool, Host: h.facts(), Keys: h.f.keys, Grace: time.Second}
		err := supervisor.Simulate(h.f.ctx, job, h.f.log, noSync, func(context.Context, string) (int, error) {
			h.f.done.Add(1)
			return 0, nil
		})
		h.mu.Lock()
		delete(h.alive, id)
		h.mu.Unlock()
		if err == nil { // as the attendant does when a supervisor has ended
			h.agent.Refresh(h.f.ctx, id) //nolint:errcheck // the server asks again
		}
	})
	return nil
}

// Alive tells whether a task's supervisor works.
func (h *simulated) Alive(id string) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.alive[id], nil
}

// Cancel has nothing to end: a script is over when it begins.
func (h *simulated) Cancel(string) error { return nil }

// loopback listens on every address of the loopback interface, and on no other.
var loopback = net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
	var bound error
	err := raw.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), "lo") })
	return errors.Join(err, bound)
}}

// serve answers for every host: it picks host and certificate by the address
// that a connection came to.
func (f *fleet) serve(b *bed) error {
	at := func(a net.Addr) *simulated {
		t, ok := a.(*net.TCPAddr)
		if !ok {
			return nil
		}
		return f.byAddr[t.IP.String()]
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		h := at(hello.Conn.LocalAddr())
		if h == nil {
			return nil, fmt.Errorf("no host has the address %s", hello.Conn.LocalAddr())
		}
		return h.tls.GetConfigForClient(hello)
	}}
	listener, err := loopback.Listen(b.ctx, "tcp4", ":0")
	if err != nil {
		return err
	}
	server := &http.Server{ // with the bounds that an agent has
		TLSConfig: secure, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(b.log, "simulated hosts: ", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
			at(local).handler.ServeHTTP(w, r)
		}),
	}
	b.Cleanup(func() {
		for _, h := range f.hosts {
			h.agent.Stop()
		}
		server.Close()
		f.working.Wait()
	})
	f.port = listener.Addr().(*net.TCPAddr).Port
	f.working.Go(func() { server.Serve(tls.NewListener(listener, secure)) }) //nolint:errcheck // it ends when it is closed
	return nil
}

// inventory is the server's, with all hosts in one group.
func (f *fleet) inventory() string {
	var names, hosts strings.Builder
	for i, h := range f.hosts {
		if i > 0 {
			names.WriteString(", ")
		}
		names.WriteString(h.name)
		fmt.Fprintf(&hosts, "  - {name: %s, address: %s, data_centre: dc%d}\n", h.name, h.address, i%3+1)
	}
	return fmt.Sprintf(`services:
  - {name: %[1]s, runtime: go, project: shop, owners: [%[2]s]}
groups:
  - {name: %[3]s, project: shop, environment: %[4]s, services: [%[1]s], hosts: [%[5]s]}
hosts:
%[6]s`, demo.ServiceName, demo.Developer, demo.GroupName, demo.Environment, names.String(), hosts.String())
}
