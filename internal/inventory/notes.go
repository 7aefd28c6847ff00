package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// notes collects what a source had to leave out, each thing once, for
// Snapshot.Problem: of each kind of problem the first few in words, the others
// as a number. What is left out is unknown, and so can't be restarted. However
// much rubbish a source holds, notes stay small.
type notes struct {
	kinds []*noteKind
}

// noteKind is the problems that one sentence tells.
type noteKind struct {
	format string
	said   []string
	more   int
}

const (
	mostAlike = 3 // problems of one kind that are told in words
	mostNotes = 8 // problems of all kinds that are
)

func (n *notes) add(format string, args ...any) {
	i := slices.IndexFunc(n.kinds, func(k *noteKind) bool { return k.format == format })
	if i < 0 {
		i = len(n.kinds)
		n.kinds = append(n.kinds, &noteKind{format: format})
	}
	k := n.kinds[i]
	if len(k.said) == mostAlike {
		k.more++
		return
	}
	if s := fmt.Sprintf(format, args...); !slices.Contains(k.said, s) {
		k.said = append(k.said, s)
	}
}

func (n *notes) String() string {
	var all []string
	rest := 0
	for _, k := range n.kinds {
		fit := min(len(k.said), mostNotes-len(all))
		all = append(all, k.said[:fit]...)
		if fit < len(k.said) {
			rest += len(k.said) - fit + k.more
		} else if k.more > 0 {
			all[len(all)-1] += fmt.Sprintf("; and %d more of these", k.more)
		}
	}
	if rest > 0 {
		all = append(all, fmt.Sprintf("and %d other problems", rest))
	}
	return strings.Join(all, "; ")
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
