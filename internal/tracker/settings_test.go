package tracker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/tracker"
	"github.com/restartilka/restartilka/test/foreign/github"
	"github.com/restartilka/restartilka/test/foreign/jira"
)

func tokenFile(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWhatIsWrongWithSettingsIsTold(t *testing.T) {
	t.Parallel()
	file := tokenFile(t, "secret")
	good := func() tracker.Config {
		return tracker.Config{Kind: "jira", URL: "https://jira.example.com", TokenFile: file, Projects: []string{"WEB"}}
	}
	rule := func(r tracker.Recurrence) func(*tracker.Config) {
		return func(c *tracker.Config) { c.Recurrence = []tracker.Recurrence{r} }
	}
	for want, change := range map[string]func(*tracker.Config){
		"":                               func(*tracker.Config) {},
		`there is no kind "bugzilla"`:    func(c *tracker.Config) { c.Kind = "bugzilla" },
		"url is not given":               func(c *tracker.Config) { c.URL = "" },
		"url is not usable: without TLS": func(c *tracker.Config) { c.URL = "http://jira.example.com" },
		"web is not the address":         func(c *tracker.Config) { c.Web = "javascript:alert(1)" },
		"token_file is not given":        func(c *tracker.Config) { c.TokenFile = "" },
		"token_file: /nowhere/x":         func(c *tracker.Config) { c.TokenFile = "/nowhere/x" },
		"projects is empty":              func(c *tracker.Config) { c.Projects = nil },
		`"../x" is no project`:           func(c *tracker.Config) { c.Projects = []string{"../x"} },
		`"web" is no project`:            func(c *tracker.Config) { c.Projects = []string{"web"} },
		"when_down: \"never\" is neither lenient nor strict": func(c *tracker.Config) { c.WhenDown = "never" },
		"comments: \"all\" is neither":                       func(c *tracker.Config) { c.Comments = "all" },
		"language: \"de\" is neither en nor ru":              func(c *tracker.Config) { c.Language = "de" },
		"org and cloud_org are of startrek":                  func(c *tracker.Config) { c.Org = "1" },
		"give either org or cloud_org":                       func(c *tracker.Config) { c.Kind = "startrek" },
		"user is of jira alone":                              func(c *tracker.Config) { c.Kind, c.User, c.Projects = "github", "x", []string{"acme/shop"} },
		"of plain characters":                                func(c *tracker.Config) { c.User = "a\r\nX-Y: z" },
		"name: \"A B\" is not a name":                        func(c *tracker.Config) { c.Name = "A B" },
		"allow_networks: \"x\" is neither":                   func(c *tracker.Config) { c.AllowNetworks = []string{"x"} },
		"ca_file: ":                                          func(c *tracker.Config) { c.CAFile = "/nowhere/ca" },
		"restarts: 1 is not from 2 to 100":                   rule(tracker.Recurrence{Restarts: 1, Days: 7, Project: "WEB"}),
		"days: 29 is not from 1 to 28":                       rule(tracker.Recurrence{Restarts: 3, Days: 29, Project: "WEB"}),
		"project: \"\" is no project":                        rule(tracker.Recurrence{Restarts: 3, Days: 7}),
		"\"[\" is not a name, nor a glob":                    rule(tracker.Recurrence{Restarts: 3, Days: 7, Project: "WEB", Services: []string{"["}}),
	} {
		c := good()
		change(&c)
		_, err := tracker.Settings{c}.Open(tracker.Options{})
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "tickets, number 1") {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := (tracker.Settings{good(), good()}).Open(tracker.Options{}); err == nil || !strings.Contains(err.Error(), "number 2: there is a tracker of the name \"jira\" already") {
		t.Errorf("two of one name: %v", err)
	}
}

func TestSeveralTrackers(t *testing.T) {
	t.Parallel()
	j, g := jira.Start(t), github.Start(t)
	j.Add(jira.Issue{Key: "WEB-3", Summary: "In Jira", Status: "To Do", Category: "new"})
	g.Add(github.Issue{Number: 12, Title: "In GitHub"})
	all, err := tracker.Settings{
		{Kind: "jira", URL: j.URL, TokenFile: tokenFile(t, jira.Token), Projects: []string{"*"}},
		{Kind: "github", URL: g.URL, Web: "https://github.example.com/", TokenFile: tokenFile(t, github.Token), Projects: []string{"acme/shop"}},
	}.Open(tracker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	look := func(given, reason string) string {
		t.Helper()
		got, err := all.Look(t.Context(), given, reason)
		if err != nil {
			t.Fatal(err)
		}
		if got == nil {
			return "none"
		}
		return got.Key + " " + string(got.State) + " " + got.Title + " " + got.URL
	}
	for _, c := range []struct{ given, reason, want string }{
		{"", "workers hang since noon", "none"},
		{"", "UTF-8 is broken by SHA-256 since the deploy", "none"}, // Jira has no such tickets, and its projects are not named
		{"", "after WEB-3 was deployed", "WEB-3 open In Jira " + j.URL + "/browse/WEB-3"},
		{"", "UTF-8 is broken, acme/shop#12", "acme/shop#12 open In GitHub https://github.example.com/acme/shop/issues/12"},
		{"", "acme/shop#13 is closed", "acme/shop#13 missing  https://github.example.com/acme/shop/issues/13"},
		{"#12", "", "acme/shop#12 open In GitHub https://github.example.com/acme/shop/issues/12"},
		{"https://github.example.com/acme/shop/issues/12", "", "acme/shop#12 open In GitHub https://github.example.com/acme/shop/issues/12"},
		{"web-3", "acme/shop#12", "WEB-3 open In Jira " + j.URL + "/browse/WEB-3"},
	} {
		if got := look(c.given, c.reason); got != c.want {
			t.Errorf("%q %q: %s", c.given, c.reason, got)
		}
	}
	if _, err := all.Look(t.Context(), "acme/other#1", ""); restart.CodeOf(err) != restart.CodeInvalid || !strings.Contains(err.Error(), "WEB-17 or acme/shop#17") {
		t.Errorf("%v", err)
	}
}
