package restart_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestParams(t *testing.T) {
	enum := restart.Param{Name: "mode", Type: "enum", Values: []string{"soft", "hard"}}
	number := restart.Param{Name: "n", Type: "int", Min: new(int64(1)), Max: new(int64(10))}
	for _, c := range []struct {
		param     restart.Param
		good, bad []string
	}{
		{enum, []string{"soft", "hard"}, []string{"", "SOFT", "soft ", "soft;id"}},
		{restart.Param{Name: "b", Type: "bool"}, []string{"true", "false"}, []string{"1", "yes", ""}},
		{number, []string{"1", "10"}, []string{"0", "11", "01", "+1", "1e1", "", "0x1"}},
		{restart.Param{Name: "d", Type: "duration"}, []string{"5s"}, []string{"5", "-5s", "", "5s;"}},
		{restart.Param{Name: "s", Type: "string"}, []string{"a", "a/b.c-d", "x=1,y=2"}, []string{
			"", "-rf", "a b", "$(id)", "`id`", "a;b", "a..b", "a\nb", "a'b", `a"b`, "a\\b", "a|b", "a>b", "~root", "*", "?", "{a,b}", strings.Repeat("a", 129), "é",
		}},
		{restart.Param{Name: "x", Type: "path"}, nil, []string{"anything"}},
	} {
		for _, v := range c.good {
			if _, err := c.param.Check(v); err != nil {
				t.Errorf("%s %q: %v", c.param.Type, v, err)
			}
		}
		for _, v := range c.bad {
			if _, err := c.param.Check(v); restart.CodeOf(err) != restart.CodeParam {
				t.Errorf("%s %q is taken (%v)", c.param.Type, v, err)
			}
		}
	}
}

func TestValues(t *testing.T) {
	s := restart.Scenario{Name: "x", Params: []restart.Param{
		{Name: "mode", Type: "enum", Values: []string{"soft", "hard"}, Default: new("soft")}, {Name: "n", Type: "int"},
	}}
	got, err := s.Values(map[string]string{"n": "3"})
	if err != nil || got["mode"] != "soft" || got["n"] != "3" || len(got) != 2 {
		t.Errorf("values: %v, %v", got, err)
	}
	for name, given := range map[string]map[string]string{
		"missing": {}, "unknown": {"n": "3", "path": "/"}, "outside its type": {"n": "3", "mode": "rough"},
	} {
		if got, err := s.Values(given); restart.CodeOf(err) != restart.CodeParam || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := s.Values(map[string]string{"n": "3", "path": "/"}); err == nil || !strings.Contains(err.Error(), "it has: mode, n") {
		t.Errorf("an unknown parameter is refused without naming the known ones: %v", err)
	}
}

// Whatever a string parameter accepts is one plain word to a shell.
func TestStringParamsAreWords(t *testing.T) {
	p := restart.Param{Name: "s", Type: "string"}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.String().Draw(t, "value")
		if _, err := p.Check(v); err == nil && (strings.ContainsAny(v, " \t\n'\"\\$`;&|<>()*?[]{}~#!^") || strings.HasPrefix(v, "-")) {
			t.Fatalf("%q was taken", v)
		}
	})
}

func TestFits(t *testing.T) {
	s := restart.Scenario{Services: []string{"nginx", "web-*"}}
	for name, want := range map[string]bool{"nginx": true, "web-front": true, "web": false, "nginx2": false, "": false} {
		if s.Fits(name) != want {
			t.Errorf("%q fits: %v, want %v", name, !want, want)
		}
	}
}
