package agent_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/scenario"
)

const (
	testHost    = "web1.example.com"
	testServer  = "control.example.com"
	testService = "shop"
)

// bed is one host's folders and credentials, and a server's keys.
type bed struct {
	t          testing.TB
	dir        string
	key        ed25519.PrivateKey
	ca         *pki.CA
	clientPair [2]string
	settings   string // path of agent.yaml
	extra      string // more lines for agent.yaml
	spoolDir   string
}

func newBed(t testing.TB) *bed {
	t.Helper()
	b := &bed{t: t, dir: t.TempDir()}
	b.spoolDir = b.path("spool")
	now := time.Now()
	var err error
	b.ca, err = pki.NewCA("test", now)
	b.must(err)
	b.write("ca.crt", b.ca.CertPEM(), 0o644)
	cert, key, err := b.ca.IssueAgent(testHost, []net.IP{net.IPv4(127, 0, 0, 1)}, now)
	b.must(err)
	b.write("agent.crt", cert, 0o644)
	b.write("agent.key", key, 0o600)
	cert, key, err = b.ca.IssueClient(testServer, now)
	b.must(err)
	b.clientPair = [2]string{b.write("client.crt", cert, 0o644), b.write("client.key", key, 0o600)}
	b.key, err = pki.GenerateEnvelopeKey()
	b.must(err)
	b.must(pki.SaveEnvelopePublicKey(b.path("envelope.pub"), b.key.Public().(ed25519.PublicKey)))
	b.must(os.Mkdir(b.path("scenarios.d"), 0o755))
	b.must(os.Mkdir(b.path("services.d"), 0o755))
	b.service("")
	b.settings = b.path("agent.yaml")
	return b
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bed) write(name string, data []byte, mode os.FileMode) string {
	b.t.Helper()
	b.must(os.WriteFile(b.path(name), data, mode))
	return b.path(name)
}

// service lays services.d/shop.yaml, with the current user and more lines.
func (b *bed) service(more string) {
	b.t.Helper()
	me, err := user.Current()
	b.must(err)
	b.write("services.d/"+testService+".yaml", []byte("user: "+me.Username+"\n"+more), 0o644)
}

// scenario lays a scenario of that body and gives its digest.
func (b *bed) scenario(body string) string {
	b.t.Helper()
	text := "format: 1\nname: shop-restart\nserial: 1\nauthor: anna@example.com\nkind: custom\nservices: [shop]\ndescription: for a test\n" + body
	digest := scenario.Digest([]byte(text))
	if _, err := scenario.Parse([]byte(text)); err != nil {
		b.t.Fatalf("%v in:\n%s", err, text)
	}
	b.write("scenarios.d/"+digest[:12]+".yaml", []byte(text), 0o644)
	return digest
}

// script lays a scenario with only a run step.
func (b *bed) script(text string) string {
	b.t.Helper()
	return b.scenario("steps:\n  run:\n    script: |\n" + indent(text))
}

func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		out.WriteString("      " + line)
	}
	return out.String()
}

// envelope makes one for the digest, good now.
func (b *bed) envelope(digest string) protocol.Envelope {
	now := time.Now().UTC()
	return protocol.Envelope{
		Version: protocol.Version, Task: restart.NewID(now), Run: restart.NewID(now), Attempt: 1, Host: testHost, Service: testService,
		Environment: "testing", Group: "shop-testing", Project: "market", Scenario: "shop-restart", Digest: digest,
		Actor: "dana", Reason: "workers hang since the deploy", NotBefore: now, Expiry: now.Add(protocol.Lifetime),
	}
}

func (b *bed) seal(e protocol.Envelope) protocol.Submission {
	b.t.Helper()
	sealed, err := protocol.Seal(e, b.key)
	b.must(err)
	return protocol.Submission{Sealed: sealed, Epoch: 1}
}

// running is an agent process.
type running struct {
	*bed
	cmd    *exec.Cmd
	client *http.Client
	url    string
	status string
	log    *safeBuffer
	gone   chan struct{}
}

// start starts an agent process on free ports.
func (b *bed) start() *running {
	b.t.Helper()
	return b.startBy("/proc/self/exe")
}

// startBy starts an agent by a program that ends as the agent does.
func (b *bed) startBy(program ...string) *running {
	b.t.Helper()
	b.write("agent.yaml", fmt.Appendf(nil, `
host: %s
listen: 127.0.0.1:0
status_listen: 127.0.0.1:0
certificate: %[2]s/agent.crt
key: %[2]s/agent.key
ca: %[2]s/ca.crt
servers: [%[3]s]
envelope_keys: ["%[2]s/envelope.pub"]
scenarios: %[2]s/scenarios.d
services: %[2]s/services.d
spool: %[4]s
socket: %[2]s/agent.sock
grace: 200ms
%[5]s`, testHost, b.dir, testServer, b.spoolDir, b.extra), 0o644)
	r := &running{bed: b, log: &safeBuffer{}, gone: make(chan struct{})}
	r.cmd = exec.Command(program[0], append(program[1:], "serve", b.settings)...)
	r.cmd.Stderr = r.log
	out, err := r.cmd.StdoutPipe()
	b.must(err)
	b.must(r.cmd.Start())
	var addresses []string
	err = json.NewDecoder(out).Decode(&addresses)
	go func() {
		r.cmd.Wait() // killed on purpose
		close(r.gone)
	}()
	b.t.Cleanup(func() {
		r.kill()
		if b.t.Failed() {
			b.t.Logf("agent's log:\n%s", r.log)
			logs, _ := filepath.Glob(b.spoolDir + "/*/log")
			for _, l := range logs {
				text, _ := os.ReadFile(l)
				b.t.Logf("%s:\n%s", l, text)
			}
		}
	})
	if err != nil {
		<-r.gone
		b.t.Fatalf("the agent did not start: %v\n%s", err, r.log)
	}
	r.url, r.status = "https://"+addresses[0], "http://"+addresses[1]
	r.client = b.connect(b.clientPair[0], b.clientPair[1])
	return r
}

