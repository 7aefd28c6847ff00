package audit_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// logStore takes records over HTTPS as Elasticsearch does with bulk requests,
// and as line-oriented receivers do.
type logStore struct {
	authority
	t      *testing.T
	server *httptest.Server
	format string
	dir    string

	mu     sync.Mutex
	ids    map[string]bool
	got    []audit.Record
	bodies []int
	answer http.HandlerFunc // instead, where it is set
}

func newLogStore(t *testing.T, format string) *logStore {
	t.Helper()
	s := &logStore{authority: newAuthority(t), t: t, format: format, dir: t.TempDir(), ids: map[string]bool{}}
	cert, key, err := s.ca.IssueServer("logs", nil, []net.IP{net.IPv4(127, 0, 0, 1)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: s.roots, ClientAuth: tls.VerifyClientCertIfGiven}
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	return s
}

func (s *logStore) write(name string, content []byte) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *logStore) config() audit.SinkConfig {
	return audit.SinkConfig{
		Kind: "http", Format: s.format, URL: s.server.URL + "/audit/_bulk?token=hidden",
		CA: s.write("ca.crt", s.ca.CertPEM()), CredentialsFile: s.write("credentials", []byte("ApiKey c2VjcmV0\n")),
	}
}

func (s *logStore) sink(c audit.SinkConfig) audit.Sink {
	s.t.Helper()
	sinks, err := audit.Settings{Require: "spool", Sinks: []audit.SinkConfig{c}}.Open()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { sinks[0].Close() })
	return sinks[0]
}

func (s *logStore) answers(with http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = with
}

func (s *logStore) records() []audit.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *logStore) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if s.answer != nil {
		s.answer(w, r)
		return
	}
	if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("Authorization") != "ApiKey c2VjcmV0" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.bodies = append(s.bodies, len(body))
	if s.format == "lines" {
		s.got = append(s.got, parse(s.t, body)...)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(s.create(bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))))
}

// create answers as Elasticsearch 8 does: a document of a known id is refused.
func (s *logStore) create(lines [][]byte) []byte {
	answer := map[string]any{"took": 3, "errors": false}
	var items []any
	for i := 0; i+1 < len(lines); i += 2 {
		var action struct {
			Create struct {
				ID string `json:"_id"`
			} `json:"create"`
		}
		var document struct {
			Record string    `json:"record"`
			Source string    `json:"source"`
			Time   time.Time `json:"@timestamp"`
		}
		if json.Unmarshal(lines[i], &action) != nil || json.Unmarshal(lines[i+1], &document) != nil {
			s.t.Errorf("not a request: %s", lines[i+1])
		}
		record := parse(s.t, []byte(document.Record))[0]
		if id := fmt.Sprintf("%s-%d-%d", record.Source, record.Epoch, record.Seq); id != action.Create.ID || document.Source != record.Source || !document.Time.Equal(record.Time) {
			s.t.Errorf("%s of %s at %s is record %s", action.Create.ID, document.Source, document.Time, id)
		}
		item := map[string]any{"_index": "audit", "_id": action.Create.ID, "status": 201, "result": "created"}
		if s.ids[action.Create.ID] {
			answer["errors"] = true
			item = map[string]any{"_index": "audit", "_id": action.Create.ID, "status": 409, "error": map[string]any{"type": "version_conflict_engine_exception", "reason": "document already exists"}}
		} else {
			s.ids[action.Create.ID] = true
			s.got = append(s.got, record)
		}
		items = append(items, map[string]any{"create": item})
	}
	answer["items"] = items
	b, _ := json.Marshal(answer)
	return b
}

