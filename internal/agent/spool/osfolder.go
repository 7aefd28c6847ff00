package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

// Sync makes a file or directory durable. The spool's own is fsync(2); a
// measurement may count instead.
type Sync func(fd int) error

// osFolder is a directory of the host.
type osFolder struct {
	fd   int
	path string
	sync Sync
}

// OpenFolder opens the folder of a spool on the host, which must be a directory
// of our own that nobody else can enter: CodeInvalid. It is made, with mode
// 0700, where it is absent. No sync = fsync(2).
func OpenFolder(path string, sync Sync) (Folder, error) {
	if sync == nil {
		sync = unix.Fsync
	}
	if err := unix.Mkdir(path, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make spool %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the spool %s can't be opened: %v", path, err).
			WithHint("it must be a directory, not a symlink").Because(err)
	}
	d := &osFolder{fd: fd, path: path, sync: sync}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		d.Close()
		return nil, fmt.Errorf("stat spool %s: %w", path, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		d.Close()
		return nil, restart.Errorf(restart.CodeInvalid, "the spool %s belongs to user %d with mode %04o", path, st.Uid, st.Mode&0o7777).
			WithHint("it must belong to the agent's own user (%d) with mode 0700", os.Geteuid())
	}
	return d, nil
}

func (d *osFolder) Path() string   { return d.path }
func (d *osFolder) Unique() string { return rand.Text() }
func (d *osFolder) Close() error   { return unix.Close(d.fd) }

func (d *osFolder) fail(op, name string, err error) error { return failure(d, op, name, err) }

func (d *osFolder) Sub(name string) (Folder, error) {
	if err := CheckElement(name); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return &osFolder{fd: fd, path: d.path + "/" + name, sync: d.sync}, nil
}

func (d *osFolder) Make(name string) error {
	if err := CheckElement(name); err != nil {
		return err
	}
	if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
		return d.fail("make", name, err)
	}
	return nil
}

var errIrregular = errors.New("not a regular file")

// open opens a regular file.
func (d *osFolder) open(name string, flags int) (*os.File, error) {
	if err := CheckElement(name); err != nil {
		return nil, err
	}
	// O_NONBLOCK: a FIFO laid in the way must not hold us up; it changes nothing on a regular file.
	fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd) // nothing was written
		if err == nil {
			err = errIrregular
		}
		return nil, d.fail("open", name, err)
	}
	return os.NewFile(uintptr(fd), d.path+"/"+name), nil
}

func (d *osFolder) Open(name string, how Access) (File, error) {
	flags := map[Access]int{
		ToRead:    unix.O_RDONLY,
		ToEdit:    unix.O_WRONLY,
		ToCreate:  unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL,
		ToReplace: unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC,
	}
	f, err := d.open(name, flags[how])
	if err != nil {
		return nil, err
	}
	return osFile{File: f, sync: d.sync}, nil
}

func (d *osFolder) Stat(name string) (Stat, error) {
	if err := CheckElement(name); err != nil {
		return Stat{}, err
	}
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return Stat{}, nil
	}
	if err != nil {
		return Stat{}, d.fail("stat", name, err)
	}
	return Stat{Inode: st.Ino, Size: st.Size, Blocks: st.Blocks, Regular: st.Mode&unix.S_IFMT == unix.S_IFREG}, nil
}

func (d *osFolder) Names() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.fail("open", ".", err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	return f.Readdirnames(-1)
}

func (d *osFolder) Link(from string, to Folder, name string) error {
	if err := CheckElement(name); err != nil {
		return err
	}
	other, err := hostFolder(to)
	if err != nil {
		return err
	}
	if err := unix.Linkat(d.fd, from, other.fd, name, 0); err != nil {
		return other.fail("link", name, err)
	}
	return nil
}

func (d *osFolder) Rename(from, to string) error {
	if err := unix.Renameat(d.fd, from, d.fd, to); err != nil {
		return d.fail("rename", to, err)
	}
	return nil
}

func (d *osFolder) Remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil {
		return d.fail("remove", name, err)
	}
	return nil
}

func (d *osFolder) RemoveFolder(name string) error {
	if err := unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR); err != nil {
		return d.fail("remove", name, err)
	}
	return nil
}

func (d *osFolder) Sync() error {
	if err := d.sync(d.fd); err != nil {
		return d.fail("sync", ".", err)
	}
	return nil
}

// Locks are open file description locks (fcntl(2), F_OFD_SETLK): they belong
// to the open file, are inherited by a child that gets the descriptor, go with
// the last process that has it, and can be asked for without being taken.

// wholeFile is a write lock on all of a file.
func wholeFile() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK, Whence: 0} }

// Lock gives an *os.File.
func (d *osFolder) Lock(name string) (io.Closer, error) {
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

func (d *osFolder) Locked(name string) (bool, error) {
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

// osFile is a file of the host.
type osFile struct {
	*os.File
	sync Sync
}

func (f osFile) Sync() error {
	if err := f.sync(int(f.Fd())); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

func (f osFile) Reserve(size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		_, err = f.Write(make([]byte, size))
	}
	if err != nil {
		return &fs.PathError{Op: "reserve", Path: f.Name(), Err: err}
	}
	return nil
}

// hostFolder gives the folder as one of the host, for what needs descriptors:
// messages to a log, watches, memory that is handed to a process.
func hostFolder(f Folder) (*osFolder, error) {
	d, ok := f.(*osFolder)
	if !ok {
		return nil, failure(f, "use", ".", errors.New("it is not on a file system of this host"))
	}
	return d, nil
}
