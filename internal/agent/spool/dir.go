package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

// Sync makes a file or directory durable. The spool's own is fsync(2); a
// simulation may count instead.
type Sync func(fd int) error

// dir is a handle on a directory. Every name given to its methods is one path
// element; symlinks are never followed.
type dir struct {
	fd   int
	name string // for messages
	sync Sync
}

// openDir opens the spool itself, which must be a directory of our own that
// nobody else can enter. It is made, with mode 0700, where it is absent.
func openDir(path string, sync Sync) (*dir, error) {
	if err := unix.Mkdir(path, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make spool %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the spool %s can't be opened: %v", path, err).
			WithHint("it must be a directory, not a symlink").Because(err)
	}
	d := &dir{fd: fd, name: path, sync: sync}
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

func (d *dir) Close() error { return unix.Close(d.fd) }

// element refuses what is not one plain path element.
func element(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return restart.Errorf(restart.CodeInvalid, "%s is not a name in the spool", restart.Quote(name))
	}
	return nil
}

func (d *dir) fail(op, name string, err error) error {
	return fmt.Errorf("%s %s/%s: %w", op, d.name, name, err)
}

// sub opens a directory below.
func (d *dir) sub(name string) (*dir, error) {
	if err := element(name); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return &dir{fd: fd, name: d.name + "/" + name, sync: d.sync}, nil
}

// makeSub makes a directory below and opens it. fs.ErrExist where the name is taken.
func (d *dir) makeSub(name string) (*dir, error) {
	if err := element(name); err != nil {
		return nil, err
	}
	if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
		return nil, d.fail("make", name, err)
	}
	return d.sub(name)
}

// open opens a regular file.
func (d *dir) open(name string, flags int) (*os.File, error) {
	if err := element(name); err != nil {
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
			err = errors.New("not a regular file")
		}
		return nil, d.fail("open", name, err)
	}
	return os.NewFile(uintptr(fd), d.name+"/"+name), nil
}

// read gives the content of a regular file of at most most bytes.
func (d *dir) read(name string, most int64) ([]byte, error) {
	f, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, d.fail("read", name, fmt.Errorf("longer than %d bytes", most))
	}
	return b, nil
}

// has tells whether the name is there, whatever it is.
func (d *dir) has(name string) (bool, error) {
	ino, err := d.inode(name)
	return ino != 0, err
}

// inode gives the inode number behind a name, not following links; 0 = absent.
func (d *dir) inode(name string) (uint64, error) {
	if err := element(name); err != nil {
		return 0, err
	}
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, d.fail("stat", name, err)
	}
	return st.Ino, nil
}

// link gives a file a second name; fs.ErrExist where that is taken.
func (d *dir) link(from string, to *dir, name string) error {
	if err := element(name); err != nil {
		return err
	}
	if err := unix.Linkat(d.fd, from, to.fd, name, 0); err != nil {
		return to.fail("link", name, err)
	}
	return nil
}

func (d *dir) rename(from, to string) error {
	if err := unix.Renameat(d.fd, from, d.fd, to); err != nil {
		return d.fail("rename", to, err)
	}
	return nil
}

// remove removes a file; one that is absent is fine.
func (d *dir) remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.fail("remove", name, err)
	}
	return nil
}

// removeSub removes a folder below and the files in it; one that is absent is fine.
func (d *dir) removeSub(name string) error {
	s, err := d.sub(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	names, err := s.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := s.remove(n); err != nil {
			return err
		}
	}
	if err := unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR); err != nil {
		return d.fail("remove", name, err)
	}
	return nil
}

// names lists what is in the directory, in no order.
func (d *dir) names() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.fail("open", ".", err)
	}
	f := os.NewFile(uintptr(fd), d.name)
	defer f.Close()
	return f.Readdirnames(-1)
}

// flush makes the directory's entries durable.
func (d *dir) flush() error {
	if err := d.sync(d.fd); err != nil {
		return d.fail("sync", ".", err)
	}
	return nil
}

// temp names a file that nobody else writes and recovery removes.
func temp(name string) string { return "." + name + "." + rand.Text() }

// fill writes data as the whole content of an open file, over blocks that may
// have been reserved for it, and makes it durable.
func (d *dir) fill(f *os.File, data []byte) error {
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(data))); err != nil {
		return err
	}
	if err := d.sync(int(f.Fd())); err != nil {
		return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

// writeTemp writes data durably under a temporary name, which it returns. An
// earlier reservation under the name "."+name is used where there is one.
func (d *dir) writeTemp(name string, data []byte) (string, error) {
	t := temp(name)
	// Of two processes only one gets the reservation; the other makes its own file.
	err := unix.Renameat(d.fd, "."+name, d.fd, t)
	flags := unix.O_WRONLY
	if err != nil {
		flags |= unix.O_CREAT | unix.O_EXCL
	}
	f, err := d.open(t, flags)
	if err != nil {
		return "", err
	}
	err = d.fill(f, data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		d.remove(t) //nolint:errcheck // the first error counts; recovery sweeps
		return "", err
	}
	return t, nil
}

// claim makes a durable file once and for ever: fs.ErrExist where the name is taken.
func (d *dir) claim(name string, data []byte) error {
	t, err := d.writeTemp(name, data)
	if err != nil {
		return err
	}
	defer d.remove(t) //nolint:errcheck // a leftover temporary name is swept by recovery
	if err := d.link(t, d, name); err != nil {
		return err
	}
	return d.flush()
}

// put makes or replaces a durable file.
func (d *dir) put(name string, data []byte) error {
	t, err := d.writeTemp(name, data)
	if err != nil {
		return err
	}
	if err := d.rename(t, name); err != nil {
		d.remove(t) //nolint:errcheck // the first error counts; recovery sweeps
		return err
	}
	return d.flush()
}

// replace makes or replaces a file at once, but not durably: it survives every
// process, not the host.
func (d *dir) replace(name string, data []byte) error {
	t := temp(name)
	f, err := d.open(t, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = d.rename(t, name)
	}
	if err != nil {
		d.remove(t) //nolint:errcheck // the first error counts; recovery sweeps
	}
	return err
}

// reserve keeps size bytes of the disk for a durable file to come.
func (d *dir) reserve(name string, size int64) error {
	f, err := d.open("."+name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		_, err = f.Write(make([]byte, size))
	}
	if err != nil {
		return d.fail("reserve", name, err)
	}
	return nil
}
