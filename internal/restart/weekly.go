package restart

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Weekly is a window that comes back every week, by the wall clock of a zone:
// from one minute of the week (Monday 00:00 = 0) up to another, over the week's
// end where To is not after From. The two are never equal.
type Weekly struct{ From, To int }

const (
	minutesOfDay  = 24 * 60
	minutesOfWeek = 7 * minutesOfDay
)

var weekdays = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

const weeklyHint = `a day and a time, twice, such as "fri 18:00-mon 08:00"; days are mon to sun, times 00:00 to 23:59, and 24:00 ends a day`

// ParseWeekly reads "fri 18:00-mon 08:00": days in full or by three letters, a
// dash of any length between. A window without an end, which covers the whole
// week, is refused as anything else that is not understood (CodeInvalid).
func ParseWeekly(s string) (Weekly, error) {
	bad := Errorf(CodeInvalid, "%s is not a weekly time", Quote(s)).WithHint(weeklyHint)
	parts := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == '-' || r == '–' || r == '—' })
	if len(parts) != 2 || len(s) > 64 {
		return Weekly{}, bad
	}
	from, fromOK := minuteOfWeek(parts[0], false)
	to, toOK := minuteOfWeek(parts[1], true)
	if !fromOK || !toOK {
		return Weekly{}, bad
	}
	if from == to {
		return Weekly{}, Errorf(CodeInvalid, "%s covers the whole week: such a freeze never ends", Quote(s)).
			WithHint("freeze by date instead: --from and --to")
	}
	return Weekly{from, to}, nil
}

// minuteOfWeek reads "fri 18:00"; 24:00, where it is allowed, is the next day's 00:00.
func minuteOfWeek(s string, ends bool) (int, bool) {
	fields := strings.Fields(s)
	if len(fields) != 2 || len(fields[0]) < 3 {
		return 0, false
	}
	day := -1
	for i, name := range weekdays {
		if fields[0] == name || fields[0] == name[:3] {
			day = i
		}
	}
	hours, minutes, ok := strings.Cut(fields[1], ":")
	if day < 0 || !ok || len(hours) < 1 || len(hours) > 2 || len(minutes) != 2 {
		return 0, false
	}
	h, err := strconv.ParseUint(hours, 10, 8)
	if err != nil {
		return 0, false
	}
	m, err := strconv.ParseUint(minutes, 10, 8)
	midnight := ends && h == 24 && m == 0
	if err != nil || m > 59 || h > 23 && !midnight {
		return 0, false
	}
	return (day*minutesOfDay + int(h)*60 + int(m)) % minutesOfWeek, true
}

// String writes what ParseWeekly reads, in its one form.
func (w Weekly) String() string {
	at := func(n int) string {
		return fmt.Sprintf("%s %02d:%02d", weekdays[n/minutesOfDay][:3], n%minutesOfDay/60, n%60)
	}
	return at(w.From) + "-" + at(w.To)
}

// Window gives the window that now is in, or else the next one.
//
// It begins with the first instant at which the wall clock shows its beginning
// or later, and ends with the last one at which the clock moves on to its end:
// where a change to or from summer time skips or repeats one of the two, the
// freeze lasts the longer rather than with a hole in it.
func (w Weekly) Window(now time.Time, zone *time.Location) Window {
	local := now.In(zone)
	sinceMonday := (int(local.Weekday()) + 6) % 7
	length := (w.To - w.From + minutesOfWeek) % minutesOfWeek
	for week := -2; ; week++ { // a window that began before this week may still last
		begin := time.Date(local.Year(), local.Month(), local.Day()-sinceMonday+7*week, 0, w.From, 0, 0, time.UTC)
		window := Window{FirstReading(begin, zone), LastReading(begin.Add(time.Duration(length)*time.Minute), zone)}
		if now.Before(window.To) {
			return window
		}
	}
}

// apart is more than any zone is off from UTC.
const apart = 26 * time.Hour

// FirstReading gives the first instant at which a zone's wall clock shows wall, or,
// where the clock skips that, the first one after. wall carries the clock's
// reading as if it were UTC.
func FirstReading(wall time.Time, zone *time.Location) time.Time {
	wall = asUTC(wall)
	for at := wall.Add(-apart); ; {
		_, offset := at.In(zone).Zone()
		_, end := at.In(zone).ZoneBounds()
		there := wall.Add(-time.Duration(offset) * time.Second)
		if there.Before(at) { // skipped: the clock shows more than that by now
			return at
		}
		if end.IsZero() || there.Before(end) {
			return there
		}
		at = end.UTC()
	}
}

// LastReading gives the last instant from which on a zone's wall clock shows wall or
// more: the second one of a reading that is repeated.
func LastReading(wall time.Time, zone *time.Location) time.Time {
	wall = asUTC(wall)
	for at := wall.Add(apart); ; {
		_, offset := at.In(zone).Zone()
		start, _ := at.In(zone).ZoneBounds()
		there := wall.Add(-time.Duration(offset) * time.Second)
		if start.IsZero() || there.After(start) {
			return there.UTC()
		}
		before := start.Add(-time.Nanosecond)
		_, offset = before.In(zone).Zone()
		if !start.Add(time.Duration(offset) * time.Second).After(wall) { // before it the clock showed less
			return start.UTC()
		}
		at = before.UTC()
	}
}

// asUTC takes what a time shows for UTC.
func asUTC(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}
