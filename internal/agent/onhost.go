package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// OnHost is what root can do on a host without a server: an *Agent in this
// process, or the agent that runs, through its socket.
type OnHost interface {
	Plan(ctx context.Context, ask Ask) (LocalPlan, error)
	Begin(ctx context.Context, ask Ask) (protocol.TaskStatus, error)
	Tasks(ctx context.Context) ([]LocalSummary, error)
	Wait(ctx context.Context, id string, after int64, wait time.Duration) (protocol.TaskStatus, error)
	Output(ctx context.Context, id string, offset int64, send func(protocol.Output) error) error
	Dump(ctx context.Context, id string, n int) (io.ReadCloser, int64, error)
	RecordDump(ctx context.Context, d HostDump) (HostDump, error)
	CancelHere(ctx context.Context, id string) (protocol.TaskStatus, error)
	ForgetReviewed(ctx context.Context, name, actor, reason string) (Forgotten, error)
}

var _, _ OnHost = (*Agent)(nil), (*socketClient)(nil)

// openTime is how long OpenHere waits for an agent that has the spool and does
// not answer yet, or that is ending.
const openTime = 5 * time.Second

// OpenHere gives what works in the spool of this host: the agent that runs, or
// one in this process where none does. done gives the spool up; supervisors go
// on. CodeForbidden for who is neither root nor the spool's owner, CodeLocked
// where an agent has the spool and does not answer on its socket.
func OpenHere(ctx context.Context, s Settings, log *slog.Logger) (here OnHost, done func(), err error) {
	if err := ownsSpool(s.Spool); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	for {
		client, err := dialLocal(ctx, s.Socket)
		if err != nil {
			return nil, nil, err
		}
		if client != nil {
			return client, client.http.CloseIdleConnections, nil
		}
		here, done, err := openSpool(context.WithoutCancel(ctx), s, log)
		if err == nil || restart.CodeOf(err) != restart.CodeLocked {
			return here, done, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, nil, restart.Errorf(restart.CodeLocked, "an agent works in %s, and none answers on its socket (%s)", s.Spool, socketName(s.Socket)).
				WithHint("systemctl restart restartilka-agent harms no task; or stop it, and this program works by itself").Because(err)
		}
	}
}

func socketName(path string) string {
	if path == "" {
		return "socket: is off in agent.yaml"
	}
	return path
}

// ownsSpool refuses who could not work in the spool.
func ownsSpool(dir string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	if err == nil && int(st.Uid) == os.Geteuid() {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the spool %s: %w", dir, err)
	}
	return restart.Errorf(restart.CodeForbidden, "only root works on this host without a server").WithHint("use sudo")
}

// dialLocal gives a client where somebody whom this user can trust listens on
// the socket, and nil where nobody listens.
func dialLocal(ctx context.Context, path string) (*socketClient, error) {
	if path == "" {
		return nil, nil
	}
	var d net.Dialer
	dial, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := d.DialContext(dial, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, restart.Errorf(restart.CodeUnavailable, "the agent's socket can't be used: %v", err).WithHint("use sudo, or look at socket: in agent.yaml").Because(err)
	}
	defer conn.Close()
	if err := trustedPeer(conn, path); err != nil {
		return nil, err
	}
	return &socketClient{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := d.DialContext(ctx, "unix", path)
			if err != nil {
				return nil, err
			}
			if err := trustedPeer(c, path); err != nil {
				c.Close()
				return nil, err
			}
			return c, nil
		},
	}}}, nil
}

// trustedPeer refuses a listener that is neither root nor this user.
func trustedPeer(c net.Conn, path string) error {
	uid, err := peerOf(c)
	if err != nil {
		return fmt.Errorf("ask who listens on %s: %w", path, err)
	}
	if !mayWorkHere(uid) {
		return restart.Errorf(restart.CodeForbidden, "user %d listens on %s, and is no agent", uid, path).WithHint("look who has put it there; socket: in agent.yaml names another place")
	}
	return nil
}

// openSpool makes the agent of these settings in this process.
func openSpool(ctx context.Context, s Settings, log *slog.Logger) (OnHost, func(), error) {
	store, err := spool.Open(spool.Config{Dir: s.Spool})
	if err != nil {
		return nil, nil, err
	}
	attendant := NewAttendant(store, log)
	a, closeLocal, err := build(s, store, attendant, nil, log)
	if err != nil {
		store.Close()
		return nil, nil, err
	}
	if err := a.Recover(ctx); err != nil {
		closeLocal()
		store.Close()
		return nil, nil, err
	}
	attend, stop := context.WithCancel(ctx)
	var attending sync.WaitGroup
	attending.Go(func() { attendant.Run(attend, a) })
	return a, func() {
		a.Stop()
		stop()
		attending.Wait()
		closeLocal()
		store.Close()
	}, nil
}

