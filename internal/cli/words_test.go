package cli

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"":                              nil,
		" \t ":                          nil,
		"whoami":                        {"whoami"},
		"restart nginx --env x":         {"restart", "nginx", "--env", "x"},
		`--reason "502s since"`:         {"--reason", "502s since"},
		`--reason='it hangs'`:           {"--reason=it hangs"},
		`a\ b`:                          {"a b"},
		`"" ''`:                         {"", ""},
		`a""b`:                          {"ab"},
		`"a'b" 'c"d'`:                   {"a'b", `c"d`},
		`"\$\"\\\x"`:                    {`$"\\x`},
		`'\'`:                           {`\`},
		"$HOME `id` ~ * web[01-03] {a}": {"$HOME", "`id`", "~", "*", "web[01-03]", "{a}"},
		`"$(id)" ';|&' "<>"`:            {"$(id)", ";|&", "<>"},
		`@/etc/passwd`:                  {"@/etc/passwd"},
		`причина «всё висит»`:           {"причина", "«всё", "висит»"},
	} {
		got, err := Words(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{
		`"`, `'`, `a "b`, `a\`, "a;b", "a | b", "a && b", "a > b", "<a", "$(id)", "a\nb", "'a\nb'", "a\x00b", "a\x1b[2J", "a\u009b2J", "\x7f", "\xff", strings.Repeat("a", maxLine+1), strings.Repeat("a ", 10<<20),
	} {
		if got, err := Words(line); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("%.40q: %.100q, %v", line, got, err)
		}
	}
}

// What has no meaning to a shell but its quotes is split as /bin/sh splits it.
func TestWordsAsShell(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var script bytes.Buffer
		var want []string
		for range 60 { // one shell for many lines
			line := rapid.StringOfN(rapid.SampledFrom([]rune(`ab-=é '"\	`)), 0, 24, -1).Draw(t, "line")
			words, err := Words(line)
			if err != nil {
				continue
			}
			script.WriteString(`printf '[%s]' x ` + line + "; echo\n")
			want = append(want, "["+strings.Join(append([]string{"x"}, words...), "][")+"]")
		}
		cmd := exec.Command("/bin/sh")
		cmd.Stdin = &script
		out, err := cmd.Output()
		if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != strings.Join(want, "\n") {
			t.Fatalf("%v\nsh:   %q\nours: %q", err, got, want)
		}
	})
}

func FuzzWords(f *testing.F) {
	for _, seed := range []string{`restart nginx --reason "502s since"`, `a\ b '' "x\"y"`, "$(id) `id`", "a\x00", "'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Words(line)
		if err != nil {
			if len(words) > 0 {
				t.Fatalf("%q beside %v", words, err)
			}
			return
		}
		// Quoted anew, they are the same words; and none has what no word may have.
		quoted := make([]string, len(words))
		for i, w := range words {
			if !utf8.ValidString(w) || strings.ContainsAny(w, "\x00\n\r\x1b") {
				t.Fatalf("%q", w)
			}
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		again := strings.Join(quoted, " ")
		if len(again) > maxLine {
			return
		}
		if got, err := Words(again); err != nil || !slices.Equal(got, words) {
			t.Fatalf("%q, then %q, %v", words, got, err)
		}
	})
}
