package audit_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/restart"
)

// trails is a receiver of our own, in this process.
type trails struct {
	authority
	address string
	folder  string
	certPEM []byte
	keyPEM  []byte
	stop    func()
}

func newTrails(t *testing.T) *trails {
	t.Helper()
	dir := t.TempDir()
	r := &trails{authority: newAuthority(t), folder: filepath.Join(dir, "trails")}
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, key := r.server(t)
	var err error
	if r.certPEM, r.keyPEM, err = r.ca.IssueClient(source, time.Now()); err != nil {
		t.Fatal(err)
	}
	c := receive.Defaults()
	c.Listen, c.StatusListen, c.Folder, c.KeepFree = "127.0.0.1:0", "", r.folder, 1
	c.Certificate, c.Key, c.CA = write("logs.crt", cert), write("logs.key", key), write("ca.crt", r.ca.CertPEM())
	c.Sources = []receive.Source{{Name: source}}
	ctx, cancel := context.WithCancel(context.Background())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- receive.Serve(ctx, c, slog.New(slog.DiscardHandler), func(listen, _ net.Addr) {
			r.address = listen.String()
			close(ready)
		})
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

func (r *trails) config(t *testing.T) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(r.certPEM, r.keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: r.roots, ServerName: logServer, Certificates: []tls.Certificate{pair}}
}