func (b *bed) connect(cert, key string) *http.Client {
	b.t.Helper()
	conf, err := pki.ClientConfig(cert, key, b.path("ca.crt"), testHost)
	b.must(err)
	return newClient(b.t, conf)
}

func newClient(t testing.TB, conf *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// kill ends the agent with -9 and waits for it to be gone.
func (r *running) kill() {
	r.cmd.Process.Kill() // it may be gone
	<-r.gone
}

// call makes one request. An answer that is not 200 comes back as *restart.Error.
func (r *running) call(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, body)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var e restart.Error
		if err := json.Unmarshal(b, &e); err != nil || e.Code == "" {
			return fmt.Errorf("%s: %s", resp.Status, b)
		}
		if want := protocol.StatusOf(e.Code); want != resp.StatusCode {
			return fmt.Errorf("status %d with code %s", resp.StatusCode, e.Code)
		}
		return &e
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

func (r *running) put(s protocol.Submission, id string) (protocol.TaskStatus, error) {
	var out protocol.TaskStatus
	return out, r.call(http.MethodPut, "/v1/tasks/"+id, s, &out)
}

func (r *running) get(id string) (protocol.TaskStatus, error) {
	var out protocol.TaskStatus
	return out, r.call(http.MethodGet, "/v1/tasks/"+id, nil, &out)
}

func (r *running) forget(e protocol.Envelope, epoch int64) (protocol.Tombstone, error) {
	var out protocol.Tombstone
	return out, r.call(http.MethodDelete, "/v1/tasks/"+e.Task, protocol.Forget{Run: e.Run, Epoch: epoch}, &out)
}

func (r *running) cancel(e protocol.Envelope, epoch int64) (protocol.TaskStatus, error) {
	var out protocol.TaskStatus
	return out, r.call(http.MethodPost, "/v1/tasks/"+e.Task+"/cancel", protocol.Cancel{Run: e.Run, Epoch: epoch}, &out)
}

// submit puts a task and insists that it is taken.
func (r *running) submit(e protocol.Envelope) protocol.TaskStatus {
	r.t.Helper()
	s, err := r.put(r.seal(e), e.Task)
	r.must(err)
	return s
}

// until waits by long polls until the status is as wanted.
func (r *running) until(id string, wanted func(protocol.TaskStatus) bool) protocol.TaskStatus {
	r.t.Helper()
	after := int64(-1)
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); {
		var s protocol.TaskStatus
		r.must(r.call(http.MethodGet, fmt.Sprintf("/v1/tasks/%s?after=%d&wait=10s", id, after), nil, &s))
		if wanted(s) {
			return s
		}
		if s.Stage == restart.StageDone {
			r.t.Fatalf("task ended otherwise: %+v", s)
		}
		after = s.Revision
	}
	r.t.Fatalf("task %s did not get there", id)
	return protocol.TaskStatus{}
}

func done(s protocol.TaskStatus) bool { return s.Stage == restart.StageDone }

// output reads a task's whole output.
func (r *running) output(id string) []protocol.Output {
	r.t.Helper()
	resp, err := r.client.Get(r.url + "/v1/tasks/" + id + "/output")
	r.must(err)
	defer resp.Body.Close()
	var out []protocol.Output
	dec := json.NewDecoder(resp.Body)
	for {
		var o protocol.Output
		r.must(dec.Decode(&o))
		out = append(out, o)
		if o.EOF {
			return out
		}
	}
}

func text(lines []protocol.Output) string {
	var b strings.Builder
	for _, o := range lines {
		b.Write(o.Data)
	}
	return b.String()
}

// wantCode insists that err is an error for people with that code.
func wantCode(t testing.TB, err error, code restart.Code) {
	t.Helper()
	if e, ok := errors.AsType[*restart.Error](err); !ok || e.Code != code {
		t.Fatalf("got %v, want an error with code %s", err, code)
	}
}

// safeBuffer may be written and read at once.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// mustNotStart starts an agent that must give up, and gives what it says.
func (b *bed) mustNotStart() string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/proc/self/exe", "serve", b.settings).CombinedOutput()
	if err == nil || ctx.Err() != nil {
		b.t.Fatalf("the agent started: %s", out)
	}
	return string(out)
}

// holdAlive takes a task's lock, as its supervisor has it.
func (b *bed) holdAlive(id string) *os.File {
	b.t.Helper()
	store, err := spool.Open(spool.Config{Dir: b.spoolDir})
	b.must(err)
	defer store.Close()
	lock, err := store.Lock(id)
	b.must(err)
	return lock
}
