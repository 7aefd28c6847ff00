package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/restartilka/restartilka/internal/restart"
)

// Contents is what a starting agent finds.
type Contents struct {
	Tasks      []Record
	Tombstones []Tombstone
	Broken     []error // files that were left alone because they can't be read
}

// Load reads everything, and finishes what a crash cut short: folders whose
// task was never fully received or is buried, links that hold a service for
// nobody.
//
// What makes no sense is told, and left alone. Where the disk could not be
// asked (EIO, EMFILE, ENOMEM), Load fails as a whole: to the one who does
// without a task, it is one that never came, and its supervisor may be at work.
func (s *Spool) Load() (Contents, error) {
	var c Contents
	buried, err := s.loadTombstones(&c)
	if err != nil {
		return c, err
	}
	names, err := s.root.Names()
	if err != nil {
		return c, err
	}
	held := holders{inodes: map[uint64]bool{}, hidden: map[string]bool{}}
	for _, id := range names {
		if restart.CheckID(id) != nil {
			continue
		}
		if buried[id] {
			if err := s.root.removeSub(id); err != nil {
				c.Broken = append(c.Broken, err) // its tombstone counts; the next Load tries it again
			}
			continue
		}
		r, keep, err := s.loadTask(id, &c)
		if err != nil {
			return c, err
		}
		if !keep {
			continue
		}
		if r.ID == "" {
			held.hidden[id] = true
			continue
		}
		c.Tasks = append(c.Tasks, r)
		if r.Done == nil {
			ino, err := s.inodeOf(id)
			if err != nil {
				return c, err
			}
			held.inodes[ino] = true
		}
	}
	return c, s.freeOrphans(names, held)
}

// loadTask reads one folder, or removes it where no task is in it. Of what is
// there and no folder, there is no Record to keep: it has no ID.
func (s *Spool) loadTask(id string, c *Contents) (r Record, keep bool, err error) {
	alive, aliveErr := s.Alive(id)
	if aliveErr != nil && !broken(aliveErr) && !errors.Is(aliveErr, fs.ErrNotExist) {
		return r, false, aliveErr
	}
	r, err = s.Read(id)
	switch {
	case errors.Is(err, fs.ErrNotExist): // it went since it was listed
		return r, false, nil
	case broken(err):
		c.Broken = append(c.Broken, err)
		return Record{}, true, nil
	case err != nil:
		return r, false, err
	}
	r.Err = errors.Join(r.Err, aliveErr)
	if r.Err != nil {
		c.Broken = append(c.Broken, r.Err)
	}
	if alive || r.Err != nil {
		return r, true, nil
	}
	s.sweep(id)
	if r.Done == nil && r.Started == nil {
		// Nobody is told that a task is received, and no supervisor begins, before
		// the link is durable. So without it there is no task.
		held, err := s.holds(r)
		if err != nil {
			return r, false, err
		}
		if !held {
			if err := s.root.removeSub(id); err != nil {
				c.Broken = append(c.Broken, err)
			}
			return r, false, nil
		}
	}
	return r, r.Received != nil, s.settleDisk(id)
}

// settleDisk makes durable what was found in a task's folder: its writer may
// have been killed between giving a file its name and making that last, and
// from here on it is told as true. (The spool's own entries Open has made so.)
func (s *Spool) settleDisk(id string) error {
	d, err := s.root.sub(id)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// holds tells whether <service>.task is the task's.
func (s *Spool) holds(r Record) (bool, error) {
	if r.Received == nil {
		return false, nil
	}
	e, err := r.Received.Envelope()
	if err != nil {
		return false, err
	}
	mine, err := s.inodeOf(r.ID)
	if err != nil {
		return false, err
	}
	held, err := s.root.inode(e.Service + linkSuffix)
	return held == mine && mine != 0, err
}

func (s *Spool) loadTombstones(c *Contents) (map[string]bool, error) {
	names, err := s.graves.Names()
	if err != nil {
		return nil, err
	}
	buried := make(map[string]bool, len(names))
	for _, id := range names {
		if restart.CheckID(id) != nil {
			s.graves.remove(id) //nolint:errcheck // a temporary file; it will be tried again
			continue
		}
		buried[id] = true // its name alone says that the id never runs
		b, err := s.graves.read(id, maxSmall)
		if err == nil {
			var t Tombstone
			if t, err = decodeTombstone(b); err == nil && t.Task == id {
				c.Tombstones = append(c.Tombstones, t)
				continue
			}
		} else if !broken(err) {
			return nil, err
		}
		c.Broken = append(c.Broken, fmt.Errorf("tombstone %s: %w", id, err))
		t := Tombstone{At: s.now()}
		t.Task = id
		c.Tombstones = append(c.Tombstones, t)
	}
	return buried, nil
}

// sweep removes temporary files of processes that are gone.
func (s *Spool) sweep(id string) {
	d, err := s.root.sub(id)
	if err != nil {
		return
	}
	defer d.Close()
	names, err := d.Names()
	if err != nil {
		return
	}
	for _, n := range names {
		if strings.HasPrefix(n, ".") && n != "."+fileStarted && n != "."+fileDone {
			d.remove(n) //nolint:errcheck // it will be tried again
		}
	}
}

// holders are those who may have a service.
type holders struct {
	inodes map[uint64]bool // of received
	hidden map[string]bool // ids whose folder something else stands in the place of
}

// freeOrphans removes the links that belong to no task still active.
func (s *Spool) freeOrphans(names []string, held holders) error {
	for _, n := range names {
		service, isLink := strings.CutSuffix(n, linkSuffix)
		if !isLink {
			continue
		}
		ino, err := s.root.inode(n)
		if err != nil {
			return err
		}
		if held.inodes[ino] {
			continue
		}
		if len(held.hidden) > 0 {
			id, err := s.holder(service)
			if err != nil && !broken(err) {
				return err
			}
			if held.hidden[id] {
				continue // whether that one is at work, nobody can ask
			}
		}
		if err := s.root.remove(n); err != nil {
			return err
		}
	}
	return nil
}
