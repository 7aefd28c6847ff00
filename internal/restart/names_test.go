package restart_test

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/restart"
)

var clock = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func TestNames(t *testing.T) {
	for name, c := range map[string]struct {
		check     func(string) error
		good, bad []string
	}{
		"service": {restart.CheckServiceName, []string{"nginx", "a", "web@1", "0x", "a.b-c_d"}, []string{
			"", "-rf", "../../etc/cron.d/x", "a..b", "Nginx", "a b", "a/b", "a\n", "nginx;id", ".hidden", "é", strings.Repeat("a", 65),
		}},
		"host": {restart.CheckHost, []string{"web1", "web1.example.com", "127.0.0.11", strings.Repeat("a", 63)}, []string{
			"", "-a", "a-", "a..b", "web_1", "WEB1", "a.", ".a", strings.Repeat("a", 64), strings.Repeat("a.", 127), "a b", "a\x00b", "хост",
		}},
		"package": {restart.CheckPackage, []string{"nginx", "libc6", "g++", "python3.11"}, []string{"", "a", "-nginx", "Nginx", "a..b", "nginx;x"}},
		"unit":    {restart.CheckUnit, []string{"nginx.service", "getty@tty1.service", "a-b:c.timer"}, []string{"nginx", "--help.service", "a/b.service", "a b.service", "a.mount", "..service"}},
		"person":  {restart.CheckPerson, []string{"anna", "anna.petrova", "anna@example.com", "_svc", "a"}, []string{"", "-x", ".a", "@a", "1a", "Anna", "a b", "a..b", "a/b", "a\n", "a:b", "аnna", "rtk_0123456789abcdefghjkmnpqrstvwxyz"}},
		"user":    {restart.CheckUser, []string{"root", "www-data", "_apt"}, []string{"", "-x", "0", "Root", "a b"}},
		"param":   {restart.CheckParamName, []string{"mode", "a1_b"}, []string{"", "MODE", "1a", "a-b", "a.b", "_x"}},
		"digest":  {restart.CheckDigest, []string{strings.Repeat("0a", 32)}, []string{"", strings.Repeat("0A", 32), strings.Repeat("a", 63)}},
		"tag":     {restart.CheckTag, []string{"1.22.1-9+deb12u1", "stable"}, []string{"", "-x", "a b", "a..b"}},
	} {
		for _, s := range c.good {
			if err := c.check(s); err != nil {
				t.Errorf("%s %q: %v", name, s, err)
			}
		}
		for _, s := range c.bad {
			if err := c.check(s); restart.CodeOf(err) != restart.CodeInvalid {
				t.Errorf("%s %q: %v, want it refused", name, s, err)
			} else if utf8.RuneCountInString(err.Error()) > 400 || restart.Escape(err.Error()) != err.Error() {
				t.Errorf("%s %q: the refusal is not fit to be shown: %q", name, s, err)
			}
		}
	}
}

func TestIDs(t *testing.T) {
	var ids []string
	for i := range 100 {
		id := restart.NewID(clock.Add(time.Duration(i) * time.Millisecond))
		if err := restart.CheckID(id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) {
		t.Errorf("ids do not sort by time: %v", ids[:3])
	}
	if a, b := restart.NewID(clock), restart.NewID(clock); a == b {
		t.Error("two ids of one moment are the same")
	}
	if !strings.HasPrefix(restart.NewID(time.UnixMilli(0)), "0000000000") {
		t.Errorf("the beginning of time: %s", restart.NewID(time.UnixMilli(0)))
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain, with ünïcode and кириллица": "plain, with ünïcode and кириллица",
		"a\nb":            `a\nb`,
		"red \x1b[31m":    `red \x1b[31m`,
		"\xff\xfe":        `\xff\xfe`,
		"a\u202eb":        `a\u{202e}b`,
		"tab\tcr\r":       `tab\tcr\r`,
		"\ufffd":          "\ufffd",
		"zero\u200bwidth": `zero\u{200b}width`,
		"\x00":            `\x00`,
	} {
		if got := restart.Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\x1b[0m\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		out := restart.Escape(s)
		if !utf8.ValidString(out) {
			t.Fatalf("%q became invalid UTF-8", s)
		}
		for _, r := range out {
			if !restart.Printable(r) {
				t.Fatalf("%q became %q, which holds %U", s, out, r)
			}
		}
		if again := restart.Escape(out); again != out {
			t.Fatalf("%q is escaped twice: %q", out, again)
		}
	})
}

func TestReason(t *testing.T) {
	for _, good := range []string{
		"502s since the deploy", "  trimmed on both sides  ", "Висят воркеры после релиза", "WEB-1234: memory leak again", strings.Repeat("long enough ", 41),
		"restart the service: queue is stuck",
	} {
		if got, err := restart.CheckReason(good); err != nil || got != strings.TrimSpace(good) {
			t.Errorf("%q: %q, %v", good, got, err)
		}
	}
	for _, bad := range []string{
		"", ".", "   ", "aaaaaaaaaaaa", "..........", "ababababab", "abcabcabcabc", "asdfasdfasdf", "short", "Please restart!", "restart restart restart", "reason: for restart",
		"Reason for the restart", "line\x1b[31mred reason text", "two\nlines of a reason", "right\u202eto left override", "\xff\xfe not utf-8 at all",
		strings.Repeat("x y z ", 100), "1111111111", "- - - - - - -", "😀😀😀😀😀😀😀😀😀😀",
	} {
		_, err := restart.CheckReason(bad)
		if restart.CodeOf(err) != restart.CodeReason {
			t.Errorf("%q is taken: %v", bad, err)
			continue
		}
		if !strings.Contains(err.Error(), "say what you see") {
			t.Errorf("%q is refused without help: %v", bad, err)
		}
	}
}

func TestReasonProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "reason")
		got, err := restart.CheckReason(s)
		if err != nil {
			return
		}
		n := utf8.RuneCountInString(got)
		if n < restart.MinReason || n > restart.MaxReason || restart.Escape(got) != got {
			t.Fatalf("%q was taken as %q", s, got)
		}
	})
}
