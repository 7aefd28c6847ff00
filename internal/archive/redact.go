package archive

import "regexp"

// redacted stands where something was taken out.
var redacted = []byte("[redacted]")

// Redact takes out of a text all that one of the rules matches within a line.
func Redact(text []byte, rules []*regexp.Regexp) []byte {
	for _, r := range rules {
		text = r.ReplaceAllLiteral(text, redacted)
	}
	return text
}
