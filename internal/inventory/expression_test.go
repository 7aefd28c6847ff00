package inventory

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

// small is an inventory with a bit of everything.
func small(t testing.TB) *view {
	s, err := ParseYAML([]byte(`
services: [{name: nginx}]
groups:
  - {name: front, hosts: [web3.example.com, web1.example.com], children: [back]}
  - {name: back, hosts: [db1, web1.example.com]}
  - {name: empty}
hosts:
  - {name: "node[08-11].example.com", data_centre: dc2, tags: [ssd]}
  - {name: web1.example.com, data_centre: dc1, tags: [canary, ssd]}
  - {name: web2.example.com, data_centre: dc1}
  - {name: web3.example.com, data_centre: dc2, tags: [canary, "v:1@2"]}
  - {name: db1}
`))
	if err != nil {
		t.Fatal(err)
	}
	return newView(s)
}

func (v *view) eval(expr string) ([]restart.Host, error) {
	items, err := parse(expr)
	if err != nil {
		return nil, err
	}
	return v.resolve(items)
}

func short(hosts []restart.Host) string {
	s := strings.Join(names(hosts, func(h restart.Host) string { return h.Name }), " ")
	return strings.ReplaceAll(s, ".example.com", "")
}

func TestExpressions(t *testing.T) {
	v := small(t)
	for _, c := range []struct{ expr, want string }{
		{"web1.example.com", "web1"},
		{" web2.example.com , web1.example.com,web2.example.com", "web2 web1"},
		{"%front", "web3 web1 db1"},
		{"%back", "db1 web1"},
		{"web1.example.com,%front", "web1 web3 db1"},
		{"%front@dc1", "web1"},
		{"%front@dc2#canary", "web3"},
		{"%front#canary#ssd", "web1"},
		{"%front#v:1@2", "web3"},
		{"#canary", "web1 web3"},
		{"#ssd#canary", "web1"},
		{"%all@dc1", "web1 web2"},
		{"%all", "node08 node09 node10 node11 web1 web2 web3 db1"},
		{"node[08-11].example.com", "node08 node09 node10 node11"},
		{"web[1-3].example.com,-web2.example.com", "web1 web3"},
		{"-web2.example.com,web[1-3].example.com", "web1 web3"},
		{"%all,-#ssd,-%back", "web2 web3"},
		{"%all@dc2,-node[09-10].example.com", "node08 node11 web3"},
		{"%front,%empty", "web3 web1 db1"},
		{"web1.example.com,-%empty", "web1"},
	} {
		if got, err := v.eval(c.expr); err != nil || short(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.expr, short(got), err, c.want)
		}
	}
}

