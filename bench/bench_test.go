package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/test/company"
)

func TestMain(m *testing.M) {
	code := m.Run()
	company.RemovePrograms()
	os.Exit(code)
}

// tiny is enough to see each arrangement work. What needs other people's
// programs is left to a real run.
var tiny = sizes{hosts: 2, rounds: 1, fleet: 20, batch: 10, history: 120, requests: 1, tries: 1, threads: 1, viewers: 2, shipped: 500, verified: 2_000}

// Every figure that this program can get by itself is there and makes sense.
func TestEachMeasurementWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("it stands the whole programs up; go test without -short does")
	}
	for name, get := range map[string]func(*Results) *float64{
		"serial_20_hosts_s":   func(r *Results) *float64 { return r.Serial20 },
		"event_to_browser_ms": func(r *Results) *float64 { return r.Event },
		"hosts_10000_s":       func(r *Results) *float64 { return r.Hosts10000 },
		"page_p99_ms":         func(r *Results) *float64 { return r.PageP99 },
		"agent_fsyncs":        func(r *Results) *float64 { return r.AgentFsyncs },
		"audit_verify_rss_mb": func(r *Results) *float64 { return r.VerifyRSS },
		"audit_ship_per_s":    func(r *Results) *float64 { return r.AuditShip },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said bytes.Buffer
			s := &session{sizes: tiny, say: &said}
			for _, g := range groups {
				if slices.Contains(g.figures, name) {
					if err := onBed(t.Context(), &said, func(b *bed) error { return g.measure(s, b) }); err != nil {
						t.Fatalf("%v\n%s", err, said.String())
					}
				}
			}
			v := get(&s.results)
			if why := s.results.Absent[name]; v == nil && why != "" {
				if os.Getenv("CI") == "true" {
					t.Fatal("not measurable here: " + why)
				}
				t.Skip("NOT TESTED, for it can't be measured here: " + why)
			}
			if v == nil || *v <= 0 {
				t.Fatalf("%s is %v\n%s", name, v, said.String())
			}
		})
	}
}

// What a record costs may be lost in the noise of few turns: it is there all the
// same, with the transactions that it was taken from.
func TestCostOfARecordIsMeasured(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	s := &session{sizes: tiny, say: &said}
	if err := onBed(t.Context(), &said, s.record); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	each, ok := s.results.Details["audit_record_ms"].(map[string]recordCost)
	if !ok || s.results.AuditRecord == nil || each["SQLite"].With.P50 <= 0 || each["SQLite"].Without.P50 <= 0 {
		t.Errorf("%v, %+v", s.results.AuditRecord, s.results.Details)
	}
}

// The names are a contract with whoever reads the file.
func TestResultsHaveTheNamedFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := (&Results{}).write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"per_host_overhead_ms", "agent_fsyncs", "server_commits", "serial_20_hosts_s", "hosts_10000_s", "server_rss_mb", "agent_rss_mb",
		"server_start_ms", "page_p99_ms", "event_to_browser_ms", "jvm_dump_ms", "audit_ship_per_s", "audit_record_ms", "audit_verify_10m_s", "audit_verify_rss_mb", "baselines",
	} {
		if v, ok := got[name]; !ok || name != "baselines" && string(v) != "null" {
			t.Errorf("%s is %q in an empty result", name, v)
		}
	}
	var baselines map[string]json.RawMessage
	if err := json.Unmarshal(got["baselines"], &baselines); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fork_exec_ms", "fsync_ms", "ssh_ms", "ansible_ms", "jcmd_ms"} {
		if string(baselines[name]) != "null" {
			t.Errorf("baselines.%s is %q in an empty result", name, baselines[name])
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".results*")); err != nil || len(left) > 0 {
		t.Errorf("a temporary file is left: %v %v", left, err)
	}
}

// The document has a place for the table, and the table fits into it again.
func TestTheTableFitsIntoTheDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	once, err := (&Results{Serial20: new(0.25)}).inDocument(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := "| serial_20_hosts_s | ≤ 0.5 | 0.25 | 0.50 |"; !strings.Contains(once, want) {
		t.Errorf("the document has no line %s", want)
	}
	if twice, err := (&Results{Serial20: new(0.25)}).inDocument(once); err != nil || twice != once {
		t.Errorf("writing it again changes the document: %v", err)
	}
}
