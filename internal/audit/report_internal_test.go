package audit

import "testing"

func TestNumbered(t *testing.T) {
	for n, want := range map[int64]string{0: "0 faults", 1: "1 fault", 2: "2 faults"} {
		if got := numbered(n, "fault"); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
