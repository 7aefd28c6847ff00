package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/restartilka/restartilka/internal/restart"
	zooserver "github.com/restartilka/restartilka/test/foreign/zookeeper"
)

// One ZooKeeper serves all tests; each has a folder of its own in it.
var (
	sharedZoo = sync.OnceValues(func() (*zooserver.Server, error) {
		dir, err := os.MkdirTemp("", "zookeeper-")
		if err != nil {
			return nil, err
		}
		zooDir = dir
		return zooserver.Start(dir)
	})
	zooDir string
)

func stopShared() {
	if zooDir == "" {
		return
	}
	if s, err := sharedZoo(); err == nil {
		s.Stop()
	}
	os.RemoveAll(zooDir)
}

// zoo is a test's own part of the ZooKeeper, and its ways to it.
type zoo struct {
	t      *testing.T
	server *zooserver.Server
	way    *zooserver.Way
	root   string
	auth   string
}

func newZoo(t *testing.T) *zoo {
	t.Helper()
	if lacks := zooserver.Missing(); lacks != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("there is no %s here", lacks)
		}
		t.Skipf("there is no %s here: scripts/deps.sh", lacks)
	}
	s, err := sharedZoo()
	if err != nil {
		t.Fatal(err)
	}
	return &zoo{t: t, server: s, way: zooserver.NewWay(t, s.Address), root: "/" + strings.ToLower(t.Name())}
}

func (z *zoo) open() Lock { return z.openAt(z.way.Address) }

func (z *zoo) openAt(address string) Lock {
	z.t.Helper()
	l, err := openZooKeeper(Setting{Servers: []string{address}, Path: z.root + "/#service#/#environment#", AuthFile: z.auth, Session: zooserver.Session}, slog.New(slog.DiscardHandler))
	if err != nil {
		z.t.Fatal(err)
	}
	z.t.Cleanup(l.Close)
	return l
}

// client is a session of somebody else.
func (z *zoo) client() *zk.Conn {
	z.t.Helper()
	conn, events, err := zk.Connect([]string{z.server.Address}, zooserver.Session, zk.WithLogger(log.New(io.Discard, "", 0)))
	if err != nil {
		z.t.Fatal(err)
	}
	z.t.Cleanup(func() {
		conn.Close()
		for range events {
		}
	})
	for e := range events { // a question without a session fails at once
		if e.State == zk.StateHasSession {
			break
		}
	}
	return conn
}

func (z *zoo) place(c Claim) string { return z.root + "/" + c.Service + "/" + c.Environment }

func (z *zoo) hold(c Claim) func() {
	z.t.Helper()
	return z.contend(c)()
}

// contend has somebody else queue up for a lock; got waits until he has it.
func (z *zoo) contend(c Claim) (got func() (release func())) {
	z.t.Helper()
	l, taken := zk.NewLock(z.client(), z.place(c), zk.WorldACL(zk.PermAll)), make(chan error, 1)
	go func() { taken <- l.LockWithData([]byte("deploy-7\n\x1b[2Jof the shop")) }()
	return func() func() {
		z.t.Helper()
		select {
		case err := <-taken:
			if err != nil {
				z.t.Fatal(err)
			}
		case <-time.After(time.Minute):
			z.t.Fatal("who has queued up never gets the lock")
		}
		return func() {
			if err := l.Unlock(); err != nil {
				z.t.Error(err)
			}
		}
	}
}

func (z *zoo) away() func() {
	z.way.Cut()
	return z.way.Mend
}

// steal removes the run's node by hand, while somebody waits for it.
func (z *zoo) steal(c Claim) func() {
	z.t.Helper()
	conn, got := z.client(), z.contend(c)
	names := z.names(conn, c, 2)
	for _, name := range names[:1] {
		if err := conn.Delete(z.place(c)+"/"+name.name, -1); err != nil {
			z.t.Error(err)
		}
	}
	return got()
}

// names waits until so many contend.
func (z *zoo) names(conn *zk.Conn, c Claim, many int) []contender {
	z.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		names, _, err := conn.Children(z.place(c))
		if line := inLine(names); err == nil && len(line) == many {
			return line
		}
	}
	z.t.Fatalf("there are never %d that contend", many)
	return nil
}

func TestZooKeeper(t *testing.T) {
	t.Parallel()
	exercise(t, newZoo(t))
}

