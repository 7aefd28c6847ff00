package health_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/health"
	"github.com/restartilka/restartilka/internal/restart"
)

func short() restart.Duration { return restart.Duration(50 * time.Millisecond) }

func TestProbes(t *testing.T) {
	address := freeAddress(t)
	start(t, "serve", address, "")
	nobody := freeAddress(t)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok")) }))
	t.Cleanup(secure.Close)
	open := httptest.NewServer(secure.Config.Handler)
	t.Cleanup(open.Close)

	at := func(path string) restart.Health {
		return restart.Health{HTTP: &restart.HTTPProbe{URL: "http://" + address + path}}
	}
	http := func(probe restart.HTTPProbe) restart.Health { return restart.Health{HTTP: &probe} }
	command := func(timeout restart.Duration) restart.Health {
		return restart.Health{Command: &restart.CommandProbe{Script: "check it", Timeout: timeout}}
	}
	runs := func(exit int, output string, err error) health.Runner {
		return func(_ context.Context, script string) (int, string, error) {
			if script != "check it" {
				t.Errorf("runs %q", script)
			}
			return exit, output, err
		}
	}
	for name, c := range map[string]struct {
		health  restart.Health
		run     health.Runner
		healthy bool
		detail  string
	}{
		"nothing":            {restart.Health{}, nil, true, "checks nothing"},
		"tcp":                {restart.Health{TCP: &restart.TCPProbe{Address: address}}, nil, true, address + " takes connections"},
		"tcp, nobody":        {restart.Health{TCP: &restart.TCPProbe{Address: nobody}}, nil, false, nobody + " takes no connection: connection refused"},
		"http":               {at("/"), nil, true, "http://" + address + "/ answered 200"},
		"http, nobody":       {http(restart.HTTPProbe{URL: "http://" + nobody + "/"}), nil, false, "does not answer: connection refused"},
		"http, not a URL":    {http(restart.HTTPProbe{URL: "http://a b/"}), nil, false, `"http://a b/" can't be asked`},
		"http, not http":     {http(restart.HTTPProbe{URL: "file:///etc/passwd"}), nil, false, "unsupported protocol scheme"},
		"http, redirect":     {at("/redirect"), nil, false, "answered 302, not 200"},
		"http, status":       {http(restart.HTTPProbe{URL: "http://" + address + "/redirect", Status: 302}), nil, true, "answered 302"},
		"http, hangs":        {http(restart.HTTPProbe{URL: "http://" + address + "/hangs", Timeout: short()}), nil, false, "does not answer: no answer within 50 milliseconds"},
		"http, text":         {http(restart.HTTPProbe{URL: "http://" + address + "/", Body: "pid "}), nil, true, "answered 200"},
		"http, other text":   {http(restart.HTTPProbe{URL: "http://" + address + "/", Body: "\x1b[2J"}), nil, false, `answered 200 without the text "\x1b[2J"`},
		"http, far text":     {http(restart.HTTPProbe{URL: "http://" + address + "/long", Body: "needle"}), nil, false, "without the text"},
		"http, no proxy":     {http(restart.HTTPProbe{URL: strings.Replace(open.URL, "127.0.0.1", "0.0.0.0", 1)}), nil, true, "answered 200"},
		"https on loopback":  {http(restart.HTTPProbe{URL: secure.URL, Body: "ok"}), nil, true, "answered 200"},
		"command":            {command(0), runs(0, "fine", nil), true, "ended with 0"},
		"command fails":      {command(0), runs(3, "one\ntwo\x1b[31m\n", nil), false, `ended with 3 and said "two\x1b[31m"`},
		"command is silent":  {command(0), runs(3, "", nil), false, "ended with 3"},
		"command won't run":  {command(0), runs(0, "", errors.New("no shell")), false, "did not run: no shell"},
		"command, no runner": {command(0), nil, false, "can't be run here"},
		"command hangs": {command(short()), func(ctx context.Context, _ string) (int, string, error) {
			<-ctx.Done()
			return -1, "", ctx.Err()
		}, false, "did not end within 50 milliseconds"},
		"the first that fails is told": {restart.Health{TCP: &restart.TCPProbe{Address: nobody}, Command: command(0).Command}, func(context.Context, string) (int, string, error) {
			t.Error("the command ran though nobody listens")
			return 0, "", nil
		}, false, nobody},
	} {
		t.Run(name, func(t *testing.T) {
			s := health.New(health.Config{Health: c.health, Run: c.run}).Sample(t.Context())
			if s.Healthy != c.healthy || !strings.Contains(s.Detail, c.detail) || restart.Escape(s.Detail) != s.Detail || s.At.IsZero() {
				t.Errorf("%+v, want %v with %q", s, c.healthy, c.detail)
			}
		})
	}
}

// A certificate that nobody vouches for is good enough on loopback only.
func TestHTTPSElsewhereIsVerified(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(secure.URL, "https://"), ":")
	url := "https://0.0.0.0:" + port // this host, by an address that is not its loopback
	s := health.New(health.Config{Health: restart.Health{HTTP: &restart.HTTPProbe{URL: url, Status: 404}}}).Sample(t.Context())
	if s.Healthy || !strings.Contains(s.Detail, "certificate") {
		t.Errorf("%+v", s)
	}
}
