package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/api/apitest"
	"github.com/restartilka/restartilka/internal/client"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// atOnce takes the waiting out of a test.
func atOnce(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func newClient(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// fake serves what a server of ours would never send.
func fake(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestAgainstTheRealAPI(t *testing.T) {
	s := apitest.Start(t, nil)
	c := newClient(t, client.Config{URL: s.URL + "/", CAFile: s.CAFile, Token: s.Token("anna", restart.RoleDeveloper)})
	root := newClient(t, client.Config{URL: s.URL, CAPEM: s.CAPEM, Token: s.Token("root", restart.RoleAdmin)})
	ctx := t.Context()

	who, err := c.Whoami(ctx)
	if err != nil || who.Name != "anna" || who.Via != "cli" {
		t.Fatalf("%+v %v", who, err)
	}
	run, err := c.Draft(ctx, restart.Request{Service: "shop", Reason: "workers hang since noon"}, "key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(ctx, run.ID, wire.StartRequest{Hosts: []string{"web3", "web1"}}); err != nil {
		t.Fatal(err)
	}
	var last restart.Run
	seen := 0
	err = c.Follow(ctx, run.ID, 0, func(r restart.Run) error {
		if r.Plan == nil || len(r.Tasks) != 2 || r.Version <= last.Version {
			t.Errorf("version %d after %d: plan %v, %d tasks", r.Version, last.Version, r.Plan != nil, len(r.Tasks))
		}
		last, seen = r, seen+1
		return nil
	}, nil)
	if err != nil || last.State != restart.RunCompleted || seen == 0 {
		t.Fatalf("%d events, last %s: %v", seen, last.State, err)
	}
	full, err := c.Run(ctx, run.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(full.Tasks) != len(last.Tasks) || full.Version != last.Version {
		t.Errorf("followed to version %d with %d tasks, it is at %d with %d", last.Version, len(last.Tasks), full.Version, len(full.Tasks))
	}
	task := full.Tasks[0].ID
	if d, err := c.TaskDetail(ctx, run.ID, task); err != nil || d.Task.State != restart.TaskSucceeded {
		t.Errorf("%+v %v", d, err)
	}
	pieces, next, more, err := c.Output(ctx, run.ID, task, 0, 1000)
	if err != nil || len(pieces) != 1 || next != 10 || !more {
		t.Errorf("%v %d %v %v", pieces, next, more, err)
	}
	var text strings.Builder
	if err := c.WriteOutput(ctx, &text, run.ID, task); err != nil || text.String() != "restarted\n" {
		t.Errorf("%q %v", text.String(), err)
	}
	if list, err := c.Runs(ctx, wire.RunQuery{Service: "shop", States: []restart.RunState{restart.RunCompleted, restart.RunFailed}}); err != nil || len(list.Items) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	key, csr, err := pki.NewAgentCSR("web9.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := root.IssueHost(ctx, "web9.example.com", csr); err != nil || got.Server != "test" || strings.Contains(got.Certificate, string(key)) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := c.IssueHost(ctx, "web9.example.com", csr); restart.CodeOf(err) != restart.CodeForbidden {
		t.Errorf("%v", err)
	}
	_, err = c.Run(ctx, strings.Repeat("0", 26))
	if e, ok := errors.AsType[*restart.Error](err); !ok || e.Code != restart.CodeNotFound {
		t.Errorf("%v", err)
	}
}

func TestTrust(t *testing.T) {
	s := apitest.Start(t, nil)
	other, err := pki.NewCA("other", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, ca := range map[string][]byte{"system": nil, "another authority": other.CertPEM()} {
		_, err := newClient(t, client.Config{URL: s.URL, CAPEM: ca, Token: "rtk_secret"}).Whoami(t.Context())
		away, ok := errors.AsType[*client.UnreachableError](err)
		if !ok || len(away.Certificates) == 0 || !strings.Contains(away.Hint, "--ca") ||
			!strings.Contains(err.Error(), "is not trusted") || strings.Contains(err.Error(), "can't be reached") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "https://"))
	_, err = newClient(t, client.Config{URL: "https://127.0.0.2:" + port, CAPEM: s.CAPEM}).Whoami(t.Context())
	if away, ok := errors.AsType[*client.UnreachableError](err); ok && len(away.Certificates) > 0 && !strings.Contains(away.Hint, "another name") {
		t.Errorf("%v", err)
	} else if !ok {
		t.Errorf("a certificate for another name was taken: %v", err)
	}
}

// An agent's certificate carries its host's name. Where the server's name leads
// to that host, its agent must not be taken for the server.
func TestAnAgentIsNotTheServer(t *testing.T) {
	ca, err := pki.NewCA("ours", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := ca.IssueAgent("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was sent") }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err = newClient(t, client.Config{URL: s.URL, CAPEM: ca.CertPEM(), Token: "rtk_secret"}).Whoami(t.Context())
	if restart.CodeOf(err) != restart.CodeCertificate || !strings.Contains(err.Error(), "that of agent localhost") {
		t.Errorf("%v", err)
	}
}

func TestConfiguration(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]client.Config{
		"no server":      {},
		"plain http":     {URL: "http://restartilka.example.com"},
		"another scheme": {URL: "ftp://127.0.0.1"},
		"no host":        {URL: "https://"},
		"no scheme":      {URL: "restartilka.example.com:8443"},
		"password":       {URL: "https://anna:secret@127.0.0.1"},
		"path":           {URL: "https://127.0.0.1/api"},
		"query":          {URL: "https://127.0.0.1/?x=1"},
		"control":        {URL: "https://127.0.0.1\n"},
		"no CA file":     {URL: "https://127.0.0.1", CAFile: "/nowhere/ca.crt"},
		"garbage CA":     {URL: "https://127.0.0.1", CAFile: garbage},
		"token":          {URL: "https://127.0.0.1", Token: "a\r\nX-Evil: 1"},
	} {
		if _, err := client.New(cfg); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "secret") && name != "password" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoCredentialsElsewhere: a redirect is an error, and what it leads to
// never sees the token (CVE-2021-27023).
func TestNoCredentialsElsewhere(t *testing.T) {
	var stolen atomic.Bool
	thief := fake(t, func(http.ResponseWriter, *http.Request) { stolen.Store(true) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		url := fake(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief+"/api/v1/whoami", status) })
		_, err := newClient(t, client.Config{URL: url, Token: "rtk_secret"}).Whoami(t.Context())
		if _, ok := errors.AsType[*client.UnreachableError](err); !ok || stolen.Load() {
			t.Errorf("%d: %v, followed %v", status, err, stolen.Load())
		}
	}
}

func TestStrangeAnswers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a page":        func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello") },
		"an error page": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "nginx", http.StatusBadGateway) },
		"half a problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", wire.ProblemType)
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"title":"x"}`)
		},
		"a problem, no end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", wire.ProblemType)
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"code":"x`)
		},
		"nothing":     func(http.ResponseWriter, *http.Request) {},
		"it hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		_, err := newClient(t, client.Config{URL: fake(t, h)}).Whoami(t.Context())
		if _, ok := errors.AsType[*client.UnreachableError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newClient(t, client.Config{URL: fake(t, func(http.ResponseWriter, *http.Request) {})}).Whoami(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestFollowComesBack loses the stream after each event, and the server for a
// while: nothing is missed, nothing comes twice.
func TestFollowComesBack(t *testing.T) {
	var asked atomic.Int64
	url := fake(t, func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		last := r.Header.Get("Last-Event-Id")
		if n == 2 {
			http.Error(w, "a proxy", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		switch last {
		case "":
			fmt.Fprint(w, ": hello\n\nid: 1\nevent: run\ndata: {\"id\":\"r\",\"version\":1,\"plan\":{\"hash\":\"h\"},\"tasks\":[{\"id\":\"a\",\"host\":\"web1\"},{\"id\":\"b\",\"host\":\"web2\"}]}\n\nid: 2\nevent: run\ndata: {\"id\":\"r\",")
		case "1":
			fmt.Fprint(w, "event: run\r\ndata: {\"id\":\"r\",\"version\":1}\r\n\r\nevent: run\r\ndata: {\"id\":\"r\",\"version\":2,\r\ndata: \"tasks\":[{\"id\":\"b\",\"host\":\"web2\",\"state\":\"running\"}]}\r\n\r\n")
		case "2":
			fmt.Fprint(w, "event: end\ndata: {}\n\n")
		}
	})
	c := newClient(t, client.Config{URL: url, Wait: atOnce})
	var got []string
	var contact []bool
	err := c.Follow(t.Context(), "r", 0, func(r restart.Run) error {
		line := fmt.Sprintf("%d %v", r.Version, r.Plan != nil)
		for _, task := range r.Tasks {
			line += " " + task.Host + "=" + string(task.State)
		}
		got = append(got, line)
		return nil
	}, func(answers bool) { contact = append(contact, answers) })
	want := []string{"1 true web1= web2=", "2 true web1= web2=running"}
	if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q %v", got, err)
	}
	if asked.Load() != 4 {
		t.Errorf("asked %d times", asked.Load())
	}
	// Said once, and that it is back; a stream that only ended is not told.
	if !slices.Equal(contact, []bool{false, true}) {
		t.Errorf("contact %v", contact)
	}
}

func TestFollowGivesUp(t *testing.T) {
	var waited time.Duration
	count := func(ctx context.Context, d time.Duration) error {
		waited += d
		return ctx.Err()
	}
	// A server that never answered: at once.
	away := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	c := newClient(t, client.Config{URL: fake(t, away), Wait: count, Patience: time.Minute})
	err := c.Follow(t.Context(), "r", 0, nil, nil)
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok || waited != 0 {
		t.Errorf("after %s: %v", waited, err)
	}
	// One that did is asked again, and what stands before it does not count as it.
	var asked atomic.Int64
	gone := func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			http.Error(w, "nginx", http.StatusBadGateway)
			return
		}
		fmt.Fprint(w, `{"name":"anna"}`)
	}
	c = newClient(t, client.Config{URL: fake(t, gone), Wait: count, Patience: time.Minute})
	if _, err := c.Whoami(t.Context()); err != nil {
		t.Fatal(err)
	}
	var contact []bool
	err = c.Follow(t.Context(), "r", 0, nil, func(answers bool) { contact = append(contact, answers) })
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok || waited < time.Minute || waited > 2*time.Minute || !slices.Equal(contact, []bool{false}) {
		t.Errorf("after %s, contact %v: %v", waited, contact, err)
	}
	// What the server itself says is final.
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", wire.ProblemType)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"code":"unauthorised","detail":"the token is not valid"}`)
	}
	c = newClient(t, client.Config{URL: fake(t, refuse), Wait: count})
	if err := c.Follow(t.Context(), "r", 0, nil, nil); restart.CodeOf(err) != restart.CodeUnauthorised {
		t.Error(err)
	}
	// And so is what the caller says.
	speak := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "event: run\ndata: {\"version\":1}\n\n") }
	c = newClient(t, client.Config{URL: fake(t, speak), Wait: count})
	if err := c.Follow(t.Context(), "r", 0, func(restart.Run) error { return io.ErrClosedPipe }, nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	mumble := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "event: run\ndata: {\n\n") }
	c = newClient(t, client.Config{URL: fake(t, mumble), Wait: count})
	if err := c.Follow(t.Context(), "r", 0, func(restart.Run) error { return nil }, nil); err == nil {
		t.Error("an event that can't be read was taken")
	}
}