// kazoo is a program that contends by kazoo's recipe.
type kazoo struct {
	t     *testing.T
	in    io.WriteCloser
	lines *bufio.Scanner
}

func newKazoo(z *zoo, auth ...string) *kazoo {
	z.t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import kazoo").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			z.t.Fatal("there is no python3-kazoo here")
		}
		z.t.Skip("there is no python3-kazoo here: scripts/deps.sh")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(z.t.Context()), 3*time.Minute) // so that nobody reads from it for ever
	z.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", append([]string{filepath.Join("testdata", "kazoo_lock.py"), z.server.Address}, auth...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		z.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		z.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		z.t.Fatal(err)
	}
	z.t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			z.t.Errorf("kazoo: %v", err)
		}
	})
	k := &kazoo{z.t, in, bufio.NewScanner(out)}
	k.wants("ready")
	return k
}

func (k *kazoo) line() string {
	k.t.Helper()
	if !k.lines.Scan() {
		k.t.Fatalf("kazoo says nothing more: %v", k.lines.Err())
	}
	return k.lines.Text()
}

func (k *kazoo) wants(want string) {
	k.t.Helper()
	if got := k.line(); got != want {
		k.t.Fatalf("kazoo says %q, want %q", got, want)
	}
}

func (k *kazoo) tell(format string, args ...any) {
	k.t.Helper()
	if _, err := fmt.Fprintf(k.in, format+"\n", args...); err != nil {
		k.t.Fatal(err)
	}
}

// The real kazoo contends with us, both ways, each in its turn.
func TestKazooContends(t *testing.T) {
	t.Parallel()
	z := newZoo(t)
	k, ours, c := newKazoo(z), z.open(), claim(1)

	k.tell("try %s deploy-7", z.place(c))
	k.wants("taken")
	err := ours.Take(soon(t), c)
	wantCode(t, "what kazoo has", err, restart.CodeLocked)
	if !strings.HasPrefix(err.Error(), `"deploy-7" is there since 20`) {
		t.Error(err)
	}
	k.tell("give")
	k.wants("given")
	wantCode(t, "what kazoo has given back", ours.Take(soon(t), c), "")
	k.tell("try %s deploy-8", z.place(c))
	k.wants("not")
	k.tell("who %s", z.place(c))
	if got := k.line(); !strings.Contains(got, c.Run) || !strings.Contains(got, `"actor":"anna"`) {
		t.Errorf("kazoo does not see who we are: %s", got)
	}

	// Who waits by kazoo gets it when we give it back, before a run that came later.
	k.tell("take %s deploy-9", z.place(c))
	k.wants("waits")
	z.names(z.client(), c, 2)
	other := claim(2)
	wantCode(t, "behind kazoo", ours.Take(soon(t), other), restart.CodeLocked)
	wantCode(t, "release", ours.Release(soon(t), c), "")
	k.wants("taken")
	err = ours.Take(soon(t), other)
	if wantCode(t, "still behind kazoo", err, restart.CodeLocked); !strings.Contains(err.Error(), "deploy-9") {
		t.Error(err)
	}
	k.tell("give")
	k.wants("given")
	wantCode(t, "our turn", ours.Take(soon(t), other), "")
}

// A session that is interrupted is as good as none until it is there again; one
// that ended has lost its locks, to who waited.
func TestSessionsThatComeAndGo(t *testing.T) {
	t.Parallel()
	z := newZoo(t)
	ours, c := z.open(), claim(1)
	wantCode(t, "take", ours.Take(soon(t), c), "")

	z.way.Cut()
	eventually(t, "interrupted", restart.CodeUnavailable, func(ctx context.Context) error { return ours.Held(ctx, c) })
	z.way.Mend()
	eventually(t, "the same session again, or its lock lost", "", func(ctx context.Context) error { return ours.Take(ctx, c) })

	// What goes silent and keeps the connection open is found out within the question.
	z.way.Mute()
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	wantCode(t, "nobody says anything", ours.Held(short, c), restart.CodeUnavailable)
	z.way.Hear()
	eventually(t, "heard again", "", func(ctx context.Context) error { return ours.Take(ctx, c) })

	next := z.contend(c)
	z.names(z.client(), c, 2)
	z.way.Cut()
	if err := z.way.EndSession(); err != nil {
		t.Fatal(err)
	}
	release := next()
	wantCode(t, "interrupted", ours.Held(soon(t), c), restart.CodeUnavailable)
	z.way.Mend()
	var err error
	eventually(t, "lost", restart.CodeLocked, func(ctx context.Context) error { err = ours.Held(ctx, c); return err })
	if !strings.Contains(err.Error(), `"deploy-7\n\x1b[2Jof the shop" is there since`) {
		t.Errorf("who has it now is not said: %v", err)
	}
	wantCode(t, "stands", ours.Stands(soon(t), c), restart.CodeLocked)
	release()
	eventually(t, "taken anew", "", func(ctx context.Context) error { return ours.Take(ctx, c) })
	wantCode(t, "held anew", ours.Held(soon(t), c), "")
}

