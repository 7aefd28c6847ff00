package outgoing_test

import (
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/outgoing"
	"github.com/restartilka/restartilka/internal/restart"
)

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestAddresses(t *testing.T) {
	company, here := parse(t, "https://hooks.example.com/x"), parse(t, "http://127.0.0.1:8080/x")
	for address, open := range map[string][2]bool{ // for the company's URL, for this machine's
		"203.0.113.7": {true, false}, "10.1.2.3": {true, false}, "192.168.1.1": {true, false}, "2001:db8::1": {true, false}, "fd12::1": {true, false},
		"127.0.0.1": {false, true}, "127.9.9.9": {false, true}, "::1": {false, true}, "::ffff:127.0.0.1": {false, true},
		"169.254.169.254": {false, false}, "::ffff:169.254.169.254": {false, false}, "fe80::1": {false, false}, "fe80::1%eth0": {false, false},
		"64:ff9b::a9fe:a9fe": {false, false}, "64:ff9b::7f00:1": {false, true}, "fd00:ec2::254": {false, false}, "100.100.100.200": {false, false},
		"64:ff9b:1::a9fe:a9fe": {false, false}, "64:ff9b:1:a9fe:a9:fe00::": {false, false}, "64:ff9b:1::cb00:7107": {false, false}, "64:ff9b::cb00:7107": {true, false}, "64:ff9b:2::1": {true, false},
		"2002:a9fe:a9fe::1": {false, false}, "2002:7f00:1::": {false, true}, "2002:e000:1::1": {false, false}, "2002:cb00:7107::1": {true, false}, "2002:6464:64c8::": {false, false},
		"0.0.0.0": {false, false}, "::": {false, false}, "224.0.0.1": {false, false}, "ff02::1": {false, false}, "255.255.255.255": {false, false},
	} {
		for i, u := range []*url.URL{company, here} {
			err := outgoing.Config{URL: u}.Check(netip.MustParseAddr(address))
			if (err == nil) != open[i] || (err != nil && !errors.Is(err, outgoing.ErrAddress)) {
				t.Errorf("%s for %s: %v", address, u.Host, err)
			}
		}
	}
	networks, err := outgoing.ParseNetworks([]string{"169.254.7.0/24", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for address, open := range map[string]bool{"169.254.7.9": true, "::ffff:169.254.7.9": true, "169.254.8.1": false, "127.0.0.1": true, "127.0.0.2": false} {
		if err := (outgoing.Config{URL: company, Networks: networks}).Check(netip.MustParseAddr(address)); (err == nil) != open {
			t.Errorf("%s as an exception: %v", address, err)
		}
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"": "not given", "https://u:hunter2@x": "does not belong", "ftp://x": "scheme", "file:///etc/passwd": "not the address", "https://": "not the address",
		"https://x/#f": "not the address", "http://x": "without TLS", "http://10.0.0.1": "without TLS", "http:opaque": "not the address", "https://x\x00": "can't be read",
		"https://x/y?z": "", "http://localhost:1/": "", "http://[::1]/": "", "http://127.1.2.3/": "",
	} {
		_, err := outgoing.CheckURL(text, false)
		if (err == nil) != (want == "") || (err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2"))) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"0.0.0.0/0", "::/0", "x", "", "10.0.0.0/33"} {
		if n, err := outgoing.ParseNetworks([]string{text}); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v, %v", text, n, err)
		}
	}
}

// fickle is a name server on loopback: it answers each question for an IPv4
// address with the next of its addresses, the last for ever, and for no time.
func fickle(t *testing.T, addresses ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var asked atomic.Int32
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			end := 12
			for end < n && b[end] != 0 {
				end += int(b[end]) + 1
			}
			end += 5 // the root, the type, the class
			if n < end {
				continue
			}
			out := append([]byte{}, b[:end]...)
			out[2], out[3] = 0x81, 0x80 // an answer, no error
			binary.BigEndian.PutUint16(out[6:], 0)
			out[8], out[9], out[10], out[11] = 0, 0, 0, 0
			if binary.BigEndian.Uint16(out[end-4:]) == 1 {
				i := min(int(asked.Add(1)), len(addresses)) - 1
				out[7] = 1
				out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				out = append(out, net.ParseIP(addresses[i]).To4()...)
			}
			conn.WriteTo(out, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name that leads somewhere harmless when it is first looked up, and to this
// machine or a cloud's keys the next time, gets nothing.
func TestANameThatChangesItsMindGainsNothing(t *testing.T) {
	var asked atomic.Int32
	admin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(admin.Close)
	_, port, _ := net.SplitHostPort(admin.Listener.Addr().String())
	good, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	var served atomic.Int32
	outside := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }), ReadHeaderTimeout: time.Second}
	go outside.Serve(good)
	t.Cleanup(func() { outside.Close() })                             // and with it the listener
	networks := []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")} // stands for the world outside
	client, err := outgoing.New(outgoing.Config{
		URL: parse(t, "http://inventory.example.com:"+port), Timeout: 5 * time.Second, Networks: networks,
		Resolver: fickle(t, "127.0.0.2", "127.0.0.1", "169.254.169.254", "0.0.0.0"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://inventory.example.com:"+port+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		client.CloseIdleConnections()
		return err
	}
	if err := ask(); err != nil || served.Load() != 1 {
		t.Fatalf("the first look-up: %v, %d served", err, served.Load())
	}
	for range 3 {
		if err := ask(); !errors.Is(err, outgoing.ErrAddress) {
			t.Errorf("a later look-up: %v", err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("this machine was asked %d times", n)
	}
}

// What was meant for one origin goes nowhere else, however it is pointed there.
func TestRedirects(t *testing.T) {
	var leaked atomic.Value
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked.Store(r.Header.Get("Authorization") + " came") }))
	t.Cleanup(elsewhere.Close)
	var to string
	here := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/end" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(here.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: here.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := strings.Replace(here.URL, "https://", "http://", 1)
	for _, c := range []struct {
		to        string
		redirects int
		status    int // 0 = refused
	}{
		{elsewhere.URL, 0, 307}, {elsewhere.URL, 3, 0}, {plain, 3, 0}, {"/end", 3, 204}, {"/end", 0, 307}, {"/again", 3, 0}, {"//" + strings.TrimPrefix(elsewhere.URL, "http://") + "/", 3, 0},
	} {
		to = c.to
		client, err := outgoing.New(outgoing.Config{URL: parse(t, here.URL), CAFile: ca, Timeout: 5 * time.Second, Redirects: c.redirects})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, here.URL+"/start", strings.NewReader("secret"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer secret")
		resp, err := client.Do(req)
		status := 0
		if err == nil {
			status = resp.StatusCode
			resp.Body.Close()
		}
		if status != c.status {
			t.Errorf("%+v: status %d, %v", c, status, err)
		}
		client.CloseIdleConnections()
	}
	if got := leaked.Load(); got != nil {
		t.Errorf("elsewhere got %q", got)
	}
}

// No proxy of the environment sees what is asked.
func TestNoProxy(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	client, err := outgoing.New(outgoing.Config{URL: parse(t, "https://x.example.com"), Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if client.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy is looked for")
	}
}

func FuzzURL(f *testing.F) {
	f.Add("https://hooks.example.com/x?y=z")
	f.Add("http://[::ffff:127.0.0.1]:80/")
	f.Add("https://u:p@x")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := outgoing.CheckURL(text, false)
		if err == nil && (u.User != nil || u.Hostname() == "" || (u.Scheme == "http" && !outgoing.Local(u))) {
			t.Errorf("%q was taken as %v", text, u)
		}
	})
}
