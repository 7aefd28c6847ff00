package signing

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// options are those of one line of allowed_signers.
type options struct {
	authority     bool
	namespaces    string // pattern list; "" = any
	after, before time.Time
}

// parseOptions reads NAME or NAME="VALUE", separated by commas.
func parseOptions(text string) (options, error) {
	var o options
	for _, one := range splitOptions(text) {
		name, value, has := strings.Cut(one, "=")
		value, err := unquote(value)
		if err != nil {
			return o, fmt.Errorf("option %s: %w", restart.Quote(name), err)
		}
		switch strings.ToLower(name) {
		case "cert-authority":
			o.authority = true
		case "namespaces":
			if o.namespaces = value; !has || value == "" {
				err = errors.New("is empty")
			}
		case "valid-after":
			o.after, err = parseTime(value)
		case "valid-before":
			o.before, err = parseTime(value)
		default:
			return o, restart.Errorf(restart.CodeInvalid, "neither a type of key nor an option: %s", restart.Quote(one)).
				WithHint("the options: namespaces=\"…\", valid-after=\"…\", valid-before=\"…\"")
		}
		if err != nil {
			return o, fmt.Errorf("option %s: %w", name, err)
		}
	}
	if !o.after.IsZero() && !o.before.IsZero() && o.after.After(o.before) {
		return o, errors.New("valid-after is later than valid-before")
	}
	return o, nil
}

// splitOptions cuts at commas outside of quotes.
func splitOptions(text string) []string {
	var out []string
	quoted, from := false, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quoted:
			i++
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			out, from = append(out, text[from:i]), i+1
		}
	}
	return append(out, text[from:])
}

func unquote(s string) (string, error) {
	if s == "" || s[0] != '"' {
		if strings.ContainsAny(s, `"\`) {
			return "", errors.New("a quote stands in the middle")
		}
		return s, nil
	}
	if len(s) < 2 || s[len(s)-1] != '"' {
		return "", errors.New("a quote is not closed")
	}
	inner := strings.ReplaceAll(s[1:len(s)-1], `\"`, "")
	if strings.Contains(inner, `"`) {
		return "", errors.New("a quote stands in the middle")
	}
	return strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`), nil
}

// parseTime reads YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]; without Z it is the time
// of the machine's own zone.
func parseTime(s string) (time.Time, error) {
	digits, utc := strings.CutSuffix(s, "Z")
	zone := time.Local
	if utc {
		zone = time.UTC
	}
	layout, ok := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if ok {
		if t, err := time.ParseInLocation(layout, digits, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, restart.Errorf(restart.CodeInvalid, "%s is no time", restart.Quote(s)).WithHint("such as 20270331Z or 20270331120000Z")
}

// scenarios tells whether the line is good for scenarios.
func (o options) scenarios() bool {
	if o.namespaces == "" {
		return true
	}
	found := false
	for pattern := range strings.SplitSeq(o.namespaces, ",") {
		negative := strings.HasPrefix(pattern, "!")
		if !match(strings.TrimPrefix(pattern, "!"), Namespace) {
			continue
		}
		if negative {
			return false
		}
		found = true
	}
	return found
}

// match compares a name with a pattern of ssh: * and ? only. Its time is
// bounded by the product of their lengths.
func match(pattern, name string) bool {
	p, n, star, back := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, back = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			back++
			p, n = star+1, back
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
