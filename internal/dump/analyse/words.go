package analyse

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// onHosts says on which hosts something was found.
func onHosts(f Finding) string {
	if len(f.Hosts) == 1 {
		return "On " + f.Hosts[0] + ": "
	}
	return fmt.Sprintf("On %d of %d hosts: ", len(f.Hosts), f.OfHosts)
}

// through says over how many dumps and what time something was seen.
func through(f Finding) string {
	switch {
	case f.Dumps < 2:
		return ""
	case f.Span > 0:
		return fmt.Sprintf(" in all %d dumps, for %s", f.Dumps, duration(f.Span))
	}
	return fmt.Sprintf(" in all %d dumps", f.Dumps)
}

func quoted(name string) string {
	if name == "" {
		return "an unknown place"
	}
	return "`" + Short(name) + "`"
}

// named is for the names of threads, pools and hosts, which are whole.
func named(name string) string {
	if name == "" {
		return "a thread without a name"
	}
	return "`" + name + "`"
}

// lockWord makes a lock's class, or its ID, fit a sentence.
func lockWord(class string) string { return "the lock `" + LockClass(class) + "`" }

// LockClass gives what people call a lock of a class.
func LockClass(class string) string {
	if i := strings.LastIndexByte(class, '.'); i >= 0 {
		class = class[i+1:]
	}
	for _, inner := range []string{"$NonfairSync", "$FairSync", "$Sync"} {
		class = strings.TrimSuffix(class, inner)
	}
	return class
}

func listed(names []string) string {
	const shown = 4
	words := make([]string, 0, shown)
	for i, n := range names {
		if i == shown {
			break
		}
		words = append(words, "`"+n+"`")
	}
	if more := len(names) - shown; more > 0 {
		return strings.Join(words, ", ") + fmt.Sprintf(" and %d more", more)
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// ofAll gives "412 of 640 threads wait".
func ofAll(f Finding, one, many string) string {
	if f.Of > f.Threads {
		return fmt.Sprintf("%d of %d %s", f.Threads, f.Of, many)
	}
	return plural(f.Threads, one, many)
}

func plural(n int, one, many string) string {
	return strconv.Itoa(n) + " " + either(n, one, many)
}

func either(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func percent(p float64) string { return strconv.FormatFloat(math.Round(p), 'f', -1, 64) }

func duration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return strconv.FormatFloat(math.Round(d.Seconds()*10)/10, 'f', -1, 64) + " s"
	case d < 10*time.Minute:
		return strconv.FormatFloat(math.Round(d.Seconds()), 'f', -1, 64) + " s"
	case d < 10*time.Hour:
		return strconv.FormatFloat(math.Round(d.Minutes()), 'f', -1, 64) + " min"
	}
	return strconv.FormatFloat(math.Round(d.Hours()), 'f', -1, 64) + " h"
}
