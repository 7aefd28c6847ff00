package restart

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSimilar(t *testing.T) {
	for _, c := range []struct {
		name  string
		known []string
		want  string
	}{
		{"ngnix", []string{"postgresql", "nginx"}, "nginx"},
		{"web1", []string{"web1.b", "web2", "web1.a"}, "web1.b web1.a"},
		{"NGINX", []string{"nginx"}, "nginx"},
		{"a", []string{"b", "abc"}, "b"},
		{"x", nil, ""},
		{"", []string{"a"}, ""},
		{strings.Repeat("x", 500), []string{strings.Repeat("x", 499)}, ""},
		{"completely", []string{"different"}, ""},
	} {
		if got := strings.Join(Similar(c.name, c.known), " "); got != c.want {
			t.Errorf("similar to %.20q: %s, want %s", c.name, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.StringMatching(`[abc]{0,6}`).Draw(t, "a"), rapid.StringMatching(`[abc]{0,6}`).Draw(t, "b")
		d := levenshtein(a, b)
		if d != levenshtein(b, a) || (d == 0) != (a == b) || d > max(len(a), len(b)) || d < max(len(a)-len(b), len(b)-len(a)) {
			t.Fatalf("distance of %q and %q is %d", a, b, d)
		}
	})
}
