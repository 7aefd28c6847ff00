package inventory

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestTargetHost(t *testing.T) {
	for target, want := range map[string]string{
		"web1": "web1", "web1:9100": "web1", "web1.example.com.:80": "web1.example.com.", "10.0.0.1:9100": "10.0.0.1", "[::1]:9100": "::1", "::1": "::1",
		"https://web1/x?y": "web1", "https://web1:8443": "web1", "http://[fe80::1]:80/": "fe80::1", "web1/probe": "web1", "": "", "http://%zz": "http://%zz",
	} {
		if got := targetHost(target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func TestPrometheusTargets(t *testing.T) {
	const json = ".json"
	for name, c := range map[string]struct {
		text, ext     string
		labels        Labels
		want, problem string
	}{
		"empty list":  {`[]`, json, Labels{}, " | ", ""},
		"no labels":   {`[{"targets":["a:1","b:2"]},{"targets":null,"labels":null}]`, json, Labels{}, "a; b | ", ""},
		"yaml":        {"- targets: [a:1]\n  labels:\n    service: nginx\n    environment: testing\n", ".yml", Labels{}, "a | nginx-testing shop testing nginx: a", ""},
		"empty yaml":  {"[]\n", ".yaml", Labels{}, " | ", ""},
		"renamed":     {`[{"targets":["10.0.0.1:9100"],"labels":{"node":"Web1","job":"nginx, billing","env":"testing","team":"x","pool":"g1,g2","site":"dc1","role":"a","canary":"yes"}}]`, json, Labels{Host: "node", Service: "job", Environment: "env", Project: "team", Group: "pool", DataCentre: "site", Tags: []string{"role=", "canary"}}, "web1 10.0.0.1 dc1 role=a,yes | g1 x testing nginx,billing: web1; g2 x testing nginx,billing: web1", ""},
		"an address":  {`[{"targets":["10.0.0.1:9100"]}]`, json, Labels{}, " | ", "is an address, and not the name of a host"},
		"its address": {`[{"targets":["web1:9100"],"labels":{"ip":"10.0.0.1"}}]`, json, Labels{Address: "ip"}, "web1 10.0.0.1 | ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := shopServices(t)
			d.groups = nil
			g := newGathering(d, nil, "")
			if err := (&prometheusSource{labels: c.labels.filled()}).read(g, []byte(c.text), c.ext); err != nil {
				t.Fatal(err)
			}
			wantShown(t, g.snapshot(), c.want, c.problem)
		})
	}
	for text, want := range map[string]string{
		"": "does not begin with [", "{}": "does not begin with [", "null": "does not begin with [", "<html>": "does not begin with [",
		`[{"targets":["a"]}`: "cut off", `[{"targets":"a"}]`: "no list of targets", `[{"target":["a"]}]`: "unknown field", `[{"targets":["a"],"labels":{"a":1}}]`: "no list of targets",
		`[] []`: "goes on", `[{}`: "cut off",
	} {
		if err := (&prometheusSource{}).read(newGathering(described{}, nil, ""), []byte(text), json); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"targets: [a]": "no list of targets", "- target: [a]": "no list of targets", "- targets: &x [a]\n- targets: *x": "aliases", "- [": "no list of targets", "": "it is empty", "\n": "it is empty", "---\n": "it is empty", "# targets\n": "no list of targets", "- targets: [a]\n- targets:\n": "entry 2 has no targets", "- labels: {a: b}\n": "entry 1 has no targets", "- targets: [a]\n  labels: {a: [b]}": "no list of targets",
	} {
		if err := (&prometheusSource{}).read(newGathering(described{}, nil, ""), []byte(text), ".yml"); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzPrometheus(f *testing.F) {
	f.Add(`[{"targets":["web1:9100","[::1]:2"],"labels":{"service":"nginx","environment":"testing","group":"g"}}]`, true)
	f.Add("- targets: [a:1]\n  labels: {service: billing, data_centre: dc, tags: 'x y'}\n", false)
	d := shopServices(f)
	f.Fuzz(func(t *testing.T, text string, json bool) {
		ext := ".yml"
		if json {
			ext = ".json"
		}
		g := newGathering(d, nil, "example.com")
		err := (&prometheusSource{labels: Labels{Tags: []string{"tags", "x="}}.filled()}).read(g, []byte(text), ext)
		if err == nil {
			checkParsed(t, g.snapshot(), nil)
		} else {
			checkParsed(t, Snapshot{}, err)
		}
	})
}
