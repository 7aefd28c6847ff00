package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

// Change is what a Watch has seen in a task's folder.
type Change struct {
	Task string
	What What
}

// What kind of change it is.
type What int

// The changes that somebody waits for.
const (
	ChangedStage  What = iota // a stage, the progress or the wish to cancel
	ChangedOutput             // more output
	Overflow                  // changes were lost: look at every task
)

// Watch tells of changes in the folders of tasks, by inotify(7). It is a hint:
// who must not miss a change also looks by itself now and then.
type Watch struct {
	file *os.File

	mu    sync.Mutex
	tasks map[int32]string
}

// NewWatch makes a watch on nothing yet.
func NewWatch() (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch the spool: %w", err)
	}
	return &Watch{file: os.NewFile(uintptr(fd), "inotify"), tasks: map[int32]string{}}, nil
}

// Add watches the folder of a task, until it is removed.
func (w *Watch) Add(s *Spool, id string) error {
	if err := restart.CheckID(id); err != nil {
		return err
	}
	d, err := s.root.sub(id)
	if err != nil {
		return err
	}
	defer d.Close()
	return w.add(d, id, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MODIFY)
}

// AddTask watches for stages and wishes only, as a supervisor does.
func (w *Watch) AddTask(t *Task) error { return w.add(t.d, t.id, unix.IN_CREATE|unix.IN_MOVED_TO) }

func (w *Watch) add(f dir, id string, mask uint32) error {
	d, err := hostFolder(f.Folder)
	if err != nil {
		return err
	}
	// By the open handle, so that no link can lead elsewhere.
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var wd int
	var addErr error
	err = raw.Control(func(fd uintptr) {
		wd, addErr = unix.InotifyAddWatch(int(fd), fmt.Sprintf("/proc/self/fd/%d", d.fd), mask|unix.IN_ONLYDIR)
	})
	if err := errors.Join(err, addErr); err != nil {
		return d.fail("watch", ".", err)
	}
	w.tasks[int32(wd)] = id
	return nil
}

// Close ends Next.
func (w *Watch) Close() error { return w.file.Close() }

// Next waits for changes and gives them, without repeats. os.ErrClosed after Close.
func (w *Watch) Next() ([]Change, error) {
	buf := make([]byte, 16<<10)
	n, err := w.file.Read(buf)
	if err != nil {
		return nil, err
	}
	var out []Change
	seen := map[Change]bool{}
	add := func(c Change) {
		if !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		length := int(binary.NativeEndian.Uint32(b[12:]))
		name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+length], "\x00"))
		b = b[unix.SizeofInotifyEvent+length:]
		id := w.tasks[wd]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			add(Change{What: Overflow})
		case mask&unix.IN_IGNORED != 0: // the folder is gone
			delete(w.tasks, wd)
		case strings.HasPrefix(name, "."): // a temporary file
		case strings.HasPrefix(name, segmentPrefix):
			add(Change{id, ChangedOutput})
		default:
			add(Change{id, ChangedStage})
		}
	}
	return out, nil
}
