// Package downtime counts the requests that are lost while nginx is restarted
// behind a real haproxy: by the scenario of examples/zero-downtime, by the same
// without drain, and by ansible.
package downtime

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/fleet"
)

func TestMain(m *testing.M) {
	code := m.Run()
	fleet.RemovePackages()
	os.Exit(code)
}

// limit bounds each way to restart; the longest takes about fifteen seconds.
const limit = 90 * time.Second

// The files of the example are used as they are, byte for byte.
func example(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "zero-downtime", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// strict adds a second way in to the example's: it does not retry, so what nginx
// refuses the user gets to see. haproxy's own page tells which hosts are in use.
func strict(config string) string {
	_, backend, _ := strings.Cut(config, "\nbackend web\n")
	backend = strings.NewReplacer("retries 2\n", "retries 0\n", "    option redispatch 1\n", "").Replace(backend)
	return config + `
frontend strict
    bind :81
    default_backend strict
backend strict
    use-server web01 if { path /long.bin }
` + backend + `
frontend state
    bind 127.0.0.1:8404
    stats enable
    stats uri /
`
}

// withoutDrain is the same scenario with only its run step.
func withoutDrain(t *testing.T, scenario string) string {
	t.Helper()
	scenario = strings.Replace(scenario, "name: nginx-rolling", "name: no-drain", 1)
	scenario = without(t, scenario, "  drain:\n", "  run:\n")
	return without(t, scenario, "  undrain:\n", "\n# What users ask")
}

// without is the text without what stands between two lines, and the first.
func without(t *testing.T, text, from, to string) string {
	t.Helper()
	head, rest, ok := strings.Cut(text, from)
	_, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("the example has no %q before %q any more", from, to)
	}
	return head + to + tail
}

func TestDowntime(t *testing.T) {
	needAnsible(t)
	scenario := example(t, "nginx-rolling.yaml")
	f := fleet.New(t, fleet.Options{Web: 3})
	balance(t, f)
	c := f.Install(map[string]string{"nginx-rolling": scenario, "no-drain": withoutDrain(t, scenario)})
	ansible := newAnsible(t, f)

	rows := []row{}
	for _, way := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"restartilka, nginx-rolling", func(t *testing.T) { withDrain(t, c) }},
		{"restartilka, the same without drain", func(t *testing.T) {
			restarted(t, c, "no-drain", "to count what is lost without drain")
		}},
		{"ansible, serial: 1", func(t *testing.T) { ansible.play(t, "serial: 1") }},
		{"ansible, defaults", func(t *testing.T) { ansible.play(t, "") }},
	} {
		settled(f)
		before := invocations(f)
		r := measure(t, f, way.name, func() { way.run(t) })
		for i, h := range f.Web {
			if fleet.Invocation(h) == before[i] {
				t.Errorf("%s: nginx of %s was not restarted", way.name, h.Name)
			}
		}
		rows = append(rows, r)
	}
	t.Log("\n" + table(rows))

	for _, r := range rows {
		if r.shipped.requests < 300 || r.strict.requests < 300 {
			t.Errorf("%s: only %d and %d requests were made", r.way, r.shipped.requests, r.strict.requests)
		}
	}
	drained := rows[0]
	if drained.shipped.failed+drained.strict.failed != 0 {
		t.Errorf("with drain, requests failed: %v %v", drained.shipped.kinds, drained.strict.kinds)
	}
	for _, r := range rows[1:] {
		if r.strict.failed == 0 {
			t.Errorf("%s: no request failed, so nothing is shown by none failing with drain", r.way)
		}
	}
	guards(t, f, scenario)
}

// withDrain runs the example's scenario; a long answer that the first host has
// in hand when its turn comes is waited for.
func withDrain(t *testing.T, c *fleet.Company) {
	long := fetchLong(t, c.Fleet)
	restarted(t, c, "nginx-rolling", "to count what is lost with drain")
	got := <-long
	if got.err != nil || got.bytes != longSize {
		t.Errorf("the long answer ended after %d of %d bytes: %v", got.bytes, longSize, got.err)
	}
	if stopped := stopOf(t, c.Web[0]); stopped.Before(got.ended) {
		t.Errorf("nginx of web01 was told to stop %s before the end of the answer that it had in hand", got.ended.Sub(stopped))
	}
}

