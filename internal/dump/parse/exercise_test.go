package parse

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/restartilka/restartilka/internal/dump"
)

// noise is what a service logs while its dump is written.
const noise = "2026-11-23 10:11:12,345 INFO  [http-7] c.e.Orders - order 4711 (\"new\") was taken"

// names of samples begin with the format that they are of.
func samplesOf(t testing.TB, f dump.Format) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "samples", string(f)+"-*"))
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string][]byte{}
	for _, name := range files {
		if formatOf(filepath.Base(name)) != f {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		samples[filepath.Base(name)] = b
	}
	return samples
}

// formatOf gives the longest format that a sample's name begins with.
func formatOf(name string) dump.Format {
	var found dump.Format
	for _, k := range kinds {
		if strings.HasPrefix(name, string(k.format)+"-") && len(k.format) > len(found) {
			found = k.format
		}
	}
	return found
}

// TestKinds: each form in the table passes the suite with all of its samples.
func TestKinds(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k.format), func(t *testing.T) {
			t.Parallel()
			samples := samplesOf(t, k.format)
			if len(samples) == 0 {
				t.Fatal("there is no sample of this form")
			}
			for name, text := range samples {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					Exercise(t, k.format, text)
				})
			}
		})
	}
}

// Exercise is what every form must bear, whatever a sample of it says.
func Exercise(t *testing.T, f dump.Format, sample []byte) {
	plain := mustRead(t, sample)
	if plain[0].Format != f || len(plain[0].Threads) == 0 {
		t.Fatalf("it was read as %s with %d threads", plain[0].Format, len(plain[0].Threads))
	}
	document := sample[0] == '{' || sample[0] == '['
	t.Run("around", func(t *testing.T) { exerciseAround(t, sample, plain) })
	t.Run("several", func(t *testing.T) { exerciseSeveral(t, sample, plain) })
	t.Run("headers", func(t *testing.T) { exerciseHeaders(t, sample, plain) })
	t.Run("within", func(t *testing.T) { exerciseWithin(t, sample, plain, document) })
	t.Run("cut", func(t *testing.T) { exerciseCut(t, sample) })
	t.Run("CRLF", func(t *testing.T) {
		same(t, plain, mustRead(t, bytes.ReplaceAll(sample, []byte("\n"), []byte("\r\n"))))
	})
	t.Run("not UTF-8", func(t *testing.T) { exerciseBytes(t, sample) })
	t.Run("endless", func(t *testing.T) { exerciseEndless(t, sample, plain) })
	if !document {
		t.Run("prefixed", func(t *testing.T) { exercisePrefixed(t, sample, plain) })
	}
}

func exerciseAround(t *testing.T, sample []byte, plain []*dump.Dump) {
	text := noise + "\n{\"level\":\"info\"}\n" + string(sample) + "\n" + noise + "\n"
	dumps := mustRead(t, []byte(text))
	same(t, plain, dumps)
	if n := count(dumps, noise); n != 2 {
		t.Errorf("the noise is kept %d times, not twice", n)
	}
}

func exerciseSeveral(t *testing.T, sample []byte, plain []*dump.Dump) {
	text := string(sample) + "\n" + noise + "\n" + string(sample) + "\n" + string(sample)
	dumps := mustRead(t, []byte(text))
	same(t, append(append(append([]*dump.Dump{}, plain...), plain...), plain...), dumps)
}

// exerciseHeaders reads a series as captures are stored.
func exerciseHeaders(t *testing.T, sample []byte, plain []*dump.Dump) {
	var text []byte
	for n := 1; n <= 3; n++ {
		h := dump.Header{Host: "web-1", PID: 4711, Runtime: plain[0].Runtime, Method: "attach", Number: n, Of: 3}
		line, err := h.Line()
		if err != nil {
			t.Fatal(err)
		}
		text = append(append(text, line...), sample...)
		if text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
	}
	dumps := mustRead(t, text)
	if len(dumps) != 3*len(plain) {
		t.Fatalf("%d dumps were read, not %d", len(dumps), 3*len(plain))
	}
	for i, d := range dumps {
		if d.Header == nil || d.Header.Number != i/len(plain)+1 {
			t.Errorf("dump %d has the header %+v", i, d.Header)
		}
	}
}

// exerciseWithin puts a line of a log between any two lines.
func exerciseWithin(t *testing.T, sample []byte, plain []*dump.Dump, document bool) {
	lines := bytes.SplitAfter(sample, []byte("\n"))
	for i := 1; i < len(lines)-1; i += 1 + len(lines)/40 {
		text := bytes.Join(lines[:i], nil)
		text = append(append(text, noise+"\n"...), bytes.Join(lines[i:], nil)...)
		dumps, err := Bytes(text)
		if err != nil {
			if document {
				continue
			}
			t.Fatalf("behind line %d: %v", i, err)
		}
		covers(t, text, dumps)
		if count(dumps, noise) != 1 {
			t.Errorf("behind line %d the noise is kept %d times", i, count(dumps, noise))
		}
		// A call of Go is two lines; one that is torn apart is not read, but its goroutine is.
		if !document && threads(dumps) != threads(plain) {
			t.Errorf("with noise behind line %d there are %d threads, not %d", i, threads(dumps), threads(plain))
		}
	}
}

