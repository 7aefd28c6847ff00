package chat

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The commands that there are.
const (
	verbRestart   = "restart"
	verbDump      = "dump"
	verbRuns      = "runs"
	verbStatus    = "status"
	verbApprovals = "approvals"
	verbApprove   = "approve"
	verbReject    = "reject"
	verbLink      = "link"
	verbUnlink    = "unlink"
	verbWhoami    = "whoami"
	verbHelp      = "help"
	verbStart     = "start" // which Telegram's clients send first
)

var verbs = []string{verbRestart, verbDump, verbRuns, verbStatus, verbApprovals, verbApprove, verbReject, verbLink, verbUnlink, verbWhoami, verbHelp, verbStart}

// longestText bounds a command, in bytes: all that it can say is shorter.
const longestText = 4096

// command is what somebody has asked for.
type command struct {
	verb string // "" = it is none
	rest string // what stands behind the verb
	to   string // the account that it names behind an @; "" = none
}

// parse reads a command: "/restart nginx why", with or without the slash, and as
// Telegram writes it in groups, "/restart@bot nginx why".
func parse(text string) command {
	if len(text) > longestText || !utf8.ValidString(text) {
		return command{}
	}
	first, rest := cut(text)
	first, to, _ := strings.Cut(strings.TrimPrefix(first, "/"), "@")
	verb := strings.ToLower(first)
	if !slices.Contains(verbs, verb) {
		return command{to: to}
	}
	return command{verb: verb, rest: rest, to: to}
}

// spoken tells whether a text in a group is said to a bot at all.
func spoken(text string) bool { return strings.HasPrefix(text, "/") }

// cut takes the first word off a text.
func cut(text string) (word, rest string) {
	text = strings.TrimSpace(text)
	i := strings.IndexFunc(text, unicode.IsSpace)
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimSpace(text[i:])
}

// slashed gives the text of a slash command: what stands behind a command of the
// bot's own name, or the command with what stands behind it.
func slashed(name, text string) string {
	name = strings.TrimPrefix(name, "/")
	if slices.Contains(verbs, strings.ToLower(name)) {
		return "/" + name + " " + text
	}
	return "/" + strings.TrimPrefix(strings.TrimSpace(text), "/")
}
