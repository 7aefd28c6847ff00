package audit_test

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
)

// TestNobodyForgesALine: whatever is in a record, it is one line of a file, one
// message of syslog and one row of a table, without a formula, an escape
// sequence or a mark of direction; and what is read back is what was written.
func TestNobodyForgesALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord(t)
		r.Link(audit.Head{Source: "server-1"})
		line := r.Canonical()
		message := audit.SyslogMessage("local0", r)
		var table bytes.Buffer
		w := csv.NewWriter(&table)
		w.Write(audit.Columns())
		w.Write(r.Row())
		w.Write(r.Row())
		w.Flush()
		for what, text := range map[string][]byte{"line": line, "message": message} {
			if i := bytes.IndexFunc(text, harmful); i >= 0 {
				t.Fatalf("%s: %q", what, text[i:min(i+20, len(text))])
			}
		}
		if !bytes.HasSuffix(message, line) {
			t.Fatalf("the message does not end with the record: %q", message)
		}
		if back, err := audit.Decode(line); err != nil || !bytes.Equal(back.Canonical(), line) || !back.Intact() {
			t.Fatalf("%v: %q", err, line)
		}
		if strings.Count(table.String(), "\n") != 3 {
			t.Fatalf("not three lines: %q", table.String())
		}
		rows, err := csv.NewReader(&table).ReadAll()
		if err != nil || len(rows) != 3 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		for _, cell := range rows[1] {
			if first := strings.TrimLeft(cell, " \u00a0\u3000"); first != "" && strings.ContainsRune("=+-@|＝＋－＠", []rune(first)[0]) {
				t.Fatalf("a formula: %q", cell)
			}
		}
	})
}

// harmful characters break a line, turn a terminal or the direction of text.
func harmful(c rune) bool {
	return c < 0x20 || c >= 0x7f && c <= 0x9f || c == 0x061c || c >= 0x200b && c <= 0x200f || c >= 0x2028 && c <= 0x202e || c >= 0x2060 && c <= 0x2069 || c == 0xfeff
}
