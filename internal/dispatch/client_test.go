package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/dispatch"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	host = "web1.example.com"
	task = "01jqr4g3zv8m3k5h7n9p2q4s6t"
)

// authority is one CA with the files of a server and of an agent.
type authority struct {
	dir string
	ca  *pki.CA
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	ca, err := pki.NewCA(name, time.Now())
	must(t, err)
	a := authority{t.TempDir(), ca}
	must(t, ca.Save(a.dir))
	cert, key, err := ca.IssueClient("main", time.Now())
	must(t, err)
	a.write(t, "client", cert, key)
	return a
}

func (a authority) write(t *testing.T, name string, cert, key []byte) {
	t.Helper()
	must(t, os.WriteFile(a.file(name+".crt"), cert, 0o600))
	must(t, os.WriteFile(a.file(name+".key"), key, 0o600))
}

func (a authority) file(name string) string { return filepath.Join(a.dir, name) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// agent serves h as the agent of a host would, and gives its address.
func agent(t *testing.T, a authority, trusts authority, name string, h http.Handler) string {
	t.Helper()
	cert, key, err := a.ca.IssueAgent(name, nil, time.Now())
	must(t, err)
	own := authority{t.TempDir(), a.ca} // credentials are read again when they change: each agent has its own
	own.write(t, "agent", cert, key)
	conf, err := pki.ServerConfig(own.file("agent.crt"), own.file("agent.key"), trusts.file("ca.crt"), []string{"main"})
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &http.Server{Handler: h, TLSConfig: conf, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeTLS(l, "", "") // closed below
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l.Addr().String()
}

func newClient(t *testing.T, a authority) *dispatch.Client {
	t.Helper()
	c, err := dispatch.New(dispatch.Config{Certificate: a.file("client.crt"), Key: a.file("client.key"), CA: a.file("ca.crt"), DialTimeout: time.Second})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func get(t *testing.T, c *dispatch.Client, address string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Status(ctx, restart.Host{Name: host, Address: address}, task, -1, 0)
	return err
}

func TestVerbs(t *testing.T) {
	a := newAuthority(t, "ours")
	var seen []string
	mux := http.NewServeMux()
	answer := func(pattern string, v any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen = append(seen, r.Proto+" "+r.Method+" "+r.URL.String()+" "+string(body))
			json.NewEncoder(w).Encode(v) // the test sees it
		})
	}
	answer("PUT /v1/tasks/{id}", protocol.TaskStatus{Task: task, Stage: restart.StageReceived})
	answer("GET /v1/tasks/{id}", protocol.TaskStatus{Task: task, Stage: restart.StageDone})
	answer("POST /v1/tasks/{id}/cancel", protocol.TaskStatus{})
	answer("DELETE /v1/tasks/{id}", protocol.Tombstone{Task: task})
	answer("POST /v1/check", protocol.CheckReport{Host: host})
	answer("POST /v1/probe", protocol.ProbeReport{Sample: protocol.HealthSample{Healthy: true}})
	h := restart.Host{Name: host, Address: agent(t, a, a, host, mux)}
	c := newClient(t, a)
	ctx := t.Context()
	put, err := c.Put(ctx, h, task, protocol.Submission{Epoch: 3})
	if err != nil || put.Stage != restart.StageReceived {
		t.Errorf("put: %+v, %v", put, err)
	}
	status, err := c.Status(ctx, h, task, 7, 2*time.Second)
	if err != nil || status.Stage != restart.StageDone {
		t.Errorf("status: %+v, %v", status, err)
	}
	must(t, c.Cancel(ctx, h, task, protocol.Cancel{Run: "r", Epoch: 3}))
	stone, err := c.Forget(ctx, h, task, protocol.Forget{Run: "r", Epoch: 3})
	if err != nil || stone.Task != task {
		t.Errorf("forget: %+v, %v", stone, err)
	}
	check, err := c.Check(ctx, h, protocol.CheckRequest{Service: "nginx"})
	if err != nil || check.Host != host {
		t.Errorf("check: %+v, %v", check, err)
	}
	probe, err := c.Probe(ctx, h, protocol.ProbeRequest{})
	if err != nil || !probe.Sample.Healthy {
		t.Errorf("probe: %+v, %v", probe, err)
	}
	if len(seen) != 6 || !strings.HasPrefix(seen[0], "HTTP/2.0 PUT /v1/tasks/"+task) || !strings.Contains(seen[0], `"epoch":3`) || !strings.Contains(seen[1], "after=7&wait=2s") {
		t.Errorf("the agent saw %q", seen)
	}
}

// What is known after a call that failed is the base of at most once.
func TestNothingWasSent(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	reached := false
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, closed.Close())
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { plain.Close() })
	go func() {
		for {
			conn, err := plain.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\n") // the other end may be gone
			conn.Close()
		}
	}()
	for name, c := range map[string]struct {
		address string
		code    restart.Code
		says    string
	}{
		"nothing listens":             {closed.Addr().String(), restart.CodeUnreachable, "nothing listens"},
		"no such name":                {"no-such-host.invalid:1", restart.CodeUnreachable, ""},
		"another program":             {plain.Addr().String(), restart.CodeCertificate, "TLS"},
		"the agent's CA is another":   {agent(t, theirs, ours, host, h), restart.CodeCertificate, "web1.example.com:"},
		"another host's agent":        {agent(t, ours, ours, "web2.example.com", h), restart.CodeCertificate, "web2.example.com"},
		"the agent trusts another CA": {agent(t, ours, theirs, host, h), restart.CodeCertificate, "web1.example.com:"},
	} {
		err := get(t, newClient(t, ours), c.address)
		var notSent *dispatch.NotSentError
		if !errors.As(err, &notSent) || notSent.Err.Code != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if reached {
		t.Error("a request reached an agent that must not have got it")
	}
}

