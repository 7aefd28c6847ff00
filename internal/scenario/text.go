package scenario

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
)

// Codes of findings about the file's bytes and its YAML.
const (
	codeSize      = "too-large"
	codeText      = "text"
	codeSyntax    = "syntax"
	codeStructure = "structure"
	codeComment   = "comment"
)

// checkBytes refuses what must not even be looked at as YAML. What it accepts
// is UTF-8 of printable characters, tabs and plain line feeds, so that a line
// number means the same to an editor, the YAML reader and a person, and that
// a reviewer sees what a host runs.
func checkBytes(b []byte, found *findings) bool {
	if len(b) > MaxSize {
		found.refuse(0, codeSize, fmt.Sprintf("the file has %d bytes; at most %d are read", len(b), MaxSize), "ship large scripts in the service's package, and call them here")
		return false
	}
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		found.refuse(1, codeText, "the file begins with a byte order mark", "save it as UTF-8 without BOM")
		return false
	}
	for i, text := range strings.Split(string(b), "\n") {
		if at := badRune(text); at >= 0 {
			r, size := utf8.DecodeRuneInString(text[at:])
			message, hint := fmt.Sprintf("the character U+%04X can't be shown to a reviewer", r), "remove it; in a script, write it as an escape of printf"
			switch {
			case r == utf8.RuneError && size == 1:
				message, hint = fmt.Sprintf("the byte 0x%02x is not UTF-8 text", text[at]), "save the file as UTF-8"
			case r == 0:
				message, hint = "the file holds a NUL byte", "a scenario is plain text: is this the right file?"
			case r == '\r':
				message, hint = "the line ends as in Windows (CR LF)", "a shell would take the CR as part of the command: convert the file with dos2unix"
			}
			found.refuse(i+1, codeText, message, hint)
			return false
		}
	}
	return true
}

// badRune gives the offset of the first character of text that may not stand
// in a scenario, or -1. Tabs may.
func badRune(text string) int {
	for i, r := range text {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				return i
			}
		}
		if r != '\t' && !restart.Printable(r) {
			return i
		}
	}
	return -1
}

// badText is badRune for a value of several lines.
func badText(text string) int { return badRune(strings.ReplaceAll(text, "\n", "\t")) }
