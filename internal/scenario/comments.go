package scenario

import (
	"slices"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v4"
)

// refuseComments refuses every YAML comment between a top-level key whose
// values reach a host's shell and the end of what belongs to it. It looks at
// the bytes themselves: the YAML reader attaches comments to nodes by rules
// that lose some. Whole lines at the left margin behind the section's last
// value are outside of it.
func refuseComments(root *yaml.Node, at *index, found *findings) {
	for i := 0; i+1 < len(root.Content); i += 2 {
		key := root.Content[i]
		if key.Value != "steps" && key.Value != "dump" && key.Value != "health" {
			continue
		}
		end := len(at.text)
		if i+2 < len(root.Content) {
			end = at.offset(root.Content[i+2])
		}
		for _, comment := range commentsIn(root.Content[i+1], at, at.offset(key), end) {
			found.refuse(at.line(comment), codeComment, "a YAML comment inside "+key.Value+" is refused: the text behind \" #\" never reaches the host",
				`if it is part of the value (such as #unit#), put the value in "quotes" or in a block (|); if it is a note, move it above the section`)
		}
	}
}

// commentsIn lists the offsets of the comments between from and to, where the
// section with that value stands.
func commentsIn(value *yaml.Node, at *index, from, to int) []int {
	scalars := quotedIn(value, at)
	var comments []int
	var margin []int // at the left margin, and so far nothing of the section behind them
	content := func() { comments, margin = append(comments, margin...), nil }
	for i := from; i < to; {
		if len(scalars) > 0 && i >= scalars[0].from {
			content()
			i, scalars = max(i, scalars[0].to), scalars[1:]
			continue
		}
		switch c := at.text[i]; {
		case c == '#' && i > 0 && at.text[i-1] == '\n':
			margin = append(margin, i)
			i = lineEnd(at.text, i)
		case c == '#' && i > 0 && (at.text[i-1] == ' ' || at.text[i-1] == '\t'):
			content()
			comments = append(comments, i)
			i = lineEnd(at.text, i)
		case c == ' ' || c == '\t' || c == '\n':
			i++
		default:
			content()
			i++
		}
	}
	return comments
}

// span is a stretch of bytes.
type span struct{ from, to int }

// quotedIn lists the spans of the quoted and block scalars under n, in order:
// the places where a "#" is text.
func quotedIn(n *yaml.Node, at *index) []span {
	var out []span
	start := at.offset(n)
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if body, ok := blockBody(n, at, start); ok {
			out = append(out, body)
		}
	case n.Style&yaml.DoubleQuotedStyle != 0:
		end := start + 1
		for end < len(at.text) && at.text[end] != '"' {
			if at.text[end] == '\\' {
				end++
			}
			end++
		}
		out = append(out, span{start, min(end+1, len(at.text))})
	case n.Style&yaml.SingleQuotedStyle != 0:
		end := start + 1
		for end < len(at.text) {
			if strings.HasPrefix(at.text[end:], "''") {
				end += 2
				continue
			}
			if at.text[end] == '\'' {
				break
			}
			end++
		}
		out = append(out, span{start, min(end+1, len(at.text))})
	}
	for _, child := range n.Content {
		out = append(out, quotedIn(child, at)...)
	}
	return out
}

// blockBody gives the span of a block scalar's lines, without its header, which
// may carry a comment. It has none where the block is blank.
func blockBody(n *yaml.Node, at *index, start int) (span, bool) {
	if strings.TrimSpace(n.Value) == "" {
		return span{}, false
	}
	from := min(lineEnd(at.text, start)+1, len(at.text))
	indent := -1
	to := from
	for to < len(at.text) {
		text := at.text[to:lineEnd(at.text, to)]
		margin := len(text) - len(strings.TrimLeft(text, " "))
		switch {
		case margin == len(text): // blank
		case indent < 0:
			indent = margin - leadingSpaces(n.Value)
		case margin < indent:
			return span{from, to}, true
		}
		to = min(to+len(text)+1, len(at.text))
	}
	return span{from, to}, true
}

// leadingSpaces counts those that a block's own indent leaves on its first
// line that is not blank.
func leadingSpaces(value string) int {
	for text := range strings.SplitSeq(value, "\n") {
		if trimmed := strings.TrimLeft(text, " "); trimmed != "" {
			return len(text) - len(trimmed)
		}
	}
	return 0
}

// lineEnd gives the offset of the line feed that ends the line of i, or the
// end of the text.
func lineEnd(text string, i int) int {
	if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(text)
}

// index finds the bytes of a node by its line and column. It is quick where it
// is asked in the order of the text.
type index struct {
	text  string
	lines []int // offset of each line
	last  struct{ line, column, offset int }
}

func positions(text string) *index {
	at := &index{text: text, lines: []int{0}}
	for i := range len(text) {
		if text[i] == '\n' {
			at.lines = append(at.lines, i+1)
		}
	}
	return at
}

// offset gives the byte at which n begins; columns count characters.
func (at *index) offset(n *yaml.Node) int {
	if n.Line < 1 || n.Line > len(at.lines) {
		return len(at.text)
	}
	if at.last.line != n.Line || at.last.column > n.Column {
		at.last.line, at.last.column, at.last.offset = n.Line, 1, at.lines[n.Line-1]
	}
	for at.last.column < n.Column && at.last.offset < len(at.text) {
		_, size := utf8.DecodeRuneInString(at.text[at.last.offset:])
		at.last.offset += size
		at.last.column++
	}
	return at.last.offset
}

// line gives the line, from 1, of an offset.
func (at *index) line(offset int) int {
	i, exact := slices.BinarySearch(at.lines, offset)
	if exact {
		return i + 1
	}
	return i
}
