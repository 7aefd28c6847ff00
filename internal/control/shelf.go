package control

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/restartilka/restartilka/internal/scenario"
)

// Shelf is the server's folder of scenarios, read again when a file in it has
// changed. Where nothing must be signed, what lies on the shelf can be asked
// for; else it is a proposal: see Review. Whether a host runs it is the host's
// own decision.
type Shelf struct {
	dir    string
	logger *slog.Logger

	mu     sync.Mutex
	stamp  string
	folder *scenario.Folder
	wrong  []scenario.Problem
}

// NewShelf reads the folder once, so that a missing one is told at the start.
func NewShelf(dir string, logger *slog.Logger) (*Shelf, error) {
	s := &Shelf{dir: dir, logger: logger}
	_, err := s.Folder()
	return s, err
}

// Folder gives the scenarios as they are now. A broken file is logged and left
// out; a folder that can't be read is an error.
func (s *Shelf) Folder() (*scenario.Folder, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamp, err := folderStamp(s.dir)
	if err != nil {
		return nil, err
	}
	if s.folder != nil && stamp == s.stamp {
		return s.folder, nil
	}
	folder, problems := scenario.ReadFolder(s.dir, nil)
	for _, p := range problems {
		s.logger.Warn("a scenario is left out", "error", p)
	}
	s.folder, s.stamp, s.wrong = folder, stamp, problems
	return folder, nil
}

// Count gives how many scenarios there are, and how many problems with others.
// A folder that can't be read is one problem.
func (s *Shelf) Count() (scenarios, problems int) {
	folder, err := s.Folder()
	if err != nil {
		return 0, 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(folder.Files()), len(s.wrong)
}

// problems gives what was wrong with the folder when it was read last.
func (s *Shelf) problems() []scenario.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wrong)
}

// folderStamp changes when a file of the folder is added, removed or written.
func folderStamp(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	stamp := ""
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".yaml" {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it has just gone
		}
		stamp += e.Name() + " " + info.ModTime().String() + " " + info.Mode().String() + "\n"
	}
	return stamp, nil
}
