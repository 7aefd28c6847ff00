package audit_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

func openFile(t *testing.T, path string) *audit.File {
	t.Helper()
	f, err := audit.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// truncate leaves the first n lines.
func truncate(t *testing.T, path string, n int) {
	t.Helper()
	kept := bytes.Join(bytes.SplitAfter(read(t, path), []byte("\n"))[:n], nil)
	if err := os.WriteFile(path, kept, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A crash can leave any number of bytes of the last line. Whichever it is, the
// file ends with whole records afterwards, none that was acknowledged is lost,
// and sending the rest again makes the trail whole.
func TestFileRepairsATornLine(t *testing.T) {
	records := chained(4)
	whole := lines(records)
	start := len(lines(records[:3]))
	for size := start; size <= len(whole); size++ {
		if size > start+20 && size < len(whole)-20 && size%17 != 0 {
			continue
		}
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		f := openFile(t, path)
		want := whole[:start]
		if size >= len(whole)-1 {
			want = whole // only the newline was missing
		}
		if got := read(t, path); !bytes.Equal(got, want) {
			t.Fatalf("%d of %d bytes of the line: the file is now\n%s", size-start, len(whole)-start, got)
		}
		if err := f.Send(context.Background(), records[2:]); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); !bytes.Equal(got, whole) {
			t.Fatalf("%d of %d bytes of the line: after sending again the file is\n%s", size-start, len(whole)-start, got)
		}
		f.Close()
	}
}

func TestFileAsksForWhatItLacks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	records := chained(9)
	f := openFile(t, path)
	if err := f.Send(context.Background(), records[:6]); err != nil {
		t.Fatal(err)
	}
	f.Close()
	truncate(t, path, 4) // somebody has lost two
	f = openFile(t, path)
	err := f.Send(context.Background(), records[6:])
	if behind, ok := errors.AsType[*audit.Behind](err); !ok || behind.After != 4 {
		t.Fatal(err)
	}
	if err := f.Send(context.Background(), records[4:]); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); !bytes.Equal(got, lines(records)) {
		t.Errorf("the file is\n%s", got)
	}
}

func TestFileRefuses(t *testing.T) {
	ctx := context.Background()
	t.Run("a second server", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		openFile(t, path)
		if _, err := audit.OpenFile(path); restart.CodeOf(err) != restart.CodeConflict {
			t.Error(err)
		}
	})
	t.Run("another source", func(t *testing.T) {
		f := openFile(t, filepath.Join(t.TempDir(), "audit.jsonl"))
		if err := errors.Join(f.Send(ctx, chained(2)), f.Send(ctx, chained(2))); err != nil {
			t.Fatal(err)
		}
		if err := f.Send(ctx, extend(audit.Head{Source: "server-2"}, 3)); restart.CodeOf(err) != restart.CodeInvalid {
			t.Error(err)
		}
	})
	t.Run("another record of a number that it has", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		records := chained(9)
		f := openFile(t, path)
		if err := f.Send(ctx, records); err != nil {
			t.Fatal(err)
		}
		other := extend(records[4].Head(), 6)
		other[0].Actor = "eve"
		for i := range other {
			head := records[4].Head()
			if i > 0 {
				head = other[i-1].Head()
			}
			other[i].Link(head)
		}
		for _, open := range []func(){func() {}, func() { f.Close(); f = openFile(t, path) }} {
			open()
			for _, part := range [][]audit.Record{other, other[4:]} {
				if err := f.Send(ctx, part); restart.CodeOf(err) != restart.CodeConflict {
					t.Error(err)
				}
			}
		}
		if got := read(t, path); !bytes.Equal(got, lines(records)) {
			t.Errorf("the file is\n%s", got)
		}
	})
	t.Run("a record that would have to be in it", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		records := chained(9)
		if err := os.WriteFile(path, lines(slices.Concat(records[:5], records[7:8])), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := openFile(t, path).Send(ctx, records[5:]); restart.CodeOf(err) != restart.CodeConflict {
			t.Error(err)
		}
	})
	for name, content := range map[string]string{
		"what is no trail":        "hello\n",
		"a changed last record":   string(bytes.Replace(lines(chained(1)), []byte("anna"), []byte("eve1"), 1)),
		"one line without an end": string(bytes.Repeat([]byte("x"), 1<<17)),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "audit.jsonl")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := audit.OpenFile(path); err == nil {
				t.Error("opened")
			}
			if got := read(t, path); string(got) != content {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("a link, a folder, a pipe", func(t *testing.T) {
		dir := t.TempDir()
		link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
		if err := errors.Join(os.Symlink("/etc/passwd", link), unix.Mkfifo(fifo, 0o600)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{link, dir, fifo} {
			if _, err := audit.OpenFile(path); err == nil {
				t.Error(path)
			}
		}
	})
}

func TestFileFollowsRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	records := chained(9)
	f := openFile(t, path)
	for i, part := range [][]audit.Record{records[:4], records[2:7], records[7:]} {
		if i == 1 {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			part = records[4:7]
		}
		if err := f.Send(context.Background(), part); err != nil {
			t.Fatal(err)
		}
	}
	if got := slices.Concat(read(t, path+".1"), read(t, path)); !bytes.Equal(got, lines(records)) {
		t.Errorf("the files are\n%s", got)
	}
}

func TestFileAfterARestore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	old := chained(10)
	base := old[6].Head()
	base.Epoch = 2
	restored := extend(base, 2)
	f := openFile(t, path)
	for _, part := range [][]audit.Record{old, old[4:7], restored, restored, old[4:7]} {
		if err := f.Send(context.Background(), part); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, path); !bytes.Equal(got, lines(slices.Concat(old, restored))) {
		t.Errorf("the file is\n%s", got)
	}
	next := restored[1].Head()
	next.Epoch = 3
	later := extend(next, 2)
	err := f.Send(context.Background(), later[1:])
	if behind, ok := errors.AsType[*audit.Behind](err); !ok || behind.After != 9 {
		t.Error(err)
	}
	next.Hash = old[0].Hash
	if err := f.Send(context.Background(), extend(next, 1)); restart.CodeOf(err) != restart.CodeConflict {
		t.Error(err)
	}
}

// The disk is full in the middle of a line: a real failure of write(2), made by
// the limit on the size of files.
func TestFileSurvivesAFullDisk(t *testing.T) {
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	records := chained(9)
	for _, already := range []int{0, 3} {
		os.Remove(path)
		f := openFile(t, path)
		if already > 0 {
			if err := f.Send(context.Background(), records[:already]); err != nil {
				t.Fatal(err)
			}
		}
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		full := limit
		full.Cur = uint64(len(lines(records[:already+2])) + 100)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &full); err != nil {
			t.Fatal(err)
		}
		err := f.Send(context.Background(), records[already:])
		if err2 := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err2 != nil {
			t.Fatal(err2)
		}
		if err == nil {
			t.Fatal("the disk was not full")
		}
		if got := read(t, path); !bytes.Equal(got, lines(records[:already])) {
			t.Errorf("with a full disk the file is\n%s", got)
		}
		if seq, err := f.Settled(); seq != int64(already) || err != nil {
			t.Errorf("settled %d, %v", seq, err)
		}
		if err := f.Send(context.Background(), records[already:]); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); !bytes.Equal(got, lines(records)) {
			t.Errorf("with room again the file is\n%s", got)
		}
		f.Close()
	}
}
