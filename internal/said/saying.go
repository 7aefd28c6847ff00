package said

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// sayings are sentences that can be found by what was made of them.
type sayings struct {
	byWord map[string][]*saying // by the rarest whole word that is always the same; the heaviest first
	others []*saying            // that have none
	words  map[string]string
}

// saying is one of them.
type saying struct {
	format  string
	english []piece
	russian []piece
	values  int
	weight  int    // bytes that are always the same
	sieve   string // the longest part that is always the same
}

// piece is a part of a saying: text, or a value, or one of some forms by a value.
type piece struct {
	text  string
	forms []string
	value int // which one; -1 = text
	verb  byte
}

func newSayings(texts, words map[string]string) *sayings {
	c := &sayings{byWord: map[string][]*saying{}, words: words}
	var all []*saying
	common := map[string]int{}
	for _, format := range slices.Sorted(maps.Keys(texts)) {
		x := &saying{format: format, english: piecesOf(format), russian: piecesOf(texts[format])}
		for _, p := range x.english {
			x.values = max(x.values, p.value+1)
			x.weight += len(p.text)
			if len(p.text) > len(x.sieve) {
				x.sieve = p.text
			}
		}
		for _, word := range x.wholeWords() {
			common[word]++
		}
		all = append(all, x)
	}
	slices.SortStableFunc(all, func(a, b *saying) int { return cmp.Compare(b.weight, a.weight) })
	for _, x := range all {
		words := x.wholeWords()
		if len(words) == 0 {
			c.others = append(c.others, x)
			continue
		}
		rarest := slices.MinFunc(words, func(a, b string) int { return cmp.Compare(common[a], common[b]) })
		c.byWord[rarest] = append(c.byWord[rarest], x)
	}
	return c
}

// wholeWords gives the words that every sentence of the format has, between
// spaces or at its ends.
func (x *saying) wholeWords() []string {
	var b strings.Builder
	for _, p := range x.english {
		if p.value >= 0 {
			b.WriteByte(0)
		}
		b.WriteString(p.text)
	}
	return slices.DeleteFunc(strings.Split(b.String(), " "), func(word string) bool { return word == "" || strings.ContainsAny(word, "\x00\n") })
}

// piecesOf takes a format apart.
func piecesOf(format string) []piece {
	var out []piece
	next, text := 0, ""
	literal := func() {
		if text != "" {
			out = append(out, piece{text: text, value: -1})
			text = ""
		}
	}
	for i := 0; i < len(format); i++ {
		switch rest := format[i:]; {
		case strings.HasPrefix(rest, "%%"):
			text += "%"
			i++
		case rest[0] == '%':
			verb := 1 + strings.IndexFunc(rest[1:], func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' })
			if number, ok := strings.CutPrefix(rest[1:verb], "["); ok {
				n, _ := strconv.Atoi(strings.TrimSuffix(number, "]")) // a test reads every format
				next = n - 1
			}
			literal()
			out = append(out, piece{value: next, verb: rest[verb]})
			next++
			i += verb
		case rest[0] == '{' && strings.Count(rest[:strings.Index(rest+"}", "}")], "|") == 2:
			literal()
			end := strings.Index(rest, "}")
			out = append(out, piece{forms: strings.Split(rest[1:end], "|"), value: max(next-1, 0)})
			i += end
		default:
			text += rest[:1]
		}
	}
	literal()
	return out
}

// find gives the heaviest saying that a text fits, and its values. What begins
// with a value begins with a name, if such a one fits that says enough.
func (c *sayings) find(text string) (*saying, []string) {
	const named, doubtful, scant = 0, 1, 2 // how good a saying is; the first that there is counts
	var best [3]*saying
	var values [3][]string
	look := func(list []*saying) {
		for _, x := range list {
			if best[named] != nil && x.weight <= best[named].weight {
				return
			}
			got, fits := x.fits(text)
			if !fits {
				continue
			}
			kind := named
			if begins := x.english[0].value; begins >= 0 {
				switch several := severalWords(got[begins]); {
				case several && x.weight < scanty:
					continue
				case several:
					kind = doubtful
				case x.weight < scanty:
					kind = scant
				}
			}
			if best[kind] == nil || x.weight > best[kind].weight {
				best[kind], values[kind] = x, got
			}
		}
	}
	for word := range strings.SplitSeq(text, " ") {
		look(c.byWord[word])
	}
	look(c.others)
	for kind, x := range best {
		if x != nil {
			return x, values[kind]
		}
	}
	return nil, nil
}

func (x *saying) fits(text string) ([]string, bool) {
	if len(text) < x.weight || !strings.Contains(text, x.sieve) {
		return nil, false
	}
	f := fit{values: make([]string, x.values), known: make([]bool, x.values), tries: fittingSaid}
	return f.values, f.from(x.english, text)
}

// severalWords tells whether a value is more than a name.
func severalWords(value string) bool {
	return strings.Contains(value, " ") && quoted(value) == value
}

// fit is one try to read the values of a saying from a text.
type fit struct {
	values []string
	known  []bool
	tries  int
}

func (f *fit) from(pieces []piece, rest string) bool {
	if f.tries--; f.tries < 0 {
		return false
	}
	if len(pieces) == 0 {
		return rest == ""
	}
	p := pieces[0]
	if p.value < 0 {
		after, ok := strings.CutPrefix(rest, p.text)
		return ok && f.from(pieces[1:], after)
	}
	if len(pieces) == 1 {
		return f.take(p, rest)
	}
	for end := 0; end <= len(rest); end++ {
		if next := pieces[1]; next.value < 0 { // the next place that it stands at
			step := strings.Index(rest[end:], next.text)
			if step < 0 {
				return false
			}
			end += step
		}
		before, known := f.values[p.value], f.known[p.value]
		if f.take(p, rest[:end]) && f.from(pieces[1:], rest[end:]) {
			return true
		}
		f.values[p.value], f.known[p.value] = before, known
	}
	return false
}

// take notes a value, if it can be that of the piece.
func (f *fit) take(p piece, value string) bool {
	if p.verb == 'd' {
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return false
		}
	}
	if strings.Contains(value, "\n") || f.known[p.value] && f.values[p.value] != value {
		return false
	}
	f.values[p.value], f.known[p.value] = value, true
	return true
}
