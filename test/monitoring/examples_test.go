package monitoring

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"
)

const reference = "../../docs/reference/metrics.md"

// The example alerts are sound, each is shown to fire and to stay silent, and
// none asks for a metric that is not documented.
func TestExampleAlerts(t *testing.T) {
	rules := filepath.Join(examples, "alerts.yml")
	promtool(t, "", "check", "rules", rules, filepath.Join(examples, "textfile", "alerts.yml"))
	promtool(t, "", "test", "rules", filepath.Join(examples, "alerts_test.yml"))

	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	read(t, rules, &file)
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name   string `yaml:"alertname"`
				Expect []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	read(t, filepath.Join(examples, "alerts_test.yml"), &tests)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, a := range test.Alerts {
			if len(a.Expect) > 0 {
				fires[a.Name] = true
			} else {
				silent[a.Name] = true
			}
		}
	}
	known := table(t)
	metric := regexp.MustCompile(`restartilka_[a-z_]+`)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if !fires[r.Alert] || !silent[r.Alert] {
				t.Errorf("alerts_test.yml shows %s fire: %v, stay silent: %v", r.Alert, fires[r.Alert], silent[r.Alert])
			}
			for _, name := range metric.FindAllString(r.Expr, -1) {
				if _, ok := known[name]; !ok {
					t.Errorf("%s asks for %s, which %s does not have", r.Alert, name, reference)
				}
			}
		}
	}
	if len(file.Groups) == 0 || len(known) == 0 {
		t.Error("nothing was compared")
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, yaml.Unmarshal(b, into))
}

// documented compares what is exported with the reference, both ways: names,
// types and labels.
func documented(t *testing.T, expositions ...string) {
	t.Helper()
	exported := map[string]string{}
	for _, text := range expositions {
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		must(t, err)
		for name, f := range families {
			if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
				continue // of the library, and documented as such
			}
			if _, twice := exported[name]; twice {
				t.Errorf("%s is exported by server and agent alike", name)
			}
			exported[name] = strings.ToLower(f.GetType().String()) + " " + labels(f)
		}
	}
	if diff := cmp.Diff(table(t), exported); diff != "" {
		t.Errorf("%s and what is exported differ (-documented +exported):\n%s", reference, diff)
	}
}

func labels(f *dto.MetricFamily) string {
	seen := map[string]bool{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			seen[l.GetName()] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), " ")
}

// table reads the reference's rows: type and labels by name.
func table(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(reference)
	must(t, err)
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`restartilka_") {
			continue
		}
		names := strings.FieldsFunc(cells[3], func(r rune) bool { return strings.ContainsRune(" `,", r) })
		slices.Sort(names)
		name := strings.Trim(strings.TrimSpace(cells[1]), "`")
		if _, twice := out[name]; twice {
			t.Errorf("%s stands in %s twice", name, reference)
		}
		out[name] = strings.TrimSpace(cells[2]) + " " + strings.Join(names, " ")
	}
	return out
}
