package cli

import (
	"io"
	"os"

	"github.com/restartilka/restartilka/internal/receive"
)

// openTrail opens a part of a trail: a file stands for itself, a folder for the
// files of the receiver's store that it is.
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
