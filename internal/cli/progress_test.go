package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func fleet(n int, state func(i int) restart.TaskState) restart.Run {
	run := restart.Run{ID: "r", Kind: restart.KindRestart, Service: "shop", Environment: "production", State: restart.RunRunning}
	for i := range n {
		started := noon.Add(-5 * time.Second)
		t := restart.Task{ID: fmt.Sprint(i), Host: fmt.Sprintf("web%03d", i), Position: i, Attempt: 1, State: state(i)}
		if t.State != restart.TaskPlanned {
			t.StartedAt = &started
		}
		if t.State == restart.TaskRunning {
			t.Phase = "health"
		}
		run.Tasks = append(run.Tasks, t)
	}
	return run
}

func TestPaint(t *testing.T) {
	run := fleet(3, func(i int) restart.TaskState {
		return []restart.TaskState{restart.TaskSucceeded, restart.TaskRunning, restart.TaskPlanned}[i]
	})
	run.Tasks[0].FinishedAt = &noon
	got := strings.Join(paint(run, noon, 80, 24, false), "\n")
	want := `restart shop in production: running
  ✓ web000  succeeded  5s
  ▸ web001  running health  5s
  · web002  planned
  1 of 3 hosts done; Ctrl-C stops watching only`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestPaintFits: whatever the run and the terminal, the frame fits into it,
// shows what is in hand, and holds nothing that moves the cursor.
func TestPaintFits(t *testing.T) {
	states := restart.TaskStates()
	for _, n := range []int{0, 1, 30, 10_000} {
		for _, size := range [][2]int{{20, 5}, {80, 24}, {300, 100}} {
			run := fleet(n, func(i int) restart.TaskState { return states[i*7%len(states)] })
			run.Explanation = "a long sentence " + strings.Repeat("and on ", 60) + "\x1b[2J"
			for i := range run.Tasks {
				run.Tasks[i].Error = "broken\r\n\x1b[2J" + strings.Repeat("x", 200)
			}
			frame := paint(run, noon, size[0], size[1], false)
			if len(frame) > size[1]-1 {
				t.Errorf("%d hosts: %d lines in a terminal of %d", n, len(frame), size[1])
			}
			for _, line := range frame {
				if utf8.RuneCountInString(line) >= size[0] || strings.ContainsAny(line, "\x1b\r\n") {
					t.Errorf("%d hosts: line %q in a terminal %d wide", n, line, size[0])
				}
			}
		}
	}
	run := fleet(1000, func(i int) restart.TaskState {
		if i == 777 {
			return restart.TaskRunning
		}
		return restart.TaskPlanned
	})
	if frame := strings.Join(paint(run, noon, 80, 24, true), "\n"); !strings.Contains(frame, "web777") || !strings.Contains(frame, "\x1b[36m") || !strings.Contains(frame, "980 not shown") {
		t.Errorf("the host in hand is not shown:\n%s", frame)
	}
}

func TestPainterRepaintsInPlace(t *testing.T) {
	var out bytes.Buffer
	p := &painter{w: &out, size: func() (int, int) { return 80, 24 }}
	p.tick(noon) // nothing is known yet
	if out.Len() > 0 {
		t.Errorf("painted %q", out.String())
	}
	p.show(fleet(2, func(int) restart.TaskState { return restart.TaskPlanned }), noon)
	if strings.Contains(out.String(), "\x1b[4A") {
		t.Error("the first frame moves up")
	}
	out.Reset()
	p.tick(noon.Add(time.Second))
	if !strings.HasPrefix(out.String(), "\x1b[4A\r\x1b[K") || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("second frame: %q", out.String())
	}
}

func TestLinesSayEachChangeOnce(t *testing.T) {
	var out bytes.Buffer
	l := &lines{w: &out, seen: map[string]string{}}
	run := fleet(2, func(i int) restart.TaskState { return []restart.TaskState{restart.TaskRunning, restart.TaskPlanned}[i] })
	l.show(run, noon)
	l.show(run, noon)
	run.Tasks[0].State, run.Tasks[0].FinishedAt, run.Tasks[0].Error = restart.TaskFailed, &noon, "exit\x1b[31m"
	l.show(run, noon)
	var words []string
	for line := range strings.Lines(out.String()) {
		words = append(words, strings.TrimSpace(line[9:]))
	}
	want := []string{"run r: running", "web000: running health", `web000: failed after 5s: exit\x1b[31m`}
	if strings.Join(words, "|") != strings.Join(want, "|") {
		t.Errorf("%q", words)
	}
}

