// Package zookeeper starts a real ZooKeeper for tests, of Debian's package
// zookeeper, on a loopback address and in a folder of its own; and lets tests
// stand between it and who talks to it.
package zookeeper

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	jar  = "/usr/share/java/zookeeper.jar"
	main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
	// Session is the longest that this server allows. Tests take it, and end
	// sessions by Way.EndSession: one that ends by itself ends, too, where the
	// machine has no time for a while.
	Session = time.Minute
	tick    = 100 * time.Millisecond
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
	config := fmt.Sprintf("tickTime=%d\ndataDir=%s\nclientPortAddress=%s\nclientPort=%s\nmaxSessionTimeout=%d\nadmin.enableServer=false\n4lw.commands.whitelist=ruok\nmaxClientCnxns=0\n",
		tick.Milliseconds(), filepath.Join(dir, "data"), host, port, Session.Milliseconds())
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
	greeting []byte        // the newest: what ZooKeeper has told of a session
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
		var greeting []byte
		w.all.Go(func() { w.carry(in, out, nil) })
		w.all.Go(func() {
			w.carry(out, in, func(b []byte) {
				if len(greeting) < greeted {
					greeting = append(greeting, b...)
					w.greet(greeting)
				}
			})
		})
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

// carry carries what comes, once seen has seen it; nil = nobody looks.
func (w *Way) carry(from, to net.Conn, seen func([]byte)) {
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
			if seen != nil {
				seen(b[:n])
			}
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

// greeted is the length of ZooKeeper's greeting: its own length, the protocol's
// version, then timeout, session and password, which say what session it is.
const greeted = 4 + 4 + 4 + 8 + 20

func (w *Way) greet(b []byte) {
	if len(b) < greeted {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.greeting = slices.Clone(b[:greeted])
}

// closeSession is the number of that request.
const closeSession = -11

// EndSession ends the newest session that was begun this way, as its own client
// does that takes leave; the way must be cut. When it returns, all that the session
// kept is gone.
func (w *Way) EndSession() error {
	w.mu.Lock()
	greeting := w.greeting
	w.mu.Unlock()
	if greeting == nil {
		return errors.New("nobody has begun a session")
	}
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(context.Background(), "tcp", w.to)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	which := greeting[8:]
	begin := binary.BigEndian.AppendUint32(nil, uint32(4+8+len(which)))
	begin = append(append(begin, make([]byte, 4+8)...), which...) // of version 0, having seen nothing
	answer := make([]byte, greeted)
	if err := exchange(conn, begin, answer); err != nil {
		return err
	}
	if !slices.Equal(answer[8:], which) {
		return errors.New("ZooKeeper does not know that session any more")
	}
	op := int32(closeSession)
	end := binary.BigEndian.AppendUint32(nil, 8)
	end = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(end, 1), uint32(op))
	return exchange(conn, end, make([]byte, 4+16))
}

// exchange sends a question and reads an answer of a length that is known.
func exchange(conn net.Conn, question, answer []byte) error {
	if _, err := conn.Write(question); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, answer)
	return err
}
