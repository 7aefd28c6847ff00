package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// The errors that callers tell apart.
var (
	ErrExists  = errors.New("the task is in the spool already")
	ErrStarted = errors.New("the task has started")
)

// BusyError says that another task holds the service.
type BusyError struct {
	Service string
	Task    string // "" where the holder can't be told
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("service %s is held by task %s", e.Service, e.Task)
}

const (
	fileReceived = "received"
	fileStarted  = "started"
	fileDone     = "done"
	fileAlive    = "alive"
	fileCancel   = "cancel"
	fileProgress = "progress"
	fileBaseline = "baseline"
	fileEvidence = "evidence"
	fileEpoch    = "epoch"

	linkSuffix = ".task"
	tombstones = "tombstones"
	lockFile   = "lock"
)

// Config of a Spool.
type Config struct {
	Dir  string
	Sync Sync // nil = fsync(2)
}

// Spool is the agent's handle on its spool. At most one agent holds it. Its
// methods may be called at once for different tasks; calls that change one
// task are the caller's to keep apart.
type Spool struct {
	root, graves dir
	lock         io.Closer
	now          func() time.Time
	close        sync.Once
}

// Open opens the spool for the one agent that works in it. CodeInvalid where
// the folder is not the agent's alone, CodeLocked where another agent has it.
func Open(cfg Config) (*Spool, error) {
	root, err := OpenFolder(cfg.Dir, cfg.Sync)
	if err != nil {
		return nil, err
	}
	return OpenOn(root, time.Now)
}

// OpenOn is Open for a spool that is kept in root, which is the Spool's from
// here on, also where an error is returned.
func OpenOn(root Folder, now func() time.Time) (*Spool, error) {
	s := &Spool{root: dir{root}, now: now}
	var err error
	if s.lock, err = root.Lock(lockFile); err != nil {
		root.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, restart.Errorf(restart.CodeLocked, "another agent works in the spool %s", root.Path()).
				WithHint("one agent a spool: stop the other one, which may be restartilka-agent run or task, or give this one its own spool:")
		}
		return nil, err
	}
	s.graves, err = s.root.makeSub(tombstones)
	if errors.Is(err, fs.ErrExist) {
		s.graves, err = s.root.sub(tombstones)
	}
	if err == nil {
		// An agent before us may have been killed between making a name here, of
		// the tombstones' folder or a task's, and making it durable.
		err = root.Sync()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close gives the spool up. Supervisors keep their own handles.
func (s *Spool) Close() {
	s.close.Do(func() {
		s.lock.Close()
		if s.graves.Folder != nil {
			s.graves.Close()
		}
		s.root.Close()
	})
}

func (s *Spool) inodeOf(id string) (uint64, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	return d.inode(fileReceived)
}

// Read gives all that is known of one task. fs.ErrNotExist where there is no
// folder of that id. A durable file whose content makes no sense is in
// Record.Err; where the disk could not be asked, nothing is known, and that is
// an error.
func (s *Spool) Read(id string) (Record, error) {
	if err := restart.CheckID(id); err != nil {
		return Record{}, err
	}
	d, err := s.root.sub(id)
	if err != nil {
		return Record{}, err
	}
	defer d.Close()
	r := Record{ID: id}
	// The newest first: what was made before a file that is there, is there too.
	var faults [4]error
	r.Done, faults[0] = load(d, fileDone, maxStatus, decodeStatus)
	r.Started, faults[1] = load(d, fileStarted, maxStarted, decodeStarted)
	r.Received, faults[2] = load(d, fileReceived, maxReceived, decodeReceived)
	later, err := load(d, fileEpoch, maxSmall, decodeEpoch)
	if !broken(err) { // a broken one tells of nothing: it came by a rename
		faults[3] = err
	}
	for _, err := range faults {
		if err != nil && !broken(err) {
			return Record{}, err
		}
		r.Err = errors.Join(r.Err, err)
	}
	if r.Progress, err = load(d, fileProgress, maxStatus, decodeStatus); err != nil {
		r.Progress = nil // not durable: a torn one is as good as none
	}
	if r.Received != nil {
		r.Epoch = r.Received.Epoch
		if later != nil {
			r.Epoch = max(r.Epoch, *later)
		}
		if e, err := r.Received.Envelope(); err == nil && e.Task != id {
			r.Err = errors.Join(r.Err, fmt.Errorf("folder %s holds task %s", id, e.Task))
		}
	}
	return r, nil
}

func load[T any](d dir, name string, most int64, decode func([]byte) (*T, error)) (*T, error) {
	b, err := d.read(name, most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := decode(b)
	if err != nil {
		return nil, d.fail("read", name, fmt.Errorf("%w: %w", errContent, err))
	}
	return v, nil
}

func decodeEpoch(b []byte) (*int64, error) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	return &n, err
}

// Receive makes the task exist, durably, and gives it its service: before it
// returns nil, nothing may run. Errors: ErrExists, *BusyError, and the disk's
// own, after which nothing of the task is left.
func (s *Spool) Receive(e protocol.Envelope, r Received) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode task %s: %w", e.Task, err)
	}
	for _, err := range []error{restart.CheckID(e.Task), restart.CheckServiceName(e.Service)} {
		if err != nil {
			return err
		}
	}
	d, err := s.root.makeSub(e.Task)
	if errors.Is(err, fs.ErrExist) {
		return ErrExists
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := s.receive(d, e, data); err != nil {
		s.free(d, e.Service)
		return errors.Join(err, s.root.removeSub(e.Task))
	}
	return nil
}

