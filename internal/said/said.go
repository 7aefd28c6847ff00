package said

import (
	"cmp"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// What telling one sentence may take.
const (
	longestSaid = 2 << 10 // bytes; what is longer stays
	deepestSaid = 6       // sentences within sentences
	scanty      = 8       // bytes: a format of fewer that begins with a value is for a name there only
	partsSaid   = 150     // parts of one sentence that are looked at
	fittingSaid = 500     // tries to fit one sentence into one format
)

// In gives a sentence of the program in a language, escaped to be shown.
func In(l Language, sentence string) string {
	if l != Russian || sentence == "" {
		return restart.Escape(sentence)
	}
	told, _ := table().begin().word(sentence, deepestSaid)
	return restart.Escape(told)
}

// All is In of each.
func All(l Language, list []string) []string {
	var out []string
	for _, x := range list {
		out = append(out, In(l, x))
	}
	return out
}

// Lines gives a hint's lines, escaped.
func Lines(l Language, hint string) []string {
	var out []string
	if l == Russian {
		hint, _ = table().begin().tell(hint, deepestSaid)
	}
	for line := range strings.Lines(hint) {
		out = append(out, restart.Escape(strings.TrimSuffix(line, "\n")))
	}
	return out
}

// areas are all sentences, each by the format that it is made by: as package
// fmt's, but for %s, %d and %q alone, and such that stand for them. The Russian
// one has
//
//	%s, %[2]s         a value, as it is; one in quotes gets «these»
//	%w, %[2]w         a value that is a sentence or a word itself, told in turn
//	{час|часа|часов}  the form that fits the number before it, or else the first one
//
// TestEverySentenceIsSaid compares them with the program.
var areas = []map[string]string{
	runTexts, planTexts, laterTexts, peopleTexts, ruleTexts, actionTexts, scenarioTexts, storedTexts, hostTexts, agentTexts, dumpTexts, captureTexts, inventoryTexts, fileTexts, lintTexts, pageTexts, auditTexts,
	monitoringTexts, lockTexts, chatTexts, messageTexts,
}

// texts is all of them together.
var texts = together(areas)

func together(areas []map[string]string) map[string]string {
	all := map[string]string{}
	for _, area := range areas {
		maps.Copy(all, area)
	}
	return all
}

// table is made when the first sentence is told: the command line is the same
// program, and tells none.
var table = sync.OnceValue(func() *sayings { return newSayings(texts, words) })

// part is a part of a sentence, so deep in it; inRussian is what it becomes,
// and whether anything of it is known.
type (
	part struct {
		text  string
		depth int
	}
	inRussian struct {
		text  string
		known bool
	}
)

// telling is the work on one sentence.
type telling struct {
	*sayings
	told map[part]inRussian
	left int // parts that may still be looked at
}

func (c *sayings) begin() *telling {
	return &telling{sayings: c, told: map[part]inRussian{}, left: partsSaid}
}

// tell gives a text in Russian, and whether anything of it is known.
func (c *telling) tell(text string, depth int) (string, bool) {
	if depth <= 0 || text == "" || len(text) > longestSaid {
		return text, false
	}
	if before, ok := c.told[part{text, depth}]; ok {
		return before.text, before.known
	}
	if c.left--; c.left < 0 {
		return text, false
	}
	told, known := c.anew(text, depth)
	c.told[part{text, depth}] = inRussian{told, known}
	return told, known
}

func (c *telling) anew(text string, depth int) (string, bool) {
	for _, between := range []string{": ", ", "} { // a word alone, and then a sentence about it
		if label, rest, ok := strings.Cut(text, between); ok && c.words[label] != "" {
			if x, _ := c.find(text); x == nil {
				rest, _ = c.word(rest, depth-1)
				return c.words[label] + between + rest, true
			}
		}
	}
	for _, between := range []string{"; ", " ("} { // before the whole: its last value would take in what follows
		if told, ok := c.parts(text, between, depth, true); ok {
			return told, true
		}
	}
	if x, values := c.find(text); x != nil {
		return c.render(x, values, depth), true
	}
	for _, between := range []string{"\n", "; ", ": ", " ("} {
		if told, ok := c.parts(text, between, depth, false); ok {
			return told, true
		}
	}
	return text, false
}

// parts tells what was put together of several sentences: each of them, if all
// are known where all must be, or those that are.
func (c *telling) parts(text, between string, depth int, all bool) (string, bool) {
	before, after, found := cutOutside(text, between)
	end := ""
	if between == " (" {
		before, after, found = cutBrackets(text)
		end = ")"
	}
	if !found {
		return text, false
	}
	first, firstKnown := c.word(before, depth-1)
	if all && !firstKnown {
		return text, false
	}
	rest, restKnown := c.word(after, depth-1)
	if all && c.words[after] != "" { // a word alone is rather a value of what is before it
		return text, false
	}
	return first + between + rest + end, firstKnown && restKnown || !all && (firstKnown || restKnown)
}

// cutOutside cuts a text at the first place of a separator that is not within
// quotes, and a colon neither within brackets.
func cutOutside(text, between string) (before, after string, found bool) {
	for at := 0; ; {
		next := strings.Index(text[at:], between)
		if next < 0 {
			return text, "", false
		}
		at += next
		inside := between == ": " && strings.Count(text[:at], "(") > strings.Count(text[:at], ")")
		if strings.Count(text[:at], `"`)%2 == 0 && !inside {
			return text[:at], text[at+len(between):], true
		}
		at += len(between)
	}
}

// cutBrackets cuts off what a text ends with in brackets.
func cutBrackets(text string) (before, within string, found bool) {
	if !strings.HasSuffix(text, ")") {
		return text, "", false
	}
	open := 0
	for i := len(text) - 1; i > 0; i-- {
		switch text[i] {
		case ')':
			open++
		case '(':
			if open--; open == 0 {
				before, found = strings.CutSuffix(text[:i], " ")
				return before, text[i+1 : len(text)-1], found
			}
		}
	}
	return text, "", false
}

// word tells what stands within a sentence: a word, some of them, or a sentence.
func (c *telling) word(text string, depth int) (string, bool) {
	if word, ok := c.words[text]; ok {
		return word, true
	}
	if span := spanSaid(text); span != "" {
		return span, true
	}
	if inner := quoted(text); inner != text {
		told, _ := c.tell(strings.Trim(text, `"`), depth-1)
		return "«" + told + "»", true
	}
	if told, ok := c.tell(text, depth); ok {
		return told, true
	}
	if day, date, ok := strings.Cut(text, " "); ok && len(date) > 10 && date[0] == '2' {
		if word, ok := c.words[day]; ok {
			return word + " " + date, true
		}
	}
	if told, ok := c.choice(text, depth); ok {
		return told, true
	}
	before, after, found := strings.Cut(text, ", ")
	if !found || depth <= 0 {
		return text, false
	}
	first, firstKnown := c.word(before, depth-1)
	rest, restKnown := c.word(after, depth-1)
	return first + ", " + rest, firstKnown || restKnown
}

// choice tells a list such as "anna, its owners or an admin", of names and words.
func (c *telling) choice(text string, depth int) (string, bool) {
	at := strings.LastIndex(text, " or ")
	if at < 0 || depth <= 0 {
		return text, false
	}
	list := append(strings.Split(text[:at], ", "), text[at+len(" or "):])
	for i, x := range list {
		told, ok := c.word(x, depth-1)
		if !ok && strings.Contains(x, " ") {
			return text, false
		}
		list[i] = told
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " или " + list[last], true
}

// render gives a saying in Russian.
func (c *telling) render(x *saying, values []string, depth int) string {
	var b strings.Builder
	for _, p := range x.russian {
		switch {
		case p.value < 0:
			b.WriteString(p.text)
		case p.forms != nil:
			b.WriteString(p.forms[Russian.Plural(leadingNumber(values[p.value]))])
		case p.verb == 'w':
			told, _ := c.word(values[p.value], depth-1)
			b.WriteString(told)
		default:
			b.WriteString(cmp.Or(spanSaid(values[p.value]), quoted(values[p.value])))
		}
	}
	return b.String()
}

// spanText are lengths of time as restart.Span writes them, and as package time
// does: sentences of before, and values as they were typed, have the latter.
var (
	spanText  = regexp.MustCompile(`^([1-9][0-9]*|0\.[0-9]+|0)(\.[0-9]+)?(h|ms|m|s)([0-9]+(\.[0-9]+)?(m|s))*$`)
	spanWords = regexp.MustCompile(`^[0-9]+(\.[0-9]+)? (day|hour|minute|second|millisecond)s?( [0-9]+(\.[0-9]+)? (minute|second)s?){0,2}$`)
)

// spanUnits are short, and so the same after every number and in every case.
var spanUnits = map[string]string{"day": "сут", "hour": "ч", "minute": "мин", "second": "с", "millisecond": "мс"}

// spanSaid gives a length of time as 1 ч 30 мин; "" = the value is none.
func spanSaid(value string) string {
	if spanWords.MatchString(value) {
		fields := strings.Fields(value)
		for i := 0; i < len(fields); i += 2 {
			fields[i], fields[i+1] = strings.Replace(fields[i], ".", ",", 1), spanUnits[strings.TrimSuffix(fields[i+1], "s")]
		}
		return strings.Join(fields, " ")
	}
	if !spanText.MatchString(value) {
		return ""
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return ""
	}
	var parts []string
	add := func(n, unit string) {
		if n != "0" {
			parts = append(parts, n+" "+unit)
		}
	}
	add(strconv.Itoa(int(d.Hours())), "ч")
	add(strconv.Itoa(int(d.Minutes())%60), "мин")
	if rest := d % time.Minute; rest >= time.Second || d == 0 {
		parts = append(parts, Russian.Decimal(rest.Seconds(), -1)+" с")
	} else {
		add(strconv.FormatInt(rest.Milliseconds(), 10), "мс")
	}
	return strings.Join(parts, " ")
}

// leadingNumber reads the number that a value is, or begins with.
func leadingNumber(value string) int {
	end := strings.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(value)
	}
	n, _ := strconv.Atoi(value[:end]) // no number is as many as 0
	return n
}

// quoted puts a value that is in quotes into those of Russian.
func quoted(value string) string {
	if inner := strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`); len(inner) == len(value)-2 && !strings.Contains(inner, `"`) {
		return "«" + inner + "»"
	}
	return value
}
