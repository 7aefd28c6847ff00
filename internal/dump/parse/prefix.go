package parse

// maxPrefix bounds what is taken for a log's prefix, in bytes.
const maxPrefix = 256

// prefix is what a log puts before each of its lines, as it stood before one of
// them: "Nov 23 10:11:12 web-1 java[4711]: ". In other lines its digits, words
// and gaps may be others, and as long as they like; everything else is the same.
type prefix string

// prefixBefore gives the prefix that is before offset k of a line. It is one
// only where it ends between words: text in the middle of a sentence is none.
func prefixBefore(line []byte, k int) (prefix, bool) {
	if k <= 0 || k > maxPrefix {
		return "", false
	}
	switch line[k-1] {
	case ' ', '\t', ':', '|', ']', '>', '-':
		return prefix(line[:k]), true
	}
	return "", false
}

// strip gives the line without the prefix, or as it is if it has none.
func (p prefix) strip(line []byte) []byte {
	if p == "" {
		return line
	}
	i := 0
	for j := 0; j < len(p); {
		class := classOf(p[j])
		width := run(string(p[j:]), class)
		last := j+width == len(p)
		j += width
		switch {
		case class == gap && last:
			return afterGap(line, i, p[len(p)-width:])
		case class == other:
			if i >= len(line) || line[i] != p[j-1] {
				return line
			}
			i++
		default:
			n := run(line[i:], class)
			if n == 0 {
				return line
			}
			i += n
		}
	}
	return line[i:]
}

// afterGap takes the gap that ends a prefix. What is behind it may begin with
// blanks of its own; and where nothing is, the log may have dropped the gap.
func afterGap(line []byte, i int, gap prefix) []byte {
	rest := line[i:]
	if len(rest) == 0 {
		return rest
	}
	if len(rest) < len(gap) || string(rest[:len(gap)]) != string(gap) {
		return line
	}
	return rest[len(gap):]
}

// class is a kind of bytes that a prefix may have more or fewer of.
type class int

const (
	other class = iota
	digit
	letter
	gap
)

func classOf(b byte) class {
	switch {
	case b >= '0' && b <= '9':
		return digit
	case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= 0x80:
		return letter
	case b == ' ', b == '\t':
		return gap
	}
	return other
}

// run counts the bytes of a class that text begins with; those of no class
// stand each for itself.
func run[T string | []byte](text T, c class) int {
	if c == other {
		return 1
	}
	n := 0
	for n < len(text) && classOf(text[n]) == c {
		n++
	}
	return n
}
