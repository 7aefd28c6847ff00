package web

import (
	"regexp"
	"strings"

	"github.com/restartilka/restartilka/internal/said"
)

var (
	// command is one of ours, or a flag of one.
	command = regexp.MustCompile(`restartilka(-agent)? [a-z]|(^|[\s:(])--[a-z]`)
	// before is what a clause says before its command.
	before = regexp.MustCompile(`^([^:]* [^:]*): (restartilka|--[a-z])`)
	// condition is what says nothing without the command behind it.
	condition = regexp.MustCompile(`^(where|once|when|if|to|если|когда|чтобы) [^,]*$`)
)

// hintOf gives a hint in a language, as a page says it, escaped. Hints are written
// for the command line. Pages have buttons for what its commands do: they say
// words, the hint without its commands, and keep shell, the lines that have
// commands in them, behind a press.
func hintOf(l language, hint string) (words, shell []string) {
	for _, line := range said.Lines(l, hint) {
		if command.MatchString(line) {
			shell = append(shell, line)
			line = withoutCommands(line)
		}
		if line != "" {
			words = append(words, line)
		}
	}
	return words, shell
}

// hintWords gives the words of a hint alone.
func hintWords(l language, hint string) []string {
	words, _ := hintOf(l, hint)
	return words
}

// withoutCommands gives the clauses of a line without their commands, up to the
// first one of which nothing is left.
func withoutCommands(line string) string {
	clauses := strings.Split(line, "; ")
	for i, clause := range clauses {
		if !command.MatchString(clause) {
			continue
		}
		m := before.FindStringSubmatch(clause)
		if m == nil || command.MatchString(m[1]) || condition.MatchString(m[1]) {
			return strings.Join(clauses[:i], "; ")
		}
		clauses[i] = m[1]
	}
	return strings.Join(clauses, "; ")
}