// FuzzEscaper: whatever a script prints, in whatever pieces it comes, what
// reaches the terminal can't move it, and nothing is lost.
func FuzzEscaper(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\x1b[31mred\xff\u202e"), 3)
	f.Add(bytes.Repeat([]byte("é"), 10_000), 4097)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		piece = max(piece, 1)
		var whole, parts bytes.Buffer
		e := &escaper{w: &whole}
		e.Write(b)
		e.close()
		e = &escaper{w: &parts}
		for rest := b; len(rest) > 0; {
			n := min(piece, len(rest))
			e.Write(rest[:n])
			rest = rest[n:]
		}
		e.close()
		if whole.String() != parts.String() {
			t.Fatalf("in pieces of %d: %q, at once: %q", piece, parts.String(), whole.String())
		}
		for line := range strings.Lines(whole.String()) {
			line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", "")
			if restart.Escape(line) != line {
				t.Fatalf("%q gets through", line)
			}
		}
	})
}

// newScreen gives a terminal, and a reader of what it shows.
func newScreen(t *testing.T) (screen, master *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	return screen, master
}

// A dump that is printed for a person can't write to the terminal what it wants;
// a file has it as it is.
func TestDumpsAreHarmlessOnATerminal(t *testing.T) {
	t.Parallel()
	screen, master := newScreen(t)
	const evil = "\"\x1b]0;owned\x07\" #12"
	to, done := harmless(screen)
	io.WriteString(to, evil)
	done()
	b := make([]byte, 1000)
	if n, err := master.Read(b); err != nil || bytes.ContainsAny(b[:n], "\x1b\x07") || !bytes.Contains(b[:n], []byte(`\x1b]0;owned`)) {
		t.Errorf("the terminal got %q, %v", b[:n], err)
	}
	var kept bytes.Buffer
	to, done = harmless(&kept)
	io.WriteString(to, evil)
	done()
	if kept.String() != evil {
		t.Errorf("a file got %q", kept.String())
	}
}

// So it is with the frames of a dump from elsewhere.
func TestMergedStacksAreHarmlessOnATerminal(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "evil.txt")
	const text = "Full thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode, sharing):\n\n" +
		"\"main\" #1 prio=5 os_prio=0 tid=0x00007f0000000001 nid=0x11 runnable\n   java.lang.Thread.State: RUNNABLE\n\tat shop.\x1b]0;owned\x07.run(Order.java:31)\n\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for form, want := range map[string]string{"--collapsed": `owned\x07.run 1`, "--speedscope": "speedscope.app"} {
		screen, master := newScreen(t)
		var stderr bytes.Buffer
		if code := Main(t.Context(), []string{"analyse", form, file}, strings.NewReader(""), screen, &stderr); code != 0 {
			t.Fatalf("%s ended with %d: %s", form, code, stderr.String())
		}
		b := make([]byte, 4000)
		if n, err := master.Read(b); err != nil || bytes.ContainsAny(b[:n], "\x1b\x07") || !bytes.Contains(b[:n], []byte(want)) {
			t.Errorf("of %s the terminal got %q, %v", form, b[:n], err)
		}
	}
}

// TestWhatIsTypedBeforeTheQuestion: it is no answer; what is typed once the
// question is shown, is one.
func TestWhatIsTypedBeforeTheQuestion(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]bool{"n\n": false, "y\n": true} {
		screen, master := newScreen(t)
		io.WriteString(master, map[bool]string{false: "y\n", true: "n\n"}[want])
		waits := []unix.PollFd{{Fd: int32(screen.Fd()), Events: unix.POLLIN}}
		for n, err := 0, error(nil); n == 0; n, err = unix.Poll(waits, -1) { // until it has arrived
			if err != nil && !errors.Is(err, unix.EINTR) {
				t.Fatal(err)
			}
		}
		cmd := &cobra.Command{}
		cmd.SetIn(screen)
		asked := ""
		cmd.SetErr(writerFunc(func(b []byte) (int, error) {
			asked += string(b)
			return io.WriteString(master, typed)
		}))
		if got, err := ask(t.Context(), cmd, "restart shop?"); got != want || err != nil || asked != "restart shop? [y/N] " {
			t.Errorf("%q is typed at %q: %t, %v", typed, asked, got, err)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
