package notify

import (
	"fmt"
	"html/template"
	"strings"
)

// mailText is a card as plain text.
func mailText(c card) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", c.title, c.state)
	for i, f := range c.facts {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s: %s\n", f.name, f.text)
	}
	for _, l := range c.lists {
		fmt.Fprintf(&b, "\n%s\n", l.name)
		for _, line := range l.lines {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	fmt.Fprintf(&b, "\n%s: %s\n\n-- \n%s\n", c.link, c.url, c.footer)
	return b.String()
}

// mailPage is a card as HTML, as readers of mail show it: styles stand in the
// elements, and nothing is loaded from anywhere.
var mailPage = template.Must(template.New("mail").Parse(`<!DOCTYPE html>
<html lang="{{.Language}}"><head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body style="font-family:sans-serif;font-size:15px;line-height:1.4;color:#1d2328;background:#ffffff;margin:16px">
<h1 style="font-size:19px;margin:0 0 4px">{{.Title}}</h1>
<p style="margin:0 0 16px;font-weight:bold">{{.State}}</p>
{{with .Facts}}<table style="border-collapse:collapse;margin:0 0 16px">
{{range .}}<tr><th style="text-align:left;vertical-align:top;padding:2px 16px 2px 0;font-weight:normal;color:#57606a">{{.Name}}</th><td style="padding:2px 0">{{.Text}}</td></tr>
{{end}}</table>
{{end}}{{range .Lists}}<h2 style="font-size:15px;margin:16px 0 4px">{{.Name}}</h2>
<ul style="margin:0 0 16px;padding-left:20px">
{{range .Lines}}<li>{{.}}</li>
{{end}}</ul>
{{end}}<p><a href="{{.URL}}">{{.Link}}</a></p>
<p style="color:#57606a;font-size:13px">{{.Footer}}</p>
</body></html>
`))

// mailFields are a card as the page has it.
type mailFields struct {
	Language, Title, State, URL, Link, Footer string
	Facts                                     []mailFact
	Lists                                     []mailList
}

type mailFact struct{ Name, Text string }

type mailList struct {
	Name  string
	Lines []string
}

func mailHTML(c card, language string) (string, error) {
	fields := mailFields{Language: language, Title: c.title, State: c.state, URL: c.url, Link: c.link, Footer: c.footer}
	for _, f := range c.facts {
		fields.Facts = append(fields.Facts, mailFact{f.name, f.text})
	}
	for _, l := range c.lists {
		fields.Lists = append(fields.Lists, mailList{l.name, l.lines})
	}
	var b strings.Builder
	if err := mailPage.Execute(&b, fields); err != nil {
		return "", fmt.Errorf("write a mail: %w", err)
	}
	return b.String(), nil
}
