package cli

import (
	"io"
	"os"

	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/restart"
)

// openTrails opens the parts of a trail in their order: a file stands for
// itself, a folder for the files of the receiver's store that it is.
func openTrails(paths []string) ([]io.ReadCloser, error) {
	var parts []io.ReadCloser
	for _, path := range paths {
		more, err := openTrail(path)
		parts = append(parts, more...)
		if err != nil {
			closeTrails(parts)
			return nil, restart.Errorf(restart.CodeInvalid, "the trail can't be read: %w", err)
		}
	}
	return parts, nil
}

func openTrail(path string) ([]io.ReadCloser, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		return []io.ReadCloser{f}, nil
	}
	stored, err := receive.Parts(path)
	if err != nil {
		return nil, err
	}
	f, err := receive.Reader(stored)
	if err != nil {
		return nil, err
	}
	return []io.ReadCloser{f}, nil
}

func closeTrails(parts []io.ReadCloser) {
	for _, p := range parts {
		p.Close() // read only
	}
}