// socketClient asks the agent that runs.
type socketClient struct{ http *http.Client }

func (c *socketClient) do(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode a request to the agent: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, restart.Errorf(restart.CodeUnavailable, "the agent does not answer: %v", err).
			WithHint("its supervisors go on; ask again: restartilka-agent task").Because(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, protocol.MaxBody))
	if err != nil {
		return nil, err
	}
	var e restart.Error
	if json.Unmarshal(b, &e) != nil || e.Code == "" {
		return nil, fmt.Errorf("the agent answered %s", resp.Status)
	}
	return nil, &e
}

func ask[T any](ctx context.Context, c *socketClient, method, path string, in any) (out T, err error) {
	resp, err := c.do(ctx, method, path, in)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("read the agent's answer: %w", err)
	}
	return out, nil
}

// Plan asks the agent.
func (c *socketClient) Plan(ctx context.Context, a Ask) (LocalPlan, error) {
	return ask[LocalPlan](ctx, c, http.MethodPost, "/local/plan", a)
}

// Begin asks the agent.
func (c *socketClient) Begin(ctx context.Context, a Ask) (protocol.TaskStatus, error) {
	return ask[protocol.TaskStatus](ctx, c, http.MethodPost, "/local/tasks", a)
}

// Tasks asks the agent.
func (c *socketClient) Tasks(ctx context.Context) ([]LocalSummary, error) {
	return ask[[]LocalSummary](ctx, c, http.MethodGet, "/local/tasks", nil)
}

// Wait asks the agent.
func (c *socketClient) Wait(ctx context.Context, id string, after int64, wait time.Duration) (protocol.TaskStatus, error) {
	q := url.Values{"after": {strconv.FormatInt(after, 10)}, "wait": {wait.String()}}
	return ask[protocol.TaskStatus](ctx, c, http.MethodGet, "/local/tasks/"+url.PathEscape(id)+"?"+q.Encode(), nil)
}

// CancelHere asks the agent.
func (c *socketClient) CancelHere(ctx context.Context, id string) (protocol.TaskStatus, error) {
	return ask[protocol.TaskStatus](ctx, c, http.MethodPost, "/local/tasks/"+url.PathEscape(id)+"/cancel", struct{}{})
}

// ForgetReviewed asks the agent.
func (c *socketClient) ForgetReviewed(ctx context.Context, name, actor, reason string) (Forgotten, error) {
	return ask[Forgotten](ctx, c, http.MethodPost, "/local/review/"+url.PathEscape(name)+"/forget", forgetAsk{Actor: actor, Reason: reason})
}

// Dump asks the agent.
func (c *socketClient) Dump(ctx context.Context, id string, n int) (io.ReadCloser, int64, error) {
	resp, err := c.do(ctx, http.MethodGet, "/local/tasks/"+url.PathEscape(id)+"/dumps/"+strconv.Itoa(n), nil)
	if err != nil {
		return nil, 0, err
	}
	return resp.Body, resp.ContentLength, nil
}

// RecordDump asks the agent.
func (c *socketClient) RecordDump(ctx context.Context, d HostDump) (HostDump, error) {
	return ask[HostDump](ctx, c, http.MethodPost, "/local/dumps", d)
}

// Output follows a task's output. An end without its last line is an error.
func (c *socketClient) Output(ctx context.Context, id string, offset int64, send func(protocol.Output) error) error {
	resp, err := c.do(ctx, http.MethodGet, "/local/tasks/"+url.PathEscape(id)+"/output?offset="+strconv.FormatInt(offset, 10), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var o protocol.Output
		if err := lines.Decode(&o); err != nil {
			return restart.Errorf(restart.CodeUnavailable, "the agent's answer broke off: %v", err).Because(err)
		}
		if err := send(o); err != nil || o.EOF {
			return err
		}
	}
}

// Invoker names the person behind this process, as NAME@HOST: who used sudo,
// else who has logged in, by the kernel's own word (loginuid), else the user
// that the process is. Root can set all of them: the name is what root says.
func Invoker(host string) string {
	name := os.Getenv("SUDO_USER")
	if restart.CheckUser(name) != nil {
		name = ""
	}
	if b, err := os.ReadFile("/proc/self/loginuid"); err == nil && name == "" {
		if u, err := user.LookupId(strings.TrimSpace(string(b))); err == nil && restart.CheckUser(u.Username) == nil {
			name = u.Username
		}
	}
	if name == "" {
		if u, err := user.Current(); err == nil && restart.CheckUser(u.Username) == nil {
			name = u.Username
		}
	}
	if name == "" {
		name = "uid" + strconv.Itoa(os.Getuid())
	}
	return name + "@" + host
}
