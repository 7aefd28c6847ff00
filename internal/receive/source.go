package receive

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
)

// gapPatience is how long a source may go on to send what lies behind a gap
// before that raises the alarm.
const gapPatience = time.Minute

// bounds of one source.
type bounds struct {
	fileSize int64 // bytes of a file
	most     int64 // bytes of all files; 0 = none
	keepFree int64 // bytes of the file system that stay free
}

// source is the store of one source. Requests take turns.
type source struct {
	name   string
	dir    string
	bounds bounds
	now    func() time.Time
	log    *slog.Logger
	alarms alarms

	mu       sync.Mutex
	head     audit.Head // of what is on the disk
	segments []*segment // the last is written to
	file     *os.File   // of the last segment; nil: it is opened anew
	torn     bool       // bytes that are not stored may stand behind the last segment's size
	loaded   *segment   // the one before the last whose digests were read
	behind   time.Time  // since when the source sends what lies behind a gap; zero = it does not

	tallies tallies
}

// openSource opens or makes the folder of a source, repairs what a crash has
// left, and makes sure that what is there is on the disk.
func openSource(name, root string, b bounds, now func() time.Time, log *slog.Logger) (*source, error) {
	dir := filepath.Join(root, name)
	s := &source{name: name, dir: dir, bounds: b, now: now, log: log.With("source", name)}
	s.alarms.path = filepath.Join(dir, alarmFile)
	s.head.Source = name
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the folder of %s: %w", name, err)
	}
	var err error
	if s.segments, err = segments(dir); err != nil {
		return nil, fmt.Errorf("open the store of %s: %w", name, err)
	}
	for len(s.segments) > 0 {
		last := s.segments[len(s.segments)-1]
		if s.head, err = s.recover(last); err != nil {
			return nil, fmt.Errorf("open the store of %s: %s: %w", name, last.path, err)
		}
		if len(last.digests) > 0 {
			break
		}
		// A crash came between the file and its first record.
		if err := os.Remove(last.path); err != nil {
			return nil, fmt.Errorf("open the store of %s: %w", name, err)
		}
		s.segments = s.segments[:len(s.segments)-1]
	}
	if err := errors.Join(syncFolder(dir), syncFolder(root)); err != nil {
		return nil, fmt.Errorf("open the store of %s: %w", name, err)
	}
	s.tallies.opened(s)
	return s, nil
}

// recover repairs the end of a file and makes it durable.
func (s *source) recover(g *segment) (audit.Head, error) {
	file, err := g.open(os.O_RDWR)
	if err != nil {
		return audit.Head{}, err
	}
	defer file.Close()
	whole, head, err := g.scan(file, s.name, g.size-audit.ReceiverBody)
	if err != nil {
		return audit.Head{}, err
	}
	if whole < g.size {
		if err := s.cut(g, file, whole); err != nil {
			return audit.Head{}, err
		}
	}
	g.size = whole
	if len(g.digests) == 0 {
		head = audit.Head{Source: s.name}
	}
	// See the package comment: what no fsync has stored may look well in memory.
	tail := make([]byte, min(whole, audit.ReceiverBody))
	if _, err := file.ReadAt(tail, whole-int64(len(tail))); err != nil {
		return audit.Head{}, err
	}
	if _, err := file.WriteAt(tail, whole-int64(len(tail))); err != nil {
		return audit.Head{}, err
	}
	return head, file.Sync()
}

// cut ends a file behind its whole records. What it cuts off is put apart
// first, unless it is only a last line without its end.
func (s *source) cut(g *segment, file *os.File, whole int64) error {
	rest := make([]byte, g.size-whole)
	if _, err := file.ReadAt(rest, whole); err != nil {
		return err
	}
	if len(rest) <= audit.ReceiverBody && !bytes.Contains(rest, []byte("\n")) {
		s.log.Warn("the last line of the trail was torn, and is cut off: it was not answered for", "file", g.path, "bytes", len(rest))
		return file.Truncate(whole)
	}
	stored, err := keepApart(s.dir, fmt.Sprintf("%s-%06d-%012d-%d.jsonl", AlarmDamaged, g.epoch, g.first, whole), rest, maxDamaged)
	if err == nil && stored == "" {
		err = errors.New("its end is damaged, and there is too much put apart already")
	}
	if err != nil {
		return err
	}
	next := g.first + int64(len(g.digests))
	s.raise(Alarm{
		Kind: AlarmDamaged, Epoch: g.epoch, Seq: next, Stored: stored,
		Text: fmt.Sprintf("%s does not hold its records from %d on: %d bytes were put apart, and the source is asked for them", filepath.Base(g.path), next, len(rest)),
	})
	return file.Truncate(whole)
}

// damaged tells of a file of records that were answered for.
func (s *source) damaged(g *segment, err error) error {
	if errors.Is(err, errDamaged) {
		s.raise(Alarm{Kind: AlarmDamaged, Epoch: g.epoch, Seq: g.first, Text: filepath.Base(g.path) + " does not hold its records any more"})
	}
	return restart.Errorf(restart.CodeUnavailable, "what is stored of %s can't be read: %v", s.name, err)
}

// take stores what is good of a request, and gives the head of what is on the
// disk then, whatever the error: *audit.Behind, or a *restart.Error.
func (s *source) take(body []byte) (audit.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tallies.begin(s.now())
	defer s.tallies.end()
	b, why := s.examine(body)
	for i := range b.pieces {
		if err := s.store(&b.pieces[i]); err != nil {
			s.tallies.failed(err)
			return s.head, err
		}
	}
	s.tallies.took(s, b)
	if behind, ok := errors.AsType[*audit.Behind](why); ok {
		s.missing(behind)
		return s.head, why
	}
	s.behind = time.Time{}
	if refused, ok := errors.AsType[*refusal](why); ok {
		return s.head, s.refuse(refused)
	}
	return s.head, why
}

