package sshd

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/audit"
)

// lines is a listener whose connections are lines in memory.
type lines struct {
	come chan net.Conn
	gone chan struct{}
	once sync.Once
}

func newLines() *lines { return &lines{come: make(chan net.Conn), gone: make(chan struct{})} }

func (l *lines) Accept() (net.Conn, error) {
	select {
	case c := <-l.come:
		return c, nil
	case <-l.gone:
		return nil, net.ErrClosed
	}
}

func (l *lines) Close() error {
	l.once.Do(func() { close(l.gone) })
	return nil
}

func (*lines) Addr() net.Addr { return &net.TCPAddr{} }

// TestAnswersOfWhoHasGone: a server that has stopped writes no more on behalf of
// a command, however the command has ended; but it does not wait for ever.
func TestAnswersOfWhoHasGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes time.Duration // an answer, once nobody waits for it
		whole bool
	}{"one in mid-commit": {4 * time.Second, true}, "one without an end": {time.Hour, false}} {
		synctest.Test(t, func(t *testing.T) {
			host, own := newSigner(t), newSigner(t)
			var written atomic.Bool
			s := New(Config{
				Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					<-time.After(c.takes)
					written.Store(true)
				}),
				URL: "https://restartilka.example.com", Keys: &holder{fingerprint: ssh.FingerprintSHA256(own.PublicKey())}, HostKeys: []ssh.Signer{host},
				Record: func(context.Context, audit.Record) error { return nil },
			})
			l := newLines()
			ctx, stop := context.WithCancel(t.Context())
			stopped := make(chan error, 1)
			go func() { stopped <- s.Serve(ctx, l) }()
			near, far := newLine()
			defer far.Close()
			l.come <- near
			conn, channels, requests, err := ssh.NewClientConn(far, "", &ssh.ClientConfig{User: Login, Auth: []ssh.AuthMethod{ssh.PublicKeys(own)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey())})
			if err != nil {
				t.Fatal(err)
			}
			client := ssh.NewClient(conn, channels, requests)
			session, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			if err := session.Start("whoami"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			began := time.Now()
			stop()
			session.Wait() // it was interrupted
			client.Close()
			if err := <-stopped; err != nil || written.Load() != c.whole {
				t.Errorf("%s: %v, the answer is written: %t", name, err, written.Load())
			}
			if took := time.Since(began); took > 5*time.Second+2*farewell {
				t.Errorf("%s: it took %s", name, took)
			}
			<-time.After(c.takes) // the handler ends within the test
		})
	}
}
