package memdisk

import (
	"io"

	"golang.org/x/sys/unix"
)

// file is a process's handle on a file.
type file struct {
	disk      *Disk
	node      *node
	owner     *process
	dir, name string
	writable  bool
}

func (o *file) step(op Operation) error {
	if err := o.disk.step(o.owner, op, o.dir, o.name); err != nil {
		return fail(op, o.dir, o.name, err)
	}
	return nil
}

// put gives the file another content, not durably.
func (o *file) put(c content) {
	o.node.now, o.node.dirty = c, true
}

func (o *file) ReadAt(p []byte, at int64) (int, error) {
	if err := o.step(OpRead); err != nil {
		return 0, err
	}
	size := o.node.now.size
	if at >= size {
		return 0, io.EOF
	}
	n := o.node.now.read(p, at)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *file) WriteAt(p []byte, at int64) (int, error) {
	op := OpOverwrite
	if at+int64(len(p)) > o.node.now.blocks {
		op = OpWrite
	}
	if !o.writable {
		return 0, fail(op, o.dir, o.name, unix.EBADF)
	}
	err := o.step(op)
	if err != nil {
		if o.owner.dead {
			return 0, err
		}
		p = p[:o.disk.random(len(p)+1)]
	}
	if len(p) > 0 {
		o.put(o.node.now.write(p, at))
	}
	return len(p), err
}

func (o *file) Truncate(size int64) error {
	if err := o.step(OpTruncate); err != nil {
		return err
	}
	if size != o.node.now.size {
		o.put(o.node.now.truncate(size))
	}
	return nil
}

func (o *file) Reserve(size int64) error {
	if err := o.step(OpReserve); err != nil {
		return err
	}
	c := o.node.now
	c.size, c.blocks = max(c.size, size), max(c.blocks, size)
	o.put(c)
	return nil
}

func (o *file) Sync() error {
	if err := o.step(OpSync); err != nil {
		o.node.doomed = o.node.doomed || !o.owner.dead
		return err
	}
	if !o.node.doomed {
		o.node.synced, o.node.dirty = o.node.now, false
	}
	return nil
}

func (o *file) Close() error {
	if o.owner.dead {
		return ErrDead
	}
	return nil
}