func TestHTTPExercise(t *testing.T) {
	for _, format := range []string{"lines", "bulk"} {
		t.Run(format, func(t *testing.T) {
			Exercise(t, func(t *testing.T) place {
				s := newLogStore(t, format)
				return place{
					open:   func(t *testing.T) audit.Sink { return s.sink(s.config()) },
					stored: func(t *testing.T) []audit.Record { return s.records() },
					copies: format == "lines",
					settle: func(t *testing.T, sink audit.Sink, seq int64) {
						t.Helper()
						if got, err := sink.Settled(); got != seq || err != nil {
							t.Errorf("settled %d instead of %d, %v", got, seq, err)
						}
					},
				}
			})
		})
	}
}

func TestHTTPReceiverThatRefuses(t *testing.T) {
	item := func(n int, rest string) string {
		return fmt.Sprintf(`{"create":{"_id":"server-1-1-%d",%s}}`, n, rest)
	}
	created := item(1, `"status":201`)
	json := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, text)
		}
	}
	status := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); io.WriteString(w, text) }
	}
	page := func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<!DOCTYPE html><title>Sign in</title>")
	}
	for _, c := range []struct {
		formats, want string
		answer        http.HandlerFunc
	}{
		{"lines bulk", "401 Unauthorized", status(401, "")},
		{"lines bulk", "403 Forbidden", status(403, "")},
		{"lines bulk", "sends us elsewhere (302 Found)", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }},
		{"lines bulk", `503 Service Unavailable: full\n\x1b[2J`, status(503, "full\n\x1b[2J")},
		{"lines bulk", "with a page of HTML", page},
		{"lines bulk", "more than 4194304 bytes", json(strings.Repeat(" ", 5<<20))},
		{"lines bulk", "its answer broke off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "{")
		}},
		{"bulk", "nonsense where JSON is due: OK", json("OK")},
		{"bulk", "nonsense where JSON is due: (nothing)", status(204, "")},
		{"bulk", "nonsense where JSON is due", json(`{"errors":false,"items":[` + created + "," + item(2, `"status":"201"`) + `]}`)},
		{"bulk", "0 items for 2 records", json(`{}`)},
		{"bulk", "1 items for 2 records", json(`{"errors":false,"items":[` + created + `]}`)},
		{"bulk", "2 items for 2 records", json(`{"items":[` + created + "," + item(2, `"status":201`) + `]}`)},
		{"bulk", "item 2 does not tell of record 2", json(`{"errors":false,"items":[` + created + "," + created + `]}`)},
		{"bulk", "item 2 does not tell of record 2", json(`{"errors":false,"items":[` + created + `,{"index":{"status":201}}]}`)},
		{"bulk", "every item without one", json(`{"errors":true,"items":[` + created + "," + item(2, `"status":201`) + `]}`)},
		{"bulk", "refuses 1 of 2 records, the first: record 2 of server-1, status 400: mapper_parsing_exception: no", json(`{"errors":true,"items":[` + created + "," + item(2, `"status":400,"error":{"type":"mapper_parsing_exception","reason":"no"}`) + `]}`)},
		{"bulk", "record 2 of server-1, status 429: no reason given", json(`{"errors":true,"items":[` + created + "," + item(2, `"status":429`) + `]}`)},
		{"bulk", "record 1 of server-1, status 409", json(`{"errors":true,"items":[` + item(1, `"status":409`) + "," + item(2, `"status":201`) + `]}`)},
	} {
		for format := range strings.FieldsSeq(c.formats) {
			t.Run(format+" "+c.want, func(t *testing.T) {
				t.Parallel()
				s := newLogStore(t, format)
				sink := s.sink(s.config())
				s.answers(c.answer)
				err := sink.Send(t.Context(), chained(2))
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
					t.Errorf("want %q: %v", c.want, err)
				}
				if seq, err := sink.Settled(); seq != 0 || err != nil {
					t.Errorf("settled %d, %v", seq, err)
				}
				s.answers(nil)
				if err := sink.Send(t.Context(), chained(2)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// No request is larger than proxies take, and what was answered for before one
// failed has settled.
func TestHTTPRequestsAreBounded(t *testing.T) {
	s := newLogStore(t, "bulk")
	sink := s.sink(s.config())
	records := make([]audit.Record, 300)
	head := audit.Head{Source: source}
	for i := range records {
		records[i] = event(i)
		records[i].Detail = strings.Repeat("d", 3000)
		records[i].Link(head)
		head = records[i].Head()
	}
	if err := sink.Send(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if len(s.bodies) < 3 || slices.Max(s.bodies) > 512<<10 {
		t.Errorf("requests of %v bytes", s.bodies)
	}
	if got := s.records(); len(got) != 300 || !bytes.Equal(lines(got), lines(records)) {
		t.Errorf("%d records have arrived", len(got))
	}
}

func TestHTTPNameHasNoSecret(t *testing.T) {
	s := newLogStore(t, "bulk")
	if name := s.sink(s.config()).Name(); name != "http:"+s.server.URL+"/audit/_bulk" {
		t.Error(name)
	}
}

func TestHTTPChecksTheReceiver(t *testing.T) {
	s := newLogStore(t, "lines")
	c := s.config()
	c.CA = s.write("other.crt", newAuthority(t).ca.CertPEM())
	if err := s.sink(c).Send(t.Context(), chained(1)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another authority: %v", err)
	}
	c = s.config()
	c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1)
	if err := s.sink(c).Send(t.Context(), chained(1)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("another name: %v", err)
	}
	if len(s.records()) > 0 {
		t.Error("records have arrived")
	}
}

func TestHTTPShowsItsCertificate(t *testing.T) {
	s := newLogStore(t, "lines")
	c := s.config()
	cert, key, err := s.ca.IssueClient("server-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c.Certificate, c.Key = s.write("c.crt", cert), s.write("c.key", key)
	name := ""
	s.answers(func(_ http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
	})
	if err := s.sink(c).Send(t.Context(), chained(1)); err != nil || name != "server-1" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestHTTPCredentials(t *testing.T) {
	s := newLogStore(t, "lines")
	c := s.config()
	sink := s.sink(c)
	for content, want := range map[string]string{
		"token":               "does not hold a value of the header Authorization",
		"":                    "does not hold a value",
		"Bearer a\r\nX-Evil:": "does not hold a value",
		"Bearer ":             "does not hold a value",
	} {
		s.write("credentials", []byte(content))
		err := sink.Send(t.Context(), chained(1)) // it is read again
		if restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Evil") {
			t.Errorf("%q: %v", content, err)
		}
	}
	if err := os.Chmod(c.CredentialsFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (audit.Settings{Require: "spool", Sinks: []audit.SinkConfig{c}}).Open(); err == nil || !strings.Contains(err.Error(), "0644") {
		t.Errorf("open to others: %v", err)
	}
}

// A receiver that hangs holds Close up no longer than it takes to say so.
func TestHTTPCloseEndsASend(t *testing.T) {
	s := newLogStore(t, "lines")
	sink := s.sink(s.config())
	asked, release := make(chan struct{}), make(chan struct{})
	s.answers(func(http.ResponseWriter, *http.Request) { close(asked); <-release })
	defer close(release)
	sent := make(chan error)
	go func() { sent <- sink.Send(context.Background(), chained(1)) }()
	<-asked
	sink.Close()
	if err := <-sent; err == nil {
		t.Error("sent")
	}
}

func FuzzBulkAnswer(f *testing.F) {
	for _, text := range []string{
		`{"errors":false,"items":[{"create":{"_id":"server-1-1-1","status":201}}]}`, `{"errors":true,"items":[{"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}}]}`,
		`{"errors":false,"items":[{}]}`, `{"errors":false,"items":[null]}`, `null`, `[]`, `{"items":[{"create":{"status":1e9}}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if audit.CheckBulkAnswer(answer, chained(1)) != nil {
			return
		}
		if !bytes.Contains(answer, []byte("create")) && !bytes.Contains(answer, []byte(`\u`)) {
			t.Errorf("%q says that the record is there", answer)
		}
	})
}
