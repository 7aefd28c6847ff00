package restart_test

import (
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                    "0 seconds",
		400 * time.Microsecond:               "0 seconds",
		time.Millisecond:                     "1 millisecond",
		300 * time.Millisecond:               "300 milliseconds",
		time.Second:                          "1 second",
		1500 * time.Millisecond:              "1.5 seconds",
		time.Minute:                          "1 minute",
		61 * time.Second:                     "61 seconds",
		90 * time.Second:                     "90 seconds",
		2 * time.Minute:                      "2 minutes",
		130 * time.Second:                    "2 minutes 10 seconds",
		time.Hour:                            "1 hour",
		90 * time.Minute:                     "1 hour 30 minutes",
		time.Hour + 1500*time.Millisecond:    "1 hour 1.5 seconds",
		24 * time.Hour:                       "24 hours",
		25*time.Hour + time.Minute:           "25 hours 1 minute",
		50 * time.Hour:                       "50 hours",
		7 * 24 * time.Hour:                   "7 days",
		-5 * time.Minute:                     "-5 minutes",
		2*time.Minute - 400*time.Microsecond: "2 minutes",
	} {
		if got := restart.Span(d); got != want {
			t.Errorf("%v is written as %q, want %q", d, got, want)
		}
	}
}
