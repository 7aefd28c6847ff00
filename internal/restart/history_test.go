package restart_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

// Ids of before a moment sort before its first one, all others do not.
func TestFirstID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<45).Draw(t, "at"))
		other := time.UnixMilli(rapid.Int64Range(0, 1<<45).Draw(t, "other"))
		id, first := restart.NewID(other), restart.FirstID(at)
		if restart.CheckID(first) != nil || !restart.TimeOfID(id).Equal(other) || !restart.TimeOfID(first).Equal(at) {
			t.Fatalf("%s of %s, %s of %s", id, other, first, at)
		}
		if before := id < first; before != other.Before(at) {
			t.Fatalf("%s of %s and %s of %s", id, other, first, at)
		}
	})
	for _, id := range []string{"", "x", "01M82XDY5T0000000000999970", "uuuuuuuuuu0000000000999970", "01m82xdy5t000000000099997\x00"} {
		if at := restart.TimeOfID(id); !at.IsZero() {
			t.Errorf("%q is of %s", id, at)
		}
	}
}

func TestSameReason(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"502s since the 14:00 deploy", "503s since the 9:30 Deploy!", true},
		{"memory leak, build 1.2.3", "Memory leak – build 10.0", true},
		{"утечка памяти", "Утечка  памяти.", true},
		{"WEB-12: workers hang", "web-7 workers hang", true},
		{"workers hang", "workers leak", false},
		{"1 2 3", "4", true},
	} {
		if got := restart.SameReason(c.a) == restart.SameReason(c.b); got != c.same {
			t.Errorf("%q and %q: %q and %q", c.a, c.b, restart.SameReason(c.a), restart.SameReason(c.b))
		}
	}
}

func FuzzSameReason(f *testing.F) {
	f.Add("502s since the 14:00 deploy, WEB-12")
	f.Add("\xff\x00 ..:: 1")
	f.Fuzz(func(t *testing.T, s string) {
		once := restart.SameReason(s)
		if restart.SameReason(restart.FoldReason(s)) != once {
			t.Errorf("%q: %q, folded %q", s, once, restart.SameReason(restart.FoldReason(s)))
		}
	})
}
