package audit_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
)

func kindsOf(r audit.Report) []audit.FaultKind {
	var kinds []audit.FaultKind
	for _, f := range r.Faults {
		kinds = append(kinds, f.Kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// rsyslogLines dresses records as rsyslog does with its default template.
func rsyslogLines(records []audit.Record) []byte {
	var b []byte
	for _, r := range records {
		b = append(b, "2026-03-01T12:00:00.123456+00:00 server-1 restartilka[42] "...)
		b = append(append(b, r.Canonical()...), '\n')
	}
	return b
}

func TestVerifyAcceptsTheTrueTrail(t *testing.T) {
	records := chained(50)
	head := records[49].Head()
	for name, text := range map[string][]byte{
		"JSON lines": lines(records),
		"rsyslog":    rsyslogLines(records),
		"rsyslog, with lines of others": append([]byte("Mar  1 12:00:00 server-1 sshd[7]: Accepted {\"a\":1}\n"),
			rsyslogLines(records)...),
	} {
		report := verify(t, text, head)
		if !report.OK || report.Sources[0].Stored != 50 || report.Sources[0].Generated != 50 || !*report.Sources[0].HeadMatches {
			t.Errorf("%s: %s", name, describe(report))
		}
	}
}

func TestVerifyFindsForgeries(t *testing.T) {
	records := chained(20)
	foreign := extend(audit.Head{Source: source, Seq: 6, Hash: strings.Repeat("a", 64)}, 1)[0]
	edit := func(n int, change func(r *audit.Record)) []audit.Record {
		out := slices.Clone(records)
		change(&out[n-1])
		return out
	}
	replace := func(old, new string) []byte { return bytes.Replace(lines(records), []byte(old), []byte(new), 1) }
	cases := map[string]struct {
		text  []byte
		kinds []audit.FaultKind
	}{
		"deleted":              {lines(slices.Delete(slices.Clone(records), 2, 3)), []audit.FaultKind{audit.FaultGap}},
		"deleted at the start": {lines(records[1:]), []audit.FaultKind{audit.FaultGap}},
		"changed":              {lines(edit(3, func(r *audit.Record) { r.Actor = "eve" })), []audit.FaultKind{audit.FaultChanged}},
		"changed first":        {lines(edit(1, func(r *audit.Record) { r.Actor = "eve" })), []audit.FaultKind{audit.FaultChanged, audit.FaultGap}},
		"changed source":       {lines(edit(3, func(r *audit.Record) { r.Source = "server-x" })), []audit.FaultKind{audit.FaultChanged, audit.FaultGap}},
		"changed and hashed anew": {lines(edit(3, func(r *audit.Record) {
			r.Actor = "eve"
			r.Link(records[1].Head())
		})), []audit.FaultKind{audit.FaultChanged}},
		"renamed first key": {replace(`{"source":`, `{"xsource":`), []audit.FaultKind{audit.FaultGap, audit.FaultMalformed}},
		"renamed key":       {replace(`"actor":`, `"xactor":`), []audit.FaultKind{audit.FaultGap, audit.FaultMalformed}},
		"moved": {lines(slices.Concat(records[:2], []audit.Record{records[3], records[2]}, records[4:])),
			[]audit.FaultKind{audit.FaultReordered}},
		"moved far":        {lines(slices.Concat(records[:2], records[3:], records[2:3])), []audit.FaultKind{audit.FaultReordered}},
		"moved behind":     {lines(slices.Concat(records[:2], records[5:6], records[2:5], records[6:])), []audit.FaultKind{audit.FaultReordered}},
		"inserted":         {lines(slices.Concat(records[:6], []audit.Record{foreign}, records[6:])), []audit.FaultKind{audit.FaultChanged}},
		"inserted behind":  {lines(slices.Concat(records[:7], []audit.Record{foreign}, records[7:])), []audit.FaultKind{audit.FaultChanged}},
		"inserted no line": {[]byte(strings.Replace(string(lines(records)), "}\n", "}\nhello {\n\n", 1)), []audit.FaultKind{audit.FaultMalformed}},
		"torn":             {bytes.TrimSuffix(lines(records), []byte("\n")), []audit.FaultKind{audit.FaultTorn}},
		"cut":              {lines(records)[:len(lines(records))-9], []audit.FaultKind{audit.FaultMalformed, audit.FaultTorn}},
		"long line":        {append(lines(records), bytes.Repeat([]byte("x"), 1<<18)...), []audit.FaultKind{audit.FaultMalformed}},
		"empty":            {nil, []audit.FaultKind{audit.FaultEmpty}},
	}
	for name, c := range cases {
		report := verify(t, c.text)
		missing := int64(0)
		for _, s := range report.Sources {
			missing += s.Missing
		}
		if missing > 0 != slices.Contains(c.kinds, audit.FaultGap) {
			t.Errorf("%s: %d are missing\n%s", name, missing, describe(report))
		}
		if report.OK || !slices.Equal(kindsOf(report), c.kinds) {
			t.Errorf("%s: found %v instead of %v\n%s", name, kindsOf(report), c.kinds, describe(report))
		}
	}
}

func TestVerifyMissesNoTailWhereTheHeadIsKnown(t *testing.T) {
	records := chained(9)
	if report := verify(t, lines(records[:8])); !report.OK {
		t.Error("without a head the tail can't be missed:", describe(report))
	}
	for name, c := range map[string]struct {
		stored []audit.Record
		head   audit.Head
	}{
		"missing":    {records[:8], records[8].Head()},
		"too much":   {records, records[7].Head()},
		"other hash": {records, audit.Head{Source: source, Epoch: 1, Seq: 9, Hash: records[7].Hash}},
		"no source":  {records, audit.Head{Source: "server-2", Epoch: 1, Seq: 1, Hash: records[7].Hash}},
	} {
		report := verify(t, lines(c.stored), c.head)
		if report.OK || !slices.Contains(kindsOf(report), audit.FaultHead) {
			t.Errorf("%s: %s", name, describe(report))
		}
	}
}

func TestVerifyCountsWhatWasSentAgain(t *testing.T) {
	records := chained(30)
	sent := slices.Concat(records[:20], records[12:25], records[12:])
	report := verify(t, rsyslogLines(sent), records[29].Head())
	if s := report.Sources[0]; !report.OK || s.Duplicates != 8+13 || s.Stored != 30 {
		t.Error(describe(report))
	}
	// A receiver that was killed leaves a piece, and goes on in the same line.
	torn := slices.Concat(rsyslogLines(records[:20]), rsyslogLines(records[20:21])[:300], rsyslogLines(records[15:]))
	report = verify(t, torn, records[29].Head())
	if !report.OK || report.Torn != 1 || report.Sources[0].Duplicates != 5 {
		t.Error(describe(report))
	}
	// But a piece stands for nothing.
	lost := slices.Concat(rsyslogLines(records[:20]), rsyslogLines(records[20:21])[:300], rsyslogLines(records[21:]))
	if report = verify(t, lost); report.OK || !slices.Equal(kindsOf(report), []audit.FaultKind{audit.FaultGap}) {
		t.Error(describe(report))
	}
}

func TestVerifyAfterARestore(t *testing.T) {
	old := chained(10)
	base := old[6].Head()
	base.Epoch = 2
	restored := extend(base, 8)
	report := verify(t, lines(slices.Concat(old, restored)), restored[7].Head())
	if s := report.Sources[0]; !report.OK || s.Superseded != 3 || s.Stored != 15 || s.Generated != 15 {
		t.Error(describe(report))
	}
	base.Hash = old[5].Hash
	report = verify(t, lines(slices.Concat(old, extend(base, 8))))
	if report.OK || !slices.Equal(kindsOf(report), []audit.FaultKind{audit.FaultChanged}) {
		t.Error(describe(report))
	}
}

func TestVerifyKeepsSourcesApart(t *testing.T) {
	one, two := chained(10), extend(audit.Head{Source: "web1.example.com"}, 10)
	var mixed []audit.Record
	for i := range one {
		mixed = append(mixed, one[i], two[i])
	}
	if report := verify(t, lines(mixed)); !report.OK || len(report.Sources) != 2 {
		t.Error(describe(report))
	}
	if report := verify(t, lines(slices.Delete(mixed, 5, 6))); report.OK || report.Sources[0].Missing != 0 || report.Sources[1].Missing != 1 {
		t.Error(describe(report))
	}
}

// Whatever is done to one line of a trail whose head is known is found, but for
// saying the same thing twice.
func TestVerifyProperty(t *testing.T) {
	records := chained(12)
	head := records[11].Head()
	whole := bytes.SplitAfter(bytes.TrimSuffix(lines(records), []byte("\n")), []byte("\n"))
	whole[11] = append(slices.Clone(whole[11]), '\n')
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 11).Draw(t, "line")
		text := slices.Clone(whole)
		switch rapid.SampledFrom([]string{"delete", "byte", "move", "swap"}).Draw(t, "act") {
		case "delete":
			text = slices.Delete(text, n, n+1)
		case "byte":
			line := slices.Clone(text[n])
			at := rapid.IntRange(0, len(line)-1).Draw(t, "at")
			line[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
			text[n] = line
		case "move":
			to := rapid.IntRange(0, 10).Filter(func(to int) bool { return to != n }).Draw(t, "to")
			line := text[n]
			text = slices.Insert(slices.Delete(text, n, n+1), to, line)
		case "swap":
			other := rapid.IntRange(0, 11).Filter(func(o int) bool { return o != n }).Draw(t, "other")
			text[n], text[other] = text[other], text[n]
		}
		report, err := audit.Verify(bytes.NewReader(bytes.Join(text, nil)), head)
		if err != nil {
			t.Fatal(err)
		}
		if report.OK {
			t.Fatalf("accepted:\n%s", bytes.Join(text, nil))
		}
	})
}

func TestVerifyIsBounded(t *testing.T) {
	// A gap behind each record, and more sources than are kept.
	var b bytes.Buffer
	records := chained(3000)
	for i := 0; i < len(records); i += 2 {
		b.Write(lines(records[i : i+1]))
	}
	for i := range 1100 {
		b.Write(lines(extend(audit.Head{Source: fmt.Sprintf("s%d", i)}, 1)))
	}
	report := verify(t, b.Bytes())
	mine := slices.IndexFunc(report.Sources, func(s audit.SourceReport) bool { return s.Source == source })
	if len(report.Faults) != 100 || len(report.Sources) != 1024 || report.Sources[mine].Missing != 1499 || len(report.Sources[mine].Gaps) != 100 {
		t.Errorf("%d faults, %d sources, %+v", len(report.Faults), len(report.Sources), report.Sources[mine])
	}
}

func FuzzVerify(f *testing.F) {
	records := chained(5)
	f.Add(lines(records))
	f.Add(rsyslogLines(slices.Concat(records[:3], records[1:])))
	f.Add([]byte("{\n\nrestartilka: {\"source\":"))
	f.Fuzz(func(t *testing.T, text []byte) {
		report, err := audit.Verify(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if report.OK != (report.FaultCount == 0) {
			t.Error("the verdict is not that of the faults")
		}
		out := describe(report)
		if strings.ContainsAny(strings.ReplaceAll(out, "\n", ""), "\x1b\x00\r\u202e") {
			t.Errorf("the report can't be printed: %q", out)
		}
	})
}
