package spool

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Locks are open file description locks (fcntl(2), F_OFD_SETLK): they belong
// to the open file, are inherited by a child that gets the descriptor, go with
// the last process that has it, and can be asked for without being taken.

// wholeFile is a write lock on all of a file.
func wholeFile() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK, Whence: 0} }

// lockAt takes the lock file of that name; EWOULDBLOCK where another has it.
func lockAt(d *dir, name string) (*os.File, error) {
	f, err := d.open(name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile()); err != nil {
		f.Close()
		if errors.Is(err, unix.EACCES) {
			err = unix.EWOULDBLOCK // POSIX allows either
		}
		return nil, d.fail("lock", name, err)
	}
	return f, nil
}

// isLocked asks whether somebody has the lock file of that name.
func isLocked(d *dir, name string) (bool, error) {
	f, err := d.open(name, unix.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	l := wholeFile()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, l); err != nil {
		return false, d.fail("ask the lock of", name, err)
	}
	return l.Type != unix.F_UNLCK, nil
}

// Lock takes the lock that says that the task's supervisor lives. It is handed
// down to the supervisor, and lasts until the last process that has it is gone.
// unix.EWOULDBLOCK where a supervisor lives.
func (s *Spool) Lock(id string) (*os.File, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return lockAt(d, fileAlive)
}

// Alive asks the kernel whether the task's supervisor lives.
func (s *Spool) Alive(id string) (bool, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return false, err
	}
	defer d.Close()
	return isLocked(d, fileAlive)
}
