package web

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"one\ntwo\n":                       "one\ntwo\n",
		"dos\r\nend\r":                     "dos\nend\\r",
		"a\tb":                             "a\tb",
		"\x1b[1;31mred\x1b[0m":             "red",
		"\x1b]0;title\x07\x1b[2J":          `\x1b]0;title\x07\x1b[2J`,
		"<script>alert(1)</script>":        "<script>alert(1)</script>", // escaping is the template's
		"\u202egnp.exe":                    `\u{202e}gnp.exe`,
		"\xff\xfe":                         `\xff\xfe`,
		"Ошибка: нет места":                "Ошибка: нет места",
		"\x1b[31" + "m" + "x\x1b[38;5;1mу": "xу",
	} {
		if got := plain([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add([]byte("a\x1b[0m\r\n\xff\u202e\t"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := plain(b)
		for _, r := range s {
			if r != '\n' && r != '\t' && !restart.Printable(r) {
				t.Fatalf("%q gives %U", b, r)
			}
		}
		if !utf8.ValidString(s) {
			t.Fatalf("%q gives invalid text", b)
		}
	})
}

func TestTail(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"", 10, ""}, {"abc", 3, "abc"}, {"abcd", 3, "bcd"}, {"xяя", 3, "я"},
		{"0123456789\n" + strings.Repeat("x", 95), 100, strings.Repeat("x", 95)}, // from the start of a line
	} {
		got, cut := tail([]byte(c.in), c.n)
		if string(got) != c.want || int(cut) != len(c.in)-len(c.want) {
			t.Errorf("%q, %d: %q after %d bytes, want %q", c.in, c.n, got, cut, c.want)
		}
	}
}
