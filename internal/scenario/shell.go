package scenario

import (
	"regexp"
	"strings"
)

// paramUse is one mention of a PARAM_ variable in a script.
type paramUse struct {
	name     string
	offset   int  // of the mention, in bytes
	expanded bool // the shell itself replaces it: $PARAM_X or ${PARAM_X}
	bare     bool // and it stands outside of double quotes
}

var (
	paramWord  = regexp.MustCompile(`^PARAM_[A-Za-z0-9_]+`)
	assignment = regexp.MustCompile(`(^|[\s;&|(])[A-Za-z_][A-Za-z0-9_]*=$`)
)

// paramUses finds the PARAM_ variables in a shell script, comments left out.
// It knows quotes, escapes, comments and $(…), and takes the body of a here
// document for ordinary text: good enough for advice, not a parser of shell.
func paramUses(script string) []paramUse {
	var uses []paramUse
	state := []byte{0} // innermost last: 0 = plain, '"' = in double quotes, '(' = in $(…)
	for i := 0; i < len(script); i++ {
		top := state[len(state)-1]
		rest := script[i:]
		word := paramWord.FindString(rest)
		switch {
		case word != "" && !wordBefore(script, i):
			before := script[:i]
			dollar := strings.TrimSuffix(before, "{")
			expanded := strings.HasSuffix(dollar, "$") && !strings.HasSuffix(dollar, `\$`)
			start := strings.TrimSuffix(dollar, "$")
			uses = append(uses, paramUse{word, i, expanded, expanded && top != '"' && !assignment.MatchString(start[max(0, len(start)-100):])})
			i += len(word) - 1
		case rest[0] == '\\':
			i++
		case strings.HasPrefix(rest, "$("):
			state = append(state, '(')
			i++
		case rest[0] == '"' && top == '"':
			state = state[:len(state)-1]
		case rest[0] == '"':
			state = append(state, '"')
		case top == '"':
		case rest[0] == '\'':
			end := strings.IndexByte(rest[1:], '\'')
			if end < 0 {
				return uses
			}
			uses = append(uses, quotedUses(rest[1:1+end], i+1)...)
			i += end + 1
		case rest[0] == '(':
			state = append(state, '(')
		case rest[0] == ')' && top == '(':
			state = state[:len(state)-1]
		case rest[0] == '#' && (i == 0 || strings.IndexByte(" \t\n;&|()", script[i-1]) >= 0):
			i = lineEnd(script, i) - 1
		}
	}
	return uses
}

var paramAnywhere = regexp.MustCompile(`PARAM_[A-Za-z0-9_]+`)

// quotedUses finds mentions in single quotes: awk or a second shell may read
// them from the environment, this shell does not.
func quotedUses(text string, offset int) []paramUse {
	var uses []paramUse
	for _, m := range paramAnywhere.FindAllStringIndex(text, -1) {
		uses = append(uses, paramUse{name: text[m[0]:m[1]], offset: offset + m[0]})
	}
	return uses
}

// wordBefore tells whether a letter, digit or _ stands before i.
func wordBefore(s string, i int) bool {
	return i > 0 && (s[i-1] == '_' || s[i-1] >= '0' && s[i-1] <= '9' || s[i-1] >= 'A' && s[i-1] <= 'Z' || s[i-1] >= 'a' && s[i-1] <= 'z')
}
