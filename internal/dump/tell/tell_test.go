package tell_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/dump/parse"
	"github.com/restartilka/restartilka/internal/dump/tell"
)

// TestTell: one line a finding, the gravest first, and no escape of a thread's
// name gets to the terminal.
func TestTell(t *testing.T) {
	t.Parallel()
	text := "Full thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode):\n\n"
	for _, c := range []string{"a\x1b[31m", "b"} {
		held, wanted := "0x01", "0x02"
		if c == "b" {
			held, wanted = wanted, held
		}
		text += `"` + c + `" #12 prio=5 os_prio=0 tid=0x1 nid=0x1 waiting for monitor entry` + "\n   java.lang.Thread.State: BLOCKED (on object monitor)\n\tat x.Y.z(Y.java:1)\n" +
			"\t- waiting to lock <" + wanted + "> (a java.lang.Object)\n\t- locked <" + held + "> (a java.lang.Object)\n\n"
	}
	dumps, err := parse.Bytes([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	report := analyse.Series(dumps, analyse.Options{})
	var b bytes.Buffer
	tell.Findings(&b, report.Findings)
	tell.Threads(&b, report)
	if out := b.String(); !strings.HasPrefix(out, "ALARM    Deadlock: ") || !strings.HasSuffix(out, "\n2 threads: 2 blocked\n") || strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	b.Reset()
	tell.Findings(&b, make([]analyse.Finding, 15))
	if out := b.String(); strings.Count(out, "\n") != 13 || !strings.HasSuffix(out, "and 3 more: --json has them\n") {
		t.Errorf("%q", out)
	}
	b.Reset()
	tell.Threads(&b, &analyse.Report{Threads: 1})
	if out := b.String(); out != "1 thread\n" {
		t.Errorf("%q", out)
	}
}
