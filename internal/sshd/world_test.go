package sshd_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authn"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/sshd"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// world is a server with its way in by SSH, and people with keys: anna, who owns
// shop; vera, who owns nothing; mallory, whose key is in no profile.
type world struct {
	*apitest.Server
	t       *testing.T
	keys    authn.Keys
	sshd    *sshd.Server
	address string
	host    ssh.Signer
	dir     string
	people  map[string]person
	stop    context.CancelFunc
	stopped chan struct{}
	refused chan audit.Record                     // sign-ins that were refused, as they are recorded
	before  atomic.Pointer[func(r *http.Request)] // called before each request, where it is set
}

type person struct {
	id     string // of the key
	file   string // of its private half
	signer ssh.Signer
}

// patience bounds each wait, so that what never comes is told of.
const patience = 3 * time.Minute

func newWorld(t *testing.T, limits sshd.Limits) *world {
	t.Helper()
	over := storetest.Open(t, storetest.SQLite(t))
	w := &world{t: t, keys: authn.Keys{Store: over}, dir: t.TempDir(), people: map[string]person{}, stopped: make(chan struct{}), refused: make(chan audit.Record, 100)}
	w.Server = apitest.StartOn(t, over, nil)
	for _, name := range []string{"anna", "vera"} {
		w.must(over.CreateUser(t.Context(), store.User{Name: name, Method: authn.MethodLocal, Roles: []restart.Role{restart.RoleDeveloper}, CreatedAt: time.Now()}))
		w.people[name] = w.keyOf(name)
	}
	w.people["mallory"] = w.keyOf("")
	hostKey, err := sshd.NewHostKey("test")
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.dir, "host_key"), hostKey, 0o600))
	signers, err := sshd.ReadHostKeys([]string{filepath.Join(w.dir, "host_key")})
	w.must(err)
	w.host = signers[0]
	if limits.Pause == 0 {
		limits.Pause = time.Millisecond
	}
	limits.Farewell, limits.Revoked = patience, patience // however busy the machine is
	w.sshd = sshd.New(sshd.Config{
		Handler: http.HandlerFunc(w.answer), URL: "https://restartilka.example.com", Keys: w.keys, HostKeys: signers, Limits: limits,
		Record: func(ctx context.Context, rec audit.Record) error {
			if rec.Action == audit.SignInRefused {
				defer func() { w.refused <- rec }()
			}
			return over.AppendAudit(ctx, rec)
		},
	})
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	w.must(err)
	w.address = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() {
		defer close(w.stopped)
		if err := w.sshd.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		w.gone(w.stopped)
	})
	return w
}

// answer is the API.
func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	if before := w.before.Load(); before != nil {
		(*before)(r)
	}
	w.HTTP.Config.Handler.ServeHTTP(rw, r)
}

// gone waits for the end of a server.
func (w *world) gone(stopped <-chan struct{}) {
	w.t.Helper()
	select {
	case <-stopped:
	case <-time.After(patience):
		w.t.Error("the server does not end")
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// keyOf makes a key, and puts it into somebody's profile; "" = into nobody's.
func (w *world) keyOf(owner string) person {
	w.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	block, err := ssh.MarshalPrivateKey(private, owner)
	w.must(err)
	p := person{id: restart.NewID(time.Now()), file: filepath.Join(w.dir, "key-"+restart.NewID(time.Now()))}
	w.must(os.WriteFile(p.file, pem.EncodeToMemory(block), 0o600))
	p.signer, err = ssh.NewSignerFromKey(private)
	w.must(err)
	w.must(os.WriteFile(p.file+".pub", ssh.MarshalAuthorizedKey(p.signer.PublicKey()), 0o600))
	if owner != "" {
		w.must(w.Store.AddKey(w.t.Context(), store.Key{
			ID: p.id, Owner: owner, Name: "test", Kind: p.signer.PublicKey().Type(), Fingerprint: ssh.FingerprintSHA256(p.signer.PublicKey()), CreatedAt: time.Now(),
		}))
	}
	return p
}

// openSSH gives the command of the real client; args come before the host.
func (w *world) openSSH(who string, args ...string) *exec.Cmd {
	w.t.Helper()
	program, err := exec.LookPath("ssh")
	if err != nil {
		if os.Getenv("CI") == "true" {
			w.t.Fatal(err)
		}
		w.t.Skip(err)
	}
	host, port, err := net.SplitHostPort(w.address)
	w.must(err)
	known := filepath.Join(w.dir, "known_hosts")
	w.must(os.WriteFile(known, append([]byte("["+host+"]:"+port+" "), ssh.MarshalAuthorizedKey(w.host.PublicKey())...), 0o600))
	return exec.CommandContext(w.soon(), program, append([]string{
		"-F", "/dev/null", "-p", port, "-i", w.people[who].file, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + known, "-o", "LogLevel=ERROR",
	}, args...)...)
}

// soon is a context that ends in time.
func (w *world) soon() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// done is what came of a command.
type done struct {
	code           int
	stdout, stderr string
}

// ask runs the real client with a command, without a terminal.
func (w *world) ask(who string, words ...string) done {
	w.t.Helper()
	return w.run(w.openSSH(who, append([]string{"-T", sshd.Login + "@127.0.0.1"}, words...)...))
}

func (w *world) run(cmd *exec.Cmd) done {
	w.t.Helper()
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err := cmd.Run()
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else {
		w.must(err)
	}
	return done{code, out.String(), talk.String()}
}

// dial connects with our own client, as somebody by some keys.
func (w *world) dial(login string, signers ...ssh.Signer) (*ssh.Client, error) {
	w.t.Helper()
	c, err := ssh.Dial("tcp", w.address, &ssh.ClientConfig{
		User: login, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: ssh.FixedHostKey(w.host.PublicKey()), Timeout: patience,
	})
	if err == nil {
		late := time.AfterFunc(patience, func() {
			w.t.Error("a connection has no end: it is cut")
			c.Close()
		})
		w.t.Cleanup(func() {
			late.Stop()
			c.Close()
		})
	}
	return c, err
}

func (w *world) dialAs(who string) *ssh.Client {
	w.t.Helper()
	c, err := w.dial(sshd.Login, w.people[who].signer)
	w.must(err)
	return c
}

// spoken is what a session has printed so far.
type spoken struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{}
}

func newSpoken() *spoken { return &spoken{more: make(chan struct{}, 1)} }

func (s *spoken) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (s *spoken) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// until waits for a text.
func (s *spoken) until(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for !strings.Contains(s.String(), text) {
		select {
		case <-s.more:
		case <-late:
			t.Fatalf("%q was not said, but:\n%s", text, s)
		}
	}
}

// exitCode is how a session has ended; -1 = without a word.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*ssh.ExitError](err); ok {
		return e.ExitStatus()
	}
	return -1
}

// records gives what the trail has of an action.
func (w *world) records(action audit.Action) []audit.Record {
	w.t.Helper()
	list, _, err := w.Store.AuditSearch(w.t.Context(), store.AuditFilter{Action: action, Limit: 200})
	w.must(err)
	return list
}

// tcp opens a bare connection.
func (w *world) tcp() net.Conn {
	w.t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(w.t.Context(), "tcp", w.address)
	w.must(err)
	w.t.Cleanup(func() { conn.Close() })
	return conn
}
