// Package redact takes secrets out of dumps before they leave the host: values
// of arguments and properties that are called password, token or the like,
// passwords in addresses, bearer tokens, and whatever else a scenario or a
// server names by regular expressions.
//
// A dump stays one that can be read. Only what a program has chosen is open to
// rules: the name of a thread, but not the runtime's own fields beside it; a
// value of JSON, but not its keys. A line counts as the runtime's own only where
// it has that form from end to end of what the runtime writes: any other is open
// to rules as a whole. What fits a rule becomes ***.
//
// It works line by line, without state from one line to the next. What is split
// over two lines is not found.
package redact

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// MaxRules bounds the rules that are given beside those that are built in.
	MaxRules = 32
	// MaxLength bounds one of them, in bytes.
	MaxLength = 500
	// Mask stands where something was taken out.
	Mask = "***"
)

// secretKey is how keys end whose values are secrets: dbPassword, api_key, and
// the short words where they stand alone, so that a compass is none.
const secretKey = `(?:(?:pass(?:word|wd|phrase|code)|secret|token|api[-_.]?key|(?:access|private|secret|encryption|signing|account|shared)[-_.]?key|credential|session[-_.]?id)s?|\b(?:\w*[-_.])?(?:pass|pwd|auth))`

// value is what stands behind a key: up to a blank, or between quotes.
const value = `("[^"]*"|'[^']*'|[^\s"'&;,<>()\]}]+)`

// named is the same behind a colon: behind two of them stands a name of C++.
const named = `("[^"]*"|'[^']*'|[^\s"'&;,<>()\]}:][^\s"'&;,<>()\]}]*)`

// rule is one expression; where it has groups, only what they match is taken out.
type rule struct {
	pattern *regexp.Regexp
	needs   []string // it can only fit where one of these stands; nil = anywhere
}

// builtIn gives the rules that always hold. They are compiled when they are
// first needed: every task of an agent starts a process that may not need them.
var builtIn = sync.OnceValue(func() []rule {
	fold := func(pattern string) *regexp.Regexp { return regexp.MustCompile(`(?i)` + pattern) }
	return []rule{
		{fold(`[\w.-]*` + secretKey + `["']?=` + value), []string{"="}},
		{fold(secretKey + `["']?: ?` + named), []string{":"}},
		{fold(`authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|digest|negotiate|token)\s+)?` + value), []string{":", "="}},
		{fold(`\b(?:bearer|basic)\s+([A-Za-z0-9+/_.~=-]{8,})`), []string{" "}},
		{fold(`[a-z][a-z0-9+.-]*://[^\s/@:"'<>]*:([^\s/@"'<>]+)@`), []string{"://"}},
	}
})

// Rules are what is taken out. They may be used by several goroutines at once.
type Rules struct {
	all  []rule
	more bool // than those that are built in
}

// Defaults gives the rules that are built in.
func Defaults() *Rules { return &Rules{all: builtIn()} }

// New gives the rules that are built in and these regular expressions (RE2). Of
// an expression with groups only what they match is taken out.
func New(patterns []string) (*Rules, error) {
	if len(patterns) > MaxRules {
		return nil, restart.Errorf(restart.CodeInvalid, "%d rules of redaction are more than %d", len(patterns), MaxRules)
	}
	r := &Rules{all: slices.Clone(builtIn()), more: len(patterns) > 0}
	for _, text := range patterns {
		if len(text) > MaxLength {
			return nil, restart.Errorf(restart.CodeInvalid, "a rule of redaction is longer than %d bytes: %s", MaxLength, restart.Quote(text))
		}
		pattern, err := regexp.Compile(text)
		if err != nil {
			return nil, restart.Errorf(restart.CodeInvalid, "the rule of redaction %s is not a regular expression: %v", restart.Quote(text), err)
		}
		if text == "" || pattern.MatchString("") {
			return nil, restart.Errorf(restart.CodeInvalid, "the rule of redaction %s fits nothing at all, which is everywhere", restart.Quote(text))
		}
		r.all = append(r.all, rule{pattern: pattern})
	}
	return r, nil
}

// Text gives a text without what the rules take out. Where they find nothing,
// it is the same slice.
func (r *Rules) Text(text []byte) []byte {
	var out []byte
	kept := 0
	for at := 0; at < len(text); {
		end := len(text)
		if n := bytes.IndexByte(text[at:], '\n'); n >= 0 {
			end = at + n + 1
		}
		if line, changed := r.line(text[at:end]); changed {
			out = append(append(out, text[kept:at]...), line...)
			kept = end
		}
		at = end
	}
	if kept == 0 {
		return text
	}
	return append(out, text[kept:]...)
}

// maxLine bounds what is looked at as one line while it streams, in bytes.
const maxLine = 1 << 20

// Copy copies a text without what the rules take out. A line that is longer than
// a megabyte is looked at in parts.
func (r *Rules) Copy(to io.Writer, from io.Reader) error {
	in := bufio.NewReaderSize(from, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			clean, _ := r.line(line)
			if _, err := to.Write(clean); err != nil {
				return fmt.Errorf("write a redacted text: %w", err)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("read a text to redact: %w", err)
		}
	}
}

