package spool

import (
	"errors"
	"io"
	"os"
)

// Lock takes the lock that says that the task's supervisor lives, to be handed
// down to the supervisor; it lasts until the last process that has it is gone.
// unix.EWOULDBLOCK where a supervisor lives.
func (s *Spool) Lock(id string) (*os.File, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	lock, err := d.Lock(fileAlive)
	if err != nil {
		return nil, err
	}
	f, ok := lock.(*os.File)
	if !ok {
		lock.Close()
		return nil, d.fail("hand down", fileAlive, errors.New("it is not on a file system of this host"))
	}
	return f, nil
}

// Lock is Spool.Lock for one who is the supervisor itself.
func (t *Task) Lock() (io.Closer, error) { return t.d.Lock(fileAlive) }

// Alive asks the kernel whether the task's supervisor lives.
func (s *Spool) Alive(id string) (bool, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return false, err
	}
	defer d.Close()
	return d.Locked(fileAlive)
}
