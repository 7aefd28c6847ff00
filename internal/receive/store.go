package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// How long a receiver waits for the folder: one that was just killed holds the
// lock until it is gone.
const (
	lockTime = time.Second
	lockStep = 20 * time.Millisecond
)

// fileSize is where a new file is begun.
const fileSize = 64 << 20

// StoreConfig is what a Store is made of.
type StoreConfig struct {
	Folder   string   // its folder is there already
	Sources  []string // whose records are taken
	FileSize int64    // bytes of a file; 64 MiB by default
	Most     int64    // bytes of a source's files; 0 = no bound but the disk
	KeepFree int64    // bytes of the file system that are left free
	Now      func() time.Time
	Logger   *slog.Logger
}

// Store keeps the trails of its sources.
type Store struct {
	lock    *os.File
	sources map[string]*source
}

// Open opens or makes a store, and repairs what a crash has left in it. Another
// receiver on the same folder gives CodeConflict.
func Open(ctx context.Context, c StoreConfig) (*Store, error) {
	if c.FileSize <= 0 {
		c.FileSize = fileSize
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.Mkdir(c.Folder, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, restart.Errorf(restart.CodeInvalid, "the folder of the store can't be made: %v", err)
	}
	lock, err := lockFolder(ctx, c.Folder)
	if err != nil {
		return nil, err
	}
	s := &Store{lock: lock, sources: map[string]*source{}}
	for _, name := range c.Sources {
		b := bounds{fileSize: c.FileSize, most: c.Most, keepFree: c.KeepFree}
		if s.sources[name], err = openSource(name, c.Folder, b, c.Now, c.Logger); err != nil {
			lock.Close()
			return nil, err
		}
	}
	return s, nil
}

func lockFolder(ctx context.Context, dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return nil, restart.Errorf(restart.CodeInvalid, "the store can't be opened: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	for {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return lock, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(lockStep):
		case <-ctx.Done():
		}
	}
	lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, restart.Errorf(restart.CodeConflict, "another receiver works in %s", dir).WithHint("stop it, or give this one a folder of its own")
	}
	return nil, fmt.Errorf("lock %s: %w", dir, err)
}

// Take stores a batch of a source: canonical records, one a line. The head is
// that of what is on the disk, whatever the error, which is an *audit.Behind or
// a *restart.Error.
func (s *Store) Take(source string, batch []byte) (audit.Head, error) {
	from, ok := s.sources[source]
	if !ok {
		return audit.Head{}, restart.Errorf(restart.CodeForbidden, "%s is no source of this receiver", restart.Quote(source))
	}
	if len(batch) > audit.ReceiverBody {
		return from.stats().Head, restart.Errorf(restart.CodeTooLarge, "a batch has at most %d bytes", audit.ReceiverBody)
	}
	return from.take(batch)
}

// Close gives the store back. What was answered for is on the disk already.
func (s *Store) Close() error {
	for _, one := range s.sources {
		one.mu.Lock()
		one.close()
		one.mu.Unlock()
	}
	return s.lock.Close()
}
