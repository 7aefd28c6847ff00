package supervisor

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// seals make the content final, for its writer too.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// Sealable tells whether this kernel can keep a script in sealed memory.
func Sealable() error {
	f, err := sealed([]byte("# nothing\n"))
	if err != nil {
		return err
	}
	return f.Close()
}

// sealed gives text in memory that nobody can change any more, as a file.
func sealed(text []byte) (*os.File, error) {
	// It is read and never executed, so a kernel that forbids executable memory is served too.
	fd, err := unix.MemfdCreate("restartilka-script", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("restartilka-script", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("make sealed memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "script")
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, fmt.Errorf("fill sealed memory: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal memory: %w", err)
	}
	return f, nil
}

// unsealed is the weaker stand-in: a file without a name in the spool, which
// root could still change.
func unsealed(text []byte, scratch func() (*os.File, error)) (*os.File, error) {
	w, err := scratch()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if err := w.Chmod(0o444); err != nil { // whoever the script runs as must be able to read it
		return nil, fmt.Errorf("keep a script: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("keep a script: %w", err)
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", w.Fd())) // for reading only
}
