package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// disk keeps the last good answer in one file, so that a server that starts
// while its source is down has what the configuration allows it to use.
type disk struct {
	path   string
	source string // which configuration the answer belongs to
}

// diskFile is the file's content, JSON.
type diskFile struct {
	Format   int      `json:"format"` // 1
	Source   string   `json:"source"`
	Stamp    string   `json:"stamp"`
	Snapshot Snapshot `json:"snapshot"`
}

const (
	diskFormat   = 1
	largestCache = 256 << 20 // bytes
)

func newDisk(c Config) *disk {
	// what was asked, and where: another question has another file
	b, _ := json.Marshal([]any{c.Kind, c.Command, c.Dir, c.URL, c.Format, c.GroupNames, c.Environments, c.Tags, c.ServicesFile,
		c.Packages, c.Labels, c.Domain, c.Datacentres, c.WorkGroups, c.Mapping, c.Name}) // strings only: can't fail
	sum := sha256.Sum256(b)
	id := hex.EncodeToString(sum[:])
	return &disk{path: filepath.Join(c.CacheDir, "inventory-"+id[:16]+".json"), source: id}
}

// load gives the last answer, or nil when there is none. What is not exactly
// as it was written is an error, and not used.
func (d *disk) load() (stamp string, s *Snapshot, err error) {
	b, err := readFile(d.path, largestCache)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("read inventory cache: %w", err)
	}
	var f diskFile
	if err := json.Unmarshal(b, &f); err != nil {
		return "", nil, fmt.Errorf("read inventory cache %s: %w", d.path, err)
	}
	if f.Format != diskFormat || f.Source != d.source {
		return "", nil, fmt.Errorf("read inventory cache %s: written for another format or source", d.path)
	}
	if err := checkSnapshot(f.Snapshot); err != nil {
		return "", nil, fmt.Errorf("read inventory cache %s: %w", d.path, err)
	}
	return f.Stamp, &f.Snapshot, nil
}

// save replaces the file as a whole: temporary file, fsync, rename, fsync of
// the folder.
func (d *disk) save(stamp string, s Snapshot) (err error) {
	b, err := json.Marshal(diskFile{diskFormat, d.source, stamp, s})
	if err != nil {
		return fmt.Errorf("encode inventory cache: %w", err)
	}
	folder := filepath.Dir(d.path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make cache folder: %w", err)
	}
	f, err := os.CreateTemp(folder, filepath.Base(d.path)+".*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("write inventory cache: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write inventory cache: %w", err)
	}
	if err := os.Rename(f.Name(), d.path); err != nil {
		return fmt.Errorf("write inventory cache: %w", err)
	}
	dir, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("write inventory cache: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync cache folder: %w", err)
	}
	return nil
}
