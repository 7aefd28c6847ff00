package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// maxSocketPath is what the kernel takes as the name of a socket, in bytes.
const maxSocketPath = 107

// localVerbs is the table of what root may ask on the host itself, through the
// agent's socket. None of them is on the network.
func (a *Agent) localVerbs() []verb {
	return []verb{
		{http.MethodPost, "/local/plan", rootHere, func(w http.ResponseWriter, r *http.Request) error {
			return handle(w, r, func(ctx context.Context, _ string, ask Ask) (LocalPlan, error) { return a.Plan(ctx, ask) })
		}},
		{http.MethodPost, "/local/tasks", rootHere, func(w http.ResponseWriter, r *http.Request) error {
			return handle(w, r, func(ctx context.Context, _ string, ask Ask) (protocol.TaskStatus, error) { return a.Begin(ctx, ask) })
		}},
		{http.MethodGet, "/local/tasks", rootHere, func(w http.ResponseWriter, r *http.Request) error {
			tasks, err := a.Tasks(r.Context())
			if err != nil {
				return err
			}
			return reply(w, tasks)
		}},
		{http.MethodPost, "/local/dumps", rootHere, func(w http.ResponseWriter, r *http.Request) error {
			return handle(w, r, func(ctx context.Context, _ string, d HostDump) (HostDump, error) { return a.RecordDump(ctx, d) })
		}},
		{http.MethodPost, "/local/review/{id}/forget", rootHere, a.serveForgetReviewed},
		{http.MethodGet, "/local/tasks/{id}", rootHere, a.serveGet},
		{http.MethodGet, "/local/tasks/{id}/output", rootHere, a.serveOutput},
		{http.MethodGet, "/local/tasks/{id}/dumps/{n}", rootHere, a.serveDump},
		{http.MethodPost, "/local/tasks/{id}/cancel", rootHere, func(w http.ResponseWriter, r *http.Request) error {
			return handle(w, r, func(ctx context.Context, id string, _ struct{}) (protocol.TaskStatus, error) {
				return a.CancelHere(ctx, id)
			})
		}},
	}
}

// peerKey is the context's key for who has connected, as the kernel says.
type peerKey struct{}

// LocalHandler serves root, and the agent's own user, on the host itself. The
// kernel says who has connected; everybody else is refused before anything.
func (a *Agent) LocalHandler() http.Handler {
	mux := http.NewServeMux()
	for _, v := range a.localVerbs() {
		mux.Handle(v.method+" "+v.path, a.answer(v.admitted(rootHere)))
	}
	mux.Handle("/", a.answer(func(_ http.ResponseWriter, r *http.Request) error {
		return restart.Errorf(restart.CodeNotFound, "this agent's socket has no verb %s %s", restart.Quote(r.Method), restart.Quote(r.URL.Path))
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, known := r.Context().Value(peerKey{}).(uint32)
		if !known || !mayWorkHere(uid) {
			protocol.WriteError(w, restart.Errorf(restart.CodeForbidden, "only root works on this host without a server"))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, protocol.MaxBody)
		mux.ServeHTTP(w, r)
	})
}

// mayWorkHere tells whether a user may work on the host itself: root, or the
// user that the agent is, where it is not root.
func mayWorkHere(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// withPeer keeps who is at the other end of a connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	uid, err := peerOf(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, uid)
}

// peerOf asks the kernel who is at the other end of a Unix socket: who
// connected, or who began to listen.
func peerOf(c net.Conn) (uid uint32, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}

// dialTime bounds the connection to a socket on this host.
const dialTime = 2 * time.Second

// listenLocal listens on the agent's socket. A socket that nobody listens on
// any more is replaced; one that another agent answers on is left to it.
func listenLocal(ctx context.Context, path string) (net.Listener, error) {
	var d net.Dialer
	dial, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if c, err := d.DialContext(dial, "unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("another program listens on %s", path)
	}
	info, err := os.Lstat(path)
	if err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there, and is no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// Whoever connects before is judged by the kernel's word all the same.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// localServer serves the socket.
func localServer(a *Agent, log *slog.Logger) *http.Server {
	s := server(a.LocalHandler(), log)
	s.ConnContext = withPeer
	return s
}

// checkSocket judges the setting.
func checkSocket(path string) error {
	if path == "" {
		return nil
	}
	if len(path) > maxSocketPath {
		return errors.New("is longer than the kernel's " + strconv.Itoa(maxSocketPath) + " bytes for a socket")
	}
	return checkPath(path)
}
