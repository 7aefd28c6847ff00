package evidence

import (
	"strings"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestMuchIsNotHeld(t *testing.T) {
	var l lastBytes
	for range 1000 {
		if n, err := l.Write(make([]byte, 10_000)); n != 10_000 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(l.kept) < MaxText || len(l.kept) > 2*MaxText || l.dropped+int64(len(l.kept)) != 10_000_000 {
		t.Errorf("holds %d, dropped %d of 10000000", len(l.kept), l.dropped)
	}
}

func TestKinds(t *testing.T) {
	for target, want := range map[string]string{
		"socket:[12]": "socket", "pipe:[12]": "pipe", "anon_inode:[eventpoll]": "eventpoll", "anon_inode:inotify": "inotify", "/memfd:x (deleted)": "memfd",
		"/dev/null": "device", "/var/log/a.log": "file", "/var/log/a.log (deleted)": "deleted file", "/tmp/a:b": "file", "mnt:[12]": "file",
	} {
		if got := kindOf(target); got != want {
			t.Errorf("%s is a %s, want %s", target, got, want)
		}
	}
}

func TestCountStates(t *testing.T) {
	table := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0B00007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n" +
		"   1: 0B00007F:1F90 0100007F:C350 08 00000000:00000000 00:00000000 00000000     0        0 2 1\n" +
		"   2: 0B00007F:1F90 0100007F:C351 08 00000000:00000000 00:00000000 00000000     0        0 3 1\n" +
		"   3: 0B00007F:1F90 0100007F:C352 ZZ 00000000:00000000 00:00000000 00000000     0        0 4 1\n" +
		"   4: 0B00007F:1F90 0100007F:C353 01 00000000:00000000 00:00000000 00000000     0        0 5 1\n" +
		"torn\n"
	states := map[string]int{}
	found := countStates(strings.NewReader(table), "tcp", map[string]bool{"1": true, "2": true, "3": true, "4": true}, states)
	if got := counts(states); found != 4 || got != "2 tcp CLOSE_WAIT, 1 tcp, 1 tcp LISTEN" {
		t.Errorf("%d: %s", found, got)
	}
}

func TestNameAndState(t *testing.T) {
	for stat, want := range map[string]string{"7 (a) S 1": "a S", "7 (a) b) D 1": "a) b D", "7 () R": " R"} {
		if name, state, ok := nameAndState([]byte(stat)); !ok || name+" "+state != want {
			t.Errorf("%q: %q %q %v", stat, name, state, ok)
		}
	}
}

func FuzzNameAndState(f *testing.F) {
	f.Add([]byte("7 (a) b) S 42"))
	f.Add([]byte("7 (a)"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if _, state, ok := nameAndState(stat); ok && len(state) != 1 {
			t.Fatalf("%q has the state %q", stat, state)
		}
	})
}

// FuzzText: whatever a service wrote, what is kept is bounded and harmless, and
// every byte is either kept or counted.
func FuzzText(f *testing.F) {
	f.Add("one\ntwo", 1)
	f.Add("\x1b[2J\xff\u202e\r\n", 100000)
	f.Fuzz(func(t *testing.T, text string, times int) {
		if len(text) == 0 || times < 1 || times > 2*MaxText/len(text) {
			return
		}
		safe := clean(strings.Repeat(text, times))
		for line := range strings.SplitSeq(strings.TrimSuffix(safe, "\n"), "\n") {
			if restart.Escape(line) != line {
				t.Fatalf("%q can forge a line", line)
			}
		}
		for _, cut := range []func(string) (string, int64){head, tail} {
			if kept, out := cut(safe); len(kept) > MaxText || int64(len(kept))+out != int64(len(safe)) {
				t.Fatalf("kept %d, left out %d of %d", len(kept), out, len(safe))
			}
		}
	})
}

func FuzzCountStates(f *testing.F) {
	f.Add("heading\n 0: 0B00007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 1 1\n", "1")
	f.Fuzz(func(t *testing.T, table, inode string) {
		if countStates(strings.NewReader(table), "tcp", map[string]bool{inode: true}, map[string]int{}) < 0 {
			t.Fatal("fewer than none")
		}
	})
}