// secretArgument fits an option whose value is a secret, and stands behind a = or
// in the next argument.
var secretArgument = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)^-[\w.-]*` + secretKey + `(=|$)`) })

// Arguments gives a command line as one line, without what the rules take out.
func (r *Rules) Arguments(arguments []string) string {
	clean, _ := r.apply([]byte(strings.Join(r.Each(arguments), " ")))
	return string(clean)
}

// Each gives the arguments of a command line without what the rules take out.
func (r *Rules) Each(arguments []string) []string {
	out := make([]string, len(arguments))
	for i, argument := range arguments {
		key, _, assigned := strings.Cut(argument, "=")
		switch {
		case i > 0 && secretArgument().MatchString(arguments[i-1]) && !strings.Contains(arguments[i-1], "=") && !strings.HasPrefix(argument, "-"):
			out[i] = Mask
		case assigned && secretArgument().MatchString(key+"="):
			out[i] = key + "=" + Mask
		default:
			clean, _ := r.apply([]byte(argument))
			out[i] = string(clean)
		}
	}
	return out
}

// line applies the rules to the parts of a line that are open to them.
func (r *Rules) line(line []byte) ([]byte, bool) {
	if !r.more && !suspicious(line) {
		return line, false
	}
	var out []byte
	kept := 0
	for _, z := range zones(line) {
		part, changed := r.apply(line[z.from:z.to])
		switch {
		case z.bare:
			part, changed = []byte(`"`+Mask+`"`), true
		case z.secret:
			part, changed = []byte(Mask), true
		case changed && z.json:
			part = r.inJSON(line[z.from:z.to])
		}
		if changed {
			out = append(append(out, line[kept:z.from]...), part...)
			kept = z.to
		}
	}
	if kept == 0 {
		return line, false
	}
	return append(out, line[kept:]...), true
}

// inJSON applies the rules to a string of JSON as it is meant, and writes what is
// left as a string of JSON again, without its quotes.
func (r *Rules) inJSON(part []byte) []byte {
	var meant string
	if err := json.Unmarshal([]byte(`"`+string(part)+`"`), &meant); err != nil {
		return []byte(Mask)
	}
	clean, _ := r.apply([]byte(meant))
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(string(clean)); err != nil {
		return []byte(Mask)
	}
	return out.Bytes()[1 : out.Len()-2] // without the quotes and the end of the line
}

// suspicious tells whether a line may hold what the rules that are built in look
// for; most lines of a dump don't, and that is found out fast.
func suspicious(line []byte) bool {
	for i, c := range line {
		if !marks[c] || i == 0 {
			continue
		}
		before := line[i-1]
		switch {
		case c == ' ':
			if (before == 'r' || before == 'R' || before == 'c' || before == 'C') && i >= 5 && (endsWith(line[:i], "bearer") || endsWith(line[:i], "basic")) {
				return true
			}
		case secretBefore(line[:i]) || bytes.HasPrefix(line[i:], []byte("://")):
			return true
		}
	}
	return false
}

// marks are the bytes that stand before a secret.
var marks = [256]bool{'=': true, ':': true, ' ': true}

func endsWith(text []byte, word string) bool {
	return len(text) >= len(word) && strings.EqualFold(string(text[len(text)-len(word):]), word)
}

// lastWords are how the keys of secrets end, and authorization.
var lastWords = [256][]string{
	'd': {"password", "passwd", "pwd", "sessionid", "session-id", "session_id", "session.id"},
	'e': {"passphrase", "passcode"},
	'h': {"auth"},
	'l': {"credential"},
	'n': {"token", "authorization"},
	's': {"pass", "passwords", "passphrases", "passcodes", "passwds", "secrets", "tokens", "keys", "credentials", "ids"},
	't': {"secret"},
	'y': {"key"},
}

// secretBefore tells whether a text ends with what may be the key of a secret.
func secretBefore(text []byte) bool {
	for len(text) > 0 && (text[len(text)-1] == ' ' || text[len(text)-1] == '"' || text[len(text)-1] == '\'' || text[len(text)-1] == '\\') {
		text = text[:len(text)-1]
	}
	if len(text) == 0 {
		return false
	}
	for _, word := range lastWords[text[len(text)-1]|0x20] {
		if endsWith(text, word) {
			return true
		}
	}
	return false
}

// apply applies all rules to a text that is wholly open to them.
func (r *Rules) apply(text []byte) ([]byte, bool) {
	changed := false
	for _, rule := range r.all {
		if !rule.possible(text) {
			continue
		}
		found := rule.pattern.FindAllSubmatchIndex(text, -1)
		if len(found) == 0 {
			continue
		}
		text, changed = masked(text, found), true
	}
	return text, changed
}

func (r rule) possible(text []byte) bool {
	if r.needs == nil {
		return true
	}
	for _, s := range r.needs {
		if bytes.Contains(text, []byte(s)) {
			return true
		}
	}
	return false
}

// masked puts the mask in the place of each match, or of its groups.
func masked(text []byte, found [][]int) []byte {
	out := make([]byte, 0, len(text))
	kept := 0
	for _, at := range found {
		spans := at[:2]
		if len(at) > 2 {
			spans = at[2:]
		}
		for ; len(spans) >= 2; spans = spans[2:] {
			from, to := spans[0], spans[1]
			if from < kept || from == to { // a group that is absent, or lies in another one
				continue
			}
			if to-from >= 2 && (text[from] == '"' || text[from] == '\'') && text[to-1] == text[from] { // the quotes stay
				from, to = from+1, to-1
			}
			out = append(append(out, text[kept:from]...), Mask...)
			kept = to
		}
	}
	return append(out, text[kept:]...)
}