func exerciseCut(t *testing.T, sample []byte) {
	step := 1 + len(sample)*len(sample)/2_000_000 // every byte of a small one
	for n := 0; n < len(sample); n += step {
		if dumps, err := Bytes(sample[:n]); err == nil {
			covers(t, sample[:n], dumps)
		}
		if dumps, err := Bytes(sample[n:]); err == nil && n%7 == 0 {
			covers(t, sample[n:], dumps)
		}
	}
}

func exerciseBytes(t *testing.T, sample []byte) {
	for n := 0; n < len(sample); n += 1 + len(sample)/30 {
		text := bytes.Clone(sample)
		text[n] = 0xfe
		if dumps, err := Bytes(text); err == nil {
			covers(t, text, dumps)
			valid(t, dumps)
		}
	}
}

func exerciseEndless(t *testing.T, sample []byte, plain []*dump.Dump) {
	text := append(bytes.Clone(sample), '\n')
	text = append(text, bytes.Repeat([]byte("at x "), 300_000)...)
	dumps := mustRead(t, text)
	same(t, plain, dumps)
	size := 0
	for _, d := range dumps {
		for _, f := range d.Rest {
			size += len(f.Text)
		}
	}
	if size > len(sample)+2*maxFragment {
		t.Errorf("%d bytes of an endless line are kept", size)
	}
}

func exercisePrefixed(t *testing.T, sample []byte, plain []*dump.Dump) {
	for _, p := range []string{
		"Nov  9 10:%02d:12 web-1 java[4711]: ",
		"2026-11-23T10:11:%02d.123456789Z stdout F ",
		"web-1  | 10:11:%02d ",
	} {
		var text []byte
		for i, line := range bytes.SplitAfter(bytes.TrimSuffix(sample, []byte("\n")), []byte("\n")) {
			text = append(append(text, fmt.Sprintf(p, i%60)...), line...)
		}
		dumps := mustRead(t, text)
		if threads(dumps) != threads(plain) || len(dumps) != len(plain) {
			t.Errorf("with the prefix %q there are %d threads in %d dumps, not %d in %d", p, threads(dumps), len(dumps), threads(plain), len(plain))
		}
	}
}

func mustRead(t testing.TB, text []byte) []*dump.Dump {
	t.Helper()
	dumps, err := Bytes(text)
	if err != nil {
		t.Fatal(err)
	}
	covers(t, text, dumps)
	valid(t, dumps)
	return dumps
}

// covers tells where a line is neither within a dump nor in the Rest of one.
func covers(t testing.TB, text []byte, dumps []*dump.Dump) {
	t.Helper()
	last := bytes.Count(text, []byte("\n"))
	if !bytes.HasSuffix(text, []byte("\n")) {
		last++
	}
	told := make([]bool, last+1)
	tell := func(s dump.Span) {
		if s.First < 1 || s.Last < s.First || s.Last > last {
			t.Fatalf("lines %d to %d of %d", s.First, s.Last, last)
		}
		for i := s.First; i <= s.Last; i++ {
			told[i] = true
		}
	}
	for _, d := range dumps {
		tell(d.Lines)
		for _, f := range d.Rest {
			tell(dump.Span{First: f.Line, Last: f.Line + f.Lines - 1})
		}
		for _, th := range d.Threads {
			tell(th.Lines)
			if th.Lines.First < d.Lines.First || th.Lines.Last > d.Lines.Last {
				t.Fatalf("thread %s stands in %v, its dump in %v", th.ID, th.Lines, d.Lines)
			}
		}
	}
	for i := 1; i <= last; i++ {
		if !told[i] {
			t.Fatalf("line %d of %d is lost", i, last)
		}
	}
}

func valid(t testing.TB, dumps []*dump.Dump) {
	t.Helper()
	check := func(texts ...string) {
		for _, s := range texts {
			if !utf8.ValidString(s) {
				t.Fatalf("%q is not UTF-8", s)
			}
		}
	}
	for _, d := range dumps {
		check(d.Program, d.Fatal, d.Cut)
		for _, f := range d.Rest {
			check(f.Text)
		}
		for _, th := range d.Threads {
			check(th.ID, th.Name, th.Detail, th.Pool)
			for _, f := range th.Stack {
				check(f.Function, f.File, f.Module)
			}
		}
	}
}

// count tells how often a text is kept: in Rest; or in a name, where it was put
// between two lines of one.
func count(dumps []*dump.Dump, text string) int {
	n := 0
	for _, d := range dumps {
		for _, th := range d.Threads {
			n += strings.Count(th.Name, text)
		}
		for _, f := range d.Rest {
			n += strings.Count(f.Text, text)
		}
	}
	return n
}

func threads(dumps []*dump.Dump) int {
	n := 0
	for _, d := range dumps {
		n += len(d.Threads)
	}
	return n
}

// same tells where the threads of two readings differ, but for their lines.
func same(t testing.TB, want, got []*dump.Dump) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d dumps were read, not %d", len(got), len(want))
	}
	for i := range want {
		if len(want[i].Threads) != len(got[i].Threads) {
			t.Fatalf("dump %d has %d threads, not %d", i, len(got[i].Threads), len(want[i].Threads))
		}
		for j := range want[i].Threads {
			w, g := want[i].Threads[j], got[i].Threads[j]
			w.Lines, g.Lines = dump.Span{}, dump.Span{}
			if a, b := asJSON(t, w), asJSON(t, g); a != b {
				t.Fatalf("dump %d, thread %d:\n%s\nnot\n%s", i, j, b, a)
			}
		}
	}
}
