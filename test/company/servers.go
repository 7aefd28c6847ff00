package company

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/demo"
	"github.com/restartilka/restartilka/internal/pki"
)

// Server is one of a company's servers beside the first, with a name, an
// address and credentials of its own. It lies in the first one's folder.
type Server struct {
	c       *Company
	Name    string // to itself, and to agents
	Config  string
	URL     string
	process string // of the company
}

// introduce tells a host's agent of servers beside the first.
func (c *Company) introduce(h demo.Host, others int) {
	c.t.Helper()
	if others == 0 {
		return
	}
	names := "demo"
	for n := range others {
		names += ", " + otherName(n+2)
	}
	path := filepath.Join(h.Dir, "agent.yaml")
	b, err := os.ReadFile(path)
	c.must(err)
	c.must(os.WriteFile(path, []byte(strings.Replace(string(b), "servers: [demo]", "servers: ["+names+"]", 1)), 0o600))
}

func otherName(n int) string { return fmt.Sprintf("demo%d", n) }

// NewServer makes the configuration of the server number n, from 2 to 1 more than
// Options.Servers, after that of the first: on the same database, unless edit changes it. edit gets
// pairs of texts, old and new.
func (c *Company) NewServer(n int, edit ...string) *Server {
	c.t.Helper()
	s := &Server{c: c, Name: otherName(n), process: fmt.Sprintf("server%d", n)}
	listen := strings.Replace(c.layout.Listen, ".1:", fmt.Sprintf(".%d:", n), 1)
	s.URL = "https://" + listen
	dir := c.layout.ServerDir()
	ca, err := pki.LoadCA(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	c.must(err)
	host, _, err := net.SplitHostPort(listen)
	c.must(err)
	lay := func(name string, cert, key []byte, err error) {
		c.must(err)
		c.must(os.WriteFile(filepath.Join(dir, s.Name+"-"+name+".key"), key, 0o600))
		c.must(os.WriteFile(filepath.Join(dir, s.Name+"-"+name+".crt"), cert, 0o600))
	}
	cert, key, err := ca.IssueServer(s.Name, []string{"localhost"}, []net.IP{net.ParseIP(host)}, time.Now())
	lay("server", cert, key, err)
	cert, key, err = ca.IssueClient(s.Name, time.Now())
	lay("client", cert, key, err)
	b, err := os.ReadFile(c.config)
	c.must(err)
	s.Config = filepath.Join(dir, s.Name+".yaml")
	text := strings.NewReplacer(append(edit, "name: demo\n", "name: "+s.Name+"\n", c.layout.Listen, listen,
		" server.crt", " "+s.Name+"-server.crt", " server.key", " "+s.Name+"-server.key",
		" client.crt", " "+s.Name+"-client.crt", " client.key", " "+s.Name+"-client.key",
		c.AuditFile(), s.AuditFile())...).Replace(string(b))
	c.must(os.WriteFile(s.Config, []byte(text), 0o640))
	return s
}

// AuditFile is this server's local copy of its trail.
func (s *Server) AuditFile() string {
	return filepath.Join(s.c.Dir, "audit", s.Name+".jsonl")
}

// Start starts it and waits until it is ready.
func (s *Server) Start() {
	s.c.t.Helper()
	s.c.start(s.process, s.c.Programs.Server, "server", "--config", s.Config)
	s.c.ready(s.URL)
}

// Kill ends it with SIGKILL, Stop with SIGTERM.
func (s *Server) Kill() { s.c.signal(s.process, syscall.SIGKILL) }

// Stop ends it with SIGTERM and waits for it.
func (s *Server) Stop() { s.c.signal(s.process, syscall.SIGTERM) }

// Client gives a client of this server with a token.
func (s *Server) Client(token string) *client.Client {
	s.c.t.Helper()
	x, err := client.New(client.Config{URL: s.URL, CAFile: s.c.CA, Token: token})
	s.c.must(err)
	s.c.t.Cleanup(x.Close)
	return x
}

// CLI is Company.CLI, asking this server.
func (s *Server) CLI(args ...string) (stdout, stderr string, code int) {
	s.c.t.Helper()
	return s.c.command(s.URL, args...)
}

// Log gives what it has said.
func (s *Server) Log() string { return s.c.log(s.process) }

// ServerLog gives what the first server has said.
func (c *Company) ServerLog() string { return c.log("server") }

func (c *Company) log(name string) string {
	b, err := os.ReadFile(filepath.Join(c.Dir, name+".log"))
	c.must(err)
	return string(b)
}

// FreezeServer stops the first server with SIGSTOP, ThawServer lets it go on.
func (c *Company) FreezeServer() { c.must(syscall.Kill(c.ServerPID(), syscall.SIGSTOP)) }

// ThawServer lets a frozen server go on.
func (c *Company) ThawServer() { c.must(syscall.Kill(c.ServerPID(), syscall.SIGCONT)) }

// Config is the first server's configuration.
func (c *Company) Config() string { return c.config }

// Program runs the server's program with arguments, without any server's address.
func (c *Company) Program(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return c.command("", args...)
}

// commandTime bounds a command line: one that waits for what never comes is to fail
// alone.
const commandTime = 5 * time.Minute

// command runs the command line as the developer.
func (c *Company) command(url string, args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Programs.Server, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir}
	if url != "" {
		cmd.Env = append(cmd.Env, "RESTARTILKA_URL="+url, "RESTARTILKA_CA="+c.CA, "RESTARTILKA_TOKEN="+c.DevToken)
	}
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err := cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.t.Errorf("%v has not ended within %s\n%s\n%s", args, commandTime, out.String(), talk.String())
	}
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		c.t.Fatal(err)
	}
	return out.String(), talk.String(), cmd.ProcessState.ExitCode()
}

// ready waits until a server answers so.
func (c *Company) ready(url string) {
	c.t.Helper()
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(c.CA)
	c.must(err)
	pool.AppendCertsFromPEM(pem)
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}, Timeout: 2 * time.Second}
	c.Eventually("the server to be ready", func() bool {
		req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, url+"/readyz", nil)
		c.must(err)
		resp, err := hc.Do(req)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// listening waits until every agent listens or has ended: a plan leaves out a host
// that the server has not reached.
func (c *Company) listening() {
	c.t.Helper()
	for _, h := range c.Hosts {
		c.mu.Lock()
		p := c.procs[h.Name]
		c.mu.Unlock()
		c.Eventually("the agent of "+h.Name+" to listen", func() bool {
			select {
			case <-p.ended:
				return true
			default:
				return strings.Contains(c.log(h.Name), "agent listens")
			}
		})
	}
}
