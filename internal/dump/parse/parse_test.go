package parse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// TestRefused: what can't be a dump is refused in one sentence that says what to do.
func TestRefused(t *testing.T) {
	t.Parallel()
	random := make([]byte, 4096)
	for i := range random {
		random[i] = byte(i * i * 31 >> 3)
	}
	for name, text := range map[string]string{
		"empty":  "",
		"blank":  " \n\t\n\r\n",
		"binary": string(random),
		"core":   "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 500),
		"gzip":   "\x1f\x8b\x08\x00\x00\x00\x00\x00",
		"zstd":   "\x28\xb5\x2f\xfd\x00",
		"a log":  strings.Repeat(noise+"\n", 50),
		"JSON":   `{"level":"info","message":"threadDump"}`,
		"HTML":   "<html><body>Full thread dump</body></html>",
	} {
		dumps, err := Bytes([]byte(text))
		e, ok := errors.AsType[*restart.Error](err)
		if !ok || e.Code != restart.CodeInvalid || e.Hint == "" || len(dumps) != 0 {
			t.Errorf("%s: %d dumps, %v", name, len(dumps), err)
		}
	}
}

// endless gives text for ever, and counts what was taken of it.
type endless struct {
	line  string
	taken int64
}

func (e *endless) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		n += copy(b[n:], e.line)
	}
	e.taken += int64(n)
	return n, nil
}

// TestLimit: a file of any size is read no further than the limit.
func TestLimit(t *testing.T) {
	t.Parallel()
	e := &endless{line: "\"worker\" #12 prio=5 tid=0x1 nid=0x2 runnable\n"}
	_, err := Read(io.LimitReader(e, 5<<30), Options{Limit: 2 << 20})
	if restart.CodeOf(err) != restart.CodeTooLarge || e.taken > 4<<20 {
		t.Errorf("%v, behind %d bytes", err, e.taken)
	}
	_, err = Read(io.MultiReader(strings.NewReader("Full thread"), brokenReader{}), Options{})
	if restart.CodeOf(err) != restart.CodeInvalid || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a file that can't be read: %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestHeader(t *testing.T) {
	t.Parallel()
	taken := time.Date(2026, 11, 23, 10, 11, 12, 0, time.UTC)
	h := dump.Header{
		Host: "web-1", PID: 4711, Runtime: dump.JVM, Method: "attach", Taken: taken, Number: 1, Of: 1,
		CPU:    map[int64]int64{6700: 5_000_000, 6699: 7},
		States: map[int64]string{6699: "D", 6695: "R", 6696: "T"},
	}
	line, err := h.Line()
	if err != nil {
		t.Fatal(err)
	}
	sample := samplesOf(t, dump.HotSpot)["hotspot-jdk8-from-documentation.txt"]
	d := mustRead(t, append(line, sample...))[0]
	if !d.Taken.Equal(taken) || d.Header == nil || d.Header.Host != "web-1" {
		t.Errorf("taken %v, header %+v", d.Taken, d.Header)
	}
	byName := map[string]dump.Thread{}
	for _, th := range d.Threads {
		byName[th.Name] = th
	}
	for name, want := range map[string]struct {
		cpu   time.Duration
		state dump.State
	}{
		"http-nio-8080-exec-2":          {5 * time.Millisecond, dump.Blocked},
		"http-nio-8080-exec-1":          {7, dump.InIO},
		"C2 CompilerThread0":            {-1, dump.Stopped},
		"VM Thread":                     {-1, dump.Running},
		"GC task thread#0 (ParallelGC)": {-1, dump.Waiting},
	} {
		if th := byName[name]; th.CPU != want.cpu || th.State != want.state {
			t.Errorf("%s (%d): %v, %s, not %v, %s", name, th.Native, th.CPU, th.State, want.cpu, want.state)
		}
	}
}

// TestUnknown: a capture that nobody understands is a dump all the same.
func TestUnknown(t *testing.T) {
	t.Parallel()
	line, err := dump.Header{PID: 7, Runtime: dump.Python, Method: "signal"}.Line()
	if err != nil {
		t.Fatal(err)
	}
	text := append(line, "something else\nand more"...)
	dumps := mustRead(t, append(append(line, text...), "\n"...))
	if len(dumps) != 2 || dumps[0].Format != dump.Unknown || dumps[1].Runtime != dump.Python || count(dumps, "and more") != 1 {
		t.Errorf("%+v", dumps)
	}
	newer := []byte("#restartilka-dump {\"version\":99}\n")
	dumps = mustRead(t, append(newer, samplesOf(t, dump.Kernel)["kernel-capture.txt"]...))
	if len(dumps) != 1 || dumps[0].Header != nil || count(dumps, "version\":99") != 1 {
		t.Errorf("behind a header that can't be read: %+v", dumps[0])
	}
}

