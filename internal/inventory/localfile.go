package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// localFile is a file that is read again when it changes.
type localFile struct {
	path string
	most int64 // bytes

	mu     sync.Mutex
	seen   fileID
	seenAt time.Time
	digest string
}

// fileID tells two states of a file apart without reading it.
type fileID struct {
	size  int64
	inode uint64
	mtime time.Time
	ctime syscall.Timespec
}

// settled is the age from which a file's times can be trusted to change with
// its content: a file system's clock may tick as slowly as that.
const settled = 2 * time.Second

// read gives the file's bytes; for the errors see readFile.
func (f *localFile) read() ([]byte, error) {
	b, err := readFile(f.path, f.most)
	return b, err
}

// readFile reads a regular file of at most most bytes. Errors are
// *restart.Error: CodeUnavailable when it can't be read, CodeTooLarge when it
// is over the bound.
func readFile(path string, most int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to hang on a pipe
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, restart.Errorf(restart.CodeUnavailable, "%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if int64(len(b)) > most {
		return nil, restart.Errorf(restart.CodeTooLarge, "%s is over %d bytes", path, most)
	}
	return b, nil
}

func unreadable(path string, err error) *restart.Error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return restart.Errorf(restart.CodeUnavailable, "%s does not exist", path).Because(err).
			WithHint("the server's configuration names it under inventory")
	case errors.Is(err, fs.ErrPermission):
		return restart.Errorf(restart.CodeUnavailable, "%s may not be read", path).Because(err).
			WithHint("give the server's user the right to read it")
	}
	return restart.Errorf(restart.CodeUnavailable, "%s can't be read", path).Because(err)
}

// stamp changes with the file's content. A file whose times have settled is
// not read again for it.
func (f *localFile) stamp() string {
	info, err := os.Stat(f.path)
	if err != nil {
		return "none"
	}
	id := fileID{size: info.Size(), mtime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.inode, id.ctime = st.Ino, st.Ctim
	}
	f.mu.Lock()
	same := f.digest != "" && id == f.seen && f.seenAt.Sub(time.Unix(id.ctime.Unix())) > settled
	digest := f.digest
	f.mu.Unlock()
	if same {
		return digest
	}
	now := time.Now() // before reading: what is written meanwhile is seen the next time
	b, err := f.read()
	if err != nil {
		return fmt.Sprintf("unreadable %v", restart.CodeOf(err))
	}
	sum := sha256.Sum256(b)
	digest = hex.EncodeToString(sum[:])
	f.mu.Lock()
	f.seen, f.seenAt, f.digest = id, now, digest
	f.mu.Unlock()
	return digest
}

// fileSet remembers the files of a pattern, each with what is known of it.
type fileSet struct {
	mu    sync.Mutex
	files map[string]*localFile
}

// at gives a file by its path.
func (s *fileSet) at(path string) *localFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[path]
	if f == nil {
		if len(s.files) > 2*mostTargetFiles { // others have come and gone
			s.files = nil
		}
		if s.files == nil {
			s.files = map[string]*localFile{}
		}
		f = &localFile{path: path, most: largestWhole}
		s.files[path] = f
	}
	return f
}
