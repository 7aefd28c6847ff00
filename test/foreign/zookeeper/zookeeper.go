// Package zookeeper starts a real ZooKeeper for tests, of Debian's package
// zookeeper, on a loopback address and in a folder of its own; and lets tests
// stand between it and who talks to it.
package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	jar  = "/usr/share/java/zookeeper.jar"
	main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
	// Session is the shortest that this server allows; it looks every Tick.
	Session = 600 * time.Millisecond
	// Tick is how exactly it knows when a session is over.
	Tick = 100 * time.Millisecond
)

// Server is a ZooKeeper.
type Server struct {
	Address string

	dir string
	cmd *exec.Cmd
	log string
}

// Missing says what a machine lacks to start one; "" = nothing.
func Missing() string {
	if _, err := exec.LookPath("java"); err != nil {
		return "java"
	}
	if _, err := os.Stat(jar); err != nil {
		return "the package zookeeper"
	}
	return ""
}

// Start starts one with its data below dir, and waits until it answers; Stop it.
func Start(dir string) (*Server, error) {
	free, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Address: free.Addr().String(), dir: dir, log: filepath.Join(dir, "log")}
	if err := free.Close(); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("tickTime=%d\ndataDir=%s\nclientPortAddress=%s\nclientPort=%s\nminSessionTimeout=%d\nadmin.enableServer=false\n4lw.commands.whitelist=ruok\nmaxClientCnxns=0\n",
		Tick.Milliseconds(), filepath.Join(dir, "data"), host, port, Session.Milliseconds())
	logging := "log4j.rootLogger=WARN, OUT\nlog4j.appender.OUT=org.apache.log4j.ConsoleAppender\nlog4j.appender.OUT.layout=org.apache.log4j.PatternLayout\nlog4j.appender.OUT.layout.ConversionPattern=%d %p %m%n\n"
	for name, text := range map[string]string{"zoo.cfg": config, "log4j.properties": logging} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return s, s.Go()
}

// Go starts a server that was stopped, with the data that it had.
func (s *Server) Go() error {
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	s.cmd = exec.CommandContext(context.Background(), "java", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Dzookeeper.jmx.log4j.disable=true", "-Dzookeeper.forceSync=no", "-Dzookeeper.preAllocSize=64",
		"-Dlog4j.configuration=file:"+filepath.Join(s.dir, "log4j.properties"), "-cp", jar, main, filepath.Join(s.dir, "zoo.cfg"))
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return err
	}
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-t.C {
		if s.answers() {
			return nil
		}
	}
	s.Stop()
	said, err := os.ReadFile(s.log)
	return errors.Join(fmt.Errorf("ZooKeeper does not answer: %s", said), err)
}

func (s *Server) answers() bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", s.Address)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // then the read tells
	if _, err := io.WriteString(conn, "ruok"); err != nil {
		return false
	}
	b, err := io.ReadAll(conn)
	return err == nil && strings.Contains(string(b), "imok")
}

// Stop kills it.
func (s *Server) Stop() {
	s.cmd.Process.Kill() //nolint:errcheck // it may be gone
	s.cmd.Wait()         //nolint:errcheck // it was killed
}

// Way is a way to a server that can be cut: connections are closed, and new ones
// refused, or they go on and nothing comes through.
type Way struct {
	Address string

	to       string
	listener net.Listener
	mu       sync.Mutex
	cut      bool
	mute     chan struct{} // closed = bytes go through
	conns    map[net.Conn]bool
	all      sync.WaitGroup
}

// NewWay opens one until the end of the test.
func NewWay(t testing.TB, to string) *Way {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Way{Address: l.Addr().String(), to: to, listener: l, conns: map[net.Conn]bool{}, mute: make(chan struct{})}
	close(w.mute)
	w.all.Go(w.accept)
	t.Cleanup(func() {
		w.Hear()
		w.Cut()
		l.Close()
		w.all.Wait()
	})
	return w
}

func (w *Way) accept() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", w.to)
		if err != nil || !w.add(in, out) {
			in.Close()
			continue
		}
		w.all.Go(func() { w.carry(in, out) })
		w.all.Go(func() { w.carry(out, in) })
	}
}

// add is false while the way is cut.
func (w *Way) add(in, out net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		out.Close()
		return false
	}
	w.conns[in], w.conns[out] = true, true
	return true
}

func (w *Way) carry(from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, from)
	}()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		mute := w.mute
		w.mu.Unlock()
		<-mute
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Cut closes every connection, and lets none be made.
func (w *Way) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		c.Close()
	}
}

// Mend lets connections be made again.
func (w *Way) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// Mute leaves connections open, and carries nothing.
func (w *Way) Mute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = make(chan struct{})
}

// Hear carries what came meanwhile, and goes on.
func (w *Way) Hear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.mute:
	default:
		close(w.mute)
	}
}
