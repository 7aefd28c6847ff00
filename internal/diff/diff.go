// Package diff compares two versions of a scenario line by line, for the eyes
// of a reviewer: every line of both is in the result, in order, so that nothing
// can hide between two changes.
//
// What begins and ends both texts alike is set aside first. Of what is left the
// longest common subsequence is looked for, in bounded time and memory; where
// the rest is too long for that, all of the old comes before all of the new,
// which is a worse comparison, and not a wrong one.
package diff

import "strings"

// maxCells bounds the table of the longest common subsequence: old lines times
// new lines.
const maxCells = 1 << 18

// Op says what became of a line.
type Op byte

// The operations.
const (
	Same    Op = ' '
	Removed Op = '-'
	Added   Op = '+'
)

// Line is one line of the comparison, without its end.
type Line struct {
	Op       Op
	Old, New int // number in the old and the new text, from 1; 0 = not in it
	Text     string
	Open     bool // the text ends with it, and no newline does
}

// Row is a line of the old text beside one of the new. One side may be missing.
type Row struct {
	Old, New *Line
}

// Changed tells whether the sides differ.
func (r Row) Changed() bool { return r.Old == nil || r.New == nil || r.Old.Op != Same }

// Lines compares two texts. A text without a newline at its end differs from
// one with it: the last line is then marked.
func Lines(before, after string) []Line {
	a, b := split(before), split(after)
	from := 0
	for from < len(a) && from < len(b) && a[from] == b[from] {
		from++
	}
	to := 0
	for to < len(a)-from && to < len(b)-from && a[len(a)-1-to] == b[len(b)-1-to] {
		to++
	}
	out := make([]Line, 0, len(a)+len(b))
	i, j := 0, 0
	add := func(op Op) {
		line := Line{Op: op}
		if op != Added {
			i++
			line.Old, line.Text, line.Open = i, a[i-1].text, a[i-1].open
		}
		if op != Removed {
			j++
			line.New, line.Text, line.Open = j, b[j-1].text, b[j-1].open
		}
		out = append(out, line)
	}
	for range from {
		add(Same)
	}
	for _, op := range edits(a[from:len(a)-to], b[from:len(b)-to]) {
		add(op)
	}
	for range to {
		add(Same)
	}
	return out
}

// piece is one line of a text.
type piece struct {
	text string
	open bool
}

func split(text string) []piece {
	var out []piece
	for line := range strings.Lines(text) {
		bare, ended := strings.CutSuffix(line, "\n")
		out = append(out, piece{bare, !ended})
	}
	return out
}

// edits gives the operations that make b of a: removals before additions.
func edits(a, b []piece) []Op {
	n, m := len(a), len(b)
	out := make([]Op, 0, n+m)
	if n == 0 || m == 0 || n > maxCells/m {
		for range n {
			out = append(out, Removed)
		}
		for range m {
			out = append(out, Added)
		}
		return out
	}
	// longest[i*(m+1)+j] is the length of the longest common subsequence of
	// a[i:] and b[j:].
	longest := make([]int32, (n+1)*(m+1))
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			at := i*(m+1) + j
			if a[i] == b[j] {
				longest[at] = longest[at+m+2] + 1
			} else {
				longest[at] = max(longest[at+m+1], longest[at+1])
			}
		}
	}
	i, j := 0, 0
	for i < n || j < m {
		switch at := i*(m+1) + j; {
		case i < n && j < m && a[i] == b[j]:
			out = append(out, Same)
			i, j = i+1, j+1
		case j == m || i < n && longest[at+m+1] >= longest[at+1]:
			out = append(out, Removed)
			i++
		default:
			out = append(out, Added)
			j++
		}
	}
	return out
}

// Rows lays lines side by side: what was removed beside what came in its place.
func Rows(lines []Line) []Row {
	var out []Row
	for k := 0; k < len(lines); {
		if lines[k].Op == Same {
			out = append(out, Row{&lines[k], &lines[k]})
			k++
			continue
		}
		var removed, added []*Line
		for ; k < len(lines) && lines[k].Op != Same; k++ {
			if lines[k].Op == Removed {
				removed = append(removed, &lines[k])
			} else {
				added = append(added, &lines[k])
			}
		}
		for x := range max(len(removed), len(added)) {
			var row Row
			if x < len(removed) {
				row.Old = removed[x]
			}
			if x < len(added) {
				row.New = added[x]
			}
			out = append(out, row)
		}
	}
	return out
}

// Count gives how many lines were removed and added.
func Count(lines []Line) (removed, added int) {
	for _, l := range lines {
		switch l.Op {
		case Removed:
			removed++
		case Added:
			added++
		}
	}
	return removed, added
}
