package agent

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// parsed reads an exposition with Prometheus' own parser.
func parsed(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return families
}

// value gives the one sample of a family with these labels (names and values by turns).
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	f := families[name]
	if f == nil {
		t.Fatalf("no metric %s", name)
	}
	for _, m := range f.GetMetric() {
		got := map[string]string{}
		for _, l := range m.GetLabel() {
			got[l.GetName()] = l.GetValue()
		}
		fits := len(got) == len(labels)/2
		for i := 0; i+1 < len(labels); i += 2 {
			fits = fits && got[labels[i]] == labels[i+1]
		}
		if fits {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
		}
	}
	t.Fatalf("%s has no sample with %v", name, labels)
	return 0
}

func TestExpositionSurvivesAnyText(t *testing.T) {
	nasty := "a \"quote\", a \\ and\na line\xff{}"
	e := &exposition{}
	e.family("m", "gauge", "help with \\ and\na line")
	e.sample("m", 1.5, "l", nasty, "other", "")
	e.single("big", "b", 1<<50)
	e.single("inf", "i", math.Inf(1))
	f := parsed(t, e.String())
	if got := value(t, f, "m", "l", strings.ToValidUTF8(nasty, "\uFFFD"), "other", ""); got != 1.5 {
		t.Errorf("m is %v", got)
	}
	if got := f["m"].GetHelp(); got != "help with \\ and\na line" {
		t.Errorf("help: %q", got)
	}
	if got := value(t, f, "big"); got != 1<<50 {
		t.Errorf("big is %v", got)
	}
	if got := value(t, f, "inf"); !math.IsInf(got, 1) {
		t.Errorf("inf is %v", got)
	}
}

func FuzzExposition(f *testing.F) {
	f.Add("plain", 1.0)
	f.Add("\n\"\\", -0.5)
	f.Add("\xff}\" 7\nother 1", 1e300)
	f.Fuzz(func(t *testing.T, label string, v float64) {
		e := &exposition{}
		e.family("m", "gauge", label)
		e.sample("m", v, "l", label)
		families := parsed(t, e.String())
		if len(families) != 1 || len(families["m"].GetMetric()) != 1 {
			t.Fatalf("%q gave\n%s", label, e)
		}
		got := value(t, families, "m", "l", strings.ToValidUTF8(label, "\uFFFD"))
		if got != v && !(math.IsNaN(got) && math.IsNaN(v)) {
			t.Errorf("%v came back as %v", v, got)
		}
	})
}

func TestDurationsAreAHistogram(t *testing.T) {
	var d durations
	for _, s := range []float64{0.5, 1, 1.1, 59, 5000} {
		d.observe(s)
	}
	e := &exposition{}
	e.histogram("h", "h", d)
	h := parsed(t, e.String())["h"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 5 || h.GetSampleSum() != 5061.6 {
		t.Errorf("count %d, sum %v", h.GetSampleCount(), h.GetSampleSum())
	}
	want := map[float64]uint64{1: 2, 5: 3, 60: 4, 3600: 4, math.Inf(1): 5}
	for _, b := range h.GetBucket() {
		if n, ok := want[b.GetUpperBound()]; ok && n != b.GetCumulativeCount() {
			t.Errorf("up to %v: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), n)
		}
	}
}

// all is every gauge there is.
func all(cert *x509.Certificate) Gauges {
	return Gauges{
		SpoolSize:  func() (int64, error) { return 4096, nil },
		SpoolSpace: func() (int64, int64, error) { return 1 << 40, 1 << 42, nil }, SpoolWritable: func() error { return nil },
		Certificate: func() *x509.Certificate { return cert }, Credentials: func() error { return nil },
	}
}

func get(h http.Handler, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestMetricsAreThoseOfPrometheus(t *testing.T) {
	a := idle(t)
	a.cfg.Containment = `cgroup (of "/x\y")`
	end := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	a.tally.refused(restart.CodeBadSignature)
	a.tally.asked("put", 403)
	a.counts[protocol.OutcomeUnknown] = 2
	a.took.observe(7)
	must(t, os.WriteFile(filepath.Join(a.cfg.Host.Scenarios, "broken.yaml"), []byte("format: 7\n"), 0o600))
	_, text := get(a.StatusHandler(all(&x509.Certificate{NotAfter: end})), "/metrics")
	f := parsed(t, text)
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "info", []string{"containment", "cgroup", "review", "files"}},
		{2, "tasks_total", []string{"outcome", "unknown"}},
		{1, "refusals_total", []string{"code", "bad_signature"}},
		{0, "refusals_total", []string{"code", "clock_skew"}},
		{1, "requests_total", []string{"verb", "put", "status", "403"}},
		{0, "requests_total", []string{"verb", "forget", "status", "200"}},
		{float64(end.Unix()), "certificate_not_after_timestamp_seconds", nil},
		{1 << 40, "spool_filesystem_free_bytes", nil},
		{4096, "spool_bytes", nil},
		{0, "scenarios", []string{"state", "accepted"}},
		{1, "scenarios", []string{"state", "left_out"}},
		{0, "credentials_stale", nil},
		{1, "ready", []string{"check", "listener"}},
	} {
		if got := value(t, f, namespace+c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	for name := range f {
		if !strings.HasPrefix(name, namespace) {
			t.Errorf("%s: a name without our prefix would meet another exporter's", name)
		}
	}
	promtool(t, text)
}

// promtool lets Prometheus' own linter read the text.
func promtool(t *testing.T, text string) {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is missing: apt-get install prometheus")
		}
		t.Log("not linted: promtool is missing (apt-get install prometheus)")
		return
	}
	cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadyNamesWhatFails(t *testing.T) {
	now := time.Now()
	good := &x509.Certificate{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	for name, c := range map[string]struct {
		spoil  func(a *Agent, g *Gauges)
		failed string
	}{
		"nothing": {func(*Agent, *Gauges) {}, ""},
		"a certificate that is over": {func(_ *Agent, g *Gauges) {
			g.Certificate = func() *x509.Certificate { return &x509.Certificate{NotAfter: now.Add(-time.Minute)} }
		}, "credentials"},
		"a full spool": {func(_ *Agent, g *Gauges) {
			g.SpoolWritable = func() error { return errors.New("/secret/path is full") }
		}, "spool"},
		"no envelope keys":       {func(a *Agent, _ *Gauges) { a.cfg.Keys = keysFail }, "envelope_keys"},
		"an agent that is going": {func(a *Agent, _ *Gauges) { a.Stop() }, "listener"},
	} {
		t.Run(name, func(t *testing.T) {
			a, g := idle(t), all(good)
			c.spoil(a, &g)
			status, body := get(a.StatusHandler(g), "/readyz")
			if c.failed == "" {
				if want := "credentials ok\nenvelope_keys ok\nspool ok\nlistener ok\nready\n"; status != http.StatusOK || body != want {
					t.Errorf("%d %q", status, body)
				}
				return
			}
			if status != http.StatusServiceUnavailable || strings.Count(body, " failed\n") != 1 || !strings.Contains(body, c.failed+" failed\n") || !strings.HasSuffix(body, "not ready\n") {
				t.Errorf("%d %q", status, body)
			}
			if strings.Contains(body, "secret") {
				t.Errorf("%q tells too much", body)
			}
			if _, text := get(a.StatusHandler(g), "/metrics"); value(t, parsed(t, text), namespace+"ready", "check", c.failed) != 0 {
				t.Error("the metric says something else")
			}
		})
	}
}

func keysFail() (map[string]ed25519.PublicKey, error) { return nil, errors.New("no such file") }
