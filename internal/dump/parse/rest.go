package parse

import (
	"strings"

	"github.com/restartilka/restartilka/internal/dump"
)

const (
	maxFragment  = 64 << 10 // bytes of text that one fragment keeps
	maxFragments = 10_000   // of one dump
	maxRest      = 4 << 20  // bytes of text that all fragments of a dump keep
)

// rest collects the lines of one dump that were not understood; lines that
// stand together are one fragment.
type rest struct {
	done []dump.Fragment
	open dump.Fragment
	text strings.Builder
	size int  // of all texts
	full bool // the open fragment keeps no more
}

// add takes a line. Beyond the bounds only its number is kept: the text that
// was read has it.
func (r *rest) add(number int, line []byte) {
	follows := r.open.Lines > 0 && number == r.open.Line+r.open.Lines
	switch {
	case follows, len(r.done) >= maxFragments && r.open.Lines > 0:
		r.open.Lines = number - r.open.Line + 1
	default:
		r.close()
		r.open = dump.Fragment{Line: number, Lines: 1}
	}
	r.keep(line, follows)
}

func (r *rest) keep(line []byte, follows bool) {
	if r.full {
		return
	}
	room := min(maxFragment-r.text.Len(), maxRest-r.size-r.text.Len())
	if follows {
		r.text.WriteByte('\n')
	}
	if len(line) > room {
		r.full = true
		line = line[:max(room, 0)]
		r.text.WriteString(clean(line, maxFragment))
		r.text.WriteString("…")
		return
	}
	r.text.WriteString(clean(line, maxFragment))
}

func (r *rest) close() {
	if r.open.Lines == 0 {
		return
	}
	r.open.Text = r.text.String()
	r.size += len(r.open.Text)
	r.done = append(r.done, r.open)
	r.open = dump.Fragment{}
	r.text = strings.Builder{}
	r.full = false
}

// all gives the fragments, and forgets them.
func (r *rest) all() []dump.Fragment {
	r.close()
	fragments := r.done
	*r = rest{}
	return fragments
}
