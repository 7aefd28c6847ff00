package said

import (
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Language is one that people are spoken to in.
type Language string

// The languages that there are.
const (
	English Language = "en"
	Russian Language = "ru"
)

// Languages lists them all.
func Languages() []Language { return []Language{English, Russian} }

// Setting reads a language that a configuration names at key; "" = English. Errors
// are *restart.Error with CodeInvalid.
func Setting(key, value string) (Language, error) {
	if value == "" {
		return English, nil
	}
	if l := Language(value); slices.Contains(Languages(), l) {
		return l, nil
	}
	return "", restart.Errorf(restart.CodeInvalid, "%s: %s is neither en nor ru", key, restart.Quote(value))
}

// Plural gives which form of a word goes with a number (CLDR's rules): 0 is one, 1
// other in English, and few in Russian, which has many as 2.
func (l Language) Plural(n int) int {
	if l != Russian {
		if n == 1 {
			return 0
		}
		return 1
	}
	switch tens, ones := n%100, n%10; {
	case ones == 1 && tens != 11:
		return 0
	case ones >= 2 && ones <= 4 && (tens < 12 || tens > 14):
		return 1
	}
	return 2
}

// Decimal writes a number with so many digits behind the point, or the comma; -1 =
// as many as it has.
func (l Language) Decimal(x float64, digits int) string {
	text := strconv.FormatFloat(x, 'f', digits, 64)
	if l == Russian {
		text = strings.Replace(text, ".", ",", 1)
	}
	return text
}

// Quote puts a name in quotes, escaped, as the language does.
func (l Language) Quote(name string) string {
	if l == Russian {
		return quoted(restart.Quote(name))
	}
	return restart.Quote(name)
}
