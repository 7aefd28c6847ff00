package control

import (
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// fixedLabels is how many labels at the end of a pattern must stand for
// themselves, so that a token can't be made for everybody's hosts.
const fixedLabels = 2

// checkPattern accepts a glob over the labels of a host name, such as
// web*.example.com: "*" stands for any run of characters within one label, so
// that it never crosses a dot. The last two labels have no "*".
func checkPattern(pattern string) error {
	bad := func(why string) *restart.Error {
		return restart.Errorf(restart.CodeInvalid, "the pattern %s is not acceptable: %s", restart.Quote(pattern), why).
			WithHint("such as web*.example.com: * stands for any characters within one label, and the last two labels for themselves")
	}
	labels := strings.Split(pattern, ".")
	if len(pattern) > 253 || restart.CheckHost(strings.ReplaceAll(pattern, "*", "a")) != nil {
		return bad("it is not a host name with * in it")
	}
	if len(labels) <= fixedLabels {
		return bad("it needs at least two labels after the one with the *")
	}
	for _, label := range labels[len(labels)-fixedLabels:] {
		if strings.Contains(label, "*") {
			return bad("the last two labels may not hold a *")
		}
	}
	if !strings.Contains(pattern, "*") {
		return bad("it holds no *").WithHint("for one host: restartilka host join-token %s", pattern)
	}
	return nil
}

// matchPattern tells whether a host's name is one of the pattern's. Both have
// been checked.
func matchPattern(pattern, host string) bool {
	globs, labels := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(globs) != len(labels) {
		return false
	}
	for i, glob := range globs {
		if !matchLabel(glob, labels[i]) {
			return false
		}
	}
	return true
}

// matchLabel compares one label in time linear in its length for each "*".
func matchLabel(glob, label string) bool {
	parts := strings.Split(glob, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return glob == label
	}
	if len(label) < len(first)+len(last) || !strings.HasPrefix(label, first) || !strings.HasSuffix(label, last) {
		return false
	}
	rest := label[len(first) : len(label)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return true
}
