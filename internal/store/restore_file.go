package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/restartilka/restartilka/internal/backup"
	"github.com/restartilka/restartilka/internal/restart"
)

// The files of a restore, beside the database: what is being built, and a mark
// that lies there while files are exchanged.
const (
	buildSuffix = ".restore"
	markSuffix  = ".restoring"
)

// companions are the files of a SQLite database beside the main one. A journal
// that is left behind would be played into the next database of that name.
var companions = []string{"", "-wal", "-shm", "-journal"}

// restoreFile builds the file aside, under the lock of a server.
func restoreFile(ctx context.Context, path string, in *backup.Reader, migrations []migration, o RestoreOptions) (out Restored, err error) {
	if path, err = realPath(path); err != nil {
		return out, err
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if info, err := os.Stat(path); err == nil && info.Size() > 0 && !o.Replace {
		return out, restart.Errorf(restart.CodeConflict, "there is a database %s already", restart.Escape(path)).
			WithHint("--replace moves it aside, and keeps it; nothing was changed")
	}
	build := path + buildSuffix
	defer removeAll(build)
	removeAll(build) // what an earlier restore has left that was killed
	f, err := os.OpenFile(build, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return out, cantOpen(build, err)
	}
	if err := f.Close(); err != nil {
		return out, cantOpen(build, err)
	}
	s := &Store{log: slog.New(slog.DiscardHandler), source: o.Server, dialect: sqliteDialect()}
	// Nobody has this file: it needs no journal, and is synced once, at its end.
	s.writer = openWriter(build, "journal_mode(OFF)", "synchronous(OFF)", "cache_size(-65536)") // 64 MiB for the indexes
	out, err = s.restore(ctx, in, migrations, o)
	if err := errors.Join(err, s.writer.Close()); err != nil {
		return out, err
	}
	if err := syncPath(build); err != nil {
		return out, err
	}
	out.Moved, err = exchange(path, build)
	return out, err
}

func removeAll(path string) {
	for _, suffix := range companions {
		os.Remove(path + suffix) // what can't be removed is met again when it is made
	}
}

// exchange moves the files of the database aside and the new one into their
// place. A mark says so meanwhile: checkRestored.
func exchange(path, build string) (moved []string, err error) {
	dir := filepath.Dir(path)
	mark, err := os.OpenFile(path+markSuffix, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, cantOpen(path+markSuffix, err)
	}
	if err := errors.Join(mark.Sync(), mark.Close(), syncPath(dir)); err != nil {
		return nil, fmt.Errorf("mark %s: %w", path, err)
	}
	aside := path + ".before-restore-" + time.Now().UTC().Format("20060102T150405Z")
	for i := 2; exists(aside); i++ {
		aside = fmt.Sprintf("%s.before-restore-%s-%d", path, time.Now().UTC().Format("20060102T150405Z"), i)
	}
	for _, suffix := range companions {
		err := os.Rename(path+suffix, aside+suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return moved, fmt.Errorf("move the database aside: %w", err)
		}
		moved = append(moved, aside+suffix)
	}
	if err := os.Rename(build, path); err != nil {
		return moved, fmt.Errorf("put the database in its place: %w", err)
	}
	if err := syncPath(dir); err != nil {
		return moved, err
	}
	if err := os.Remove(path + markSuffix); err != nil {
		return moved, fmt.Errorf("remove the mark of %s: %w", path, err)
	}
	return moved, syncPath(dir)
}

// checkRestored refuses a database whose restore was not finished: its file
// may be missing, or lack its journal.
func checkRestored(path string) error {
	if !exists(path + markSuffix) {
		return nil
	}
	return restart.Errorf(restart.CodeConflict, "a restore of the database %s was interrupted", restart.Escape(path)).
		WithHint("do it again: restartilka restore FILE --replace; what was there before lies beside it as %s.before-restore-…", restart.Escape(filepath.Base(path)))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// syncPath makes a file, or the names in a folder, durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