// store writes one piece and syncs it. The head moves only then.
func (s *source) store(p *piece) error {
	if err := s.room(int64(len(p.lines))); err != nil {
		return err
	}
	var g *segment
	if n := len(s.segments); n > 0 {
		g = s.segments[n-1]
	}
	fresh := g == nil || g.epoch != p.epoch || g.size+int64(len(p.lines)) > s.bounds.fileSize
	if fresh {
		g = newSegment(s.dir, p.epoch, p.first)
	}
	if err := s.write(g, fresh, p.lines); err != nil {
		code := restart.CodeUnavailable
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			code = restart.CodeDiskFull
		}
		return restart.Errorf(code, "records of %s can't be stored: %v", s.name, err).Because(err)
	}
	if fresh {
		if n := len(s.segments); n > 0 {
			if s.loaded != nil {
				s.loaded.digests = nil
			}
			s.loaded = s.segments[n-1]
		}
		s.segments = append(s.segments, g)
	}
	g.size += int64(len(p.lines))
	g.digests = append(g.digests, p.digests...)
	sum := p.digests[len(p.digests)-1]
	s.head = audit.Head{Source: s.name, Epoch: p.epoch, Seq: p.last(), Hash: fmt.Sprintf("%x", sum[:])}
	return nil
}

// write adds lines to a file, which is made where it is fresh. After an error
// nothing of them counts.
func (s *source) write(g *segment, fresh bool, lines []byte) error {
	if err := s.mend(); err != nil {
		return err
	}
	flags := os.O_RDWR
	if fresh {
		flags |= os.O_CREATE | os.O_TRUNC
		s.close() // synced with its last record
	}
	if s.file == nil {
		file, err := g.open(flags)
		if err != nil {
			return err
		}
		s.file = file
	}
	_, err := s.file.WriteAt(lines, g.size)
	if err == nil {
		err = s.file.Sync()
	}
	if err == nil && fresh {
		err = syncFolder(s.dir)
	}
	if err == nil {
		return nil
	}
	s.close()
	if fresh {
		os.Remove(g.path) // what is left is made empty by the next try
	} else {
		s.torn = true
		s.mend() //nolint:errcheck // or else before the next write
	}
	return err
}

// mend cuts off what a failed write has left behind the last file's records.
func (s *source) mend() error {
	if !s.torn {
		return nil
	}
	g := s.segments[len(s.segments)-1]
	if err := os.Truncate(g.path, g.size); err != nil {
		return err
	}
	s.torn = false
	return nil
}

func (s *source) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// room refuses what would use up the space that is to stay.
func (s *source) room(more int64) error {
	if s.bounds.most > 0 && s.size()+more > s.bounds.most {
		return restart.Errorf(restart.CodeDiskFull, "the records of %s take %d MB, which is as much as they may", s.name, s.size()>>20).
			WithHint("source_max_mb in the receiver's configuration, or more room")
	}
	free, err := freeBytes(s.dir)
	if err != nil {
		return restart.Errorf(restart.CodeUnavailable, "the store of %s can't be looked at: %v", s.name, err)
	}
	if free-more < s.bounds.keepFree {
		return restart.Errorf(restart.CodeDiskFull, "the receiver's disk is full: %d MB are free, and %d MB are kept free", free>>20, s.bounds.keepFree>>20).
			WithHint("make room on the receiver; keep_free_mb in its configuration")
	}
	return nil
}

func (s *source) size() int64 {
	var n int64
	for _, g := range s.segments {
		n += g.size
	}
	return n
}

func freeBytes(dir string) (int64, error) {
	var at unix.Statfs_t
	if err := unix.Statfs(dir, &at); err != nil {
		return 0, err
	}
	return int64(at.Bavail) * at.Bsize, nil
}

// missing watches a source that goes on behind a gap. Once is as it has to be:
// it sends from the head then.
func (s *source) missing(behind *audit.Behind) {
	now := s.now()
	if s.behind.IsZero() {
		s.behind = now
	}
	if now.Sub(s.behind) < gapPatience {
		return
	}
	s.raise(Alarm{
		Kind: AlarmGap, Epoch: s.head.Epoch, Seq: behind.After + 1,
		Text: fmt.Sprintf("record %d is missing: the source was told, and goes on behind it", behind.After+1),
	})
}

// refuse keeps what came apart and raises the alarm.
func (s *source) refuse(r *refusal) error {
	stored, err := keepApart(s.dir, r.name(), r.rest, maxRefused)
	if err != nil {
		s.log.Error("what was refused can't be kept", "error", err)
	}
	s.tallies.refused(r.kind)
	s.raise(Alarm{Kind: r.kind, Epoch: r.epoch, Seq: r.seq, Text: r.text, Stored: stored})
	return restart.Errorf(restart.CodeConflict, "record %d of epoch %d is not taken, %s: %s", r.seq, r.epoch, r.kind, r.text).
		WithHint("the receiver has raised the alarm: %s on its machine has what it is about", s.alarms.path)
}

func (s *source) raise(a Alarm) {
	a.Time, a.Source = s.now().UTC().Truncate(time.Microsecond), s.name
	news, err := s.alarms.raise(a)
	if err != nil {
		s.log.Error("an alarm can't be noted", "error", err)
	}
	if news {
		s.log.Error("ALARM", "kind", a.Kind, "epoch", a.Epoch, "seq", a.Seq, "what", a.Text, "stored", a.Stored)
	}
}
