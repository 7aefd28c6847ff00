package capture

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

func frames(t testing.TB, captured ...Captured) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, c := range captured {
		if err := send(&out, event{Header: &c.Header, Size: int64(len(c.Raw))}, c.Raw); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func sample(n int) Captured {
	return Captured{
		Header: dump.Header{PID: n, Method: "attach", Taken: time.Unix(1, 0).UTC(), Notes: []string{"line\nend"}},
		Raw:    []byte(strings.Repeat("{\"error\":{}}\n", n)),
	}
}

func TestFrames(t *testing.T) {
	whole := frames(t, sample(1), sample(2))
	var got []Captured
	keep := func(c Captured) error { got = append(got, c); return nil }
	if err := receive(bytes.NewReader(whole), 2, keep); err != nil || len(got) != 2 || !bytes.Equal(got[1].Raw, sample(2).Raw) || got[1].Header.Notes[0] != "line\nend" {
		t.Fatalf("%+v, %v", got, err)
	}
	// Cut anywhere, it is never taken for whole.
	for n := range whole {
		if err := receive(bytes.NewReader(whole[:n]), 2, func(Captured) error { return nil }); err == nil {
			t.Fatalf("%d of %d bytes are taken for whole", n, len(whole))
		}
	}
	if err := receive(bytes.NewReader(whole), 1, func(Captured) error { return nil }); err == nil {
		t.Error("more dumps than were asked for")
	}
	for _, text := range []string{
		"\n", "{}\n", "{\"size\":1}\nx", "{\"header\":{},\"size\":-1}\n", fmt.Sprintf("{\"header\":{},\"size\":%d}\n", dump.MaxCapture+1),
		"{\"error\":{}}\n", "{\"header\":{},\"error\":{\"code\":\"invalid\"}}\n", "{\"error\":{},\"size\":3}\nabc", strings.Repeat("x", maxEvent+1), "{\"header\":\n", "null\n",
	} {
		if err := receive(strings.NewReader(text), 1, func(Captured) error { return nil }); err == nil {
			t.Errorf("%.60q is taken for a dump", text)
		}
	}
	var out bytes.Buffer
	if err := serve(t.Context(), []byte("{\"unknown\":1}"), &out); err != nil {
		t.Fatal(err)
	}
	err := receive(&out, 1, func(Captured) error { return nil })
	if e, ok := errors.AsType[*restart.Error](err); !ok || e.Code != restart.CodeInvalid {
		t.Errorf("%v", err)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frames(f, sample(1), sample(3)))
	f.Add([]byte("{\"error\":{\"code\":\"invalid\",\"message\":\"x\"}}\n"))
	f.Add([]byte("{\"header\":{\"pid\":1},\"size\":2}\nab{\"header\":{\"pid\":2},\"size\":0}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 0
		err := receive(bytes.NewReader(b), 3, func(c Captured) error { size += len(c.Raw); return nil })
		if size > len(b) {
			t.Errorf("%d bytes of dumps in %d", size, len(b))
		}
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}

// FuzzAnswer reads what a JVM, or who plays one, answers.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"0\n2026-01-01\nFull thread dump\n", "101\nProtocol mismatch", "100\n", "", "0", "\n", "-1\njava.lang.IllegalArgumentException: Unknown diagnostic command\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := parseAnswer(b)
		if err == nil && !bytes.HasSuffix(b, text) {
			t.Error("the text is not what was answered")
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%q", err)
		}
	})
}

// FuzzProc reads what the kernel tells, in which a process has its name.
func FuzzProc(f *testing.F) {
	f.Add([]byte("12 (a) b) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2"))
	f.Add([]byte("1 () Z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := parseStat(b); err == nil && st.state == 0 {
			t.Error("a state of 0")
		}
		parseStatus(b)
		unitOf(string(b))
		ofMaps(bytes.NewReader(b))
		if line := printable(string(b)); strings.ContainsAny(line, "\n\r\x1b") {
			t.Errorf("%q", line)
		}
	})
}

func TestBounded(t *testing.T) {
	line := []byte(strings.Repeat("x", 99) + "\n")
	big := bytes.Repeat(line, dump.MaxCapture/len(line)+5)
	kept, cut := bounded(big)
	if len(kept) > dump.MaxCapture || kept[len(kept)-1] != '\n' || len(kept)%100 != 0 || cut != len(big)-len(kept) {
		t.Errorf("%d bytes kept, %d cut", len(kept), cut)
	}
	if kept, cut := bounded(bytes.Repeat([]byte("x"), dump.MaxCapture+1)); len(kept) != dump.MaxCapture || kept[len(kept)-1] != '\n' || cut == 0 {
		t.Errorf("%d bytes kept, %d cut", len(kept), cut)
	}
	if kept, cut := bounded([]byte("a")); string(kept) != "a\n" || cut != 0 {
		t.Errorf("%q, %d", kept, cut)
	}
}

func TestUnitOf(t *testing.T) {
	for groups, want := range map[string]string{
		"0::/system.slice/shop.service\n":                           "shop.service",
		"0::/system.slice/shop.service/worker\n":                    "shop.service",
		"0::/user.slice/user@0.service/app.slice/x.service\n":       "x.service",
		"12:cpu:/\n1:name=systemd:/system.slice/a@b:8080.service\n": "a@b:8080.service",
		"0::/\n": "", "": "", "x": "",
	} {
		if got := unitOf(groups); got != want {
			t.Errorf("%q: %q, want %q", groups, got, want)
		}
	}
}

func TestRuntimeOfMaps(t *testing.T) {
	for maps, want := range map[string]dump.Runtime{
		"7f00-7f01 r-xp 0 08:01 1  /usr/lib/jvm/x/lib/server/libjvm.so\n":                            dump.JVM,
		"7f00-7f01 r-xp 0 08:01 1  /usr/lib/libpython3.11.so.1.0\n7f r /opt/libjvm.so (deleted)\n":   dump.JVM,
		"7f00-7f01 r-xp 0 08:01 1  /usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0\n":                 dump.Python,
		"7f00-7f01 r-xp 0 08:01 1  /home/libjvm.so.txt\n7f00-7f01 rw-p 0 00:00 0 [stack]\n7f 7f r\n": dump.Process,
	} {
		if got := ofMaps(strings.NewReader(maps)); got != want {
			t.Errorf("%q: %s, want %s", maps, got, want)
		}
	}
}
