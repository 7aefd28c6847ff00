package inventory

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// expand counts out the ranges of a host name: node[08-10].example.com gives
// node08, node09 and node10 .example.com. A name without a range gives itself.
// The names are not checked. More than most names are CodeTooLarge; a range
// that can't be read is CodeInvalid.
func expand(pattern string, most int) ([]string, error) {
	names := []string{""}
	rest := pattern
	for {
		before, from := cutAt(rest, '[')
		for i := range names {
			names[i] += before
		}
		if from == "" {
			return names, nil
		}
		inner, after, closed := strings.Cut(from[1:], "]")
		if !closed {
			return nil, badRange(pattern)
		}
		numbers, err := parseRange(inner)
		if err != nil {
			return nil, badRange(pattern)
		}
		if count := numbers.count() * int64(len(names)); count > int64(most) {
			return nil, restart.Errorf(restart.CodeTooLarge, "the ranges give more than %d hosts", mostFromRanges).
				WithHint("name a group instead, or ask in parts")
		}
		longer := make([]string, 0, int(numbers.count())*len(names))
		for _, n := range names {
			for i := numbers.first; i <= numbers.last; i++ {
				longer = append(longer, fmt.Sprintf("%s%0*d", n, numbers.width, i))
			}
		}
		names, rest = longer, after
	}
}

func badRange(pattern string) *restart.Error {
	return restart.Errorf(restart.CodeInvalid, "the range in %s can't be read", restart.Quote(pattern)).
		WithHint("first and last number, the first not above the last, with as many digits where there are leading zeros: node[01-20]")
}

// numbers is a range of at most nine-digit numbers, both ends included.
type numbers struct {
	first, last int64
	width       int // digits at least, filled with zeros
}

func (n numbers) count() int64 { return n.last - n.first + 1 }

func parseRange(s string) (numbers, error) {
	first, last, ok := strings.Cut(s, "-")
	if !ok || !digits(first) || !digits(last) {
		return numbers{}, fmt.Errorf("range %q is not NUMBER-NUMBER", s)
	}
	n := numbers{width: 1}
	n.first, _ = strconv.ParseInt(first, 10, 64) // nine digits: can't fail
	n.last, _ = strconv.ParseInt(last, 10, 64)
	switch padded := first[0] == '0' && len(first) > 1; {
	case padded && len(last) < len(first), last[0] == '0' && len(last) > 1 && len(last) != len(first):
		return numbers{}, fmt.Errorf("range %q has ends of different length", s)
	case padded, last[0] == '0':
		n.width = len(first)
	}
	if n.first > n.last {
		return numbers{}, fmt.Errorf("range %q goes down", s)
	}
	return n, nil
}

// digits tells whether s is one to nine decimal digits.
func digits(s string) bool {
	if len(s) == 0 || len(s) > 9 {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}
