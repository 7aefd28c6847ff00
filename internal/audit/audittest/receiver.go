package audittest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/pki"
)

// Receiver is a process of our own receiver, `restartilka audit receive`, with a
// folder, an authority and a loopback port of its own.
type Receiver struct {
	CA      *pki.CA
	Address string // HOST:PORT
	Status  string // HOST:PORT of /healthz and /metrics

	t       T
	dir     string
	command []string
	process *exec.Cmd
	ended   chan struct{}
}

// NewReceiver prepares a receiver of these sources; Start starts it, and the
// end of the test stops it. command is what is run, with the flag --config
// behind it; more is added to receiver.yaml.
func NewReceiver(t T, command []string, more string, sources ...string) *Receiver {
	t.Helper()
	r := &Receiver{t: t, dir: t.TempDir(), command: command, Address: freeAddress(t), Status: freeAddress(t)}
	var err error
	r.CA, err = pki.NewCA("receiver", time.Now())
	r.must(err)
	cert, key, err := r.CA.IssueServer("receiver", []string{ServerName}, nil, time.Now())
	r.must(err)
	r.write("ca.crt", r.CA.CertPEM())
	r.write("receiver.crt", cert)
	r.write("receiver.key", key)
	if !strings.Contains(more, "folder:") {
		more += "folder: trails\n"
	}
	config := fmt.Sprintf("listen: %s\nstatus_listen: %s\ncertificate: receiver.crt\nkey: receiver.key\nca: ca.crt\n%ssources:\n", r.Address, r.Status, more)
	for _, name := range sources {
		config += fmt.Sprintf("  - name: %s\n", name)
		cert, key, err := r.CA.IssueClient(name, time.Now())
		r.must(err)
		r.write(name+".crt", cert)
		r.write(name+".key", key)
	}
	r.write("receiver.yaml", []byte(config))
	t.Cleanup(r.Kill)
	return r
}

func freeAddress(t T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (r *Receiver) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *Receiver) write(name string, content []byte) {
	r.t.Helper()
	r.must(os.WriteFile(r.path(name), content, 0o600))
}

func (r *Receiver) path(name string) string { return filepath.Join(r.dir, name) }

// CAFile is the certificate of the authority of both ends.
func (r *Receiver) CAFile() string { return r.path("ca.crt") }

// Certificate gives the files by which a source is known.
func (r *Receiver) Certificate(source string) (cert, key string) {
	return r.path(source + ".crt"), r.path(source + ".key")
}

// Folder is the receiver's store.
func (r *Receiver) Folder() string { return r.path("trails") }

// Start starts the receiver and waits until it listens.
func (r *Receiver) Start() {
	r.t.Helper()
	log, err := os.OpenFile(r.path("receiver.out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	r.must(err)
	defer log.Close()
	r.process = exec.CommandContext(context.WithoutCancel(r.t.Context()), r.command[0], append(r.command[1:len(r.command):len(r.command)], "--config", r.path("receiver.yaml"))...)
	r.process.Stdout, r.process.Stderr = log, log
	r.must(r.process.Start())
	r.ended = make(chan struct{})
	go func() {
		r.process.Wait() //nolint:errcheck // how it ended does not matter
		close(r.ended)
	}()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.Status); err == nil {
			conn.Close()
			return
		}
		select {
		case <-tick.C:
		case <-r.ended:
			r.t.Fatalf("the receiver has ended:\n%s", r.Said())
		case <-ctx.Done():
			r.t.Fatalf("the receiver does not listen:\n%s", r.Said())
		}
	}
}

// Pid is that of the receiver that was started.
func (r *Receiver) Pid() int { return r.process.Process.Pid }

// Kill ends the receiver by SIGKILL and waits for its end.
func (r *Receiver) Kill() { r.Stop(os.Kill) }

// Stop ends the receiver with a signal and waits for its end.
func (r *Receiver) Stop(signal os.Signal) {
	if r.process == nil {
		return
	}
	if err := r.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.t.Errorf("stop the receiver: %v", err)
	}
	select {
	case <-r.ended:
	case <-time.After(20 * time.Second):
		r.process.Process.Kill() //nolint:errcheck // it is told below
		<-r.ended
		r.t.Errorf("the receiver did not end at %s:\n%s", signal, r.Said())
	}
	r.process = nil
}

// Said gives what the receiver's program has said of itself.
func (r *Receiver) Said() []byte {
	b, _ := os.ReadFile(r.path("receiver.out"))
	return b
}
