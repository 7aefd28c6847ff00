package restart_test

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

func FuzzSheetCell(f *testing.F) {
	for _, s := range []string{"=1", "\t=1", "\r\n@x", "＝1", " -2", "ok", "\x00=", "|calc"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := restart.SheetCell(s)
		if strings.ContainsAny(got, "\r\n\t\x00") {
			t.Errorf("%q becomes %q", s, got)
		}
		if first := strings.TrimLeft(got, " \u00a0\u3000"); first != "" && strings.ContainsRune("=+-@|＝＋－＠", []rune(first)[0]) {
			t.Errorf("%q becomes a formula: %q", s, got)
		}
	})
}
