package intake_test

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/intake"
	"github.com/restartilka/restartilka/internal/restart"
)

// timed is an answer whose request has a deadline, as a server sets one.
type timed struct {
	*httptest.ResponseRecorder

	until time.Time
}

func (t *timed) SetReadDeadline(at time.Time) error {
	t.until = at
	return nil
}

// slowly brings a byte every 20 seconds, and none after the deadline.
type slowly struct {
	t    *timed
	from io.Reader
}

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Second)
	if time.Now().After(s.t.until) {
		return 0, context.DeadlineExceeded
	}
	return iotest.OneByteReader(s.from).Read(p)
}

func TestBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes int
		want  restart.Code
	}{
		"a slow file": {20, ""}, "too long a file": {26, restart.CodeTooLarge}, "for too long": {25, restart.CodeInternal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &timed{ResponseRecorder: httptest.NewRecorder(), until: time.Now().Add(30 * time.Second)}
				within := intake.Time
				if name == "for too long" {
					within = time.Minute
				}
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				r := httptest.NewRequestWithContext(ctx, "POST", "/", slowly{w, strings.NewReader(strings.Repeat("x", c.bytes))})
				read, err := io.ReadAll(intake.Body(ctx, w, r, 25))
				if restart.CodeOf(err) != c.want || err == nil && len(read) != c.bytes {
					t.Errorf("%d bytes: %v", len(read), err)
				}
			})
		})
	}
}
