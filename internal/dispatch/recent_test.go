package dispatch

import "testing"

func TestTheHostUsedLongestAgoIsLetGo(t *testing.T) {
	var r recent
	for _, use := range []struct{ key, over string }{{"a", ""}, {"b", ""}, {"a", ""}, {"c", "b"}, {"b", "a"}, {"b", ""}, {"c", ""}, {"a", "b"}} {
		if over := r.use(use.key, 2); over != use.over {
			t.Fatalf("after %s: %q is let go, not %q", use.key, over, use.over)
		}
	}
}
