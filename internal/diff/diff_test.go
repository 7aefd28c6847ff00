package diff_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/diff"
)

func text(lines []diff.Line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteByte(byte(l.Op))
		b.WriteString(l.Text)
		if l.Open {
			b.WriteString("|")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{"the first", "", "a\nb\n", "+a\n+b\n"},
		{"the same", "a\nb\n", "a\nb\n", " a\n b\n"},
		{"one in the middle", "a\nb\nc\n", "a\nB\nc\n", " a\n-b\n+B\n c\n"},
		{"moved", "a\nb\nc\n", "c\na\nb\n", "+c\n a\n b\n-c\n"},
		{"the end", "a\n", "a", "-a\n+a|\n"},
		{"repeated", "a\na\na\n", "a\na\n", " a\n a\n-a\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := cmp.Diff(c.want, text(diff.Lines(c.old, c.new))); got != "" {
				t.Errorf("(-want +got):\n%s", got)
			}
		})
	}
}

// check holds what is true of every comparison: both texts can be read out of
// it, lines are numbered from 1 on, and rows have each line once.
func check(t interface{ Fatalf(string, ...any) }, before, after string) []diff.Line {
	lines := diff.Lines(before, after)
	var a, b strings.Builder
	var m, k int
	write := func(to *strings.Builder, l diff.Line) {
		to.WriteString(l.Text)
		if !l.Open {
			to.WriteByte('\n')
		}
	}
	for _, l := range lines {
		if l.Op != diff.Added {
			if m++; l.Old != m {
				t.Fatalf("old line %d is numbered %d", m, l.Old)
			}
			write(&a, l)
		}
		if l.Op != diff.Removed {
			if k++; l.New != k {
				t.Fatalf("new line %d is numbered %d", k, l.New)
			}
			write(&b, l)
		}
	}
	if a.String() != before || b.String() != after {
		t.Fatalf("%q and %q became %q and %q", before, after, a.String(), b.String())
	}
	n := 0
	for _, r := range diff.Rows(lines) {
		if r.Old != nil {
			n++
		}
		if r.New != nil && r.New != r.Old {
			n++
		}
		if r.Old != nil && r.New != nil && r.Changed() == (r.Old.Text == r.New.Text) && r.Old.Op == diff.Same {
			t.Fatalf("a row says %v of %q and %q", r.Changed(), r.Old.Text, r.New.Text)
		}
	}
	if n != len(lines) {
		t.Fatalf("rows have %d of %d lines", n, len(lines))
	}
	return lines
}

// The number of lines that stay is that of the longest common subsequence, as a
// slower and simpler function finds it.
func TestLinesAreShortest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", ""}), 0, 9)
		a, b := lines.Draw(t, "old"), lines.Draw(t, "new")
		join := func(l []string) string {
			if len(l) == 0 {
				return ""
			}
			return strings.Join(l, "\n") + "\n"
		}
		got := check(t, join(a), join(b))
		removed, added := diff.Count(got)
		if same := len(got) - removed - added; same != common(a, b) {
			t.Fatalf("%d lines stay, and %d could:\n%s", same, common(a, b), text(got))
		}
	})
}

func common(a, b []string) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	if a[0] == b[0] {
		return 1 + common(a[1:], b[1:])
	}
	return max(common(a[1:], b), common(a, b[1:]))
}

// Texts that are too long to be compared well are compared all the same.
func TestLongTexts(t *testing.T) {
	a, b := strings.Repeat("a\n", 3000), strings.Repeat("b\n", 3000)
	lines := check(t, "first\n"+a+"last\n", "first\n"+b+"last\n")
	if removed, added := diff.Count(lines); removed != 3000 || added != 3000 || lines[0].Op != diff.Same || lines[len(lines)-1].Op != diff.Same {
		t.Errorf("%d removed, %d added", removed, added)
	}
}

func FuzzLines(f *testing.F) {
	f.Add("a\nb\n", "a\nc\n")
	f.Add("", "x")
	f.Add("\n\n", "\n")
	f.Fuzz(func(t *testing.T, a, b string) { check(t, a, b) })
}
