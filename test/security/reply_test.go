package security

import (
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
	"github.com/restartilka/restartilka/test/company"
)

// CVE-2017-2292: what a host answered was read as YAML with types of its own,
// and ran code on the server. Here a host that was taken over, with its own
// certificate, answers whatever it likes: it is data of known fields, bounded,
// escaped where it is shown, or an error; and it leads the server nowhere.
func TestAHostsReplyIsOnlyData(t *testing.T) {
	c := company.New(t, company.Options{Hosts: 2})
	h := c.Hosts[0]
	c.StopAgent(h)
	var led atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { led.Add(1) }))
	t.Cleanup(elsewhere.Close)
	sprung := filepath.Join(c.Dir, "sprung")
	var reply atomic.Value // func(w, r)
	reply.Store(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	pair, err := tls.LoadX509KeyPair(filepath.Join(h.Dir, "agent.crt"), filepath.Join(h.Dir, "agent.key"))
	must(t, err)
	listener, err := net.Listen("tcp", h.Address+":3131")
	must(t, err)
	evil := &http.Server{
		ReadHeaderTimeout: time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reply.Load().(func(http.ResponseWriter, *http.Request))(w, r)
		}),
	}
	go evil.ServeTLS(listener, "", "") //nolint:errcheck // ends with the test
	t.Cleanup(func() { evil.Close() })

	s := siteOf(t, c)
	text := func(status int, kind, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Set-Cookie", "__Host-restartilka=x; Secure; Path=/")
			w.WriteHeader(status)
			io.WriteString(w, body) //nolint:errcheck // it may be cut off
		}
	}
	const markup = `<script>alert(1)</script>\u001b[2J\u202e`
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
		"YAML with a type": text(200, "application/yaml", "--- !ruby/object:Kernel {run: \"touch "+sprung+"\"}\n"),
		"a template":       text(200, "application/json", `{"host":"{{.Env}}${jndi:ldap://127.0.0.1}","program":"$(touch `+sprung+`)"}`),
		"unknown fields":   text(200, "application/json", `{"host":"`+h.Name+`","__proto__":{"admin":true},"exec":"touch `+sprung+`"}`),
		"another host":     text(200, "application/json", `{"host":"`+c.Hosts[1].Name+`","clock":"2030-01-01T00:00:00Z"}`),
		"wrong types":      text(200, "application/json", `{"host":[1,2],"problems":"x","scenarios":{"a":1}}`),
		"deep":             text(200, "application/json", strings.Repeat(`[`, 100_000)),
		"not UTF-8":        text(200, "application/json", "{\"host\":\"\xff\xfe\"}"),
		"markup":           text(409, "application/json", `{"code":"busy","message":"`+markup+`","hint":"`+markup+`"}`),
		"an unknown code":  text(418, "application/json", `{"code":"`+markup+`","message":"x"}`),
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"a switch": text(101, "text/plain", ""),
		"four GiB promised": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4294967296")
			io.WriteString(w, "{")
		}, //nolint:errcheck // a lie
		"without end": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"host":"`) //nolint:errcheck // it is cut off
			for piece := strings.Repeat("x", 1<<20); r.Context().Err() == nil; {
				if _, err := io.WriteString(w, piece); err != nil {
					return
				}
			}
		},
		"a bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			fmt.Fprint(z, `{"host":"`)
			for range 256 {
				z.Write(make([]byte, 1<<20)) //nolint:errcheck // it is cut off
			}
			z.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			reply.Store(answer)
			found, err := c.Admin.CheckHosts(t.Context(), wire.HostCheckRequest{Hosts: h.Name})
			if err != nil || len(found) != 1 {
				t.Fatalf("%+v, %v", found, err)
			}
			if found[0].State == "ready" || found[0].Host.Name != h.Name {
				t.Errorf("%+v", found[0])
			}
			if got := fmt.Sprintf("%+v", found[0]); strings.ContainsAny(got, "\x1b\u202e") || len(got) > 64<<10 {
				t.Errorf("it is shown as %d bytes: %q", len(got), got[:min(len(got), 300)])
			}
			if a := s.ask("GET", "/readyz", ""); a.StatusCode != http.StatusOK {
				t.Errorf("the server: %s", a.Status)
			}
		})
	}
	// In a run, where people see it on a page.
	reply.Store(text(409, "application/json", `{"code":"not_reviewed","message":"`+markup+`","hint":"`+markup+`"}`))
	run := c.Start(reason)
	c.Until(run.ID, restart.RunPaused, restart.RunFailed, restart.RunAborted, restart.RunCompleted)
	page := s.ask("GET", "/runs/"+run.ID, "", "Cookie", s.signIn("dana", c.DevToken))
	if page.StatusCode != http.StatusOK || strings.Contains(page.body, "<script>alert") || strings.ContainsAny(page.body, "\x1b\u202e") {
		t.Errorf("%s\n%s", page.Status, page.body)
	}
	out, talk, _ := c.CLI("show", run.ID)
	if strings.ContainsAny(out+talk+c.ServerLog()+trail(t, c), "\x1b\u202e") {
		t.Errorf("a terminal is told what to do: %q", out+talk)
	}
	if n := led.Load(); n != 0 {
		t.Errorf("the server was led elsewhere %d times", n)
	}
	if _, err := os.Stat(sprung); err == nil {
		t.Error("a command was run")
	}
}
