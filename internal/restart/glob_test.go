package restart_test

import (
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestGlobsFit(t *testing.T) {
	for _, c := range []struct {
		globs []string
		name  string
		want  bool
	}{
		{nil, "shop", true}, {nil, "", true}, {[]string{"shop"}, "shop", true}, {[]string{"sh*", "cart"}, "shop", true}, {[]string{"cart", "sh?p"}, "shop", true},
		{[]string{"cart"}, "shop", false}, {[]string{"sho"}, "shop", false}, {[]string{"["}, "[", false}, {[]string{"[", "*"}, "shop", true}, {[]string{"*"}, "", true},
	} {
		if got := restart.Fits(c.globs, c.name); got != c.want {
			t.Errorf("%q, %q: %v", c.globs, c.name, got)
		}
	}
}
