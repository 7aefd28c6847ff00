package inventory

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestConductorHosts(t *testing.T) {
	for body, want := range map[string]string{
		"":                                     "",
		"[]":                                   "",
		"web1.example.com\nweb2.example.com\n": "web1.example.com web2.example.com",
		"web1\r\n\r\nweb2\nweb1\n":             "web1 web2",
		"dc1\tweb1\ndc2\tweb2\n\tweb3\n":       "web1@dc1 web2@dc2 web3",
		`[{"fqdn":"web1","root_datacenter_name":"dc1"},{"fqdn":"web2","root_datacenter_name":null},{"fqdn":"web3","id":7}]`: "web1@dc1 web2 web3",
	} {
		hosts, err := parseHosts([]byte(body))
		var got []string
		for _, h := range hosts {
			name := h.Name
			if h.DataCentre != "" {
				name += "@" + h.DataCentre
			}
			got = append(got, name)
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v, want %q", body, got, err, want)
		}
	}
	for _, body := range []string{
		"No groups found", "<html>", "web1 web2", "Error: x", "web1\n../x", "{}", `[{"fqdn":"web1"`, `[{"name":"web1"}]`, `["web1"]`,
		"dc1\tweb1\textra", "a,b\tweb1", "-rf", "web1\x00",
	} {
		if hosts, err := parseHosts([]byte(body)); err == nil || hosts != nil {
			t.Errorf("%q is believed: %v", body, hosts)
		}
	}
}

func TestConductorTags(t *testing.T) {
	for body, want := range map[string]string{
		"": "", "[]": "", "a\nb\na\n": "a b", `["a","b"]`: "a b",
	} {
		if tags, err := parseTags([]byte(body)); err != nil || strings.Join(tags, " ") != want {
			t.Errorf("%q: %q, %v", body, tags, err)
		}
	}
	for _, body := range []string{"<html>", "a b", `[1]`, `[{}]`} {
		if tags, err := parseTags([]byte(body)); err == nil || tags != nil {
			t.Errorf("%q is believed: %v", body, tags)
		}
	}
}

func FuzzConductor(f *testing.F) {
	for _, s := range []string{"web1\nweb2", "dc\tweb1", `[{"fqdn":"web1","root_datacenter_name":"dc1"}]`, `["tag"]`, "No groups found"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		hosts, err := parseHosts([]byte(body))
		checkParsed(t, Snapshot{Hosts: hosts}, err)
		tags, err := parseTags([]byte(body))
		checkParsed(t, Snapshot{Hosts: []restart.Host{{Name: "web1", Tags: tags}}}, err)
	})
}

func TestConductorQuestions(t *testing.T) {
	d := described{
		services: []restart.Service{{Name: "nginx", Package: "nginx", Project: "shop"}, {Name: "static", Project: "shop"}, {Name: "bare"}},
		groups:   []restart.Group{{Name: "shop-testing", Environment: "prestable", Services: []string{"bare"}}},
	}
	source := func(environments []string, texts ...string) *conductorSource {
		s := &conductorSource{environments: environments}
		for _, text := range texts {
			parsed, err := parseTemplate(text)
			if err != nil {
				t.Fatal(err)
			}
			s.templates = append(s.templates, parsed)
		}
		return s
	}
	show := func(questions []question) string {
		var out []string
		for _, q := range questions {
			out = append(out, q.group.Name+" "+q.group.Environment+" "+strings.Join(q.group.Services, ","))
		}
		return strings.Join(out, "; ")
	}
	for name, c := range map[string]struct {
		source *conductorSource
		want   string
	}{
		"none":                         {source(nil), "shop-testing prestable bare"},
		"needs a package":              {source(nil, "#project#_#package#"), "shop-testing prestable bare; shop_nginx  nginx"},
		"two services share a group":   {source([]string{"production"}, "#project#-#environment#"), "shop-testing prestable bare; shop-production production nginx,static"},
		"the services file's own word": {source([]string{"testing"}, "#project#-#environment#"), "shop-testing prestable bare"},
		"two templates":                {source([]string{"testing"}, "#service#-#environment#", "x-#package#-#environment#"), "shop-testing prestable bare; nginx-testing testing nginx; static-testing testing static; bare-testing testing bare; x-nginx-testing testing nginx"},
	} {
		got, err := c.source.questions(d)
		if err != nil || show(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", name, show(got), err, c.want)
		}
	}
	for _, s := range []*conductorSource{
		source(nil, "#service#@x"), source(nil, "#service#/.."), source([]string{"testing", "production"}, "#service#"),
	} {
		if got, err := s.questions(d); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%v: %s, %v", s.templates, show(got), err)
		}
	}
	for _, text := range []string{"", "fixed", "#environment#", "#host#-#service#", "#service#-#branch#"} {
		if _, err := parseTemplate(text); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("template %q: %v", text, err)
		}
	}
}
