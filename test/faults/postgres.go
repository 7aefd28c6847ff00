package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// postgres is a lane's own database server: a cluster in a folder of its own,
// reached by a Unix socket. Unlike storetest's it can be killed and started.
type postgres struct {
	b      *bed
	bin    string
	dir    string // short: a socket's path has at most 107 bytes
	attr   *syscall.SysProcAttr
	server *os.Process
	ended  chan struct{}
}

// postgresPrograms finds the folder of initdb: Debian keeps it by version.
func postgresPrograms() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		path, err := exec.LookPath("initdb")
		if err != nil {
			return "", errors.New("PostgreSQL is not installed: apt-get install postgresql")
		}
		return filepath.Dir(path), nil
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func newPostgres(b *bed) *postgres {
	bin, err := postgresPrograms()
	b.must(err)
	dir, err := os.MkdirTemp("", "restartilka-fpg-")
	b.must(err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	p := &postgres{b: b, bin: bin, dir: dir, attr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}}
	if os.Geteuid() == 0 { // it refuses root
		who, err := user.Lookup("postgres")
		if err != nil {
			who, err = user.Lookup("nobody")
		}
		b.must(err)
		uid, err := strconv.ParseUint(who.Uid, 10, 32)
		b.must(err)
		gid, err := strconv.ParseUint(who.Gid, 10, 32)
		b.must(err)
		p.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		b.must(os.Chown(dir, int(uid), int(gid)))
	}
	initdb := exec.CommandContext(b.Context(), filepath.Join(bin, "initdb"), "--pgdata", filepath.Join(dir, "data"), "--username", "restartilka", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = dir, p.attr
	runtime.LockOSThread() // it would die with the thread that starts it
	out, err := initdb.CombinedOutput()
	runtime.UnlockOSThread()
	if err != nil {
		b.Fatalf("initdb: %v\n%s", err, out)
	}
	b.Cleanup(func() { p.stop(syscall.SIGQUIT) })
	p.start()
	return p
}

func (p *postgres) dsn() string { return "postgres://restartilka@/postgres?host=" + p.dir }

// start starts the server and waits until it answers.
func (p *postgres) start() {
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	p.b.must(err)
	defer log.Close()
	try := func() {
		cmd := exec.CommandContext(context.WithoutCancel(p.b.Context()), filepath.Join(p.bin, "postgres"), "-D", filepath.Join(p.dir, "data"), "-k", p.dir,
			"-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "unix_socket_permissions=0777")
		cmd.Dir, cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = p.dir, p.attr, log, log
		started, ended := make(chan error, 1), make(chan struct{})
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			err := cmd.Start()
			started <- err
			if err == nil {
				cmd.Wait() //nolint:errcheck // it is killed on purpose
				close(ended)
			}
		}()
		p.b.must(<-started)
		p.server, p.ended = cmd.Process, ended
	}
	try()
	ok := eventually(p.b.Context(), 40*time.Second, func() bool {
		select {
		case <-p.ended: // processes of the one before may still be leaving
			try()
		default:
		}
		return exec.CommandContext(p.b.Context(), filepath.Join(p.bin, "pg_isready"), "-q", "-h", p.dir, "-U", "restartilka", "-d", "postgres").Run() == nil
	})
	if !ok {
		said, _ := os.ReadFile(filepath.Join(p.dir, "log"))
		p.b.Fatalf("PostgreSQL does not answer:\n%s", tail(string(said), 2000))
	}
}

func (p *postgres) stop(s syscall.Signal) {
	if p.server == nil {
		return
	}
	p.signal(syscall.SIGCONT)
	p.server.Signal(s) //nolint:errcheck // gone already
	<-p.ended
	p.server = nil
}

// processes are the server's own, the first one first.
func (p *postgres) processes() []int {
	return append([]int{p.server.Pid}, childrenOf(p.server.Pid)...)
}

// signal reaches the server and all its processes.
func (p *postgres) signal(s syscall.Signal) {
	for _, pid := range p.processes() {
		syscall.Kill(pid, s) //nolint:errcheck // gone already
	}
}

// cut ends every client's connection, as pg_terminate_backend does.
func (p *postgres) cut() int {
	n := 0
	for _, pid := range childrenOf(p.server.Pid) {
		if strings.HasPrefix(commandLine(pid), "postgres: restartilka ") && syscall.Kill(pid, syscall.SIGTERM) == nil {
			n++
		}
	}
	return n
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// commandLine is a process's, with spaces between the words.
func commandLine(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimRight(strings.ReplaceAll(string(b), "\x00", " "), " ")
}
