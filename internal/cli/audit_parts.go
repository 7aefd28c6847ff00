package cli

import (
	"io"
	"os"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/restart"
)

// openTrails opens the parts of a trail in their order: a file stands for
// itself, a folder for the files of the receiver's store that it is.
func openTrails(paths []string) (inputs []audit.Input, shut func(), err error) {
	var open []io.Closer
	shut = func() {
		for _, f := range open {
			f.Close() // read only
		}
	}
	for _, path := range paths {
		f, err := openTrail(path)
		if err != nil {
			shut()
			return nil, nil, restart.Errorf(restart.CodeInvalid, "the trail can't be read: %w", err)
		}
		open = append(open, f)
		inputs = append(inputs, audit.Input{Name: path, Reader: f})
	}
	return inputs, shut, nil
}

func openTrail(path string) (io.ReadCloser, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return os.Open(path)
	}
	stored, err := receive.Parts(path)
	if err != nil {
		return nil, err
	}
	return receive.Reader(stored)
}
