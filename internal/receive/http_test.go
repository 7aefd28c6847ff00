package receive_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/pki"
	"github.com/restartilka/restartilka/internal/receive"
)

// here is a receiver in this process.
type here struct {
	ca      *pki.CA
	folder  string
	address string
	status  string
	said    *bytes.Buffer // once it has ended
	stop    func()
}

func serve(t *testing.T, change ...func(*receive.Config)) *here {
	t.Helper()
	dir := t.TempDir()
	ca, err := pki.NewCA("receiver", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.IssueServer("receiver", []string{"log.example.com"}, []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := receive.Defaults()
	c.Listen, c.StatusListen, c.KeepFree = "127.0.0.1:0", "127.0.0.1:0", 1
	c.Folder = filepath.Join(dir, "trails")
	c.CA, c.Certificate, c.Key = write("ca.crt", ca.CertPEM()), write("receiver.crt", cert), write("receiver.key", key)
	c.Sources = []receive.Source{{Name: source}, {Name: "server-2", Certificate: "second.example.com"}}
	for _, f := range change {
		f(&c)
	}
	h := &here{ca: ca, folder: c.Folder, said: &bytes.Buffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan struct{})
	go func() {
		done <- receive.Serve(ctx, c, slog.New(slog.NewTextHandler(h.said, nil)), func(listen, status net.Addr) {
			h.address, h.status = listen.String(), status.String()
			close(ready)
		})
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(h.stop)
	return h
}

// client shows a certificate; none where it is nil.
func (h *here) client(t *testing.T, certPEM, keyPEM []byte, change ...func(*tls.Config)) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(h.ca.CertPEM())
	config := &tls.Config{RootCAs: roots}
	if certPEM != nil {
		pair, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	for _, f := range change {
		f(config)
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func (h *here) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	cert, key, err := h.ca.IssueClient(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (h *here) post(t *testing.T, c *http.Client, from string, body io.Reader) (int, audit.ReceiverAnswer, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+h.address+audit.ReceiverPath(from), body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, audit.ReceiverAnswer{}, err
	}
	defer response.Body.Close()
	var a audit.ReceiverAnswer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, a, nil
}

// Nobody gets in but the source itself, by its own certificate of the pinned
// authority; and nobody else learns or changes anything.
func TestStrangersAreTurnedAway(t *testing.T) {
	t.Parallel()
	h := serve(t)
	records := first(3)
	another, err := pki.NewCA("another", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(cert, key []byte, err error) [2][]byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return [2][]byte{cert, key}
	}
	for name, c := range map[string]struct {
		pair   [2][]byte
		source string
		change func(*tls.Config)
		status int // 0: no connection
	}{
		"no certificate":                     {source: source},
		"another authority":                  {pair: issue(another.IssueClient(source, time.Now())), source: source},
		"a name that is no source":           {pair: issue(h.ca.IssueClient("server-3", time.Now())), source: source},
		"a host's agent of that name":        {pair: issue(h.ca.IssueAgent(source, nil, time.Now())), source: source},
		"a web certificate of that name":     {pair: issue(h.ca.IssueServer(source, []string{source}, nil, time.Now())), source: source},
		"TLS 1.2":                            {pair: issue(h.ca.IssueClient(source, time.Now())), source: source, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		"another source's certificate":       {pair: issue(h.ca.IssueClient("second.example.com", time.Now())), source: source, status: http.StatusForbidden},
		"its certificate for another source": {pair: issue(h.ca.IssueClient(source, time.Now())), source: "server-2", status: http.StatusForbidden},
		"a source that is not listed":        {pair: issue(h.ca.IssueClient(source, time.Now())), source: "server-9", status: http.StatusForbidden},
		"a source out of the folder":         {pair: issue(h.ca.IssueClient(source, time.Now())), source: "../" + source, status: http.StatusForbidden},
		"its own":                            {pair: issue(h.ca.IssueClient(source, time.Now())), source: source, status: http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			client := h.client(t, c.pair[0], c.pair[1])
			if c.change != nil {
				c.change(client.Transport.(*http.Transport).TLSClientConfig)
			}
			status, a, err := h.post(t, client, c.source, bytes.NewReader(lines(records...)))
			if (err != nil) != (c.status == 0) || status != c.status {
				t.Fatalf("%d, %+v, %v", status, a, err)
			}
			if status == http.StatusForbidden && (a.Head != audit.Head{} || a.Error == nil || a.Error.Hint == "") {
				t.Errorf("%+v", a)
			}
			if status == http.StatusOK && a.Head != headOf(records) {
				t.Errorf("%+v", a)
			}
		})
	}
	h.stop()
	entries, err := os.ReadDir(h.folder)
	if err != nil || len(entries) != 3 { // .lock and the two sources
		t.Errorf("%v, %v", entries, err)
	}
	if n := strings.Count(h.said.String(), "a stranger was turned away"); n != 4 {
		t.Errorf("%d strangers in the log:\n%s", n, h.said)
	}
	if alarms := alarmsOf(t, h.folder); alarms != nil {
		t.Errorf("strangers raise the alarm: %+v", alarms)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	h := serve(t)
	cert, key := h.issue(t, source)
	client := h.client(t, cert, key)
	records := first(10)
	for _, step := range []struct {
		name   string
		body   io.Reader
		status int
		head   int64
		behind bool
	}{
		{"records", bytes.NewReader(lines(records[:4]...)), http.StatusOK, 4, false},
		{"the same again", bytes.NewReader(lines(records[:4]...)), http.StatusOK, 4, false},
		{"nothing", http.NoBody, http.StatusOK, 4, false},
		{"a gap", bytes.NewReader(lines(records[6:]...)), http.StatusConflict, 4, true},
		{"without its length", struct{ io.Reader }{bytes.NewReader(lines(records[4:]...))}, http.StatusRequestEntityTooLarge, 4, false},
		{"too much", bytes.NewReader(make([]byte, audit.ReceiverBody+1)), http.StatusRequestEntityTooLarge, 4, false},
		{"good records, and then none", bytes.NewReader(append(lines(records[4:6]...), "{}\n"...)), http.StatusConflict, 6, false},
		{"the rest", bytes.NewReader(lines(records[6:]...)), http.StatusOK, 10, false},
	} {
		status, a, err := h.post(t, client, source, step.body)
		if err != nil || status != step.status || a.Head.Seq != step.head || a.Behind != step.behind || (a.Error == nil) != (status == http.StatusOK) {
			t.Errorf("%s: %d, %+v, %v", step.name, status, a, err)
		}
	}
	response, err := client.Get("https://" + h.address + audit.ReceiverPath(source))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var a audit.ReceiverAnswer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil || a.Head != headOf(records) {
		t.Errorf("%+v, %v", a, err)
	}
	status, told := health(t, h.status)
	if status != http.StatusServiceUnavailable || told.OK || len(told.Wrong) != 1 || !strings.Contains(told.Wrong[0], "the alarm stands") ||
		told.Sources[0].Records != 10 || told.Sources[0].Duplicates != 4 || told.Sources[0].Refused[receive.AlarmMalformed] != 1 {
		t.Errorf("%d, %+v", status, told)
	}
	if err := os.Rename(filepath.Join(h.folder, source, "alarm.jsonl"), filepath.Join(h.folder, source, "alarm-seen.jsonl")); err != nil {
		t.Fatal(err)
	}
	if status, told := health(t, h.status); status != http.StatusOK || !told.OK {
		t.Errorf("%d, %+v", status, told)
	}
}

// Every metric stands in the reference, with its labels.
func TestMetricsAreTold(t *testing.T) {
	t.Parallel()
	h := serve(t)
	response, err := http.Get("http://" + h.status + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	told, err := os.ReadFile("../../docs/reference/receiver.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(string(text), -1)
	if len(found) != 12 {
		t.Errorf("%d metrics:\n%s", len(found), text)
	}
	for _, m := range found {
		if !strings.Contains(string(told), "| `"+m[1]+"` | "+m[2]+" |") {
			t.Errorf("docs/reference/receiver.md does not tell of %s, a %s", m[1], m[2])
		}
	}
	for _, want := range []string{`restartilka_receiver_head_seq{source="server-2"} 0`, `restartilka_receiver_alarms{source="server-1"} 0`} {
		if !slices.Contains(strings.Split(string(text), "\n"), want) {
			t.Errorf("no %s", want)
		}
	}
}

// A source that sends more than its rate waits, and holds up nobody else.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		wait := receive.NewLimiter(1000)
		for range 5 {
			if err := wait(t.Context(), 500); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 1500*time.Millisecond { // the first second's worth at once
			t.Errorf("%s", took)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := wait(over, 5000); err == nil {
			t.Error("it went on without anybody who waits")
		}
		time.Sleep(time.Hour)
		began = time.Now()
		if err := wait(t.Context(), 1000); err != nil || time.Since(began) != 0 {
			t.Errorf("%s, %v", time.Since(began), err)
		}
	})
}
