package sshd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/cli"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Connections and how they end, by a clock that waits for whatever is to be done.

// end is one end of a line in memory, whose writers wait for no reader.
type end struct {
	net.Conn

	out  chan []byte
	gone chan struct{}
	once sync.Once
	mute atomic.Bool // what is written is lost on the way
}

// newLine gives both ends.
func newLine() (near, far *end) {
	a, b := net.Pipe()
	return newEnd(a), newEnd(b)
}

func newEnd(conn net.Conn) *end {
	e := &end{Conn: conn, out: make(chan []byte, 1<<10), gone: make(chan struct{})}
	go func() {
		for {
			select {
			case b := <-e.out:
				if _, err := e.Conn.Write(b); err != nil {
					return
				}
			case <-e.gone:
				return
			}
		}
	}()
	return e
}

func (e *end) Write(b []byte) (int, error) {
	if e.mute.Load() {
		return len(b), nil
	}
	select {
	case e.out <- slices.Clone(b):
		return len(b), nil
	case <-e.gone:
		return 0, net.ErrClosed
	}
}

func (e *end) Close() error {
	e.once.Do(func() { close(e.gone) })
	return e.Conn.Close()
}

// holder has one key, until it is taken away. A look-up takes some time.
type holder struct {
	fingerprint string
	takes       time.Duration
	gone        atomic.Bool
}

func (h *holder) Check(ctx context.Context, shown authn.ShownKey) (restart.Actor, store.Key, error) {
	if wait(ctx, h.takes) != nil {
		return restart.Actor{}, store.Key{}, ctx.Err()
	}
	if shown.Fingerprint != h.fingerprint || h.gone.Load() {
		return restart.Actor{}, store.Key{}, restart.Errorf(restart.CodeUnauthorised, "nobody's")
	}
	return restart.Actor{Name: "anna"}, store.Key{}, nil
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// visit is a connection of anna's to a server whose API never answers.
type visit struct {
	t    *testing.T
	keys *holder
	far  *end
	c    *ssh.Client
	left chan struct{} // closed once the server has done with it
	stop context.CancelFunc
}

// newVisit signs anna in. A look-up of her key takes some time.
func newVisit(t *testing.T, limits Limits, takes time.Duration) *visit {
	t.Helper()
	host, own := newSigner(t), newSigner(t)
	v := &visit{t: t, keys: &holder{fingerprint: ssh.FingerprintSHA256(own.PublicKey()), takes: takes}, left: make(chan struct{})}
	s := New(Config{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), URL: "https://restartilka.example.com",
		Keys: v.keys, HostKeys: []ssh.Signer{host}, Limits: limits, Record: func(context.Context, audit.Record) error { return nil },
	})
	near, far := newLine()
	v.far = far
	ctx, stop := context.WithCancel(t.Context())
	v.stop = stop
	if err := s.enter("192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(v.left)
		s.serve(ctx, near, "192.0.2.1")
	}()
	conn, channels, requests, err := ssh.NewClientConn(far, "", &ssh.ClientConfig{User: Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(own)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey())})
	if err != nil {
		t.Fatal(err)
	}
	v.c = ssh.NewClient(conn, channels, requests)
	return v
}

// close ends the visit, and waits for the server.
func (v *visit) close() {
	v.c.Close()
	v.far.Close()
	<-v.left
	v.stop()
}

// run runs a command to its end; code -1 = it ended without a word.
func (v *visit) run(line string) (said string, code int) {
	v.t.Helper()
	s, err := v.c.NewSession()
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := s.CombinedOutput(line)
	return string(out), codeOf(err)
}

func codeOf(err error) int {
	if e, ok := errors.AsType[*ssh.ExitError](err); ok {
		return e.ExitStatus()
	}
	if err == nil {
		return 0
	}
	return -1
}

// TestRevokedInLessThanASecond: who does nothing but wait is cut off, and told
// why.
func TestRevokedInLessThanASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVisit(t, Limits{}, 0)
		defer v.close()
		var gone time.Time
		time.AfterFunc(time.Minute+123*time.Millisecond, func() {
			gone = time.Now()
			v.keys.gone.Store(true)
		})
		said, code := v.run("whoami")
		if took := time.Since(gone); code != cli.ExitRefused || !strings.Contains(said, "the key is good no more") || took >= time.Second {
			t.Errorf("exit code %d after %s: %s", code, took, said)
		}
	})
}

// TestEndsOfConnections: each says why it comes.
func TestEndsOfConnections(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits Limits
		stop   time.Duration
		after  time.Duration
		says   string
	}{
		"too long": {Limits{Longest: time.Minute}, time.Hour, time.Minute, "as long as one may"},
		"stopping": {Limits{}, time.Second, time.Second, "the server is stopping"},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			v := newVisit(t, c.limits, 0)
			defer v.close()
			defer time.AfterFunc(c.stop, v.stop).Stop()
			said, code := v.run("whoami")
			if took := time.Since(began); code != cli.ExitInterrupted || !strings.Contains(said, c.says) || took != c.after {
				t.Errorf("%s: exit code %d after %s: %s", name, code, took, said)
			}
		})
	}
}

// TestNobodySaysGoodbye: the other end does not say that it has understood the
// end of the command. Its place is free a moment later.
func TestNobodySaysGoodbye(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVisit(t, Limits{Keepalive: time.Hour}, 0)
		defer v.close()
		s, err := v.c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start("no such command"); err != nil {
			t.Fatal(err)
		}
		v.far.mute.Store(true)
		began := time.Now()
		<-v.left
		if took := time.Since(began); took > 2*farewell {
			t.Errorf("it took %s", took)
		}
	})
}

