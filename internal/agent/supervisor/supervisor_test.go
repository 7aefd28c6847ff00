package supervisor

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/agent/host"
)

func TestSealedMemoryCantBeChanged(t *testing.T) {
	f, err := sealed([]byte("echo hello\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("rm"), 0); err == nil {
		t.Error("it was written to")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("it was cut short")
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
		t.Error("it was mapped for writing")
	}
	if again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0); err == nil {
		if _, err := again.Write([]byte("rm")); err == nil {
			t.Error("opened again, it was written to")
		}
		again.Close()
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil || string(text) != "echo hello\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestTheStandInForSealedMemory(t *testing.T) {
	dir := t.TempDir()
	f, err := unsealed([]byte("echo hello\n"), func() (*os.File, error) {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0o444)
		return os.NewFile(uintptr(fd), "scratch"), err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("rm"), 0); err == nil {
		t.Error("it was written to")
	}
	if text, err := io.ReadAll(f); err != nil || string(text) != "echo hello\n" {
		t.Errorf("%q, %v", text, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("it has a name: %v", left)
	}
}

func TestParseStat(t *testing.T) {
	const rest = " 1 41 40 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 5151 1 1"
	for name, text := range map[string]string{"plain": "42 (sh) S" + rest, "brackets": "42 (a) R 9 (b) S" + rest, "newline": "42 (a\n) S" + rest} {
		p, err := parseStat(42, []byte(text))
		if err != nil || p.parent != 1 || p.group != 41 || p.state != 'S' || p.start != "5151" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	for _, text := range []string{"", "42 (sh)", "42 (sh) S 1", "42 (sh) S x" + rest} {
		if _, err := parseStat(42, []byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (sh) S 1 41 40 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 5151 1 1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parseStat(42, b); err == nil && (p.pid != 42 || p.start == "") {
			t.Errorf("%+v", p)
		}
	})
}

// Everything below the root is found, and nothing that is spared or below it.
func TestDescendants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := map[int]process{1: {pid: 1, start: "0"}}
		spared := map[identity]bool{}
		below := map[int]bool{2: true} // of the root, 2
		cut := map[int]bool{}
		all[2] = process{pid: 2, parent: 1, start: "0", state: 'S'}
		for pid := 3; pid < 30; pid++ {
			parent := rapid.IntRange(1, pid-1).Draw(t, "parent")
			p := process{pid: pid, parent: parent, start: "7", state: 'S'}
			all[pid] = p
			below[pid] = below[parent]
			cut[pid] = cut[parent]
			if rapid.IntRange(0, 5).Draw(t, "spare") == 0 {
				spared[p.id()] = true
				cut[pid] = true
			}
		}
		var got, want []int
		for _, p := range descendants(all, 2, spared) {
			got = append(got, p.pid)
		}
		for pid := 3; pid < 30; pid++ {
			if below[pid] && !cut[pid] {
				want = append(want, pid)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestCgroupMount(t *testing.T) {
	const mounts = `25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw
36 35 0:30 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,name=systemd
42 35 0:31 /machine /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw,nsdelegate
`
	at, root, ok := parseMounts([]byte(mounts))
	if !ok || at != "/sys/fs/cgroup/unified" || root != "/machine" {
		t.Errorf("%q %q %t", at, root, ok)
	}
	if _, _, ok := parseMounts([]byte("rubbish\n")); ok {
		t.Error("found in rubbish")
	}
}

func TestFindCgroup(t *testing.T) {
	if base, why := FindCgroup("off"); base != "" || !strings.Contains(why, "off") {
		t.Errorf("%q, %q", base, why)
	}
	if base, why := FindCgroup(t.TempDir()); base != "" || !strings.Contains(why, "not a cgroup") {
		t.Errorf("%q, %q", base, why)
	}
}

func TestEnvironmentIsExact(t *testing.T) {
	t.Setenv("LD_PRELOAD", "/tmp/evil.so")
	got := environment(host.User{Name: "shop", Home: "/srv/shop"}, "/bin/sh", map[string]string{"PARAM_MODE": "fast", "RESTARTILKA_RUN": "r"})
	want := []string{
		"HOME=/srv/shop", "LANG=C.UTF-8", "LOGNAME=shop", "PARAM_MODE=fast",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "RESTARTILKA_RUN=r", "SHELL=/bin/sh", "USER=shop",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestBoundedKeepsTheEnd(t *testing.T) {
	var b bounded
	for range 3 {
		if n, err := b.Write([]byte(strings.Repeat("x", maxCommandOutput))); n != maxCommandOutput || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := io.WriteString(&b, "end"); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); len(got) != maxCommandOutput || !strings.HasSuffix(got, "xend") {
		t.Errorf("%d bytes, ending with %q", len(got), got[len(got)-4:])
	}
}

func TestReadJob(t *testing.T) {
	for _, text := range []string{"", "{", `{"task":"../x"}`, `{"task":"01m81md7nggqn1jspgfe752rn6"`} {
		if _, err := readJob(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}