// TestMixed reads dumps of different runtimes out of one file.
func TestMixed(t *testing.T) {
	t.Parallel()
	var text []byte
	var want []dump.Format
	for _, k := range kinds {
		for _, sample := range samplesOf(t, k.format) {
			text = append(append(text, sample...), "\n"+noise+"\n"...)
			want = append(want, k.format)
			break
		}
	}
	dumps := mustRead(t, text)
	if len(dumps) != len(want) {
		t.Fatalf("%d dumps, not %d", len(dumps), len(want))
	}
	for i, d := range dumps {
		if d.Format != want[i] {
			t.Errorf("dump %d is %s, not %s", i, d.Format, want[i])
		}
	}
}

// TestLogWithin: an exception that is logged between the lines of a thread gives
// it none of its frames.
func TestLogWithin(t *testing.T) {
	t.Parallel()
	text := strings.Join([]string{
		"Full thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode):",
		`"a" #1 prio=5 tid=0x1 nid=0x2 runnable`,
		"   java.lang.Thread.State: RUNNABLE",
		"\tat com.example.A.one(A.java:1)",
		"java.lang.IllegalStateException: no",
		"\tat com.example.Other.x(Other.java:9)",
		"\t... 12 more",
		`"b" #2 prio=5 tid=0x3 nid=0x4 runnable`,
		"\tat com.example.B.one(B.java:1)",
		"JNI global refs: 1",
	}, "\n")
	d := mustRead(t, []byte(text))[0]
	if len(d.Threads) != 2 || len(d.Threads[0].Stack) != 1 || !d.Threads[0].Elided || len(d.Threads[1].Stack) != 1 {
		t.Errorf("%s", golden(t, []*dump.Dump{d}))
	}
	if count([]*dump.Dump{d}, "Other.x") != 1 || d.Cut != "" {
		t.Errorf("%+v", d.Rest)
	}
}

// TestBounds: many short things fill no memory.
func TestBounds(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString("Full thread dump X (1):\n")
	for i := range 30_000 {
		fmt.Fprintf(&b, "\"t\" #%d tid=0x1\nwhat is this %d\n", i, i)
	}
	d := mustRead(t, b.Bytes())[0]
	if len(d.Rest) > maxFragments+1 || len(d.Threads) != 30_000 {
		t.Errorf("%d fragments, %d threads", len(d.Rest), len(d.Threads))
	}
}

func TestUTF16(t *testing.T) {
	t.Parallel()
	sample := samplesOf(t, dump.HotSpot)["hotspot-jdk8-from-documentation.txt"]
	wide := []byte{0xff, 0xfe}
	for _, c := range sample {
		wide = append(wide, c, 0)
	}
	got, err := Bytes(wide) // its lines end in two bytes
	if err != nil {
		t.Fatal(err)
	}
	same(t, mustRead(t, sample), got)
}

// TestJSONKeepsAll: a dump survives being stored.
func TestJSONKeepsAll(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for name, sample := range samplesOf(t, k.format) {
			want := mustRead(t, sample)
			var got []*dump.Dump
			if err := json.Unmarshal([]byte(asJSON(t, want)), &got); err != nil {
				t.Fatal(err)
			}
			if golden(t, want) != golden(t, got) {
				t.Errorf("%s is another behind JSON", name)
			}
		}
	}
}

// TestHostile: text that is made to be read again and again is read in time that
// grows as it does. Each of these took minutes, or would, with one bound less.
func TestHostile(t *testing.T) {
	t.Parallel()
	const n = 30_000
	thread := "Full thread dump X (1):\n\"t\" #1 tid=0x1\n"
	for name, text := range map[string]string{
		"open documents": strings.Repeat("{\"threadDump\":{\"x\":[\n", n),
		"open lists":     strings.Repeat("[{\"pid\":[\n", n),
		"stacks of C":    "Current thread 0x1 (most recent call first):\n" + strings.Repeat("Current thread's C stack trace (most recent call first):\n  Binary file \"a\", at b\n", n),
		"locks":          thread + "\tat a.b(C.java:1)\n" + manyLines(n, "\t- locked <0x%x> (a X)\n"),
		"open names":     thread + strings.Repeat("\"a\n", n),
		"panics":         strings.Repeat("panic: \n", n),
		"marks":          manyLines(n, "%d \" goroutine Thread 0x Process panic: #1 \"\n"),
		"headers":        strings.Repeat("#restartilka-dump {\"version\":1}\n", n/10),
	} {
		start := time.Now()
		_, _ = Bytes([]byte(text))
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

func manyLines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
