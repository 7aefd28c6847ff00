package receive

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/restartilka/restartilka/internal/restart"
)

// Part is a file of a store, for who reads it.
type Part struct {
	Source string
	Path   string
	Size   int64 // up to the end of its last whole line: what follows was not answered for yet
}

// Reader reads parts one after the other, with one file open at a time. The
// error is that of the first; a later one is one of reading.
func Reader(parts []Part) (io.ReadCloser, error) {
	r := &reader{parts: parts}
	if len(parts) > 0 {
		if err := r.next(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

type reader struct {
	parts []Part // those that are not open yet
	file  *os.File
	left  io.Reader // of the file; nil = there is none
}

func (r *reader) next() error {
	f, err := os.Open(r.parts[0].Path)
	if err != nil {
		return err
	}
	r.Close() // read only
	r.file, r.left, r.parts = f, io.LimitReader(f, r.parts[0].Size), r.parts[1:]
	return nil
}

func (r *reader) Read(b []byte) (int, error) {
	for r.left != nil {
		n, err := r.left.Read(b)
		if n > 0 || err != io.EOF {
			return n, err
		}
		if len(r.parts) == 0 {
			break
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// Close gives the open file back.
func (r *reader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file, r.left = nil, nil
	return err
}

// Parts lists the files of a store, or of one source's folder in it, in the
// order in which they are verified. The receiver may be at work meanwhile.
// CodeInvalid where dir is neither.
func Parts(dir string) ([]Part, error) {
	parts, err := partsOf(dir)
	if err != nil || len(parts) > 0 {
		return parts, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		more, err := partsOf(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		parts = append(parts, more...)
	}
	if len(parts) == 0 {
		return nil, restart.Errorf(restart.CodeInvalid, "%s is not the store of a receiver, or holds no record", dir).
			WithHint("the folder of its configuration, or one source's folder in it; files are named one by one")
	}
	return parts, nil
}

func partsOf(dir string) ([]Part, error) {
	all, err := segments(dir)
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	parts := make([]Part, 0, len(all))
	for _, g := range all {
		size, err := wholeLines(g.path, g.size)
		if err != nil {
			return nil, fmt.Errorf("read the store: %w", err)
		}
		parts = append(parts, Part{Source: filepath.Base(dir), Path: g.path, Size: size})
	}
	return parts, nil
}

// wholeLines gives where the last line of a file ends that has an end. A line
// that is too long to be one of ours is left for the verifier to find.
func wholeLines(path string, size int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	tail := make([]byte, min(size, maxLine))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return 0, err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if end == 0 && size > maxLine {
		return size, nil
	}
	return size - int64(len(tail)) + int64(end), nil
}
