package inventory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/restartilka/restartilka/internal/restart"
)

// mappedBy makes a source of a mapping as it stands in server.yaml.
func mappedBy(t testing.TB, mapping string) *jsonSource {
	t.Helper()
	var m Mapping
	if err := yaml.Load([]byte(mapping), &m, yaml.WithKnownFields()); err != nil {
		t.Fatalf("%s: %v", mapping, err)
	}
	s := &jsonSource{}
	if err := s.readMapping(&m); err != nil {
		t.Fatalf("%s: %v", mapping, err)
	}
	return s
}

func TestJSONShapes(t *testing.T) {
	for name, c := range map[string]struct {
		mapping, json string
		want, problem string
	}{
		"plain names":           {`hosts: {each: /*, name: .}`, `["b","a",7]`, "b; a; 7 | ", ""},
		"names are keys":        {`hosts: {each: /hosts/*, name: '@key', data_centre: /dc}`, `{"hosts":{"b":{"dc":"x"},"a":null}}`, "b x; a | ", ""},
		"deep":                  {`hosts: {each: /dcs/*/racks/*/hosts/*, name: /n}`, `{"dcs":[{"racks":{"r1":{"hosts":[{"n":"a"}]},"r2":{"hosts":[]}}},{"racks":{}},{}]}`, "a | ", ""},
		"escaped keys":          {`hosts: {each: /a~1b/~0/*, name: .}`, `{"a/b":{"~":["a"]}}`, "a | ", ""},
		"the first that is set": {`hosts: {each: /*, name: [/fqdn, /name, /names/1], address: /ip}`, `[{"fqdn":"","name":"a","ip":"10.0.0.1"},{"names":["x","b"]}]`, "a 10.0.0.1; b | ", ""},
		"what they carry":       {`hosts: {each: /*, name: /n, services: [/role, /roles/*], environment: /e, project: /p, tags: [/t/*, /k]}`, `[{"n":"a","role":"nginx","roles":["billing","other"],"e":"testing","p":"q","t":["x",2,true],"k":"z"}]`, "a x,2,true,z | nginx-testing q testing nginx: a; billing-testing q testing billing: a", ""},
		"their groups":          {`hosts: {each: /*, name: /n, groups: /g/*, services: /s, environment: /e}`, `[{"n":"a","g":["G1","g2"],"s":"nginx","e":"testing"},{"n":"b","g":["g1"],"s":"nginx","e":"testing"}]`, "a; b | g1 testing nginx: a b; g2 testing nginx: a", ""},
		"groups alone":          {`groups: {each: /*, name: '@key', hosts: /*}`, `{"g2":["b","a"],"g1":["a","a"]}`, "b; a | g2: b a; g1: a", ""},
		"groups of hosts":       {`{hosts: {each: /h/*, name: /n, services: /s}, groups: {each: /g/*, name: /n, hosts: /h/*}}`, `{"h":[{"n":"a","s":"nginx"},{"n":"b","s":"nginx"}],"g":[{"n":"g","h":["b","c"]}]}`, "a; b | g nginx: b", `names an unknown host "c"`},
		"groups in groups":      {`groups: {each: /*, name: /n, hosts: /h/*, children: /c/*, environment: /e, services: /s/*}`, `[{"n":"all-web","c":["web","db"],"e":"testing","s":["nginx","x"]},{"n":"web","h":["a"]},{"n":"db","h":["b","a"]}]`, "a; b | all-web testing nginx: a b; web: a; db: b a", ""},
		"a ring":                {`groups: {each: /*, name: /n, hosts: /h/*, children: /c/*}`, `[{"n":"x","h":["a"],"c":["y","z"]},{"n":"y","h":["b"],"c":["x"]}]`, "a; b | x: a b; y: b a", `group "x" holds itself`},
		"there again":           {`hosts: {each: /*, name: /n, data_centre: /d}`, `[{"n":"a"},{"n":"A.","d":"x"}]`, "a x | ", "host a is there twice"},
		"agreeing entries":      {`{hosts: {each: /h/*, name: /n, services: /s, environment: /e, groups: /g/*}, groups: {each: /g/*, name: /n, hosts: /h/*}}`, `{"h":[{"n":"a","s":"nginx","e":"testing"},{"n":"a","s":"billing","g":["other"]}],"g":[{"n":"g","h":["a"]}]}`, "a | other testing nginx,billing: a; g testing nginx,billing: a", "host a is there twice"},
		"contradicting entries": {`{hosts: {each: /h/*, name: /n, services: /s, environment: /e, project: /p, groups: /g/*}, groups: {each: /g/*, name: /n, hosts: /h/*}}`, `{"h":[{"n":"a","s":"nginx","e":"production","g":["mine"]},{"n":"b","s":"nginx","e":"production"},{"n":"a","s":"nginx","e":"testing"},{"n":"a","e":"testing"},{"n":"c","p":"x"},{"n":"c","p":"y"}],"g":[{"n":"g","h":["a","b","c"]},{"n":"h","h":["a"]}]}`, "b | g production nginx: b; h: ", "left out: host a is said to be of production and testing"},
		"rubbish":               {`hosts: {each: /*, name: /n, tags: /t}`, `[{"n":{"x":1}},{"n":"a","t":["x"]},null,"b",{}]`, "a | ", "at /n stands something else than words"},
		"services too":          {`{services: {each: /s/*, name: '@key', port: /p, owners: /o/*}, hosts: {each: /h/*, name: .}}`, `{"s":{"web":{"p":80,"o":["anna"]},"Bad":{},"worse":{"p":"x"}},"h":[]}`, " | ", `left out service "Bad"`},
	} {
		t.Run(name, func(t *testing.T) {
			d := shopServices(t)
			d.groups = nil
			s, err := mappedBy(t, c.mapping).read(d, [][]byte{[]byte(c.json)})
			if err != nil {
				t.Fatal(err)
			}
			wantShown(t, s, c.want, c.problem)
		})
	}
}