func TestNoAnswerIsNotNothingSent(t *testing.T) {
	a := newAuthority(t, "ours")
	address := agent(t, a, a, host, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler) // the request was read; no answer comes
	}))
	err := get(t, newClient(t, a), address)
	var notSent *dispatch.NotSentError
	var refused *dispatch.RefusedError
	if err == nil || errors.As(err, &notSent) || errors.As(err, &refused) {
		t.Errorf("%v must leave open what happened", err)
	}
}

// Somebody in between lets a request through, cuts off the answer, and then
// takes the agent's place: what he says of certificates does not mean that
// nothing was sent.
func TestWhoIsInBetweenCantSayThatNothingWasSent(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	reached := make(chan struct{}, 1)
	real := agent(t, ours, ours, host, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		<-r.Context().Done()
	}))
	fake := agent(t, theirs, ours, host, http.NotFoundHandler())
	between, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var copies sync.WaitGroup
	t.Cleanup(func() {
		between.Close()
		copies.Wait()
	})
	copies.Go(func() {
		for to := real; ; to = fake {
			in, err := between.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			copies.Go(func() { io.Copy(out, in); out.Close() }) // until either end goes
			copies.Go(func() { io.Copy(in, out); in.Close() })
			if to == real {
				<-reached
				in.Close()
			}
		}
	})
	err = get(t, newClient(t, ours), between.Addr().String())
	var notSent *dispatch.NotSentError
	if err == nil || errors.As(err, &notSent) {
		t.Errorf("%v must leave open what happened", err)
	}
}

func TestRefusals(t *testing.T) {
	a := newAuthority(t, "ours")
	var answer func(w http.ResponseWriter)
	address := agent(t, a, a, host, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
	c := newClient(t, a)
	for name, x := range map[string]struct {
		answer  func(w http.ResponseWriter)
		refused restart.Code
	}{
		"a refusal": {func(w http.ResponseWriter) {
			protocol.WriteError(w, restart.Errorf(restart.CodeNotReviewed, "not here"))
		}, restart.CodeNotReviewed},
		"escapes in it": {func(w http.ResponseWriter) {
			protocol.WriteError(w, restart.Errorf(restart.CodeBusy, "a\x1b[2Jb").WithHint("\u202e"))
		}, restart.CodeBusy},
		"internal error": {func(w http.ResponseWriter) { protocol.WriteError(w, errors.New("disk")) }, ""},
		"not an agent":   {func(w http.ResponseWriter) { http.Error(w, "<html>", http.StatusBadGateway) }, ""},
		"a redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://127.0.0.1:1/")
			w.WriteHeader(http.StatusFound)
		}, ""},
		"not JSON":          {func(w http.ResponseWriter) { io.WriteString(w, "OK") }, ""},
		"an endless answer": {func(w http.ResponseWriter) { io.WriteString(w, `"`+strings.Repeat("x", 5<<20)) }, ""}, // it is cut
	} {
		answer = x.answer
		err := get(t, c, address)
		var refused *dispatch.RefusedError
		var notSent *dispatch.NotSentError
		if err == nil || errors.As(err, &notSent) || errors.As(err, &refused) != (x.refused != "") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if x.refused != "" && (refused.Err.Code != x.refused || restart.Escape(err.Error()) != err.Error()) {
			t.Errorf("%s: %q", name, err)
		}
	}
}

func TestOutput(t *testing.T) {
	a := newAuthority(t, "ours")
	torn := false
	address := agent(t, a, a, host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		enc := json.NewEncoder(w)
		switch r.URL.Query().Get("offset") {
		case "0":
			enc.Encode(protocol.Output{Data: []byte("one")})
			enc.Encode(protocol.Output{Offset: 3, Truncated: 100})
			enc.Encode(protocol.Output{Offset: 103, Data: []byte("\xff")})
			if torn {
				panic(http.ErrAbortHandler)
			}
			enc.Encode(protocol.Output{Offset: 104, EOF: true})
		default:
			t.Errorf("offset %s", r.URL.Query().Get("offset"))
		}
	}))
	c := newClient(t, a)
	h := restart.Host{Name: host, Address: address}
	var got []protocol.Output
	each := func(o protocol.Output) error { got = append(got, o); return nil }
	must(t, c.Output(t.Context(), h, task, 0, each))
	if len(got) != 3 || string(got[0].Data) != "one" || got[1].Truncated != 100 || string(got[2].Data) != "\xff" {
		t.Errorf("pieces: %+v", got)
	}
	torn = true
	if err := c.Output(t.Context(), h, task, 0, each); err == nil {
		t.Error("a stream that breaks looks like its end")
	}
	torn = false
	stop := errors.New("enough")
	if err := c.Output(t.Context(), h, task, 0, func(protocol.Output) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the reader's own error: %v", err)
	}
}
