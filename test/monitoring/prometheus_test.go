// Package monitoring lets a real Prometheus watch a small company, with the
// configuration and the alerts of examples/prometheus.
package monitoring

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) {
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}

const examples = "../../examples/prometheus"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// program finds a program of the Debian package prometheus.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: apt-get install prometheus", name)
	}
	t.Skipf("NOT TESTED: %s is missing (apt-get install prometheus)", name)
	return ""
}

// promtool runs it, and insists that it has nothing against what it is given.
func promtool(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// adapt gives an example with other values in it. What is to be replaced must
// be there: else the example has changed, and the test has to follow.
func adapt(t testing.TB, file string, pairs ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(examples, file))
	must(t, err)
	text := string(b)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s has no %q", file, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// prometheus is one that runs.
type prometheus struct {
	t   testing.TB
	url string
}

// start starts Prometheus with a configuration, and ends it with the test.
func start(t testing.TB, config string) *prometheus {
	t.Helper()
	path := program(t, "prometheus")
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	address := free.Addr().String()
	must(t, free.Close())
	var log bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, "--config.file="+config, "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	go func() { // Pdeathsig is of the thread that starts: it must live as long as the child
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // it is ended by a signal
		}
	}()
	must(t, <-started)
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // it may be gone
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill() // as above
			<-ended
		}
		if t.Failed() {
			t.Logf("Prometheus says:\n%s", log.String())
		}
	})
	return &prometheus{t, "http://" + address}
}

// ask calls Prometheus' HTTP API; false where it does not answer yet.
func (p *prometheus) ask(path string, query url.Values, data any) bool {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	must(p.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusServiceUnavailable {
		return false
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		p.t.Fatalf("%s %v: %v %s\n%s", path, query, err, answer.Error, body)
	}
	return true
}

// query evaluates an expression now: the values by the labels that are asked for.
func (p *prometheus) query(expr string, labels ...string) map[string]float64 {
	p.t.Helper()
	var data struct {
		Result []struct {
			Metric map[string]string
			Value  [2]any
		}
	}
	out := map[string]float64{}
	if !p.ask("/api/v1/query", url.Values{"query": {expr}}, &data) {
		return out
	}
	for _, r := range data.Result {
		var key []string
		for _, l := range labels {
			key = append(key, r.Metric[l])
		}
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		must(p.t, err)
		out[strings.Join(key, " ")] = v
	}
	return out
}

// one gives the value of an expression that has one, and whether it has.
func (p *prometheus) one(expr string) (float64, bool) {
	v, ok := p.query(expr)[""]
	return v, ok
}

// firing lists the alerts that fire, each with its instance.
func (p *prometheus) firing() map[string]bool {
	p.t.Helper()
	var data struct {
		Alerts []struct {
			State       string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
	out := map[string]bool{}
	if p.ask("/api/v1/alerts", nil, &data) {
		for _, a := range data.Alerts {
			if a.State != "firing" {
				continue
			}
			out[a.Labels["alertname"]+" "+a.Labels["instance"]] = true
			if strings.Contains(a.Annotations["summary"], "error expanding") {
				p.t.Errorf("%s: %s", a.Labels["alertname"], a.Annotations["summary"])
			}
		}
	}
	return out
}
