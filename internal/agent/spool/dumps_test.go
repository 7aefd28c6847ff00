package spool_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/agent/spool/memdisk"
	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

func readDump(s *spool.Spool, id string, n int) ([]byte, error) {
	r, size, err := s.Dump(id, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err == nil && int64(len(b)) != size {
		err = errors.New("its size is not what was told")
	}
	return b, err
}

func testDumpsAreKeptWhole(t *testing.T, b *bed) {
	s := b.spool(t)
	e := envelopeFor("nginx")
	b.receive(t, s, e)
	task := b.task(t, e.Task)
	if _, err := readDump(s, e.Task, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before there is one: %v", err)
	}
	before := b.syncs()
	want := bytes.Repeat([]byte("dump"), 100_000)
	if err := task.Dump(1, want); err != nil {
		t.Fatal(err)
	}
	if n := b.syncs() - before; n != 2 {
		t.Errorf("a dump costs %d fsyncs", n)
	}
	if got, err := readDump(s, e.Task, 1); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for _, n := range []int{-1, 0, protocol.MaxDumps + 1} {
		if err := task.Dump(n, want); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("dump %d: %v", n, err)
		}
		if _, _, err := s.Dump(e.Task, n); restart.CodeOf(err) != restart.CodeInvalid {
			t.Errorf("read dump %d: %v", n, err)
		}
	}
	if _, _, err := s.Dump("../x", 1); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("an id that is none: %v", err)
	}
	// A failed fsync leaves no dump that could be half of one.
	b.failSyncs(unix.EIO)
	err := task.Dump(2, want)
	b.failSyncs(nil)
	if !errors.Is(err, unix.EIO) {
		t.Errorf("a sick disk: %v", err)
	}
	if got, err := readDump(s, e.Task, 2); !errors.Is(err, fs.ErrNotExist) && !bytes.Equal(got, want) {
		t.Errorf("after a sick disk: %d bytes, %v", len(got), err)
	}
	if err := s.Bury(spool.Tombstone{Tombstone: protocol.Tombstone{Task: e.Task}, Run: e.Run, Service: e.Service}); err != nil {
		t.Fatal(err)
	}
	if _, err := readDump(s, e.Task, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was buried: %v", err)
	}
}

// TestADumpLeavesRoom: where the disk does not take a dump, nothing of it stays,
// the task can still end, and what is buried makes room.
func TestADumpLeavesRoom(t *testing.T) {
	disk := memdisk.New(rand.New(rand.NewPCG(1, 2)))
	b := &bed{open: func() (spool.Folder, error) { return disk.Root("agent"), nil }}
	s := b.spool(t)
	e := envelopeFor("nginx")
	b.receive(t, s, e)
	task := b.task(t, e.Task)
	if err := task.Dump(1, []byte("the first")); err != nil {
		t.Fatal(err)
	}
	disk.Fault = func(op memdisk.Operation, _ string) error {
		if op == memdisk.OpWrite || op == memdisk.OpReserve {
			return unix.ENOSPC
		}
		return nil
	}
	if err := task.Dump(2, make([]byte, 1<<16)); restart.CodeOf(err) != restart.CodeDiskFull {
		t.Errorf("on a full disk: %v", err)
	}
	if _, err := readDump(s, e.Task, 2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a part of it is there: %v", err)
	}
	if err := task.Start(spool.Started{}); err != nil {
		t.Error(err)
	}
	if err := task.Done(doneStatus(e, protocol.OutcomeSucceeded)); err != nil {
		t.Error(err)
	}
	disk.Fault = nil
	if got, err := readDump(s, e.Task, 1); err != nil || string(got) != "the first" {
		t.Errorf("the one before: %q, %v", got, err)
	}
	// The dumps of one task have a bound of their own.
	var err error
	for n := 2; n <= protocol.MaxDumps && err == nil; n++ {
		err = task.Dump(n, make([]byte, 40<<20))
		if err == nil && n > 7 {
			t.Fatalf("%d dumps of 40 MiB were kept", n)
		}
	}
	if restart.CodeOf(err) != restart.CodeDiskFull {
		t.Errorf("over the bound: %v", err)
	}
}
