package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	maxLine    = 64 << 10 // of a line that is read back: a record and a header of syslog fit many times
	fileWindow = 1024     // latest records that a File can tell from pretenders
)

// File keeps the trail of one source as JSON lines, each record exactly once.
// Send returns after fsync, so everything it accepted is settled.
//
// The file is only ever appended to. When it is opened, a last line that a
// crash has torn is repaired: a whole record that lacks only its newline gets
// it; a piece of one is cut off. A piece was never acknowledged, since fsync
// had not returned, so the sender has it still. Should it have been damaged
// later, the next record does not fit the file's end, and Send asks with
// *Behind for what is missing.
//
// Records that the file has already are dropped. One that says something else
// than the file's record of that number is an error: the database was put back
// to an older state without a new epoch, or somebody edited the file.
//
// A file that was moved away (logrotate) is noticed at the next Send, which
// makes a new one and goes on there; verify such files together, oldest first.
type File struct {
	path string

	mu     sync.Mutex
	file   *os.File    // nil after an error or Close: the next Send opens it again
	size   int64       // bytes that are known to be whole records on the disk
	broken os.FileInfo // the file, if what is behind size may not be on the disk
	last   Head        // of the last record in the file; zero for an empty file
	recent *window
	closed bool
}

func checkFile(c SinkConfig) error {
	if !filepath.IsAbs(c.Path) {
		return restart.Errorf(restart.CodeInvalid, "the path %s of a file sink is not absolute", restart.Quote(c.Path)).
			WithHint("such as /var/log/restartilka/audit.jsonl")
	}
	return nil
}

func openFile(c SinkConfig) (Sink, error) { return OpenFile(c.Path) }

// OpenFile opens or makes the file (mode 0640, its folder 0750), takes a lock
// that keeps other servers away, and repairs a torn last line.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, nil
}

// Name is "file:" and the path.
func (f *File) Name() string { return "file:" + f.path }

// Level is LevelSpool.
func (f *File) Level() Level { return LevelSpool }

// Send appends the records that the file does not have yet and syncs it.
func (f *File) Send(ctx context.Context, records []Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("write audit file %s: %w", f.path, fs.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.file != nil && f.movedAway() {
		f.file.Close()
		f.file = nil
	}
	if f.file == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	fresh, err := f.fresh(records)
	if len(fresh) == 0 {
		return err
	}
	var lines []byte
	for i := range fresh {
		lines = append(append(lines, fresh[i].Canonical()...), '\n')
	}
	if err := f.append(lines); err != nil {
		f.abandon()
		return fmt.Errorf("write audit file %s: %w", f.path, err)
	}
	f.size += int64(len(lines))
	for i := range fresh {
		f.recent.add(&fresh[i])
	}
	f.last = fresh[len(fresh)-1].Head()
	return nil
}

// fresh gives the records that come after the last one in the file. All of
// records must fit to it and to each other.
func (f *File) fresh(records []Record) ([]Record, error) {
	var fresh []Record
	last := f.last
	for i := range records {
		r := &records[i]
		if last.Seq == 0 {
			fresh, last = append(fresh, *r), r.Head()
			continue
		}
		if r.Source != last.Source {
			return nil, restart.Errorf(restart.CodeInvalid, "audit file %s holds the trail of %s, not of %s", f.path, restart.Quote(last.Source), restart.Quote(r.Source)).
				WithHint("give each server a file of its own")
		}
		if last.Before(r.Head()) {
			if r.Seq > last.Seq+1 {
				return nil, &Behind{Sink: f.Name(), After: last.Seq}
			}
			if r.Seq == last.Seq+1 && r.PrevHash != last.Hash {
				return nil, f.contradiction(r)
			}
			fresh, last = append(fresh, *r), r.Head()
			continue
		}
		if there, ok := f.recent.get(placeOf(r)); ok && !there.hash.same(digestOf([]byte(r.Hash))) || !ok && f.covers(placeOf(r)) {
			return nil, f.contradiction(r)
		}
	}
	return fresh, nil
}

// covers tells whether p would have to be among the recent records.
func (f *File) covers(p place) bool {
	if len(f.recent.order) == 0 {
		return false
	}
	oldest := f.recent.order[f.recent.next%len(f.recent.order)]
	return p.epoch == oldest.epoch && p.seq >= oldest.seq
}

func (f *File) contradiction(r *Record) error {
	return restart.Errorf(restart.CodeConflict, "audit file %s and the database disagree about record %d of %s", f.path, r.Seq, r.Source).
		WithHint("the database was put back without restartilka restore, or the file was edited; verify the file with restartilka audit verify, then move it away: a new one is begun")
}

func (f *File) append(lines []byte) error {
	if _, err := f.file.Write(lines); err != nil {
		return err
	}
	return f.file.Sync()
}

// abandon cuts off what a failed write or sync left behind: after a failed
// fsync the kernel may show bytes that never reach the disk, so they have to
// be written anew. Where even that fails, open does it.
func (f *File) abandon() {
	if info, err := f.file.Stat(); err == nil {
		f.broken = info
	}
	if f.file.Truncate(f.size) == nil {
		f.broken = nil
	}
	f.file.Close()
	f.file = nil
}

// movedAway tells whether the path no longer leads to the open file.
func (f *File) movedAway() bool {
	mine, err := f.file.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(f.path)
	return err != nil || !os.SameFile(mine, there)
}

// Settled gives the last record in the file.
func (f *File) Settled() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last.Seq, nil
}