// slowPages answers each request after a while with a page that names another.
type slowPages struct {
	after time.Duration
	asked int
}

func (p *slowPages) RoundTrip(r *http.Request) (*http.Response, error) {
	p.asked++
	select {
	case <-time.After(p.after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	body := fmt.Sprintf(`{"hosts":["web%d"],"next":"?page=%d"}`, p.asked, p.asked)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// All pages together have a time, however quick each of them is, and what is good
// is used meanwhile.
func TestJSONPagesHaveATimeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pages := &slowPages{after: 7 * time.Second}
		s := mappedBy(t, "{hosts: {each: /hosts/*, name: .}, next: /next}")
		s.client = &webClient{base: &url.URL{Scheme: "https", Host: "cmdb.example.com"}, http: &http.Client{Transport: pages, Timeout: 10 * time.Second}, header: "Authorization", most: largestWhole}
		began := time.Now()
		_, err := s.Fetch(t.Context())
		if restart.CodeOf(err) != restart.CodeUnavailable || time.Since(began) != jsonWhole || pages.asked != int(jsonWhole/pages.after)+1 || !strings.Contains(err.Error(), "longer than 2 minutes together") {
			t.Errorf("after %s and %d pages: %v", time.Since(began), pages.asked, err)
		}
	})
}

// waits is a source that gives nothing until its caller leaves.
type waits struct {
	Source
	good  Snapshot
	ready bool
	asked int
}

func (w *waits) Fetch(ctx context.Context) (Snapshot, error) {
	w.asked++
	if !w.ready {
		<-ctx.Done()
		return Snapshot{}, ctx.Err()
	}
	return w.good, nil
}
func (w *waits) Name() string  { return "waits" }
func (w *waits) Stamp() string { return "" }

