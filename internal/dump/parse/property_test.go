package parse

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/dump"
)

// hostileName draws what a thread may be called: anything of one line.
func hostileName() *rapid.Generator[string] {
	any := rapid.Map(rapid.String(), func(s string) string {
		return strings.NewReplacer("\n", " ", "\r", " ").Replace(s)
	})
	return rapid.OneOf(any, rapid.SampledFrom([]string{
		"", "\"", `a" #1 prio=5 tid=0x1 nid=0x2 runnable`, "<script>alert(1)</script>", "\x1b[31mred", "at x.y(Z.java:1)",
		"JNI global refs: 1", "Found one Java-level deadlock:", "Full thread dump X (1):", "goroutine 1 [running]:", "日本語", "http-1",
	}))
}

func javaThread(i int) *rapid.Generator[dump.Thread] {
	return rapid.Custom(func(t *rapid.T) dump.Thread {
		th := dump.Thread{
			ID: fmt.Sprint(i + 1), Name: hostileName().Draw(t, "name"), Native: rapid.Int64Range(1, 1<<22).Draw(t, "native"),
			Priority: rapid.IntRange(1, 10).Draw(t, "priority"), Daemon: rapid.Bool().Draw(t, "daemon"),
			CPU:     time.Duration(rapid.IntRange(0, 1<<30).Draw(t, "cpu")) * 10 * time.Microsecond,
			Elapsed: time.Duration(rapid.IntRange(0, 1<<30).Draw(t, "elapsed")) * 10 * time.Millisecond,
			State:   rapid.SampledFrom([]dump.State{dump.Blocked, dump.Waiting, dump.TimedWaiting, dump.Running}).Draw(t, "state"),
		}
		for j := range rapid.IntRange(0, 6).Draw(t, "frames") {
			f := dump.Frame{Function: fmt.Sprintf("com.example.C%d.m%d", j, i%3), File: fmt.Sprintf("C%d.java", j), Line: rapid.IntRange(1, 9999).Draw(t, "line")}
			if rapid.Bool().Draw(t, "module") {
				f.Module = "app@1.2"
			}
			if j > 0 && rapid.Bool().Draw(t, "locks") {
				l := dump.Lock{ID: fmt.Sprintf("0x%016x", i*100+j), Class: "java.lang.Object", Kind: dump.Monitor}
				f.Locks = []dump.Marked{{Mark: dump.Locked, Lock: l}}
				th.Holds = append(th.Holds, l)
			}
			th.Stack = append(th.Stack, f)
		}
		if th.State == dump.Blocked && len(th.Stack) > 0 {
			l := dump.Lock{ID: fmt.Sprintf("0x%016x", 1<<30+i), Class: "com.example.Orders", Kind: dump.Monitor}
			th.Stack[0].Locks = []dump.Marked{{Mark: dump.WaitingToLock, Lock: l}}
			th.WaitsFor = &l
		}
		return th
	})
}

// writeHotSpot writes threads as HotSpot does.
func writeHotSpot(threads []dump.Thread) string {
	words := map[dump.State][2]string{
		dump.Blocked:      {"waiting for monitor entry", "BLOCKED (on object monitor)"},
		dump.Waiting:      {"waiting on condition", "WAITING (parking)"},
		dump.TimedWaiting: {"waiting on condition", "TIMED_WAITING (sleeping)"},
		dump.Running:      {"runnable", "RUNNABLE"},
	}
	var b strings.Builder
	b.WriteString("Full thread dump OpenJDK 64-Bit Server VM (17.0.9+9 mixed mode):\n\n")
	for _, t := range threads {
		daemon := ""
		if t.Daemon {
			daemon = "daemon "
		}
		fmt.Fprintf(&b, "\"%s\" #%s %sprio=%d os_prio=0 cpu=%.2fms elapsed=%.2fs tid=0x00007f1000000000 nid=0x%x %s  [0x00007f2000000000]\n   java.lang.Thread.State: %s\n",
			t.Name, t.ID, daemon, t.Priority, float64(t.CPU)/float64(time.Millisecond), t.Elapsed.Seconds(), t.Native, words[t.State][0], words[t.State][1])
		for _, f := range t.Stack {
			module := ""
			if f.Module != "" {
				module = f.Module + "/"
			}
			fmt.Fprintf(&b, "\tat %s(%s%s:%d)\n", f.Function, module, f.File, f.Line)
			for _, m := range f.Locks {
				mark := map[dump.Mark]string{dump.Locked: "locked", dump.WaitingToLock: "waiting to lock"}[m.Mark]
				fmt.Fprintf(&b, "\t- %s <%s> (a %s)\n", mark, m.Lock.ID, m.Lock.Class)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("JNI global refs: 15, weak refs: 0\n\n")
	return b.String()
}

// TestWrittenIsRead: what HotSpot would write of any threads is read as they are.
func TestWrittenIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var want []dump.Thread
		for i := range rapid.IntRange(0, 8).Draw(t, "threads") {
			want = append(want, javaThread(i).Draw(t, "thread"))
		}
		dumps, err := Bytes([]byte(writeHotSpot(want)))
		if err != nil {
			t.Fatal(err)
		}
		if len(dumps) != 1 || len(dumps[0].Threads) != len(want) || len(dumps[0].Rest) != 0 || dumps[0].Cut != "" {
			t.Fatalf("%d dumps, %d threads, not %d; rest %v", len(dumps), len(dumps[0].Threads), len(want), dumps[0].Rest)
		}
		for i, w := range want {
			g := dumps[0].Threads[i]
			g.Lines, g.Detail, g.Internal = dump.Span{}, "", false
			if a, b := inWords(w), inWords(g); a != b {
				t.Fatalf("thread %d is\n%s\nnot\n%s", i, b, a)
			}
		}
	})
}

// inWords gives a thread with what it waits for, which is a pointer.
func inWords(t dump.Thread) string {
	waits := dump.Lock{}
	if t.WaitsFor != nil {
		waits = *t.WaitsFor
	}
	t.WaitsFor = nil
	return fmt.Sprintf("%+v waits for %+v", t, waits)
}
