package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/restartilka/restartilka/internal/restart"
)

// CreateFile makes a backup's file, mode 0600: write gets a file beside it,
// which is synced and takes its name only once write has returned nil. One that
// is there is replaced only where replace is set, else CodeConflict.
func CreateFile(path string, replace bool, write func(f *os.File) error) (err error) {
	if !replace {
		if err := absent(path); err != nil {
			return err
		}
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.part") // mode 0600
	if err != nil {
		return cantWrite(path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name()) // there is a greater trouble to tell of
		}
	}()
	if err := write(f); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return cantWrite(path, err)
		}
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return cantWrite(path, err)
	}
	if !replace { // somebody may have been quicker
		if err := absent(path); err != nil {
			return err
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return cantWrite(path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return cantWrite(path, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return cantWrite(path, err)
	}
	return nil
}

func absent(path string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return cantWrite(path, err)
	}
	return restart.Errorf(restart.CodeConflict, "%s is there already", restart.Escape(path)).WithHint("name another file, or replace it with --force")
}

func cantWrite(path string, err error) error {
	code := restart.CodeInvalid
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		code = restart.CodeDiskFull
	}
	return restart.Errorf(code, "the backup %s can't be written: %v", restart.Escape(path), cause(err)).WithHint("nothing of it was left behind").Because(err)
}

// cause leaves out the name of a temporary file.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return fmt.Errorf("%w", err)
}
