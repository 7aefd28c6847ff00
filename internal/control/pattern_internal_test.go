package control

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestPatterns(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"web*.example.com": true, "*.example.com": true, "web*-eu*.dc1.example.com": true, "*.*.example.com": true, "w*b.example.co": true,
		"*": false, "*.com": false, "*.*": false, "*.*.com": false, "web.example.com": false, "": false, "web*": false, "example.com": false,
		"web*.*.com": false, "web*.exa*ple.com": false, "-*.example.com": false, "web[1-9].example.com": false, "web?.example.com": false,
		"../web*.example.com": false, "web*.example.com.": false, "web*..example.com": false, "WEB*.example.com": false, "web*.example.com\n": false,
		strings.Repeat("a", 250) + "*.example.com": false,
	} {
		if err := checkPattern(pattern); (err == nil) != ok {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"web*.example.com", "web1.example.com", true},
		{"web*.example.com", "web.example.com", true},
		{"web*.example.com", "web1.evil.example.com", false},
		{"web*.example.com", "web1.example.com.evil.net", false},
		{"web*.example.com", "db1.example.com", false},
		{"w*b*1.example.com", "wxbyb1.example.com", true},
		{"ab*ba.example.com", "aba.example.com", false},
		{"*.example.com", "example.com", false},
	} {
		if got := matchPattern(c.pattern, c.host); got != c.want {
			t.Errorf("%s of %s: %v", c.host, c.pattern, got)
		}
	}
}

// The matcher agrees with the standard library's, where a "/" takes the place
// of the dot that a "*" never crosses.
func TestPatternsLikePath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		glob := rapid.StringMatching(`[ab*]{1,6}(\.[ab*]{1,6}){0,3}`).Draw(t, "glob")
		host := rapid.StringMatching(`[ab]{1,6}(\.[ab]{1,6}){0,3}`).Draw(t, "host")
		want, err := path.Match(strings.ReplaceAll(glob, ".", "/"), strings.ReplaceAll(host, ".", "/"))
		if err != nil {
			t.Fatal(err)
		}
		if got := matchPattern(glob, host); got != want {
			t.Fatalf("%s of %s: %v, want %v", host, glob, got, want)
		}
	})
}

// FuzzPattern: whatever is accepted names hosts of at most the domain that its
// last two labels spell out.
func FuzzPattern(f *testing.F) {
	f.Add("web*.example.com", "web1.example.com")
	f.Add("*.*", "a.b")
	f.Fuzz(func(t *testing.T, pattern, host string) {
		if checkPattern(pattern) != nil || restart.CheckHost(host) != nil || !matchPattern(pattern, host) {
			return
		}
		labels := strings.Split(pattern, ".")
		domain := "." + strings.Join(labels[len(labels)-fixedLabels:], ".")
		if strings.Contains(domain, "*") || !strings.HasSuffix(host, domain) {
			t.Fatalf("%q names %q", pattern, host)
		}
	})
}