func receiverSink(t *testing.T, address string, config *tls.Config) *audit.Receiver {
	t.Helper()
	s, err := audit.NewReceiver(audit.ReceiverConfig{Address: address, TLS: config, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (r *trails) stored(t *testing.T) []audit.Record {
	t.Helper()
	parts, err := receive.Parts(r.folder)
	if err != nil {
		t.Fatal(err)
	}
	f, err := receive.Reader(parts)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, b)
}

func TestReceiverExercise(t *testing.T) {
	Exercise(t, func(t *testing.T) place {
		r := newTrails(t)
		return place{
			open:   func(t *testing.T) audit.Sink { return receiverSink(t, r.address, r.config(t)) },
			stored: r.stored,
			settle: func(t *testing.T, s audit.Sink, seq int64) {
				if got, err := s.Settled(); got != seq || err != nil {
					t.Errorf("settled %d instead of %d, %v", got, seq, err)
				}
			},
		}
	})
}

// Behind a long batch the next one is read; each settles once it is answered.
func TestReceiverReadsOnMeanwhile(t *testing.T) {
	t.Parallel()
	r := newTrails(t)
	s := receiverSink(t, r.address, r.config(t))
	records := chained(1000)
	for batch := range slices.Chunk(records, 250) {
		if err := s.Send(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if seq, err := s.Settled(); err != nil || seq < batch[0].Seq-1 {
			t.Fatalf("settled %d before %d, %v", seq, batch[0].Seq, err)
		}
	}
	eventually(t, func() bool {
		seq, err := s.Settled()
		if err != nil {
			t.Fatal(err)
		}
		return seq == 1000
	})
	if got := r.stored(t); len(got) != 1000 {
		t.Errorf("%d are stored", len(got))
	}
	// What is learned between is told by the next Send, too.
	if err := s.Send(t.Context(), extend(audit.Head{Source: source, Seq: 5000, Epoch: 1}, 200)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, err := s.Settled(); return err != nil })
	if behind, ok := errors.AsType[*audit.Behind](s.Send(t.Context(), chained(1))); !ok || behind.After != 1000 {
		t.Errorf("%+v", behind)
	}
	if err := s.Send(t.Context(), extend(records[999].Head(), 1)); err != nil {
		t.Error(err)
	}
}

// A line is read as Decode reads it, and its hash is that of its bytes.
func TestLinesAreReadAsRecords(t *testing.T) {
	t.Parallel()
	for _, r := range append(vectors(), chained(20)...) {
		text := r.Canonical()
		line, err := audit.ReadLine(text)
		if err != nil || line.Head != r.Head() || line.PrevHash != r.PrevHash {
			t.Errorf("%s: %+v, %v", text, line, err)
		}
		for _, at := range []int{bytes.Index(text, []byte("action")) + 10, len(text) - 5} {
			other := bytes.Clone(text)
			other[at] = map[bool]byte{true: 'b', false: 'a'}[other[at] == 'a']
			if _, err := audit.ReadLine(other); !errors.Is(err, audit.ErrChanged) {
				t.Errorf("%s: %v", other, err)
			}
		}
	}
	for _, text := range []string{"", "{}", `{"seq":0}`, `{"source":"a","epoch":1,"seq":1,"hash":"x"}`} {
		if _, err := audit.ReadLine([]byte(text)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

// A receiver that was put back from a copy gets what it lacks.
func TestReceiverThatIsBehind(t *testing.T) {
	t.Parallel()
	r := newTrails(t)
	s := receiverSink(t, r.address, r.config(t))
	records := chained(30)
	if err := s.Send(t.Context(), records[:10]); err != nil {
		t.Fatal(err)
	}
	err := s.Send(t.Context(), records[20:])
	if behind, ok := errors.AsType[*audit.Behind](err); !ok || behind.After != 10 || behind.Sink != s.Name() {
		t.Fatal(err)
	}
	// A server whose cursor is further on than a receiver that is new.
	fresh := newTrails(t)
	s = receiverSink(t, fresh.address, fresh.config(t))
	store := newMemory()
	store.cursors[s.Name()] = 20
	commitAll(store, 30)
	trail, stop := running(t, audit.Config{Store: store, Sinks: []audit.Sink{s}, Batch: 7, Poll: 10 * time.Millisecond})
	trail.Wake()
	eventually(t, func() bool {
		parts, err := receive.Parts(fresh.folder)
		return err == nil && len(parts) == 1 && len(fresh.stored(t)) == 30
	})
	stop()
	if report := verify(t, lines(fresh.stored(t)), store.head); !report.OK {
		t.Error(describe(report))
	}
}

// A chain that is not the one that is stored is refused, and settles nothing.
func TestReceiverRefuses(t *testing.T) {
	t.Parallel()
	r := newTrails(t)
	s := receiverSink(t, r.address, r.config(t))
	records := chained(10)
	if err := s.Send(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	remade := extend(records[4].Head(), 20)
	remade[0].Actor = "eve"
	for i := range remade {
		head := records[4].Head()
		if i > 0 {
			head = remade[i-1].Head()
		}
		remade[i].Link(head)
	}
	err := s.Send(t.Context(), remade)
	if e, ok := errors.AsType[*restart.Error](err); !ok || e.Code != restart.CodeConflict || e.Hint == "" {
		t.Errorf("%v", err)
	}
	if seq, err := s.Settled(); seq != 10 || err != nil {
		t.Errorf("settled %d, %v", seq, err)
	}
	if got := r.stored(t); len(got) != 10 || got[9].Hash != records[9].Hash {
		t.Errorf("%d are stored", len(got))
	}
	other := extend(audit.Head{Source: "server-2"}, 1)
	if err := s.Send(t.Context(), other); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("another source: %v", err)
	}
}

func TestReceiverChecksTheReceiver(t *testing.T) {
	t.Parallel()
	r := newTrails(t)
	for name, change := range map[string]func(*tls.Config){
		"another authority": func(c *tls.Config) { c.RootCAs = newAuthority(t).roots },
		"another name":      func(c *tls.Config) { c.ServerName = "other.example.com" },
		"no certificate":    func(c *tls.Config) { c.Certificates = nil },
	} {
		config := r.config(t)
		change(config)
		if err := receiverSink(t, r.address, config).Send(t.Context(), chained(1)); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	pair, err := tls.X509KeyPair(r.server(t))
	if err != nil {
		t.Fatal(err)
	}
	old.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12}
	old.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	old.StartTLS()
	defer old.Close()
	if err := receiverSink(t, old.Listener.Addr().String(), r.config(t)).Send(t.Context(), chained(1)); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("TLS 1.2: %v", err)
	}
}

// Only an answer that tells of what was sent settles it.
func TestReceiverThatAnswersNonsense(t *testing.T) {
	t.Parallel()
	records := chained(5)
	answer := func(a audit.ReceiverAnswer) string {
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	with := func(change func(*audit.Head)) string {
		head := records[4].Head()
		change(&head)
		return answer(audit.ReceiverAnswer{Head: head})
	}
	good := with(func(*audit.Head) {})
	for name, c := range map[string]struct {
		status  int
		text    string
		want    string
		settled int64
	}{
		"good":                    {200, good, "", 5},
		"further on":              {200, with(func(h *audit.Head) { h.Seq, h.Hash = 9, "x" }), "", 5},
		"nothing":                 {200, "", "nonsense, 200: (nothing)", 0},
		"a page":                  {200, "<html>sign in</html>", "nonsense", 0},
		"an empty object":         {200, "{}", "nonsense", 0},
		"too much":                {200, good + strings.Repeat(" ", 20<<10), "nonsense", 0},
		"not the end":             {200, with(func(h *audit.Head) { h.Seq = 4 }), "nonsense", 0},
		"another record":          {200, with(func(h *audit.Head) { h.Hash = records[3].Hash }), "nonsense", 0},
		"another epoch":           {200, with(func(h *audit.Head) { h.Epoch = 0 }), "nonsense", 0},
		"another source":          {200, with(func(h *audit.Head) { h.Source = "server-2" }), "nonsense", 0},
		"an error with success":   {200, answer(audit.ReceiverAnswer{Head: records[4].Head(), Error: restart.Errorf(restart.CodeDiskFull, "full")}), "nonsense", 0},
		"success with an error":   {500, good, "nonsense", 0},
		"elsewhere":               {302, good, "nonsense", 0},
		"full":                    {507, answer(audit.ReceiverAnswer{Error: restart.Errorf(restart.CodeDiskFull, "\x1b[2Jfull")}), `refuses, 507: \x1b[2Jfull`, 0},
		"full in the middle":      {507, answer(audit.ReceiverAnswer{Head: records[2].Head(), Error: restart.Errorf(restart.CodeDiskFull, "full")}), "refuses, 507: full", 3},
		"behind":                  {409, answer(audit.ReceiverAnswer{Behind: true, Error: restart.Errorf(restart.CodeConflict, "gap")}), "ends at record 0", 0},
		"behind, without a doubt": {200, answer(audit.ReceiverAnswer{Behind: true, Head: records[4].Head()}), "nonsense", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.Header().Set("Location", "https://elsewhere.example.com/")
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.text)
			}))
			defer server.Close()
			s := receiverSink(t, server.Listener.Addr().String(), server.Client().Transport.(*http.Transport).TLSClientConfig)
			err := s.Send(t.Context(), records)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if seq, err := s.Settled(); seq != c.settled || err != nil {
				t.Errorf("settled %d, %v", seq, err)
			}
		})
	}
}

// A receiver that hangs is given up.
func TestReceiverThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	s, err := audit.NewReceiver(audit.ReceiverConfig{
		Address: server.Listener.Addr().String(), TLS: server.Client().Transport.(*http.Transport).TLSClientConfig, Timeout: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Send(t.Context(), chained(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestReceiverSettings(t *testing.T) {
	t.Parallel()
	good := audit.SinkConfig{Kind: "receiver", Address: "log.example.com:6516", CA: "ca.crt", Certificate: "client.crt", Key: "client.key"}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*audit.SinkConfig){
		"is not HOST:PORT":          func(c *audit.SinkConfig) { c.Address = "log" },
		"has no ca":                 func(c *audit.SinkConfig) { c.CA = "" },
		"has no certificate":        func(c *audit.SinkConfig) { c.Certificate, c.Key = "", "" },
		"a certificate without":     func(c *audit.SinkConfig) { c.Key = "" },
		"facility means nothing to": func(c *audit.SinkConfig) { c.Facility = "local0" },
	} {
		c := good
		change(&c)
		if err := c.Check(); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
