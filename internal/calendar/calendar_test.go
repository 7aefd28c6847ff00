package calendar_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/calendar"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func written(t *testing.T, name string, events ...calendar.Event) string {
	t.Helper()
	var b strings.Builder
	if err := calendar.Write(&b, name, noon, events); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// properties reads a calendar as a program does: lines unfolded, values
// unescaped.
func properties(t *testing.T, s string) (names, values []string) {
	t.Helper()
	if !strings.HasSuffix(s, "\r\n") || strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(s, "\r\n", ""), "\r") {
		t.Fatalf("lines do not end with CR LF: %q", s)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\r\n"), "\r\n") {
		if len(line) > 75 || !utf8.ValidString(line) {
			t.Fatalf("line of %d octets, or with a torn character: %q", len(line), line)
		}
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(strings.ReplaceAll(s, "\r\n ", ""), "\r\n"), "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("no property: %q", line)
		}
		name, _, _ = strings.Cut(name, ";")
		names = append(names, name)
		values = append(values, strings.NewReplacer(`\\`, `\`, `\;`, ";", `\,`, ",", `\n`, "\n").Replace(value))
	}
	return names, values
}

func TestWrite(t *testing.T) {
	s := written(t, "planned", calendar.Event{
		UID: "1@example.com", Summary: "Restart shop; in production, now", Description: "line one\nBEGIN:VEVENT\r\nend \\n", URL: "https://example.com/planned/1",
		From: noon, To: noon.Add(time.Hour), Changed: noon, Tentative: true,
	})
	names, values := properties(t, s)
	get := func(name string) string { return values[slices.Index(names, name)] }
	for name, want := range map[string]string{
		"SUMMARY": "Restart shop; in production, now", "DESCRIPTION": "line one\nBEGIN:VEVENT\nend \\n", "DTSTART": "20261124T120000Z", "DTEND": "20261124T130000Z",
		"UID": "1@example.com", "STATUS": "TENTATIVE", "URL": "https://example.com/planned/1", "X-WR-CALNAME": "planned",
	} {
		if got := get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if n := strings.Count(s, "\r\nBEGIN:VEVENT\r\n"); n != 1 {
		t.Errorf("%d events", n)
	}
}

// FuzzText: whatever the text, a calendar has the same properties, and a program
// reads the text back.
func FuzzText(f *testing.F) {
	f.Add("restart of shop", "https://example.com/")
	f.Add("a\r\nEND:VEVENT\r\n", "https://example.com/\r\nX:1")
	f.Add(strings.Repeat("я", 100), "")
	f.Add("\x00\x1b[31m\u2028\xff\\;,", "x")
	plain, _ := properties(&testing.T{}, func() string {
		var b strings.Builder
		_ = calendar.Write(&b, "n", noon, []calendar.Event{{Summary: "s", Description: "d", UID: "u", URL: "x", From: noon, To: noon, Changed: noon}})
		return b.String()
	}())
	f.Fuzz(func(t *testing.T, text, url string) {
		names, values := properties(t, written(t, text, calendar.Event{Summary: text, Description: text, UID: text, URL: "x" + url, From: noon, To: noon, Changed: noon}))
		if !slices.Equal(names, plain) {
			t.Fatalf("%q makes other properties: %q", text, names)
		}
		kept := strings.Map(func(c rune) rune {
			if c < 0x20 && c != '\t' && c != '\n' || c == 0x7f {
				return utf8.RuneError
			}
			return c
		}, strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n"))
		if got := values[slices.Index(names, "SUMMARY")]; got != kept {
			t.Fatalf("%q is read back as %q", kept, got)
		}
	})
}
