package audit_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
)

// pieces are what lines are damaged with: what one of the two readers could
// take for something else.
var pieces = []string{
	`"`, `\`, `\u003c`, `\u003C`, `\u0061`, `\u202e`, `\ud800`, `\n`, "\n", "\u202e", "\xff", "\ufffd", "<", "\u0085", " ", ",", "{", "}", ":",
	"0", "-1", "00", "1.0", "1e3", "9223372036854775807", "9223372036854775808", "-9223372036854775808", `""`, `"a":"b"`, `"seq":1`, `"hash":"x"`, "null", "\x00",
	"2026-02-29T00:00:00.000000Z", "0001-01-01T00:00:00.000000Z", "0000-02-29T23:59:59.999999Z", "2026-03-01T24:00:00.000000Z",
}

func TestScanReadsWhatDecodeReads(t *testing.T) {
	whole := string(chained(1)[0].Canonical())
	for _, r := range vectors() {
		if err := audit.ScanAgrees(r.Canonical()); err != nil {
			t.Errorf("%s: %v", r.Canonical(), err)
		}
	}
	for _, at := range []string{"2026-03-01T12:00:00.124456Z", "anna", `"attempt":1`, `"epoch":1`, `"seq":1`, `"a=b]"`, `"depth"`} {
		if !strings.Contains(whole, at) {
			t.Fatalf("%s is not in %s", at, whole)
		}
		for _, p := range pieces {
			for _, line := range []string{strings.Replace(whole, at, p, 1), strings.Replace(whole, at, at[:1]+p, 1), strings.Replace(whole, at, strings.TrimSuffix(at, "1")+p, 1)} {
				if err := audit.ScanAgrees([]byte(line)); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord(t)
		if rapid.Bool().Draw(t, "linked") {
			r.Link(audit.Head{Source: "s", Epoch: rapid.Int64Range(1, 1<<62).Draw(t, "epoch"), Seq: rapid.Int64Range(0, 1<<62).Draw(t, "seq"), Hash: rapid.SampledFrom([]string{"", "x", strings.Repeat("0", 64)}).Draw(t, "prev")})
		}
		line := r.Canonical()
		if rapid.Bool().Draw(t, "damaged") {
			at := rapid.IntRange(0, len(line)-1).Draw(t, "at")
			to := rapid.IntRange(at, min(at+3, len(line))).Draw(t, "to")
			piece := rapid.SampledFrom(pieces).Draw(t, "piece")
			line = bytes.Join([][]byte{line[:at], []byte(piece), line[to:]}, nil)
		}
		if err := audit.ScanAgrees(line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	})
}

func FuzzScan(f *testing.F) {
	for _, r := range vectors() {
		f.Add(r.Canonical())
	}
	for _, p := range pieces {
		f.Add([]byte(`{"seq":1,"params":{"a":"` + p + `"}}`))
		f.Add([]byte(`{"seq":` + p + `}`))
		f.Add([]byte(`{"seq":1,"time_utc":"` + p + `"}`))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if err := audit.ScanAgrees(line); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	})
}
