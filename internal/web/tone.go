package web

import (
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// tone is what a state means to somebody who looks at a page at night. Each
// has a word, a shape and a colour of its own.
type tone string

const (
	toneDone    tone = "done"
	toneNow     tone = "now"
	toneWait    tone = "wait"
	toneHold    tone = "hold"    // stands still until a person acts
	toneWarn    tone = "warn"    // nothing stands still, but somebody should look
	toneFail    tone = "fail"    //
	toneUnknown tone = "unknown" // a person must find out
	toneSkip    tone = "skip"    // will not happen
)

func tones() []tone {
	return []tone{toneDone, toneNow, toneWait, toneHold, toneWarn, toneFail, toneUnknown, toneSkip}
}

func toneOfRun(s restart.RunState) tone {
	switch s {
	case restart.RunRunning:
		return toneNow
	case restart.RunPaused, restart.RunAwaitingApproval:
		return toneHold
	case restart.RunCompleted:
		return toneDone
	case restart.RunFailed:
		return toneFail
	case restart.RunAborted, restart.RunRejected:
		return toneSkip
	}
	return toneWait
}

func toneOfTask(s restart.TaskState) tone {
	switch {
	case s == restart.TaskSucceeded:
		return toneDone
	case s == restart.TaskUnknown:
		return toneUnknown
	case s == restart.TaskNotStarted:
		return toneSkip
	case s.Failure():
		return toneFail
	case s.Active():
		return toneNow
	}
	return toneWait
}

// toneOf is toneOfTask, unless a person knows better.
func toneOf(t restart.Task) tone {
	switch {
	case t.Done():
		return toneDone
	case t.Counts() && !t.Undecided():
		return toneFail
	}
	return toneOfTask(t.State)
}

// tally counts the hosts of a run by tone.
type tally map[tone]int

func tallyOf(latest []restart.Task) tally {
	n := tally{}
	for _, t := range latest {
		n[toneOf(t)]++
	}
	return n
}

// segment is a part of a bar, in hosts from its left end.
type segment struct {
	Tone     tone
	X, Width int
}

// bar lays the hosts of each tone side by side: what has ended first, what is
// still to come last.
func (n tally) bar() []segment {
	var out []segment
	x := 0
	for _, t := range []tone{toneDone, toneFail, toneUnknown, toneNow, toneSkip, toneWait} {
		if n[t] > 0 {
			out = append(out, segment{t, x, n[t]})
			x += n[t]
		}
	}
	return out
}

// took says how long something lasted, as exactly as it matters.
func took(l language, d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Second:
		return say(l, "time.ms", d.Milliseconds())
	case d < 10*time.Second:
		return say(l, "time.s", l.Decimal(d.Seconds(), 1))
	case d < time.Minute:
		return say(l, "time.s", strconv.Itoa(int(d.Seconds())))
	case d < time.Hour:
		return withRest(l, "min", int(d.Minutes()), "s", int(d.Seconds())%60)
	}
	return withRest(l, "h", int(d.Hours()), "min", int(d.Minutes())%60)
}

// withRest says a time in two units; what is nought of the smaller one is left out.
func withRest(l language, unit string, n int, smaller string, rest int) string {
	text := strconv.Itoa(n) + "\u00a0" + say(l, "unit."+unit)
	if rest == 0 {
		return text
	}
	return text + " " + strconv.Itoa(rest) + "\u00a0" + say(l, "unit."+smaller)
}

// lasted is the time between two moments; where the second is not there yet,
// until now.
func lasted(from, to *time.Time, now time.Time) time.Duration {
	switch {
	case from == nil:
		return 0
	case to == nil:
		return max(now.Sub(*from), 0)
	}
	return max(to.Sub(*from), 0)
}

// size says a number of bytes.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return strconv.FormatInt(n, 10) + " B"
	case n < 10<<20:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n>>20, 10) + " MiB"
}

// commonDomain gives what all host names end with, from a dot on, so that a
// picture of them need not repeat it; "" where they have nothing in common.
func commonDomain(hosts []string) string {
	if len(hosts) < 2 {
		return ""
	}
	_, domain, ok := strings.Cut(hosts[0], ".")
	for ok {
		all := true
		for _, h := range hosts {
			all = all && strings.HasSuffix(h, "."+domain)
		}
		if all {
			return "." + domain
		}
		_, domain, ok = strings.Cut(domain, ".")
	}
	return ""
}

// commonStart gives how many bytes all host names begin with alike, up to the
// first digit or dot of any; 0 where that leaves nothing of one, or where there is
// only one.
func commonStart(hosts []string) int {
	if len(hosts) < 2 {
		return 0
	}
	n := strings.IndexAny(hosts[0], "0123456789.")
	if n < 0 {
		return 0
	}
	for _, h := range hosts {
		if !strings.HasPrefix(h, hosts[0][:n]) || len(h) == n || h[n] == '.' {
			return 0
		}
	}
	return n
}
