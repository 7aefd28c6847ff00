package restart_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestScope(t *testing.T) {
	var none *restart.Scope
	if !none.IsZero() || !none.Covers("restart", "", "") || none.String() != "" || none.Check() != nil {
		t.Error("no scope bounds something")
	}
	shop := &restart.Scope{Services: []string{"shop-*", "nginx"}, Environments: []string{"testing"}, Actions: []string{"restart"}}
	for _, c := range []struct {
		action, service, environment string
		want                         bool
	}{
		{"restart", "shop-api", "testing", true}, {"restart", "nginx", "testing", true}, {"dump", "nginx", "testing", false}, {"restart", "nginx", "production", false},
		{"restart", "nginx2", "testing", false}, {"restart", "", "testing", false}, {"restart", "nginx", "", false}, {"", "nginx", "testing", false},
	} {
		if got := shop.Covers(c.action, c.service, c.environment); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
	if got := shop.String(); got != "actions restart; services shop-*, nginx; environments testing" {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"", "../x", "a b", "[a", "X", "a\n", strings.Repeat("a", 65)} {
		if err := (&restart.Scope{Services: []string{bad}}).Check(); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Each further bound takes something away, and never gives anything.
func TestScopesOnlyNarrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a*", "*", "?"}), 0, 3)
		wide := restart.Scope{Services: names.Draw(t, "services"), Actions: names.Draw(t, "actions")}
		narrow := wide
		narrow.Environments = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 1, 3).Draw(t, "environments")
		one := rapid.SampledFrom([]string{"a", "b", "ab", ""})
		action, service, environment := one.Draw(t, "action"), one.Draw(t, "service"), one.Draw(t, "environment")
		if narrow.Covers(action, service, environment) && !wide.Covers(action, service, environment) {
			t.Fatalf("%v covers more than %v", narrow, wide)
		}
	})
}