func (s *Spool) receive(d dir, e protocol.Envelope, data []byte) error {
	if err := d.reserve(fileStarted, maxStarted); err != nil {
		return err
	}
	if err := d.reserve(fileDone, maxStatus); err != nil {
		return err
	}
	t, err := d.writeTemp(fileReceived, data)
	if err != nil {
		return err
	}
	// The file gets its last name first, so that free can tell the link as ours.
	if err := d.Rename(t, fileReceived); err != nil {
		return err
	}
	if err := d.Link(fileReceived, s.root.Folder, e.Service+linkSuffix); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return &BusyError{Service: e.Service, Task: s.Holder(e.Service)}
		}
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	return s.root.Sync()
}

// Holder gives the id of the task that holds the service; "" = none, or it can't be told.
func (s *Spool) Holder(service string) string {
	id, _ := s.holder(service)
	return id
}

// holder is Holder, with the error for which it can't be told.
func (s *Spool) holder(service string) (string, error) {
	r, err := load(s.root, service+linkSuffix, maxReceived, decodeReceived)
	if err != nil || r == nil {
		return "", err
	}
	e, err := r.Envelope()
	return e.Task, err
}

// Raise makes a later epoch of the task's run durable.
func (s *Spool) Raise(id string, epoch int64) error {
	d, err := s.root.sub(id)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.put(fileEpoch, []byte(strconv.FormatInt(epoch, 10)))
}

// Settle makes the task done: with final, unless its supervisor has written
// how it ended; the answer is what counts. Where final says not_started, the
// right to run is taken first, so that no supervisor can have it any more:
// ErrStarted where one has it already. The service is free afterwards (R20).
// A done that is no status any more, after damage to the disk, gives way to
// unknown, and to nothing else.
func (s *Spool) Settle(id string, final protocol.TaskStatus, started Started) (protocol.TaskStatus, error) {
	d, err := s.root.sub(id)
	if err != nil {
		return final, err
	}
	defer d.Close()
	done, err := d.has(fileDone)
	if err != nil {
		return final, err
	}
	if !done && final.Outcome == protocol.OutcomeNotStarted {
		if err := s.void(d, started); err != nil {
			return final, err
		}
	}
	if !done {
		err := writeDone(d, final)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return final, err
		}
	}
	if done && final.Outcome == protocol.OutcomeUnknown && doneIsBroken(d) {
		// It tells nothing, and would stand in the way of every answer for ever.
		data, err := encodeDone(final)
		if err == nil {
			err = d.put(fileDone, data)
		}
		if err != nil {
			return final, err
		}
	}
	s.free(d, final.Service)
	kept, err := load(d, fileDone, maxStatus, decodeStatus)
	if err != nil || kept == nil {
		return final, errors.Join(err, d.fail("read", fileDone, errors.New("it is not what was written")))
	}
	return *kept, nil
}

// void takes the right to run, for nobody. A second time is fine.
func (s *Spool) void(d dir, started Started) error {
	started.Void = true
	err := claimStart(d, started)
	if !errors.Is(err, ErrStarted) {
		return err
	}
	if kept, loadErr := load(d, fileStarted, maxStarted, decodeStarted); loadErr == nil && kept != nil && kept.Void {
		return nil
	}
	return ErrStarted
}

// free removes <service>.task if it is this task's. A service that can't be
// told any more ("") is looked for among all.
func (s *Spool) free(d dir, service string) {
	names := []string{service + linkSuffix}
	if service == "" {
		names, _ = s.root.Names() // Load does it again
	}
	mine, err := d.inode(fileReceived)
	if err != nil || mine == 0 {
		return
	}
	for _, n := range names {
		if !strings.HasSuffix(n, linkSuffix) {
			continue
		}
		if held, err := s.root.inode(n); err == nil && held == mine {
			s.root.remove(n) //nolint:errcheck // Load does it again
		}
	}
}

// Bury makes the tombstone durable and drops the task's folder. Burying twice
// is fine. The task must be done, or absent.
func (s *Spool) Bury(t Tombstone) error {
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode tombstone %s: %w", t.Task, err)
	}
	if err := restart.CheckID(t.Task); err != nil {
		return err
	}
	err = s.graves.put(t.Task, data)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		s.dropOutput(t.Task) // who buries has no more use for it
		err = s.graves.put(t.Task, data)
	}
	if err != nil {
		return err
	}
	if t.Service != "" {
		if d, err := s.root.sub(t.Task); err == nil {
			s.free(d, t.Service)
			d.Close()
		}
	}
	// The tombstone counts from here on, whatever is in the way of the folder's
	// end: a supervisor that was late may be writing into it. Load removes it.
	s.root.removeSub(t.Task) //nolint:errcheck // see above
	return nil
}

// dropOutput removes the output of a task and its dumps.
func (s *Spool) dropOutput(id string) {
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
		if strings.HasPrefix(n, segmentPrefix) || isDump(n) {
			d.remove(n) //nolint:errcheck // the disk is full: whatever helps
		}
	}
}

// Prune forgets the tombstones of these ids.
func (s *Spool) Prune(ids []string) error {
	var all error
	for _, id := range ids {
		all = errors.Join(all, s.graves.remove(id))
	}
	return all
}

// Size gives the bytes that the spool takes on the disk.
func (s *Spool) Size() (int64, error) {
	names, err := s.root.Names()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, id := range names {
		if restart.CheckID(id) != nil {
			continue
		}
		d, err := s.root.sub(id)
		if err != nil {
			continue
		}
		files, err := d.Names()
		for _, f := range files {
			if st, err := d.Stat(f); err == nil {
				total += st.Blocks * 512
			}
		}
		d.Close()
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