// Callers who leave before there is an answer say, together, that there is none:
// then the last good one is used. One who leaves at once says nothing.
func TestCallersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := Config{Kind: "json", URL: "https://cmdb.example.com/", StaleFor: time.Hour}.check()
		if err != nil {
			t.Fatal(err)
		}
		source := &waits{ready: true}
		i := &Inventory{cfg: c, source: source, slot: make(chan struct{}, 1)}
		ask := func(patience time.Duration) (Snapshot, error) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return i.Snapshot(ctx)
		}
		if _, err := ask(time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		source.ready = false
		for range 3 { // 9 s together
			if _, err := ask(3 * time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		if source.asked != 4 {
			t.Errorf("asked %d times", source.asked)
		}
		if _, err := ask(3 * time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if s, err := ask(3 * time.Second); err != nil || !s.Stale || source.asked != 5 {
			t.Errorf("stale %v, %v, asked %d times", s.Stale, err, source.asked)
		}
		source.ready = true
		time.Sleep(retryAfter)
		if s, err := ask(3 * time.Second); err != nil || s.Stale {
			t.Errorf("stale %v, %v", s.Stale, err)
		}
	})
}

func TestJSONRefuses(t *testing.T) {
	hosts := mappedBy(t, `hosts: {each: /results/*, name: /n}`)
	for text, want := range map[string]string{
		"": "not valid JSON", "<html>": "not valid JSON", `{"results":[]} x`: "not valid JSON", `{"results":[`: "not valid JSON", `{"error":"sign in"}`: "nothing at /results/*",
		`{"results":null}`: "nothing at /results/*", `{"results":"none"}`: "nothing at /results/*", `[]`: "nothing at /results/*",
	} {
		if s, err := hosts.read(described{}, [][]byte{[]byte(text)}); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %s", text, s, err, want)
		}
	}
	deep := mappedBy(t, `groups: {each: /*, name: /n, children: /c/*}`)
	var chain []string
	for i := range deepestNest + 2 {
		chain = append(chain, fmt.Sprintf(`{"n":"g%d","c":["g%d"]}`, i, i+1))
	}
	if _, err := deep.read(described{}, [][]byte{[]byte("[" + strings.Join(chain, ",") + "]")}); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("a long chain of groups: %v", err)
	}
	for _, m := range []string{
		"{}", "hosts: {each: /*}", "hosts: {name: /n}", "hosts: {each: x, name: /n}", "hosts: {each: /*, name: n}", "hosts: {each: /~2, name: /n}", "hosts: {each: /*, name: /n}\nnext: page",
		"hosts: {each: " + strings.Repeat("/a", deepestPointer+1) + ", name: /n}", "groups: {each: /*}", "services: {each: /*, name: .}",
	} {
		var mapping Mapping
		if err := yaml.Load([]byte(m), &mapping, yaml.WithKnownFields()); err != nil {
			t.Fatal(err)
		}
		if err := (&jsonSource{}).readMapping(&mapping); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", m, err)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"hosts":{"a":{"g":["x"],"s":"nginx","e":"testing"}},"groups":[{"n":"x","h":["a","b"],"c":["x"]}],"services":[{"n":"web","p":1}]}`)
	f.Add(`{"hosts":[],"groups":{"a":null},"services":[]}`)
	s := mappedBy(f, `{hosts: {each: /hosts/*, name: ['@key', /n], groups: /g/*, services: /s, environment: /e, tags: /t/*}, groups: {each: /groups/*, name: [/n, '@key'], hosts: /h/*, children: /c/*}, services: {each: /services/*, name: /n, port: /p}}`)
	f.Fuzz(func(t *testing.T, text string) {
		snapshot, err := s.read(described{}, [][]byte{[]byte(text)})
		checkParsed(t, snapshot, err)
	})
}