// TestSignalBehindTheCommand: a command that is interrupted as soon as it was
// given says how it has come off, as any other does.
func TestSignalBehindTheCommand(t *testing.T) {
	t.Parallel()
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			v := newVisit(t, Limits{}, 0)
			defer v.close()
			channel, requests, err := v.c.OpenChannel("session", nil)
			if err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, channel)
			for name, payload := range [][2][]byte{{[]byte("exec"), ssh.Marshal(execRequest{"whoami"})}, {[]byte("signal"), ssh.Marshal(signalled{"INT"})}} {
				if _, err := channel.SendRequest(string(payload[0]), false, payload[1]); err != nil {
					t.Fatal(name, err)
				}
			}
			ended := false
			for r := range requests {
				ended = ended || r.Type == "exit-status" && bytes.Equal(r.Payload, ssh.Marshal(struct{ Code uint32 }{cli.ExitInterrupted}))
			}
			if !ended {
				t.Fatal("it ended without a word")
			}
		})
	}
}

// TestKeepaliveOfASlowServer: the database is slow, so that answers and further
// questions wait together. Who answers is there.
func TestKeepaliveOfASlowServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newVisit(t, Limits{Keepalive: time.Second}, 3*time.Second)
		defer v.close()
		defer time.AfterFunc(30*time.Minute, v.stop).Stop()
		began := time.Now()
		if said, code := v.run("whoami"); code != cli.ExitInterrupted || !strings.Contains(said, "the server is stopping") {
			t.Errorf("exit code %d after %s: %s", code, time.Since(began), said)
		}
	})
}

// TestSilentStrangerAtTheEnd: nobody who has not signed in holds up a server that
// stops.
func TestSilentStrangerAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Keys: &holder{}, HostKeys: []ssh.Signer{newSigner(t)}, Limits: Limits{SignIn: time.Hour}})
		near, far := newLine()
		defer far.Close()
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := s.enter("192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.serve(ctx, slowly{near}, "192.0.2.1")
		if took := time.Since(began); took > 2*farewell+time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// slowly is a line where a deadline that is far away is set late.
type slowly struct{ *end }

func (s slowly) SetDeadline(at time.Time) error {
	if time.Until(at) > time.Minute {
		time.Sleep(time.Millisecond)
	}
	return s.end.SetDeadline(at)
}

// TestOneAfterAnother: what the server says of the end of a connection does not
// get into what the command says.
func TestOneAfterAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := newLine()
		defer far.Close()
		defer near.Close()
		s := New(Config{URL: "https://restartilka.example.com", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { stop(errTooLong) })
		talk := &oneByOne{t: t}
		code := s.run(ctx, visitor{conn: &ssh.ServerConn{Conn: lineOnly{near}}}, session{talk: talk}, nil, "whoami")
		if said := talk.text.String(); code != cli.ExitInterrupted || !strings.Contains(said, "as long as one may") || !strings.Contains(said, "interrupted") {
			t.Errorf("exit code %d: %s", code, said)
		}
	})
}

// oneByOne takes one text at a time, and lets others come to it meanwhile.
type oneByOne struct {
	t    *testing.T
	busy atomic.Bool
	text bytes.Buffer
}

func (o *oneByOne) Read([]byte) (int, error) { return 0, io.EOF }

func (o *oneByOne) Write(b []byte) (int, error) {
	if o.busy.Swap(true) {
		o.t.Errorf("%q is written into another text", b)
		return len(b), nil
	}
	defer o.busy.Store(false)
	for range 1000 {
		runtime.Gosched()
	}
	return o.text.Write(b)
}

// session is a channel of which only what is said beside counts.
type session struct {
	ssh.Channel
	talk io.ReadWriter
}

func (s session) Read([]byte) (int, error)    { return 0, io.EOF }
func (s session) Write(b []byte) (int, error) { return len(b), nil }
func (s session) Stderr() io.ReadWriter       { return s.talk }

// lineOnly is a connection that can be closed.
type lineOnly struct{ *end }

func (lineOnly) User() string          { return Login }
func (lineOnly) SessionID() []byte     { return nil }
func (lineOnly) ClientVersion() []byte { return nil }
func (lineOnly) ServerVersion() []byte { return nil }
func (lineOnly) Wait() error           { return nil }
func (lineOnly) SendRequest(string, bool, []byte) (bool, []byte, error) {
	return false, nil, nil
}
func (lineOnly) OpenChannel(string, []byte) (ssh.Channel, <-chan *ssh.Request, error) {
	return nil, nil, errors.New("nobody is there")
}

// TestWhoDoesNothing: strangers, and who has signed in and does nothing, hold
// their places for a short while.
func TestWhoDoesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{SignIn: 5 * time.Second, Pause: time.Second}
		s := New(Config{Keys: &holder{}, HostKeys: []ssh.Signer{newSigner(t)}, Limits: limits})
		near, far := newLine()
		defer far.Close()
		if err := s.enter("192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.serve(t.Context(), near, "192.0.2.1")
		if took := time.Since(began); took != limits.SignIn+limits.Pause {
			t.Errorf("a stranger is cut off after %s", took)
		}
		if s.all != 0 || s.fresh != 0 || len(s.by) != 0 {
			t.Errorf("places are taken still: %d, %d, %v", s.all, s.fresh, s.by)
		}
	})
	for _, opens := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			v := newVisit(t, Limits{SignIn: 5 * time.Second}, 0)
			defer v.close()
			began := time.Now()
			if opens {
				if _, err := v.c.NewSession(); err != nil {
					t.Fatal(err)
				}
			}
			v.c.Wait()
			if took := time.Since(began); took < 5*time.Second || took > 5*time.Second+farewell {
				t.Errorf("anna is cut off after %s", took)
			}
		})
	}
}
