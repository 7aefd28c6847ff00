package telegram

import (
	"fmt"
	"html"
	"regexp"
	"strings"
)

var (
	tag   = regexp.MustCompile(`^<(/?)([a-zA-Z-]+)((?:\s+[a-z-]+="[^"<>]*")*)\s*>`)
	href  = regexp.MustCompile(`href="([^"]*)"`)
	names = map[string]string{"b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "s": "strikethrough", "code": "code", "pre": "pre", "a": "text_link", "blockquote": "blockquote"}
	press = regexp.MustCompile(`(?:^|[^\pL\pN_/@])([@/][A-Za-z][A-Za-z0-9_]{2,31})\b`)
)

// parseHTML takes the marks out of a text of parse_mode HTML; why is what is
// wrong with it. Only a few tags are known, they must be closed in order, and a
// < that is none is an error.
func parseHTML(text string) (plain string, marks []Mark, why string) {
	type open struct {
		name, url string
		from      int
	}
	var stack []open
	var b strings.Builder
	for i := 0; i < len(text); {
		if text[i] != '<' {
			end := strings.IndexByte(text[i:], '<')
			if end < 0 {
				end = len(text) - i
			}
			b.WriteString(html.UnescapeString(text[i : i+end]))
			i += end
			continue
		}
		m := tag.FindStringSubmatch(text[i:])
		if m == nil {
			return "", nil, fmt.Sprintf("unsupported start tag at byte offset %d", i)
		}
		name := strings.ToLower(m[2])
		switch {
		case names[name] == "":
			return "", nil, fmt.Sprintf("unsupported start tag %q at byte offset %d", name, i)
		case m[1] == "":
			o := open{name: name, from: b.Len()}
			if h := href.FindStringSubmatch(m[3]); h != nil {
				o.url = html.UnescapeString(h[1])
			}
			stack = append(stack, o)
		case len(stack) == 0 || stack[len(stack)-1].name != name:
			return "", nil, fmt.Sprintf("unmatched end tag at byte offset %d", i)
		default:
			o := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			marks = append(marks, Mark{names[name], b.String()[o.from:], o.url})
		}
		i += len(m[0])
	}
	if len(stack) > 0 {
		return "", nil, fmt.Sprintf("can't find end tag corresponding to start tag %q", stack[0].name)
	}
	return b.String(), marks, ""
}

// calls finds what clients make a mention or a command to press of, which they
// do by themselves, except in code.
func calls(m Message) (out []string) {
	text := m.Text
	for _, mark := range m.Marks {
		if mark.Kind == "code" || mark.Kind == "pre" {
			text = strings.Replace(text, mark.Text, " ", 1)
		}
	}
	for _, found := range press.FindAllStringSubmatch(text, -1) {
		out = append(out, found[1])
	}
	return out
}
