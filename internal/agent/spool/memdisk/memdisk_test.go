package memdisk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/spool/memdisk"
	"github.com/restartilka/restartilka/internal/protocol"
)

func newDisk(seed uint64) (*memdisk.Disk, *rand.Rand) {
	rng := rand.New(rand.NewPCG(seed, 0))
	return memdisk.New(rng), rng
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f spool.Folder, name, data string, how spool.Access) spool.File {
	t.Helper()
	o := must[spool.File](t)(f.Open(name, how))
	must[int](t)(o.WriteAt([]byte(data), 0))
	return o
}

func read(t *testing.T, f spool.Folder, name string) string {
	t.Helper()
	o := must[spool.File](t)(f.Open(name, spool.ToRead))
	return string(must[[]byte](t)(io.ReadAll(io.NewSectionReader(o, 0, 1<<20))))
}

// outcomes cuts the power on many disks, each made the same way, and gives what
// was seen afterwards, sorted.
func outcomes(t *testing.T, do func(f spool.Folder), see func(f spool.Folder) string) []string {
	t.Helper()
	seen := map[string]bool{}
	for seed := range uint64(300) {
		d, rng := newDisk(seed)
		do(d.Root("a"))
		d.PowerCut(rng)
		seen[see(d.Root("a"))] = true
	}
	var out []string
	for s := range seen {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func names(t *testing.T) func(f spool.Folder) string {
	return func(f spool.Folder) string {
		t.Helper()
		return strings.Join(must[[]string](t)(f.Names()), " ")
	}
}

func TestEntriesSurviveAsAPrefix(t *testing.T) {
	got := outcomes(t, func(f spool.Folder) {
		write(t, f, "kept", "", spool.ToCreate)
		ok(t, f.Sync())
		ok(t, f.Make("one"))
		write(t, f, "two", "", spool.ToCreate)
		ok(t, f.Rename("two", "three"))
		ok(t, f.Remove("kept"))
		ok(t, f.RemoveFolder("one"))
	}, names(t))
	if want := []string{"kept", "kept one", "kept one three", "kept one two", "one three", "three"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestContentNotSyncedIsLostOrTorn(t *testing.T) {
	see := func(f spool.Folder) string { return read(t, f, "file") }
	got := outcomes(t, func(f spool.Folder) {
		o := write(t, f, "file", "aaa", spool.ToCreate)
		ok(t, o.Sync(), f.Sync())
		write(t, f, "file", "bbb", spool.ToEdit)
	}, see)
	if want := []string{"\x00\x00\x00", "aaa", "b\x00\x00", "baa", "bb\x00", "bba", "bbb"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got = outcomes(t, func(f spool.Folder) {
		o := write(t, f, "file", "aaa", spool.ToCreate)
		ok(t, o.Sync(), f.Sync())
	}, see)
	if want := []string{"aaa"}; !slices.Equal(got, want) {
		t.Errorf("synced: got %q", got)
	}
}

func TestASyncThatFailedIsNotMadeGoodByALaterOne(t *testing.T) {
	got := outcomes(t, func(f spool.Folder) {
		o := write(t, f, "file", "a", spool.ToCreate)
		ok(t, o.Sync(), f.Sync())
		o = write(t, f, "file", "b", spool.ToEdit)
		failing(f, unix.EIO, func() {
			if err := o.Sync(); !errors.Is(err, unix.EIO) {
				t.Errorf("got %v", err)
			}
		})
		ok(t, o.Sync())
	}, func(f spool.Folder) string { return read(t, f, "file") })
	if want := []string{"\x00", "a", "b"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// failing makes every operation on the folder's disk fail.
func failing(f spool.Folder, err error, do func()) {
	d := memdisk.DiskOf(f)
	d.Fault = func(memdisk.Operation, string) error { return err }
	do()
	d.Fault = nil
}

func TestAFullDiskFailsWhatNeedsRoom(t *testing.T) {
	d, _ := newDisk(1)
	f := d.Root("a")
	o := must[spool.File](t)(f.Open("reserved", spool.ToCreate))
	ok(t, o.Reserve(100))
	d.Fault = func(op memdisk.Operation, _ string) error {
		if op.Grows() {
			return unix.ENOSPC
		}
		return nil
	}
	if _, err := o.WriteAt([]byte("fits"), 90); err != nil {
		t.Errorf("into reserved blocks: %v", err)
	}
	if n, err := o.WriteAt([]byte("0123456789"), 95); !errors.Is(err, unix.ENOSPC) || n == 10 {
		t.Errorf("past them: %d, %v", n, err)
	}
	if _, err := f.Open("new", spool.ToCreate); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a new file: %v", err)
	}
	ok(t, f.Rename("reserved", "moved"), f.Remove("moved"))
}

func TestACrashInAFaultEndsTheProcess(t *testing.T) {
	d, rng := newDisk(1)
	f := d.Root("a")
	lock := must[io.Closer](t)(f.Lock("lock"))
	if _, err := d.Root("b").Lock("lock"); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("taken twice: %v", err)
	}
	crash := errors.New("crash")
	d.Fault = func(op memdisk.Operation, _ string) error {
		if op == memdisk.OpMake {
			panic(crash)
		}
		return nil
	}
	func() {
		defer func() {
			if r := recover(); r != any(crash) {
				t.Errorf("recovered %v", r)
			}
		}()
		defer func() {
			if err := f.Remove("lock"); !errors.Is(err, memdisk.ErrDead) {
				t.Errorf("what is deferred still works: %v", err)
			}
		}()
		f.Make("folder")
	}()
	d.Fault = nil
	b := d.Root("b")
	if got := names(t)(b); got != "lock" {
		t.Errorf("there is %q", got)
	}
	if held, err := b.Locked("lock"); err != nil || held {
		t.Errorf("held by the dead: %t, %v", held, err)
	}
	heir := must[io.Closer](t)(b.Lock("lock"))
	lock.Close() // of the dead: it is another's now
	if held, err := d.Root("a").Locked("lock"); err != nil || !held {
		t.Errorf("held %t, %v", held, err)
	}
	heir.Close()
	if held, err := b.Locked("lock"); err != nil || held {
		t.Errorf("held %t, %v", held, err)
	}
	must[io.Closer](t)(b.Lock("lock"))
	d.PowerCut(rng)
	if _, err := b.Names(); !errors.Is(err, memdisk.ErrDead) {
		t.Errorf("after a power cut: %v", err)
	}
	must[io.Closer](t)(d.Root("b").Lock("lock"))
}

func TestACloneGoesItsOwnWay(t *testing.T) {
	d, _ := newDisk(1)
	f := d.Root("a")
	write(t, f, "file", "a", spool.ToCreate)
	ok(t, f.Link("file", f, "other"), f.Sync())
	c := d.Clone()
	write(t, c.Root("a"), "other", "b", spool.ToEdit)
	if got := read(t, f, "file") + read(t, c.Root("a"), "file"); got != "ab" {
		t.Errorf("got %q", got)
	}
}

func TestTheSameSeedGivesTheSameDisk(t *testing.T) {
	life := func() string {
		d, rng := newDisk(7)
		var log strings.Builder
		d.Fault = func(op memdisk.Operation, path string) error {
			fmt.Fprintln(&log, op, path)
			if op == memdisk.OpWrite && rng.IntN(3) == 0 {
				return unix.EIO
			}
			return nil
		}
		for range 30 {
			f := d.Root("a")
			for i := range 5 {
				name := fmt.Sprint("file", i)
				if o, err := f.Open(name, spool.ToReplace); err == nil {
					o.WriteAt([]byte("some bytes"), int64(i))
				}
			}
			d.PowerCut(rng)
			f = d.Root("a")
			for _, n := range must[[]string](t)(f.Names()) {
				fmt.Fprintf(&log, "%s %q\n", n, read(t, f, n))
			}
		}
		return log.String()
	}
	if first := life(); first != life() {
		t.Error("twice the same, and it differs")
	}
}

func TestItRefusesWhatTheHostRefuses(t *testing.T) {
	d, _ := newDisk(1)
	f := d.Root("a")
	ok(t, f.Make("folder"))
	write(t, f, "file", "a", spool.ToCreate)
	below := must[spool.Folder](t)(f.Sub("folder"))
	for name, c := range map[string]struct {
		err, want error
	}{
		"make twice":          {f.Make("folder"), fs.ErrExist},
		"create twice":        {second(f.Open("file", spool.ToCreate)), fs.ErrExist},
		"edit nothing":        {second(f.Open("none", spool.ToEdit)), fs.ErrNotExist},
		"a folder as a file":  {second(f.Open("folder", spool.ToRead)), unix.EISDIR},
		"a file as a folder":  {second(f.Sub("file")), unix.ENOTDIR},
		"link over a name":    {f.Link("file", f, "folder"), fs.ErrExist},
		"link nothing":        {f.Link("none", f, "new"), fs.ErrNotExist},
		"rename nothing":      {f.Rename("none", "new"), fs.ErrNotExist},
		"remove nothing":      {f.Remove("none"), fs.ErrNotExist},
		"remove a folder":     {f.Remove("folder"), unix.EISDIR},
		"remove a file as it": {f.RemoveFolder("file"), unix.ENOTDIR},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b"} {
		if err := f.Make(bad); err == nil {
			t.Errorf("a folder called %q", bad)
		}
	}
	write(t, below, "x", "", spool.ToCreate)
	if err := f.RemoveFolder("folder"); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("a full folder: %v", err)
	}
	ok(t, below.Remove("x"), f.RemoveFolder("folder"))
	if _, err := below.Open("x", spool.ToCreate); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is gone: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// BenchmarkATasksLife is all that a task's life asks of the disk: what the
// spool writes of it is encoded, too.
func BenchmarkATasksLife(b *testing.B) {
	now := time.Now()
	e := protocol.Envelope{Version: 1, Task: "01m81md7nggqn1jspgfe752rn0", Run: "01m81md7nggqn1jspgfe752rnr", Host: "web1", Service: "nginx", Expiry: now}
	payload, err := json.Marshal(e)
	if err != nil {
		b.Fatal(err)
	}
	received := spool.Received{Sealed: protocol.Sealed{Payload: payload, KeyID: "k"}, Epoch: 3, ReceivedAt: now}
	status := protocol.TaskStatus{Task: e.Task, Run: e.Run, Service: e.Service}
	stone := spool.Tombstone{Run: e.Run, Epoch: 3, Service: e.Service, At: now}
	stone.Task = e.Task
	d, _ := newDisk(1)
	s, err := spool.OpenOn(d.Root("agent"), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	var operations int
	b.ReportAllocs()
	for b.Loop() {
		before := d.Counters.Operations
		life := func() error {
			if err := s.Receive(e, received); err != nil {
				return err
			}
			t, err := spool.OpenTaskOn(d.Root("supervisor"), e.Task)
			if err != nil {
				return err
			}
			lock, err := t.Lock()
			if err != nil {
				return err
			}
			if err := errors.Join(t.Start(spool.Started{At: now, PID: 1}), t.Progress(status), t.Done(status), lock.Close()); err != nil {
				return err
			}
			if _, err := s.Settle(e.Task, status, spool.Started{}); err != nil {
				return err
			}
			return errors.Join(s.Bury(stone), s.Prune([]string{e.Task}))
		}
		if err := life(); err != nil {
			b.Fatal(err)
		}
		operations = d.Counters.Operations - before
	}
	b.ReportMetric(float64(operations), "operations/op")
}
