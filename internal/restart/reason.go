package restart

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a reason, in characters after trimming.
const (
	MinReason = 10
	MaxReason = 500
)

const reasonHint = "say what you see and what you expect, such as: 502s since the 14:00 deploy, workers hang"

// reasonLabels are texts of our own forms and help, which say nothing when
// they are sent back as a reason.
var reasonLabels = []string{
	"reason", "reason for restart", "reason for the restart", "why", "comment", "your reason", "the reason", "reason text",
	"причина", "причина перезапуска", "комментарий", "restart", "please restart", "restart service", "restart the service", "перезапуск", "нужен перезапуск",
}

// CheckReason accepts a reason that can mean something to the person who reads
// it in a year: 10 to 500 printable characters in one line, at least three
// different letters or digits, not one thing repeated, not the field's label.
// It returns the reason trimmed, or an Error with CodeReason.
func CheckReason(reason string) (string, error) {
	s := strings.TrimFunc(reason, unicode.IsSpace)
	refuse := func(format string, args ...any) (string, error) {
		return "", Errorf(CodeReason, format, args...).WithHint(reasonHint)
	}
	if s == "" {
		return refuse("a reason is needed: why is this done?")
	}
	if !utf8.ValidString(s) {
		return refuse("the reason is not valid UTF-8 text")
	}
	for _, r := range s {
		if !Printable(r) {
			return refuse("the reason holds a character that can't be shown (U+%04X): one line of plain text, please", r)
		}
	}
	n := utf8.RuneCountInString(s)
	if n < MinReason {
		return refuse("the reason %s is too short: %d of at least %d characters", Quote(s), n, MinReason)
	}
	if n > MaxReason {
		return refuse("the reason has %d characters; at most %d are kept", n, MaxReason)
	}
	folded := strings.ToLower(s)
	letters := strings.FieldsFunc(folded, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	flat := strings.Join(letters, "")
	kinds := map[rune]bool{}
	for _, r := range flat {
		kinds[r] = true
	}
	if len(kinds) < 3 || repeats(flat) {
		return refuse("the reason %s repeats itself and says nothing", Quote(s))
	}
	words := strings.Join(letters, " ")
	slices.Sort(letters)
	if len(slices.Compact(slices.Clone(letters))) == 1 && len(letters) > 1 {
		return refuse("the reason %s repeats itself and says nothing", Quote(s))
	}
	if slices.Contains(reasonLabels, words) {
		return refuse("%s is the name of the field, not a reason", Quote(s))
	}
	return s, nil
}

// repeats tells whether s is a short piece (up to 4 characters) said three
// times or more: "abcabcabc", "asdfasdfasdf".
func repeats(s string) bool {
	runes := []rune(s)
	for size := 1; size <= 4 && size*3 <= len(runes); size++ {
		same := true
		for i := size; i < len(runes) && same; i++ {
			same = runes[i] == runes[i-size]
		}
		if same {
			return true
		}
	}
	return false
}

// FoldReason gives a text as it is searched: in lower case, with single spaces.
func FoldReason(reason string) string {
	return strings.Join(strings.Fields(strings.ToLower(reason)), " ")
}

// SameReason gives what two reasons have in common that are one reason, given
// twice: words in lower case, and # for whatever has a digit in it (times,
// versions, tickets, counts).
func SameReason(reason string) string {
	words := strings.FieldsFunc(strings.ToLower(reason), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '.' && r != ':' && r != '_'
	})
	out := words[:0]
	for _, w := range words {
		if strings.ContainsFunc(w, unicode.IsDigit) {
			w = "#"
		}
		if w = strings.Trim(w, "-.:_"); w != "" && (w != "#" || len(out) == 0 || out[len(out)-1] != "#") {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}
