package memdisk

import (
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/agent/spool"
)

// folder is a process's handle on a directory.
type folder struct {
	disk  *Disk
	node  *node
	owner *process
	path  string
}

func fail(op Operation, path, name string, err error) error {
	if name != "" {
		path += "/" + name
	}
	return fmt.Errorf("%s %s: %w", op, path, err)
}

// step asks whether an operation on a name here may happen; name "" = the directory itself.
func (f *folder) step(op Operation, name string) error {
	if err := f.disk.step(f.owner, op, f.path, name); err != nil {
		return fail(op, f.path, name, err)
	}
	return nil
}

// enter is step for an operation that gives a name here.
func (f *folder) enter(op Operation, name string) error {
	if err := spool.CheckElement(name); err != nil {
		return err
	}
	if err := f.step(op, name); err != nil {
		return err
	}
	if f.node.removed {
		return fail(op, f.path, name, fs.ErrNotExist)
	}
	return nil
}

// find gives what has the name, of the kind that is wanted.
func (f *folder) find(op Operation, name string, dir bool) (*node, error) {
	if err := spool.CheckElement(name); err != nil {
		return nil, err
	}
	if err := f.step(op, name); err != nil {
		return nil, err
	}
	n := f.node.entries[name]
	switch {
	case n == nil:
		return nil, fail(op, f.path, name, fs.ErrNotExist)
	case n.dir && !dir:
		return nil, fail(op, f.path, name, unix.EISDIR)
	case !n.dir && dir:
		return nil, fail(op, f.path, name, unix.ENOTDIR)
	default:
		return n, nil
	}
}

func (f *folder) Path() string { return f.path }
func (f *folder) Close() error { return nil }

// Unique has the same length always, as the host's has.
func (f *folder) Unique() string {
	f.disk.unique++
	return fmt.Sprintf("%026d", f.disk.unique)
}

func (f *folder) Sub(name string) (spool.Folder, error) {
	n, err := f.find(OpOpen, name, true)
	if err != nil {
		return nil, err
	}
	return &folder{disk: f.disk, node: n, owner: f.owner, path: f.path + "/" + name}, nil
}

func (f *folder) Make(name string) error {
	if err := f.enter(OpMake, name); err != nil {
		return err
	}
	if f.node.entries[name] != nil {
		return fail(OpMake, f.path, name, fs.ErrExist)
	}
	f.node.change(change{name: name, node: f.disk.newNode(true)})
	return nil
}

// create makes a file, which is absent.
func (f *folder) create(name string) (*node, error) {
	if err := f.enter(OpCreate, name); err != nil {
		return nil, err
	}
	if f.node.entries[name] != nil {
		return nil, fail(OpCreate, f.path, name, fs.ErrExist)
	}
	n := f.disk.newNode(false)
	f.node.change(change{name: name, node: n})
	return n, nil
}

func (f *folder) Open(name string, how spool.Access) (spool.File, error) {
	var n *node
	var err error
	if how == spool.ToCreate || how == spool.ToReplace && f.node.entries[name] == nil {
		n, err = f.create(name)
	} else {
		n, err = f.find(OpOpen, name, false)
	}
	if err != nil {
		return nil, err
	}
	o := &file{disk: f.disk, node: n, owner: f.owner, dir: f.path, name: name, writable: how != spool.ToRead}
	if how == spool.ToReplace && n.now.size > 0 {
		return o, o.Truncate(0)
	}
	return o, nil
}

func (f *folder) Stat(name string) (spool.Stat, error) {
	if err := spool.CheckElement(name); err != nil {
		return spool.Stat{}, err
	}
	if err := f.step(OpStat, name); err != nil {
		return spool.Stat{}, err
	}
	n := f.node.entries[name]
	if n == nil {
		return spool.Stat{}, nil
	}
	const block, page = 512, 4096
	pages := (n.now.blocks + page - 1) / page
	return spool.Stat{Inode: n.inode, Size: n.now.size, Blocks: pages * (page / block), Regular: !n.dir}, nil
}

func (f *folder) Names() ([]string, error) {
	if err := f.step(OpNames, ""); err != nil {
		return nil, err
	}
	return f.node.names(), nil
}

func (f *folder) Link(from string, to spool.Folder, name string) error {
	other, ok := to.(*folder)
	if !ok || other.disk != f.disk {
		return fail(OpLink, to.Path(), name, unix.EXDEV)
	}
	if err := other.enter(OpLink, name); err != nil {
		return err
	}
	n := f.node.entries[from]
	switch {
	case n == nil:
		return fail(OpLink, f.path, from, fs.ErrNotExist)
	case n.dir:
		return fail(OpLink, f.path, from, unix.EPERM)
	case other.node.entries[name] != nil:
		return fail(OpLink, other.path, name, fs.ErrExist)
	}
	other.node.change(change{name: name, node: n})
	return nil
}

func (f *folder) Rename(from, to string) error {
	if err := f.enter(OpRename, to); err != nil {
		return err
	}
	n := f.node.entries[from]
	if n == nil {
		return fail(OpRename, f.path, from, fs.ErrNotExist)
	}
	switch old := f.node.entries[to]; {
	case old == n: // two names of one file: rename(2) does nothing
		return nil
	case old != nil && old.dir:
		return fail(OpRename, f.path, to, unix.EISDIR)
	}
	f.node.change(change{name: to, node: n, taken: from})
	return nil
}

func (f *folder) Remove(name string) error {
	if _, err := f.find(OpRemove, name, false); err != nil {
		return err
	}
	f.node.change(change{name: name})
	return nil
}

func (f *folder) RemoveFolder(name string) error {
	n, err := f.find(OpRemove, name, true)
	if err != nil {
		return err
	}
	if len(n.entries) > 0 {
		return fail(OpRemove, f.path, name, unix.ENOTEMPTY)
	}
	n.removed = true
	f.node.change(change{name: name})
	return nil
}

func (f *folder) Sync() error {
	if err := f.step(OpSyncDir, ""); err != nil {
		return err
	}
	f.node.sync()
	return nil
}

// lock is a lock on a file, held by a process.
type lock struct {
	node  *node
	owner *process
}

func (n *node) locked() bool { return n.lock != nil && !n.lock.owner.dead }

func (f *folder) Lock(name string) (io.Closer, error) {
	n := f.node.entries[name]
	var err error
	if n == nil {
		n, err = f.create(name)
	} else {
		n, err = f.find(OpLock, name, false)
	}
	if err != nil {
		return nil, err
	}
	if n.locked() {
		return nil, fail(OpLock, f.path, name, unix.EWOULDBLOCK)
	}
	n.lock = &lock{node: n, owner: f.owner}
	return n.lock, nil
}

func (f *folder) Locked(name string) (bool, error) {
	if err := spool.CheckElement(name); err != nil {
		return false, err
	}
	if err := f.step(OpLocked, name); err != nil {
		return false, err
	}
	n := f.node.entries[name]
	return n != nil && n.locked(), nil
}

// Close gives the lock up.
func (l *lock) Close() error {
	if l.node.lock == l {
		l.node.lock = nil
	}
	return nil
}