func TestInventoreeData(t *testing.T) {
	s := &inventoreeSource{labels: Labels{Service: "runs", Tags: []string{"rack="}}.filled(), environments: []string{"testing", "production"}, workGroups: []string{"shop", "gone"}}
	read := func(text string) (Snapshot, error) {
		data, err := parseInventoree([]byte(text))
		if err != nil {
			return Snapshot{}, err
		}
		d := shopServices(t)
		d.groups = nil
		return s.assemble(d, data)
	}
	got, err := read(`{"data":{"datacenters":[{"_id":"d","name":"dc1"}],"work_groups":[{"_id":"w","name":"Shop"},{"_id":"v","name":"shop"}],
		"groups":[{"_id":"g1","name":"Web","work_group_id":"w","parent_ids":["g2"]},{"_id":"g2","name":"all-web","parent_ids":["g1","g9"]},{"_id":"g3","name":"empty","parent_ids":[]}],
		"hosts":[{"fqdn":"a","group_id":"g1","datacenter_id":"d","tags":["x","testing"],"all_custom_fields":[{"key":"runs","value":"nginx, other"},{"key":"rack","value":"r1"}]},
			{"fqdn":"a","group_id":"g1"},{"fqdn":"b","group_id":null,"tags":["testing","production"]}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	wantShown(t, got, "a dc1 x,rack=r1; b | web shop testing nginx: a; all-web shop testing nginx: a; empty: ", "group \"Web\" holds itself")
	for _, w := range []string{"work group \"gone\" is not known there", `group "g9" is named there, and is not there`, "host a is there twice", "several environments: production, testing"} {
		if !strings.Contains(got.Problem, w) {
			t.Errorf("problem %q lacks %q", got.Problem, w)
		}
	}
	for _, text := range []string{"", "[]", "{}", `{"data":null}`, `{"data":{}}`, `{"data":{"hosts":null}}`, `{"errors":["x"]}`, `{"data":{"hosts":[1]}}`} {
		if _, err := read(text); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%s: %v", text, err)
		}
	}
	// Groups in a long chain, each with a host: refused, not counted out.
	var groups, hosts []string
	for i := range 100 {
		groups = append(groups, fmt.Sprintf(`{"_id":"%d","name":"g%d","parent_ids":["%d"]}`, i, i, i+1))
		hosts = append(hosts, fmt.Sprintf(`{"fqdn":"h%d","group_id":"%d"}`, i, i))
	}
	if _, err := read(`{"data":{"groups":[` + strings.Join(groups, ",") + `],"hosts":[` + strings.Join(hosts, ",") + `]}}`); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("a long chain: %v", err)
	}
}

func FuzzInventoree(f *testing.F) {
	f.Add(`{"data":{"work_groups":[{"_id":"w","name":"shop"}],"groups":[{"_id":1,"name":"g","parent_ids":[1]}],"hosts":[{"fqdn":"a","group_id":1,"tags":["t"]}]}}`)
	d := shopServices(f)
	s := &inventoreeSource{labels: Labels{}.filled(), environments: []string{"t"}}
	f.Fuzz(func(t *testing.T, text string) {
		data, err := parseInventoree([]byte(text))
		if err != nil {
			checkParsed(t, Snapshot{}, err)
			return
		}
		snapshot, err := s.assemble(d, data)
		checkParsed(t, snapshot, err)
	})
}

func TestConductorPackages(t *testing.T) {
	wanted := map[string]bool{"nginx": true, "billing": true}
	for body, want := range map[string]string{
		"": "map[]", "[]": "map[]", "nginx 1.2\nother 3\n": "map[nginx:1.2]", "nginx\t1:1.2-3~x\r\n\nbilling": "map[billing: nginx:1:1.2-3~x]",
		`[{"name":"nginx","version":"1.2"},{"name":"billing","version":null},{"name":"other"}]`: "map[billing: nginx:1.2]", `[{"name":"nginx","version":"a b"}]`: "map[nginx:]",
	} {
		if got, err := parsePackages([]byte(body), wanted); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %s", body, got, err, want)
		}
	}
	for _, body := range []string{"<html>", "Host not found!", "nginx 1 2", "{}", `[{"version":"1"}]`, `["nginx"]`, "-rf"} {
		if got, err := parsePackages([]byte(body), wanted); err == nil || got != nil {
			t.Errorf("%q is believed: %v", body, got)
		}
	}
}
