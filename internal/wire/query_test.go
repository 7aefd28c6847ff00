package wire_test

import (
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func TestRunQueryBounds(t *testing.T) {
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil && s != "" {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct{ since, until, from, to string }{
		{"", "", "", ""},
		{"2026-11-22", "2026-11-22", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"},
		{"2026-11-22T10:00:00+03:00", "2026-11-22T10:00:00Z", "2026-11-22T07:00:00Z", "2026-11-22T10:00:00Z"},
	} {
		since, until, err := wire.RunQuery{Since: c.since, Until: c.until}.Bounds()
		if err != nil || !since.Equal(at(c.from)) || !until.Equal(at(c.to)) {
			t.Errorf("%q to %q: %s to %s, %v", c.since, c.until, since, until, err)
		}
	}
	for _, bad := range []string{"soon", "2026-13-01", "2026-11-22 10:00", "-1", "9999-99-99"} {
		if _, _, err := (wire.RunQuery{Until: bad}).Bounds(); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzRunQueryBounds(f *testing.F) {
	f.Add("2026-11-22", "2026-11-22T10:00:00Z")
	f.Fuzz(func(t *testing.T, since, until string) {
		from, to, err := wire.RunQuery{Since: since, Until: until}.Bounds()
		if err == nil && (since == "") != from.IsZero() && since != "0001-01-01" && len(since) < 20 {
			t.Errorf("%q is %s", since, from)
		}
		if err == nil {
			restart.FirstID(from)
			restart.FirstID(to)
		}
	})
}
