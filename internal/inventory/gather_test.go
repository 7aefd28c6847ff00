package inventory

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

// show is a snapshot in a line: hosts, then groups, as TestAnsibleMaps has them.
func show(s Snapshot) string {
	var hosts, groups []string
	for _, h := range s.Hosts {
		hosts = append(hosts, strings.Join(strings.Fields(h.Name+" "+h.Address+" "+h.DataCentre+" "+strings.Join(h.Tags, ",")), " "))
	}
	for _, g := range s.Groups {
		groups = append(groups, strings.Join(strings.Fields(g.Name+" "+g.Project+" "+g.Environment+" "+strings.Join(g.Services, ",")), " ")+": "+strings.Join(g.Hosts, " "))
	}
	return strings.Join(hosts, "; ") + " | " + strings.Join(groups, "; ")
}

// wantShown compares a snapshot, and what is told of it.
func wantShown(t *testing.T, s Snapshot, want, problem string) {
	t.Helper()
	if err := checkSnapshot(s); err != nil {
		t.Error(err)
	}
	if got := show(s); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !strings.Contains(s.Problem, problem) || (problem == "") != (s.Problem == "") {
		t.Errorf("problem %q, want %q", s.Problem, problem)
	}
}

func shopServices(t testing.TB) described {
	d, err := parseServices([]byte(`
services: [{name: nginx, package: nginx, project: shop}, {name: billing, project: money}]
groups: [{name: meant, environment: production, services: [billing]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestGathering(t *testing.T) {
	host := func(name string) restart.Host { return restart.Host{Name: name} }
	for name, c := range map[string]struct {
		seen    []sighting
		want    string
		problem string
	}{
		"nothing":                       {nil, " | ", ""},
		"by default, named by service":  {[]sighting{{host: host("a"), services: []string{"nginx"}, environment: "testing"}, {host: host("b"), services: []string{"nginx"}}}, "a; b | nginx-testing shop testing nginx: a; nginx shop nginx: b", ""},
		"two services of one host":      {[]sighting{{host: host("a"), services: []string{"nginx", "billing", "unknown"}}}, "a | nginx shop nginx: a; billing money billing: a", ""},
		"not on all":                    {[]sighting{{host: host("a"), services: []string{"nginx"}, environment: "testing", groups: []string{"G"}}, {host: host("b"), groups: []string{"g"}}}, "a; b | g: a b", ""},
		"said twice":                    {[]sighting{{host: host("a"), services: []string{"nginx"}, groups: []string{"g"}}, {host: host("a"), services: []string{"billing"}, environment: "testing", groups: []string{"g"}}}, "a | g testing nginx,billing: a", ""},
		"the file says what it is":      {[]sighting{{host: host("a"), services: []string{"nginx"}, environment: "testing", groups: []string{"meant"}}}, "a | meant production billing: a", ""},
		"two environments":              {[]sighting{{host: host("a"), environment: "x", groups: []string{"g"}}, {host: host("a"), environment: "y", groups: []string{"g"}}}, "a | g: a", "is said to be of x and y"},
		"more of a host":                {[]sighting{{host: restart.Host{Name: "a", Tags: []string{"x"}}}, {host: restart.Host{Name: "a", DataCentre: "dc", Address: "10.0.0.1", Tags: []string{"x", "y"}}}}, "a 10.0.0.1 dc x,y | ", ""},
		"two data centres":              {[]sighting{{host: restart.Host{Name: "a", DataCentre: "dc1"}}, {host: restart.Host{Name: "a", DataCentre: "dc2"}}}, "a dc1 | ", `in data centres "dc1" and "dc2"`},
		"an address, no name":           {[]sighting{{host: host("10.0.0.1")}, {host: host("::1")}, {host: host("a")}}, "a | ", `left out: "10.0.0.1" is an address`},
		"a name that forges a line":     {[]sighting{{host: host("a\nb\x1b[31m")}}, " | ", `host "a\nb\x1b[31m" is not a valid name`},
		"an address that is none":       {[]sighting{{host: restart.Host{Name: "a", Address: "10.0.0.1:80"}}}, "a | ", "its name is used"},
		"bad tag, centre, environment":  {[]sighting{{host: restart.Host{Name: "a", DataCentre: "d c", Tags: []string{"t t", "u"}}, environment: "E E", services: []string{"nginx"}}}, "a u | nginx shop nginx: a", "is not a valid name"},
		"a group that means every host": {[]sighting{{host: host("a"), groups: []string{"all"}, services: []string{"nginx"}}}, "a | nginx shop nginx: a", `group "all" is not a valid name`},
	} {
		t.Run(name, func(t *testing.T) {
			d := shopServices(t)
			if !strings.HasPrefix(name, "the file") {
				d.groups = nil
			}
			g := newGathering(d, nil, "")
			for _, s := range c.seen {
				if err := g.see(s); err != nil {
					t.Fatal(err)
				}
			}
			wantShown(t, g.snapshot(), c.want, c.problem)
		})
	}
}

func TestNotesCount(t *testing.T) {
	var n notes
	for i := range 100_000 {
		n.add("left out: %s", fmt.Sprint(i%50_000))
		if i == 0 {
			n.add("twice: %s", "a")
			n.add("twice: %s", "a")
		}
	}
	if got, want := n.String(), "left out: 0; left out: 1; left out: 2; and 99997 more of these; twice: a"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for kind := range 10 {
		for i := range 5 {
			n.add(fmt.Sprintf("kind %d: %%d", kind), i)
		}
	}
	if got := n.String(); !strings.HasSuffix(got, "; and 44 other problems") || strings.Count(got, ";") > 12 {
		t.Errorf("%q", got)
	}
}

// A source of 100,000 hosts, every third of which is rubbish or there again,
// is read in a moment, and says what was left out in a few lines.
func TestHundredThousandHosts(t *testing.T) {
	const most = many
	var b strings.Builder
	b.WriteString("[")
	bad := 0
	for i := range most {
		name, label := fmt.Sprintf("h%d.example.com:9100", i), fmt.Sprintf("dc%d", i%7)
		switch i % 6 {
		case 2:
			name = fmt.Sprintf("h%d.example.com:9113", i-1) // there again
		case 5:
			bad++
			name = []string{"bad_name:1", "10.1.2.3:9", `a\u0007b`, `\u202egnp.exe`, "", "-rf"}[i/6%6]
		}
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, `{"targets": ["%s"], "labels": {"service": "nginx", "environment": "testing", "data_centre": "%s"}}`, name, label)
	}
	b.WriteString("]")
	s := &prometheusSource{labels: Labels{}.filled()}
	g := newGathering(shopServices(t), nil, "")
	g.described.groups = nil
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	if err := s.read(g, []byte(b.String()), ".json"); err != nil {
		t.Fatal(err)
	}
	snapshot := g.snapshot()
	if err := checkSnapshot(snapshot); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("it took %s", took)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 100<<20 {
		t.Errorf("it holds %d MiB", grown>>20)
	}
	wanted := most - bad - (most+3)/6
	if len(snapshot.Hosts) != wanted || len(snapshot.Groups) != 1 || len(snapshot.Groups[0].Hosts) != wanted {
		t.Errorf("%d hosts, want %d, %d groups", len(snapshot.Hosts), wanted, len(snapshot.Groups))
	}
	if p := snapshot.Problem; len(p) > 2000 || !strings.Contains(p, "more of these") || !strings.Contains(p, `is said to be in data centres`) || strings.ContainsAny(p, "\a\u202e") {
		t.Errorf("problem of %d bytes: %s", len(p), p)
	}
}

// More hosts than the bound are refused as a whole.
func TestTooManyHosts(t *testing.T) {
	g := newGathering(described{}, nil, "")
	g.hosts = make([]restart.Host, mostHosts-10) // the others are there already
	var err error
	for i := 0; err == nil; i++ {
		err = g.see(sighting{host: restart.Host{Name: fmt.Sprintf("h%d", i)}})
	}
	if restart.CodeOf(err) != restart.CodeTooLarge || len(g.hosts) != mostHosts {
		t.Errorf("%d hosts, %v", len(g.hosts), err)
	}
}

// Whatever is sighted, the snapshot keeps every rule, and a group carries a
// service only where all its hosts do.
func TestGatheringProperties(t *testing.T) {
	d := shopServices(t)
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"", "a", "b", "web1.example.com", "all", "A_b", "x\ny", "10.0.0.1", "nginx", "billing", "testing", "..", "-x"})
		g := newGathering(d, nil, rapid.SampledFrom([]string{"", "example.com"}).Draw(t, "domain"))
		carries := map[string]bool{}
		for range rapid.IntRange(0, 12).Draw(t, "sightings") {
			s := sighting{
				host:     restart.Host{Name: g.name(word.Draw(t, "host")), Address: word.Draw(t, "address"), DataCentre: word.Draw(t, "dc"), Tags: []string{word.Draw(t, "tag")}},
				services: []string{word.Draw(t, "service")}, environment: word.Draw(t, "environment"), project: word.Draw(t, "project"),
			}
			if rapid.Bool().Draw(t, "in a group") {
				s.groups = []string{word.Draw(t, "group")}
			}
			for _, x := range s.services {
				carries[s.host.Name+" "+x] = true
			}
			if err := g.see(s); err != nil {
				t.Fatal(err)
			}
		}
		snapshot := g.snapshot()
		if err := checkSnapshot(snapshot); err != nil {
			t.Fatal(err)
		}
		for _, group := range snapshot.Groups {
			if group.Name == "meant" {
				continue
			}
			for _, service := range group.Services {
				for _, h := range group.Hosts {
					if !carries[h+" "+service] {
						t.Fatalf("group %s is of %s, which %s does not carry", group.Name, service, h)
					}
				}
			}
		}
	})
}
