package server

import (
	"context"
	"io"
	"path/filepath"
	"slices"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/backup"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/version"
)

// Backup writes a backup of the configured database, whether or not servers
// work on it. See store.Backup. It is in the audit trail before it is made: it
// has what the database has. Where that can't be written, as on a disk that is
// full, unrecorded says why, and the backup is made all the same: it may be what
// is left.
func Backup(ctx context.Context, cfg Config, w io.Writer, by string, withoutOutput bool, progress func(done, total int64)) (m backup.Manifest, digest string, unrecorded, err error) {
	dsn, err := cfg.dsn()
	if err != nil {
		return backup.Manifest{}, "", nil, err
	}
	rec := audit.Record{Actor: by, Origin: "local", Action: audit.ServerBackedUp, Detail: "the whole database"}
	if withoutOutput {
		rec.Detail += ", without output of scripts"
	}
	unrecorded = store.NoteBeside(ctx, store.Config{DSN: dsn, Source: cfg.Name}, rec)
	m, digest, err = store.Backup(ctx, store.Config{DSN: dsn}, w, store.BackupOptions{
		Server: cfg.Name, Program: version.Current().Version, WithoutOutput: withoutOutput, Progress: progress,
	})
	return m, digest, unrecorded, err
}

// Restore puts a backup into the configured database, which no server may use.
// See store.Restore.
func Restore(ctx context.Context, cfg Config, r io.Reader, by string, replace bool, progress func(done, total int64)) (store.Restored, error) {
	dsn, err := cfg.dsn()
	if err != nil {
		return store.Restored{}, err
	}
	return store.Restore(ctx, store.Config{DSN: dsn}, r, store.RestoreOptions{Server: cfg.Name, By: by, Replace: replace, Progress: progress})
}

// matching gives the files that a pattern of the inventory means now; any other
// path means itself.
func matching(path string) []string {
	found, err := filepath.Glob(path)
	if err != nil || len(found) == 0 {
		return []string{path}
	}
	return found
}

// Keep names what a backup of the database does not hold and a new server
// needs: the configuration and the files and folders that it names. The key of
// the audit trail is not among them: whoever got hold of it with a backup could
// make the trail anew, and a new server makes a key of its own.
func (c *Config) Keep(config string) []string {
	if abs, err := filepath.Abs(config); err == nil {
		config = abs
	}
	keep := []string{config}
	for _, p := range c.files() {
		if *p != "" && p != &c.Database.SQLite && p != &c.Audit.Key && !slices.Contains(c.Inventory.CachePaths(), p) {
			keep = append(keep, matching(*p)...)
		}
	}
	keep = append(keep, c.SSH.HostKeys...)
	for _, sink := range c.Audit.Sinks {
		for _, p := range append(sink.Files(), &sink.Path) {
			if *p != "" {
				keep = append(keep, *p)
			}
		}
	}
	slices.Sort(keep[1:])
	return slices.Compact(keep)
}
