package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// notes collects what a source had to leave out, each thing once, for
// Snapshot.Problem. What is left out is unknown, and so can't be restarted.
type notes struct {
	said []string
	more int
}

const mostNotes = 5

func (n *notes) add(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	switch {
	case slices.Contains(n.said, s):
	case len(n.said) < mostNotes:
		n.said = append(n.said, s)
	default:
		n.more++
	}
}

func (n *notes) String() string {
	s := strings.Join(n.said, "; ")
	if n.more > 0 {
		s += fmt.Sprintf("; and %d more", n.more)
	}
	return s
}

// message is the sentence of an error without its hint.
func message(err error) string {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

// hint is the hint of an error; "" when there is none.
func hint(err error) string {
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e.Hint
	}
	return ""
}
