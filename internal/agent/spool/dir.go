package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// dir is a Folder with what the spool does in one.
type dir struct{ Folder }

// failure names the file in an error of a system call.
func failure(f Folder, op, name string, err error) error {
	return fmt.Errorf("%s %s/%s: %w", op, f.Path(), name, err)
}

func (d dir) fail(op, name string, err error) error { return failure(d.Folder, op, name, err) }

// errContent says that what was read is not what the spool has written.
var errContent = errors.New("it is not what was written")

// broken tells an error that says what is there: content that is none of the
// spool's, or a link, a folder or a device in the place of something. Whoever
// looks again finds the same. All other errors (EIO, EMFILE, ENOMEM) only say
// that it could not be looked at.
func broken(err error) bool {
	for _, is := range []error{errContent, errIrregular, unix.ELOOP, unix.ENOTDIR, unix.EISDIR, unix.ENXIO} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// sub opens a directory below.
func (d dir) sub(name string) (dir, error) {
	f, err := d.Sub(name)
	return dir{f}, err
}

// makeSub makes a directory below and opens it. fs.ErrExist where the name is taken.
func (d dir) makeSub(name string) (dir, error) {
	if err := d.Make(name); err != nil {
		return dir{}, err
	}
	return d.sub(name)
}

// read gives the content of a regular file of at most most bytes.
func (d dir) read(name string, most int64) ([]byte, error) {
	f, err := d.Open(name, ToRead)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, d.fail("read", name, fmt.Errorf("%w: longer than %d bytes", errContent, most))
	}
	return b, nil
}

// has tells whether the name is there, whatever it is.
func (d dir) has(name string) (bool, error) {
	ino, err := d.inode(name)
	return ino != 0, err
}

// inode gives the inode number behind a name, not following links; 0 = absent.
func (d dir) inode(name string) (uint64, error) {
	st, err := d.Stat(name)
	return st.Inode, err
}

// remove removes a file; one that is absent is fine.
func (d dir) remove(name string) error {
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeSub removes a folder below and the files in it; one that is absent is
// fine. received goes before all others: see Task.Start.
func (d dir) removeSub(name string) error {
	s, err := d.sub(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	names, err := s.Names()
	if err != nil {
		return err
	}
	if i := slices.Index(names, fileReceived); i > 0 {
		names[0], names[i] = names[i], names[0]
	}
	for _, n := range names {
		if err := s.remove(n); err != nil {
			return err
		}
	}
	return d.RemoveFolder(name)
}

// temp names a file that nobody else writes and recovery removes.
func (d dir) temp(name string) string { return "." + name + "." + d.Unique() }

// fill writes data as the whole content of an open file, over blocks that may
// have been reserved for it, and makes it durable.
func fill(f File, data []byte) error {
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(data))); err != nil {
		return err
	}
	return f.Sync()
}

// writeTemp writes data durably under a temporary name, which it returns. An
// earlier reservation under the name "."+name is used where there is one.
func (d dir) writeTemp(name string, data []byte) (string, error) {
	t := d.temp(name)
	how := ToEdit
	// Of two processes only one gets the reservation; the other makes its own file.
	if err := d.Rename("."+name, t); err != nil {
		how = ToCreate
	}
	f, err := d.Open(t, how)
	if err != nil {
		return "", err
	}
	err = fill(f, data)
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
func (d dir) claim(name string, data []byte) error {
	t, err := d.writeTemp(name, data)
	if err != nil {
		return err
	}
	defer d.remove(t) //nolint:errcheck // a leftover temporary name is swept by recovery
	if err := d.Link(t, d.Folder, name); err != nil {
		return err
	}
	return d.Sync()
}

// put makes or replaces a durable file.
func (d dir) put(name string, data []byte) error {
	t, err := d.writeTemp(name, data)
	if err != nil {
		return err
	}
	if err := d.Rename(t, name); err != nil {
		d.remove(t) //nolint:errcheck // the first error counts; recovery sweeps
		return err
	}
	return d.Sync()
}

// replace makes or replaces a file at once, but not durably: it survives every
// process, not the host.
func (d dir) replace(name string, data []byte) error {
	t := d.temp(name)
	f, err := d.Open(t, ToCreate)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = d.Rename(t, name)
	}
	if err != nil {
		d.remove(t) //nolint:errcheck // the first error counts; recovery sweeps
	}
	return err
}

// reserve keeps size bytes of the disk for a durable file to come.
func (d dir) reserve(name string, size int64) error {
	f, err := d.Open("."+name, ToCreate)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Reserve(size)
}