// restarted restarts nginx on every host; the command line waits for the end.
func restarted(t *testing.T, c *fleet.Company, scenario, reason string) {
	t.Helper()
	out, talk, code := c.CLI("run", scenario, "nginx", "--env", "testing", "--reason", reason, "--yes")
	if code != 0 {
		t.Fatalf("run %s: exit %d\n%s%s", scenario, code, out, talk)
	}
}

// balance makes the server's host the balancer of the web hosts.
func balance(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	for _, h := range f.Web {
		h.Write("/etc/nginx/conf.d/alive.conf", example(t, "alive.conf"), 0o644)
		h.Write("/etc/nginx/sites-available/default", site, 0o644)
		h.Write("/var/www/html/long.bin", strings.Repeat("x", longSize), 0o644)
		h.Write("/var/www/html/half.bin", strings.Repeat("x", 24<<10), 0o644)
		h.Shell("systemctl reload nginx")
	}
	f.Server.Write("/etc/haproxy/haproxy.cfg", strict(example(t, "haproxy.cfg")), 0o644)
	f.Server.Shell("systemctl start haproxy")
}

// inUse waits until haproxy has these hosts in use, in both backends, and no
// others, by its own page.
func inUse(f *fleet.Fleet, hosts ...*fleet.Host) {
	var want []string
	for _, h := range hosts {
		name, _, _ := strings.Cut(h.Name, ".")
		want = append(want, name, name)
	}
	slices.Sort(want)
	f.Server.Await(20*time.Second, `page=$(curl -sf 'http://127.0.0.1:8404/;csv')
test "$(echo "$page" | awk -F, '$2 ~ /^web/ && $18 ~ /^UP/ {print $2}' | sort | tr '\n' ' ')" = '`+strings.Join(want, " ")+` '
test "$(echo "$page" | awk -F, '$2 ~ /^web/ && $18 ~ /[0-9]/' | wc -l)" = 0`)
}

func invocations(f *fleet.Fleet) []string {
	var out []string
	for _, h := range f.Web {
		out = append(out, fleet.Invocation(h))
	}
	return out
}

// stopOf is when the host's nginx was told to stop, by systemd's word.
func stopOf(t *testing.T, h *fleet.Host) time.Time {
	t.Helper()
	var micro int64
	out := h.Shell("date +%s%6N -d \"$(systemctl show --timestamp=us+utc --property=ActiveExitTimestamp --value nginx)\"")
	if _, err := fmt.Sscan(out, &micro); err != nil {
		t.Fatalf("%q is no time: %v", out, err)
	}
	return time.UnixMicro(micro)
}

// A site with answers that take their time: half a second, and four seconds.
// nginx paces by what it sends at once, which output_buffers makes small.
const (
	longSize = 64 << 10
	site     = `server {
    listen 80 default_server;
    root /var/www/html;
    sendfile off;
    output_buffers 1 8k;
    location = /half.bin { limit_rate 32k; }
    location = /long.bin { limit_rate 16k; }
}
`
)

type long struct {
	bytes int
	ended time.Time
	err   error
}

// fetchLong begins to fetch a long answer from the first host; it returns when
// the answer has begun.
func fetchLong(t *testing.T, f *fleet.Fleet) <-chan long {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	begun, out := make(chan struct{}), make(chan long, 1)
	go func() {
		defer cancel()
		got := long{}
		got.bytes, got.err = fetch(ctx, f, begun)
		got.ended = time.Now()
		out <- got
	}()
	select {
	case <-begun:
	case got := <-out:
		t.Fatalf("the long answer did not begin: %v", got.err)
	}
	return out
}

func fetch(ctx context.Context, f *fleet.Fleet, begun chan<- struct{}) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.Server.Name+":81/long.bin", nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Transport{DialContext: f.Dial, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, statusError(resp.StatusCode)
	}
	close(begun)
	return discard(resp.Body)
}