func TestExpressionErrors(t *testing.T) {
	v := small(t)
	for _, c := range []struct {
		expr  string
		code  restart.Code
		words string
	}{
		{"", restart.CodeInvalid, "empty"},
		{"  ", restart.CodeInvalid, "empty"},
		{"web1.example.com,", restart.CodeInvalid, "an item of the host expression is empty"},
		{"-", restart.CodeInvalid, "is empty"},
		{"web4.example.com", restart.CodeNotFound, "did you mean web1.example.com or web2.example.com or web3.example.com?"},
		{"web1", restart.CodeNotFound, "did you mean web1.example.com?"},
		{"front", restart.CodeNotFound, "did you mean %front?"},
		{"all", restart.CodeNotFound, "did you mean %all?"},
		{"Web1.example.com", restart.CodeInvalid, "not a valid name"},
		{"%fornt", restart.CodeNotFound, "did you mean front?"},
		{"%zzzzzz", restart.CodeNotFound, "there is: front, back, empty"},
		{"%front,-%bakc", restart.CodeNotFound, "did you mean back?"},
		{"%front,-web4.example.com", restart.CodeNotFound, "web4.example.com"},
		{"%front,-#canray", restart.CodeNotFound, "did you mean canary?"},
		{"%front@dc3", restart.CodeNotFound, "did you mean dc1 or dc2?"},
		{"%front,-%all@dc9", restart.CodeNotFound, "data centre"},
		{"%", restart.CodeInvalid, "not a valid name"},
		{"%front@", restart.CodeInvalid, "not a valid name"},
		{"%front#", restart.CodeInvalid, "not a valid name"},
		{"%front@dc1@dc2", restart.CodeInvalid, "not a valid name"},
		{"@dc1", restart.CodeInvalid, "%all@dc"},
		{"web1.example.com#canary", restart.CodeInvalid, "narrow a group"},
		{"--help", restart.CodeInvalid, "not a valid name"},
		{"../../etc", restart.CodeInvalid, "not a valid name"},
		{"a\nb", restart.CodeInvalid, `a\nb`},
		{"%empty", restart.CodeInvalid, "leaves no host"},
		{"%front,-%front", restart.CodeInvalid, "leaves no host"},
		{"%front@dc1,-web1.example.com", restart.CodeInvalid, "leaves no host"},
		{"-web1.example.com", restart.CodeInvalid, "%all,-web3.example.com"},
		{"node[07-11].example.com", restart.CodeNotFound, "did you mean node08.example.com"},
		{"node[01-11].example.com", restart.CodeNotFound, "7 of the 11 hosts of a range are not in the inventory: node01.example.com, node02.example.com, node03.example.com and 4 more"},
		{"node[8-11].example.com", restart.CodeNotFound, "node8.example.com"},
		{"node[11-08].example.com", restart.CodeInvalid, "can't be read"},
		{"node[8-011].example.com", restart.CodeInvalid, "as many digits"},
		{"node[01-1].example.com", restart.CodeInvalid, "as many digits"},
		{"node[01-11", restart.CodeInvalid, "can't be read"},
		{"node[a-c]", restart.CodeInvalid, "can't be read"},
		{"node[1-2-3]", restart.CodeInvalid, "can't be read"},
		{"node01-11]", restart.CodeInvalid, "not a valid name"},
		{"node[0-999999999]", restart.CodeTooLarge, "10000"},
		{"node[0-99][0-99][0-9]", restart.CodeTooLarge, "10000"},
		{"node[0-9999],node[0-9]", restart.CodeTooLarge, "10000"},
		{"node[0-9999999999]", restart.CodeInvalid, "can't be read"},
		{strings.Repeat("a,", 1<<19) + "a", restart.CodeTooLarge, "bytes"},
	} {
		got, err := v.eval(c.expr)
		if restart.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%.40q: %s, %v (%s), want %s: %s", c.expr, short(got), err, restart.CodeOf(err), c.code, c.words)
		}
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"node":             "node",
		"node[8-11]":       "node8 node9 node10 node11",
		"node[08-11]":      "node08 node09 node10 node11",
		"node[098-101].de": "node098.de node099.de node100.de node101.de",
		"[1-2]x[01-02]":    "1x01 1x02 2x01 2x02",
		"n[5-5]":           "n5",
		"n[0-1]":           "n0 n1",
		"n[00-01]":         "n00 n01",
		"n[01-100]":        "", // too long to write here: see below
	} {
		got, err := expand(pattern, mostFromRanges)
		if want == "" {
			if len(got) != 100 || got[0] != "n01" || got[99] != "n100" {
				t.Errorf("%s: %q", pattern, got)
			}
			continue
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v", pattern, got, err)
		}
	}
}

