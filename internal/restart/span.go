package restart

import (
	"strconv"
	"strings"
	"time"
)

// Span writes a length of time into a sentence, to the millisecond: 90 seconds,
// 5 minutes, 1 hour 30 minutes, 7 days. Package said knows the words. What a
// person types, as in a settings file, stays as it is typed: 1m30s.
func Span(d time.Duration) string {
	d = d.Round(time.Millisecond)
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "-" + Span(-d)
	case d > 0 && d < time.Second:
		return count(float64(d.Milliseconds()), "millisecond")
	case d < 2*time.Minute && d != time.Minute:
		return count(d.Seconds(), "second")
	case d >= 2*day && d%day == 0:
		return count(float64(d/day), "day")
	}
	var parts []string
	for _, part := range []struct {
		n    float64
		unit string
	}{{float64(d / time.Hour), "hour"}, {float64(d % time.Hour / time.Minute), "minute"}, {(d % time.Minute).Seconds(), "second"}} {
		if part.n > 0 {
			parts = append(parts, count(part.n, part.unit))
		}
	}
	return strings.Join(parts, " ")
}

func count(n float64, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return strconv.FormatFloat(n, 'f', -1, 64) + " " + unit
}