// A server that takes a run over takes its lock from the one that had it, also
// where that one lives on; an older one takes nothing from a later one.
func TestTakenOver(t *testing.T) {
	t.Parallel()
	z := newZoo(t)
	one, two, c := z.open(), z.open(), claim(1)
	wantCode(t, "take", one.Take(soon(t), c), "")
	later := c
	later.Epoch, later.Server = 2, "two"
	wantCode(t, "taken over", two.Take(soon(t), later), "")
	wantCode(t, "it is not the first server's any more", one.Held(soon(t), c), restart.CodeLocked)
	wantCode(t, "an older epoch", one.Take(soon(t), c), restart.CodeStaleEpoch)
	wantCode(t, "held", two.Held(soon(t), later), "")
	wantCode(t, "release", two.Release(soon(t), later), "")
	if line := z.names(z.client(), c, 0); len(line) != 0 {
		t.Errorf("left: %v", line)
	}
}

// Nodes are made and closed by the credentials of auth_file; who contends may
// read them. Without, a folder that is closed refuses us, in a sentence.
func TestCredentials(t *testing.T) {
	t.Parallel()
	z := newZoo(t)
	file := filepath.Join(t.TempDir(), "auth")
	if err := os.WriteFile(file, []byte("deployers:hunter2-and-more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stranger, c := z.open(), claim(1)
	z.auth = file
	ours := z.open()
	wantCode(t, "take", ours.Take(soon(t), c), "")
	err := stranger.Take(soon(t), claim(2))
	if wantCode(t, "without credentials", err, restart.CodeUnavailable); !strings.Contains(err.Error(), "refuses us the nodes") || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	conn := z.client()
	name := z.names(conn, c, 1)[0].name
	if _, _, err := conn.Get(z.place(c) + "/" + name); err != nil {
		t.Errorf("who contends can't read whose it is: %v", err)
	}
	if err := conn.Delete(z.place(c)+"/"+name, -1); err == nil {
		t.Error("anybody can take the lock away")
	}
	k := newKazoo(z, "deployers:hunter2-and-more")
	k.tell("take %s deploy-7", z.place(c))
	k.wants("waits")
	z.names(conn, c, 2)

	// After an interruption the library has to say again who we are.
	z.way.Cut()
	eventually(t, "interrupted", restart.CodeUnavailable, func(ctx context.Context) error { return ours.Held(ctx, c) })
	z.way.Mend()
	eventually(t, "release", "", func(ctx context.Context) error { return ours.Release(ctx, c) })
	k.wants("taken")

	if err := os.WriteFile(file, []byte("nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openZooKeeper(Setting{Servers: []string{"127.0.0.1:1"}, AuthFile: file}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "USER:PASSWORD") {
		t.Error(err)
	}
}

// A server that answers after the end is left: nobody would end that session.
func TestReachedAfterTheEnd(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := &session{timeout: zooserver.Session, log: slog.New(slog.DiscardHandler)}
	s.close()
	if wire, err := s.dial("tcp", listener.Addr().String(), time.Minute); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, %v", wire, err)
	}
	in, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if n, err := in.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// What is no ZooKeeper is told apart at once, whatever it answers.
func TestNotZooKeeper(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	var all sync.WaitGroup
	defer all.Wait()
	z := &zoo{t: t, root: "/x"}
	for _, address := range []string{page.Listener.Addr().String(), "127.0.0.1:1", "localhost.invalid:2181"} {
		l := z.openAt(address)
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			err := l.Take(ctx, claim(1))
			cancel()
			if restart.CodeOf(err) != restart.CodeUnavailable || !strings.Contains(err.Error(), "ZooKeeper does not answer") {
				t.Errorf("%s: %v", address, err)
			}
			l.Close()
			if err := l.Take(soon(t), claim(1)); restart.CodeOf(err) != restart.CodeStopping {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}
