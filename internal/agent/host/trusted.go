package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// ReadTrusted gives the bytes of one file that decides what this host obeys, at
// most most of them: agent.yaml, a server's public key. What nobody but root
// and the agent's user can have written counts, and nothing else: see the
// package. fs.ErrNotExist where there is none.
func ReadTrusted(path string, most int64) ([]byte, error) {
	d, err := openFolder(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.read(filepath.Base(path), most)
}

// folder is a trusted directory, open.
type folder struct {
	f    *os.File
	path string
}

// openFolder opens a folder that nobody but root and the agent's user may write to.
func openFolder(path string) (*folder, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	d := &folder{f: os.NewFile(uintptr(fd), path), path: path}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		d.Close()
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if err := trusted(path, st); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// sub opens a folder below, of which the same must be true.
func (d *folder) sub(name string) (*folder, error) {
	path := d.path + "/" + name
	fd, err := unix.Openat(int(d.f.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	s := &folder{f: os.NewFile(uintptr(fd), path), path: path}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		s.Close()
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if err := trusted(path, st); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (d *folder) Close() error { return d.f.Close() }

// names lists the folder's entries, sorted.
func (d *folder) names() ([]string, error) {
	names, err := d.f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// read gives the bytes of one trusted file of at most most bytes. What is
// judged is the open file, so nothing can be put in its place in between.
func (d *folder) read(name string, most int64) ([]byte, error) {
	path := d.path + "/" + name
	fd, err := unix.Openat(int(d.f.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s is a symlink, and symlinks are not followed", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if err := trusted(path, st); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return b, nil
}

// trusted tells whether only root and the agent's own user can write to it.
func trusted(path string, st unix.Stat_t) error {
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d: it must belong to root or to the agent's user", path, st.Uid)
	}
	if st.Mode&0o022 != 0 {
		return fmt.Errorf("%s has mode %04o: group and others must not be able to write to it", path, st.Mode&0o7777)
	}
	return nil
}