// Close gives the file and its lock back.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

func (f *File) open() (err error) {
	folder := filepath.Dir(f.path)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return fmt.Errorf("make the folder of the audit file: %w", err)
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return fmt.Errorf("open audit file: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("open audit file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return restart.Errorf(restart.CodeInvalid, "audit file %s is not a plain file", f.path)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return restart.Errorf(restart.CodeConflict, "audit file %s is in use by another server", f.path).
			WithHint("give each server a file of its own")
	} else if err != nil {
		return fmt.Errorf("lock audit file %s: %w", f.path, err)
	}
	if f.broken != nil && os.SameFile(f.broken, info) {
		if err := file.Truncate(f.size); err != nil {
			return fmt.Errorf("repair audit file %s: %w", f.path, err)
		}
	}
	tail, size, err := repair(file)
	if err != nil {
		return fmt.Errorf("repair audit file %s: %w", f.path, err)
	}
	if err := f.remember(tail); err != nil {
		return fmt.Errorf("read the end of audit file %s: %w", f.path, err)
	}
	if err := syncFolder(folder); err != nil {
		return fmt.Errorf("open audit file %s: %w", f.path, err)
	}
	f.file, f.size, f.broken = file, size, nil
	return nil
}

// repair completes or cuts off a torn last line. It gives the last whole lines
// of the file, as many as maxLine bytes hold, and the file's size.
func repair(file *os.File) (tail []byte, size int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	tail = make([]byte, min(info.Size(), maxLine))
	start := info.Size() - int64(len(tail))
	if _, err := file.ReadAt(tail, start); err != nil {
		return nil, 0, err
	}
	if start > 0 {
		begin := bytes.IndexByte(tail, '\n') + 1
		if begin == 0 {
			return nil, 0, fmt.Errorf("the last line has more than %d bytes: this is not an audit file", maxLine)
		}
		tail, start = tail[begin:], start+int64(begin)
	}
	whole := bytes.LastIndexByte(tail, '\n') + 1
	if whole == len(tail) {
		return tail, start + int64(whole), nil
	}
	if r, err := Decode(tail[whole:]); err == nil && r.Intact() {
		if _, err := file.Write([]byte("\n")); err != nil {
			return nil, 0, err
		}
		tail = append(tail, '\n')
	} else {
		if err := file.Truncate(start + int64(whole)); err != nil {
			return nil, 0, err
		}
		tail = tail[:whole]
	}
	return tail, start + int64(len(tail)), file.Sync()
}

// remember takes the file's end to heart: its last record, which must be
// intact, and the links of those before it.
func (f *File) remember(tail []byte) error {
	f.last, f.recent = Head{}, newWindow(fileWindow)
	lines := bytes.Split(bytes.TrimSuffix(tail, []byte("\n")), []byte("\n"))
	if len(tail) == 0 {
		lines = nil
	}
	for i, line := range lines {
		r, err := Decode(line)
		if err == nil && !r.Intact() {
			err = errors.New("its hash is not that of its contents")
		}
		if err == nil {
			f.recent.add(&r)
			f.last = r.Head()
		} else if i == len(lines)-1 {
			return fmt.Errorf("the last line is not a record of the trail: %w", err)
		}
	}
	return nil
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
