// Package documents holds the documents to what they point at.
package documents

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	code     = regexp.MustCompile("`+[^`\n]*`+")
	heading  = regexp.MustCompile(`^#{1,6} +(.*?)(?: +#+)?$`)
	linked   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	anchor   = regexp.MustCompile(`\b(?:id|name)="([^"]+)"`)
	pointers = []*regexp.Regexp{
		regexp.MustCompile(`\]\(<?([^()\s>]+)>?(?: +"[^"]*")?\)`), // [text](target "title")
		regexp.MustCompile(`^ {0,3}\[[^\]^]+\]: +<?(\S+?)>?(?:\s|$)`),
		regexp.MustCompile(`\b(?:href|src|srcset)="([^"\s]+)"`),
	}
)

// lines gives the lines of a document that are not code.
func lines(text string) []string {
	var out []string
	fence := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		bare := strings.TrimLeft(line, " >")
		switch mark := bare[:len(bare)-len(strings.TrimLeft(bare, "`~"))]; {
		case fence == "" && len(mark) >= 3 && !strings.Contains(bare[len(mark):], "`"):
			fence, line = mark, ""
		case fence != "" && strings.HasPrefix(mark, fence) && strings.TrimSpace(bare[len(mark):]) == "":
			fence, line = "", ""
		case fence != "":
			line = ""
		}
		out = append(out, line)
	}
	return out
}

// anchors gives the anchors of a document, as GitHub makes them of headings.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, line := range lines(text) {
		for _, m := range anchor.FindAllStringSubmatch(line, -1) {
			out[m[1]] = true
		}
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		var slug strings.Builder
		for _, r := range strings.ToLower(linked.ReplaceAllString(m[1], "$1")) {
			switch {
			case r == ' ':
				slug.WriteByte('-')
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
				slug.WriteRune(r)
			}
		}
		name := slug.String()
		for n := 1; out[name]; n++ {
			name = fmt.Sprintf("%s-%d", slug.String(), n)
		}
		out[name] = true
	}
	return out
}

// broken gives the links of a document, at a path below root, that lead nowhere.
func broken(root, path, text string) []string {
	var out []string
	for i, line := range lines(text) {
		plain := code.ReplaceAllStringFunc(line, func(s string) string { return strings.Repeat("`", len(s)) })
		for _, kind := range pointers {
			for _, m := range kind.FindAllStringSubmatch(plain, -1) {
				if why := nowhere(root, path, text, m[1]); why != "" {
					out = append(out, fmt.Sprintf("%s:%d: %s: %s", path, i+1, m[1], why))
				}
			}
		}
	}
	return out
}

// nowhere says why a link leads nowhere; "" = it does not, or it leads out of
// the repository.
func nowhere(root, from, text, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return err.Error()
	}
	if u.Scheme != "" || u.Host != "" {
		return ""
	}
	if u.Path != "" {
		file := filepath.Join(root, filepath.Dir(from), filepath.FromSlash(u.Path))
		if within, err := filepath.Rel(root, file); err != nil || strings.HasPrefix(within, "..") {
			return "it leads out of the repository"
		}
		if _, err := os.Stat(file); err != nil {
			return "there is no such file"
		}
		if u.Fragment == "" || filepath.Ext(file) != ".md" {
			return ""
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		text = string(b)
	}
	if u.Fragment != "" && !anchors(text)[u.Fragment] {
		return "there is no such heading"
	}
	return ""
}

// TestLinksLeadSomewhere: every relative link of every document, and its anchor.
func TestLinksLeadSomewhere(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	documents := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") && name != ".github" || name == "testdata" || name == "bin" || name == "dist"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		documents++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		from, err := filepath.Rel(root, path)
		for _, link := range broken(root, from, string(b)) {
			t.Error(link)
		}
		return err
	})
	if err != nil || documents < 50 {
		t.Errorf("%d documents: %v", documents, err)
	}
}

// TestBrokenLinksAreFound: a finder that finds nothing would say that all is well.
func TestBrokenLinksAreFound(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "other.md"), []byte("# One, *two* & `three`\n\n## Twice\n\n## Twice\n\n```\n## Not this\n```\n<a id=\"by-hand\"></a>\n## См. [ссылку](x)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, want := range map[string]bool{
		"[x](other.md)": true, "[x](other.md#one-two--three)": true, "[x](other.md#twice-1)": true, "[x](other.md#by-hand)": true, "[x](other.md#см-ссылку)": true, "[x](#here)": true,
		"[x](https://example.com/gone)": true, "`[x](gone.md)`": true, "~~~\n[x](gone.md)\n~~~": true, "[x](./other.md \"title\")": true,
		"[x](gone.md)": false, "[x](other.md#twice-2)": false, "[x](other.md#not-this)": false, "[x](#gone)": false, "![x](gone.png)": false, "[x](../up.md)": false, "[x]: gone.md": false, `<img src="gone.png">`: false,
		"`a` [x](gone.md) `b`": false, "[`x`](gone.md)": false,
	} {
		if found := broken(root, "a.md", "# Here\n\n"+link+"\n"); (len(found) == 0) != want {
			t.Errorf("%s: %v", link, found)
		}
	}
}
