package spool

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// roomForTask is the least free space, in bytes, with which a spool is called
// writable: what a task reserves when it is received, and something for its output.
const roomForTask = 1 << 20

// Space tells of the file system of the spool, in bytes: what the agent's user
// may still write, and how much there is in all.
func (s *Spool) Space() (free, size int64, err error) {
	d, err := hostFolder(s.root.Folder)
	if err != nil {
		return 0, 0, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return 0, 0, s.root.fail("look at the file system of", ".", err)
	}
	block := int64(st.Bsize) //nolint:unconvert // it has another size on other machines
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil
}

// Writable returns nil when a task could be received now, as far as that can
// be told without writing: the folder may be written to, its file system is not
// mounted read-only, and there is room.
func (s *Spool) Writable() error {
	d, err := hostFolder(s.root.Folder)
	if err != nil {
		return err
	}
	if err := unix.Faccessat(d.fd, ".", unix.W_OK|unix.X_OK, 0); err != nil {
		return s.root.fail("write to", ".", err)
	}
	free, _, err := s.Space()
	if err != nil {
		return err
	}
	if free < roomForTask {
		return s.root.fail("write to", ".", fmt.Errorf("%d bytes are free: %w", free, unix.ENOSPC))
	}
	return nil
}
