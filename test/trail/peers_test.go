package trail_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/audit/audittest"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/receive"
)

// peer is a receiver of the trail, a process of its own, and the sink to it.
type peer struct {
	sink        audit.SinkConfig
	certificate string // file of it; its key is beside it
	start       func()
	kill        func()
	send        func(os.Signal)
	stored      func() []byte // what it has, once it has ended
}

// newPeers prepares a receiver of every remote kind.
func newPeers(t *testing.T) []peer {
	t.Helper()
	return []peer{
		rsyslogPeer(t, "syslog", audittest.NewRsyslog(t, "RSYSLOG_FileFormat", source)),
		rsyslogPeer(t, "relp", audittest.NewRelp(t, "RSYSLOG_FileFormat", source)),
		receiverPeer(t),
		httpPeer(t),
	}
}

func rsyslogPeer(t *testing.T, kind string, server *audittest.Rsyslog) peer {
	t.Helper()
	cert, key, err := server.CA.IssueClient(source, time.Now())
	must(t, err)
	return peer{
		sink: audit.SinkConfig{
			Kind: kind, Address: server.Address, CA: server.CAFile(), ServerName: audittest.ServerName,
			Certificate: server.Write("client.crt", cert), Key: server.Write("client.key", key),
		},
		certificate: filepath.Join(filepath.Dir(server.CAFile()), "logs.crt"),
		start:       server.Start,
		kill:        func() { server.Stop(unix.SIGKILL) },
		send:        server.Send,
		stored: func() []byte {
			server.Stop(unix.SIGTERM)
			return server.Stored()
		},
	}
}

func receiverPeer(t *testing.T) peer {
	t.Helper()
	server := audittest.NewReceiver(t, []string{os.Args[0], "receive"}, "", source)
	cert, key := server.Certificate(source)
	return peer{
		sink:        audit.SinkConfig{Kind: "receiver", Address: server.Address, CA: server.CAFile(), ServerName: audittest.ServerName, Certificate: cert, Key: key},
		certificate: filepath.Join(filepath.Dir(server.CAFile()), "receiver.crt"),
		start:       server.Start,
		kill:        server.Kill,
		send:        func(signal os.Signal) { must(t, unix.Kill(server.Pid(), signal.(unix.Signal))) },
		stored: func() []byte {
			server.Kill()
			parts, err := receive.Parts(server.Folder())
			must(t, err)
			files, err := receive.Reader(parts)
			must(t, err)
			defer files.Close()
			b, err := io.ReadAll(files)
			must(t, err)
			return b
		},
	}
}

// httpPeer is a receiver of JSON lines that answers when a request is on its
// disk.
func httpPeer(t *testing.T) peer {
	t.Helper()
	dir := t.TempDir()
	ca, err := pki.NewCA("lines", time.Now())
	must(t, err)
	cert, key, err := ca.IssueServer("lines", nil, []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	must(t, err)
	for name, content := range map[string][]byte{"ca.crt": ca.CertPEM(), "lines.crt": cert, "lines.key": key} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	var process *exec.Cmd
	kill := func() {
		if process != nil {
			process.Process.Kill()
			process.Wait()
			process = nil
		}
	}
	t.Cleanup(kill)
	return peer{
		sink:        audit.SinkConfig{Kind: "http", Format: "lines", URL: "https://" + address + "/insert", CA: filepath.Join(dir, "ca.crt")},
		certificate: filepath.Join(dir, "lines.crt"),
		start: func() {
			process = exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "collect", dir, address)
			must(t, process.Start())
		},
		kill: kill,
		send: func(signal os.Signal) { must(t, process.Process.Signal(signal)) },
		stored: func() []byte {
			kill()
			b, err := os.ReadFile(filepath.Join(dir, "stored.jsonl"))
			must(t, err)
			return b
		},
	}
}

// collect is the process of httpPeer.
func collect(dir, address string) error {
	f, err := os.OpenFile(filepath.Join(dir, "stored.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	return http.ListenAndServeTLS(address, filepath.Join(dir, "lines.crt"), filepath.Join(dir, "lines.key"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if _, err = f.Write(body); err == nil {
			err = f.Sync()
		}
		if err != nil {
			w.WriteHeader(http.StatusInsufficientStorage)
			fmt.Fprintln(os.Stderr, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
