package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// A task's thread dumps are files named by their number in the task, from 1.
const (
	dumpPrefix = "dump-"
	dumpSuffix = ".zst"
)

func dumpName(n int) string { return fmt.Sprintf("%s%d%s", dumpPrefix, n, dumpSuffix) }

// isDump tells whether a file's name is that of a dump.
func isDump(name string) bool {
	return strings.HasPrefix(name, dumpPrefix) && strings.HasSuffix(name, dumpSuffix)
}

// maxTaskDumps bounds what the dumps of one task take of the disk, in bytes.
const maxTaskDumps = 256 << 20

// Dump keeps a dump of the task, packed, under its number, durably. CodeDiskFull
// where there is no room for it: a task does without, and leaves the spool as
// much as the next one needs. What is kept under a number is never changed.
func (t *Task) Dump(n int, packed []byte) error {
	if err := checkDump(n); err != nil {
		return err
	}
	kept, err := t.dumped()
	if err != nil {
		return err
	}
	if kept+int64(len(packed)) > maxTaskDumps {
		return restart.Errorf(restart.CodeDiskFull, "it is not kept: the dumps of one task take at most %d MiB", maxTaskDumps>>20)
	}
	// With so much more on the disk for a moment, a disk that takes it has room
	// left for what must be written after it.
	const spare = "spare"
	if err := t.d.remove("." + spare); err != nil {
		return err
	}
	if err := t.d.reserve(spare, roomForTask); err != nil {
		t.d.remove("." + spare) //nolint:errcheck // the first error counts; recovery sweeps
		return noRoom(err)
	}
	err = t.d.put(dumpName(n), packed)
	if gone := t.d.remove("." + spare); err == nil {
		err = gone
	}
	return noRoom(err)
}

// noRoom says in words that the disk is full.
func noRoom(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return restart.Errorf(restart.CodeDiskFull, "it is not kept: there is no room in the spool of this host").
			WithHint("make room on the file system of the agent's spool").Because(err)
	}
	return err
}

// dumped tells how many bytes the task's dumps take.
func (t *Task) dumped() (int64, error) {
	names, err := t.d.Names()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, name := range names {
		if !isDump(name) {
			continue
		}
		st, err := t.d.Stat(name)
		if err != nil {
			return 0, err
		}
		sum += st.Size
	}
	return sum, nil
}

// Dump opens a dump of a task, packed, and tells its size in bytes.
// fs.ErrNotExist where it has none of that number.
func (s *Spool) Dump(id string, n int) (io.ReadCloser, int64, error) {
	for _, err := range []error{restart.CheckID(id), checkDump(n)} {
		if err != nil {
			return nil, 0, err
		}
	}
	d, err := s.root.sub(id)
	if err != nil {
		return nil, 0, err
	}
	defer d.Close()
	st, err := d.Stat(dumpName(n))
	if err != nil {
		return nil, 0, err
	}
	if st.Inode == 0 {
		return nil, 0, d.fail("open", dumpName(n), fs.ErrNotExist)
	}
	f, err := d.Open(dumpName(n), ToRead)
	if err != nil {
		return nil, 0, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, 0, st.Size), f}, st.Size, nil
}

func checkDump(n int) error {
	if n < 1 || n > protocol.MaxDumps {
		return restart.Errorf(restart.CodeInvalid, "a task has no dump %d: they are numbered from 1 to %d at most", n, protocol.MaxDumps)
	}
	return nil
}
