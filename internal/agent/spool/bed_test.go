package spool_test

import (
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/spool/memdisk"
	"github.com/restartilka/restartilka/internal/protocol"
)

// bed is a disk that a spool is tested on.
type bed struct {
	open func() (spool.Folder, error) // the spool's folder
	dir  string                       // "" = not on this host
	// syncs counts those that were asked for; failSyncs makes the next ones fail.
	syncs     func() int64
	failSyncs func(err error)
	// together does something n times: at once, where the disk can bear it.
	together func(n int, do func(i int))
}

// suite are the tests that hold on every disk.
var suite = []struct {
	name string
	test func(t *testing.T, b *bed)
}{
	{"a task costs nine fsyncs", testATaskCostsNineFsyncs},
	{"a failed fsync leaves no task", testAFailedFsyncLeavesNoTask},
	{"the right to run is taken once", testTheRightToRunIsTakenOnce},
	{"a service is held by one task", testAServiceIsHeldByOneTask},
	{"the supervisors word counts", testTheSupervisorsWordCounts},
	{"a broken done becomes unknown", testABrokenDoneBecomesUnknown},
	{"load finishes what a crash cut short", testLoadFinishesWhatACrashCutShort},
	{"a hidden task keeps its service", testAHiddenTaskKeepsItsService},
	{"epochs rise", testEpochsRise},
	{"names that are not ids", testNamesThatAreNotIds},
	{"head and tail are kept", testHeadAndTailAreKept},
	{"dumps are kept whole", testDumpsAreKeptWhole},
	{"output is read as it was written from any offset", testOutputIsReadAsItWasWrittenFromAnyOffset},
}

// TestSpool tests it on the host's disk and on the one in memory: they are to
// be told apart by power cuts only.
func TestSpool(t *testing.T) {
	for disk, make := range map[string]func(t *testing.T) *bed{"host": onHost, "memory": inMemory} {
		for _, s := range suite {
			t.Run(disk+"/"+s.name, func(t *testing.T) { s.test(t, make(t)) })
		}
	}
}

// onHost counts fsyncs instead of making them.
func onHost(t *testing.T) *bed {
	var n atomic.Int64
	var fail error
	b := &bed{dir: filepath.Join(t.TempDir(), "spool")}
	b.open = func() (spool.Folder, error) {
		return spool.OpenFolder(b.dir, func(int) error {
			n.Add(1)
			return fail
		})
	}
	b.syncs = n.Load
	b.failSyncs = func(err error) { fail = err }
	b.together = func(n int, do func(i int)) {
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() { do(i) })
		}
		all.Wait()
	}
	return b
}

func inMemory(*testing.T) *bed {
	disk := memdisk.New(rand.New(rand.NewPCG(1, 2)))
	return &bed{
		open:  func() (spool.Folder, error) { return disk.Root("agent"), nil },
		syncs: func() int64 { return int64(disk.Counters.Syncs) },
		failSyncs: func(err error) {
			disk.Fault = func(op memdisk.Operation, _ string) error {
				if op == memdisk.OpSync || op == memdisk.OpSyncDir {
					return err
				}
				return nil
			}
		},
		together: func(n int, do func(i int)) {
			for i := range n {
				do(i)
			}
		},
	}
}

// folder opens the spool's folder.
func (b *bed) folder(t testing.TB) spool.Folder {
	t.Helper()
	f, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// spool opens the spool as its agent does.
func (b *bed) spool(t testing.TB) *spool.Spool {
	t.Helper()
	f, err := b.open()
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.OpenOn(f, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// task opens a task's folder as its supervisor does.
func (b *bed) task(t testing.TB, id string) *spool.Task {
	t.Helper()
	task, err := spool.OpenTaskOn(b.folder(t), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { task.Close() })
	return task
}

func (b *bed) receive(t *testing.T, s *spool.Spool, e protocol.Envelope) {
	t.Helper()
	if err := s.Receive(e, receivedFor(t, e)); err != nil {
		t.Fatal(err)
	}
}

// write makes or replaces a file of the spool, whatever the spool thinks of it.
func write(t *testing.T, f spool.Folder, name string, data []byte) {
	t.Helper()
	o, err := f.Open(name, spool.ToReplace)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
}

// sub opens a folder below.
func sub(t *testing.T, f spool.Folder, name string) spool.Folder {
	t.Helper()
	below, err := f.Sub(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { below.Close() })
	return below
}
