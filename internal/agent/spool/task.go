package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// Task is a handle on one task's folder, as its supervisor uses it.
type Task struct {
	id string
	d  dir
}

// OpenTask opens the folder of a task in the spool at path.
func OpenTask(path, id string, sync Sync) (*Task, error) {
	root, err := OpenFolder(path, sync)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return OpenTaskOn(root, id)
}

// OpenTaskOn opens the folder of a task in the spool that is kept in root,
// which stays the caller's.
func OpenTaskOn(root Folder, id string) (*Task, error) {
	if err := restart.CheckID(id); err != nil {
		return nil, err
	}
	d, err := dir{root}.sub(id)
	if err != nil {
		return nil, err
	}
	return &Task{id: id, d: d}, nil
}

// Close gives the handle up.
func (t *Task) Close() error { return t.d.Close() }

// Received reads the file that made the task exist.
func (t *Task) Received() (Received, error) {
	r, err := load(t.d, fileReceived, maxReceived, decodeReceived)
	if err != nil {
		return Received{}, err
	}
	if r == nil {
		return Received{}, t.d.fail("read", fileReceived, fs.ErrNotExist)
	}
	return *r, nil
}

// Start takes the right to run, durably. ErrStarted where it is taken: the
// caller must not run anything.
//
// A supervisor that is slow may ask while its task, ended before it started, is
// being buried: its folder is open here, and the file that stood in the way may
// be removed already. Then received went before it, and the right is worth
// nothing.
func (t *Task) Start(s Started) error {
	if err := claimStart(t.d, s); err != nil {
		return err
	}
	there, err := t.d.has(fileReceived)
	if err == nil && !there {
		err = ErrStarted
	}
	return err
}

func claimStart(d dir, s Started) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode started: %w", err)
	}
	err = d.claim(fileStarted, data)
	if err == nil {
		return nil
	}
	if taken, hasErr := d.has(fileStarted); hasErr == nil && taken && errors.Is(err, fs.ErrExist) {
		return ErrStarted
	}
	return err
}

// Progress tells the agent how far the task is. It survives every process, not the host.
func (t *Task) Progress(s protocol.TaskStatus) error {
	s.Evidence = nil
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode progress: %w", err)
	}
	return t.d.replace(fileProgress, data)
}

// Baseline keeps what the service's process was before run. It survives every
// process, not the host: after a reboot every process is new anyway.
func (t *Task) Baseline(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode baseline: %w", err)
	}
	if len(data) > maxBaseline {
		return t.d.fail("write", fileBaseline, fmt.Errorf("longer than %d bytes", maxBaseline))
	}
	return t.d.replace(fileBaseline, data)
}

// Evidence keeps what was taken from the host before the restart, durably.
func (t *Task) Evidence(items []protocol.EvidenceItem) error {
	data, err := json.Marshal(items)
	if err != nil {
		return fmt.Errorf("encode evidence: %w", err)
	}
	return t.d.put(fileEvidence, data)
}

// Evidence reads what a supervisor kept; nil where it kept nothing.
func (s *Spool) Evidence(id string) ([]protocol.EvidenceItem, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	items, err := load(d, fileEvidence, maxEvidence, func(b []byte) (*[]protocol.EvidenceItem, error) {
		var items []protocol.EvidenceItem
		return &items, json.Unmarshal(b, &items)
	})
	if err != nil || items == nil {
		return nil, err
	}
	return *items, nil
}

// Done writes how the task ended, durably, into blocks that were reserved when
// it was received. fs.ErrExist where it has been written before.
func (t *Task) Done(s protocol.TaskStatus) error { return writeDone(t.d, s) }

func writeDone(d dir, s protocol.TaskStatus) error {
	data, err := encodeDone(s)
	if err != nil {
		return err
	}
	return d.claim(fileDone, data)
}

// doneIsBroken tells whether done is there and is no status: the disk has lost
// or changed a part of it. What can't be read for another reason is not broken.
func doneIsBroken(d dir) bool {
	b, err := d.read(fileDone, maxStatus)
	if err != nil {
		return false
	}
	_, err = decodeStatus(b)
	return err != nil
}

func encodeDone(s protocol.TaskStatus) ([]byte, error) {
	s.Evidence = nil // in its own file
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode done: %w", err)
	}
	for len(data) > maxStatus && len(s.Health) > 0 { // the oldest samples make room
		s.Health = s.Health[(len(s.Health)+1)/2:]
		if data, err = json.Marshal(s); err != nil {
			return nil, fmt.Errorf("encode done: %w", err)
		}
	}
	return data, nil
}

// Wish leaves the wish that the task be ended; its supervisor sees it appear.
func (s *Spool) Wish(id string) error {
	d, err := s.root.sub(id)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.replace(fileCancel, nil)
}

// Wished tells whether somebody wishes the task ended.
func (t *Task) Wished() (bool, error) { return t.d.has(fileCancel) }

// Log opens the file that a supervisor's own messages go to.
func (s *Spool) Log(id string) (*os.File, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	f, err := hostFolder(d.Folder)
	if err != nil {
		return nil, err
	}
	return f.open("log", unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
}

// Scratch opens a file without a name, which goes when its last user does. It
// stands in where the kernel has no memfd.
func (t *Task) Scratch() (*os.File, error) {
	d, err := hostFolder(t.d.Folder)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.fd, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return nil, d.fail("make", "(unnamed)", err)
	}
	return os.NewFile(uintptr(fd), d.path+"/(unnamed)"), nil
}