// What holds of every expression: no host twice, only known ones, never none
// without an error, and nothing that is excluded.
func checkResolved(t interface{ Fatalf(string, ...any) }, v *view, expr string, hosts []restart.Host, err error) {
	if err != nil {
		if restart.CodeOf(err) == restart.CodeInternal {
			t.Fatalf("%q: %v is not made for people", expr, err)
		}
		if len(hosts) > 0 {
			t.Fatalf("%q: hosts beside an error", expr)
		}
		return
	}
	if len(hosts) == 0 {
		t.Fatalf("%q: neither hosts nor an error", expr)
	}
	seen := map[string]bool{}
	for _, h := range hosts {
		if _, known := v.hosts[h.Name]; !known || seen[h.Name] {
			t.Fatalf("%q: %s is unknown (%v) or there twice", expr, h.Name, !known)
		}
		seen[h.Name] = true
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{"%front@dc1#ssd,-web1.example.com", "node[08-11].example.com", "#canary", "-%all", "%all,,", "[[-]]", "n[0-1][0-1]"} {
		f.Add(s)
	}
	v := small(f)
	f.Fuzz(func(t *testing.T, expr string) {
		hosts, err := v.eval(expr)
		checkResolved(t, v, expr, hosts, err)
	})
}

// The meaning of expressions, stated a second time in the simplest way, for
// inventories and expressions made at random.
func TestExpressionProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := randomView(t)
		var items []string
		included, excluded := []string{}, map[string]bool{}
		for range rapid.IntRange(1, 6).Draw(t, "items") {
			text, hosts := randomItem(t, v)
			if rapid.Bool().Draw(t, "exclude") {
				items = append(items, "-"+text)
				for _, h := range hosts {
					excluded[h] = true
				}
			} else {
				items = append(items, text)
				included = append(included, hosts...)
			}
		}
		var want []string
		for _, h := range included {
			if !excluded[h] && !slices.Contains(want, h) {
				want = append(want, h)
			}
		}
		expr := strings.Join(items, ",")
		got, err := v.eval(expr)
		checkResolved(t, v, expr, got, err)
		if len(want) == 0 {
			if restart.CodeOf(err) != restart.CodeInvalid {
				t.Fatalf("%s: %v, want an error: nothing is left", expr, err)
			}
			return
		}
		if names := names(got, func(h restart.Host) string { return h.Name }); err != nil || !slices.Equal(names, want) {
			t.Fatalf("%s: %v, %v, want %v", expr, names, err, want)
		}
		for what, typo := range map[string]string{"host": "nosuchhost", "group": "%nosuchgroup", "tag": "#nosuchtag", "dc": "%all@nosuchdc"} {
			for _, sign := range []string{"", "-"} {
				if _, err := v.eval(expr + "," + sign + typo); restart.CodeOf(err) != restart.CodeNotFound {
					t.Fatalf("unknown %s with sign %q: %v", what, sign, err)
				}
			}
		}
	})
}

func randomView(t *rapid.T) *view {
	var s Snapshot
	for n := range rapid.IntRange(1, 12).Draw(t, "hosts") {
		h := restart.Host{Name: fmt.Sprintf("h%02d", n)}
		h.DataCentre = rapid.SampledFrom([]string{"", "dc1", "dc2"}).Draw(t, "dc")
		h.Tags = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.ID).Draw(t, "tags")
		s.Hosts = append(s.Hosts, h)
	}
	all := names(s.Hosts, func(h restart.Host) string { return h.Name })
	for n := range rapid.IntRange(1, 4).Draw(t, "groups") {
		members := rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID).Draw(t, "members")
		s.Groups = append(s.Groups, restart.Group{Name: fmt.Sprintf("g%d", n), Hosts: members})
	}
	if err := checkSnapshot(s); err != nil {
		t.Fatalf("random snapshot: %v", err)
	}
	return newView(s)
}

// randomItem draws an item without its sign, and the hosts that it means.
func randomItem(t *rapid.T, v *view) (text string, hosts []string) {
	var from []restart.Host
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		h := rapid.SampledFrom(v.Hosts).Draw(t, "host")
		return h.Name, []string{h.Name}
	case 1:
		first := rapid.IntRange(0, len(v.Hosts)-1).Draw(t, "first")
		last := rapid.IntRange(first, len(v.Hosts)-1).Draw(t, "last")
		for _, h := range v.Hosts[first : last+1] {
			hosts = append(hosts, h.Name)
		}
		return fmt.Sprintf("h[%02d-%02d]", first, last), hosts
	case 2:
		text, from = "%all", v.Hosts
	default:
		g := rapid.SampledFrom(v.Groups).Draw(t, "group")
		text = "%" + g.Name
		for _, name := range g.Hosts {
			from = append(from, v.hosts[name])
		}
	}
	var dc, tag string
	for _, h := range v.Hosts { // what exists somewhere, not only in this group
		if h.DataCentre != "" && rapid.Bool().Draw(t, "by dc") {
			dc = h.DataCentre
		}
		if len(h.Tags) > 0 && rapid.Bool().Draw(t, "by tag") {
			tag = h.Tags[0]
		}
	}
	if dc != "" {
		text += "@" + dc
	}
	if tag != "" {
		text += "#" + tag
	}
	for _, h := range from {
		if (dc == "" || h.DataCentre == dc) && (tag == "" || slices.Contains(h.Tags, tag)) {
			hosts = append(hosts, h.Name)
		}
	}
	return text, hosts
}
