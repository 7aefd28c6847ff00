package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
)

// The ledgers' names in the spool.
const (
	File      = "ledger.jsonl"
	AskedFile = "asked.jsonl"
)

// Entry is what the ledger has of one task.
type Entry struct {
	Intent  audit.Record
	Outcome *audit.Record // nil = it has not ended, or nobody has written that down yet
}

// Ledger is the open file. Its methods may be called at once.
type Ledger struct {
	dir    string
	name   string // of the file
	mu     sync.Mutex
	file   *os.File // nil until there is a record
	size   int64
	broken error // why nothing more can be written
	sync   func(fd int) error
	head   audit.Head
	synced audit.Head // how far the chain would be there after a power cut

	partBytes int64 // the file is set aside when it has so many; 0 = never
	keepParts int   // that were set aside

	tasks map[string]*Entry
	order []string // of the tasks
}

// Open opens the ledger of a host in the spool at dir; where there is none, it
// is made with the first record. Entries whose intent is older than keep are
// counted and not kept in memory; one without an outcome is kept whatever its
// age. damage is what is wrong with the chain, where something is; the ledger
// is usable all the same.
func Open(dir, host string, now time.Time, keep time.Duration) (l *Ledger, damage, err error) {
	return newLedger(dir, File, audit.AgentSource+host).open(now.Add(-keep))
}

// OpenAsked opens the ledger of what servers have asked of the host, and what
// of it was refused: see Asked. It is a chain of its own, of which no server is
// told where it stands. It is bounded: the oldest records go in the end.
func OpenAsked(dir, host string, now time.Time) (l *Ledger, damage, err error) {
	l = newLedger(dir, AskedFile, audit.AgentSource+host+audit.AskedSource)
	l.partBytes, l.keepParts = askedBytes, askedParts
	return l.open(now)
}

func newLedger(dir, name, source string) *Ledger {
	return &Ledger{dir: dir, name: name, head: audit.Head{Source: source}, tasks: map[string]*Entry{}, sync: unix.Fsync}
}

// open reads what there is; entries older than since are not kept.
func (l *Ledger) open(since time.Time) (opened *Ledger, damage, err error) {
	if err := l.follow(); err != nil {
		return nil, nil, fmt.Errorf("read what was set aside of %s/%s: %w", l.dir, l.name, err)
	}
	l.synced = l.head // parts were synced before they were set aside
	l.file, err = openFile(l.dir, l.name, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil, nil
	}
	if err == nil {
		damage, err = l.load(since)
	}
	if err == nil { // whoever has written it may not have lived to do this
		err = errors.Join(l.sync(int(l.file.Fd())), syncDir(l.dir))
	}
	if err != nil {
		l.Close()
		return nil, nil, fmt.Errorf("read %s/%s: %w", l.dir, l.name, err)
	}
	l.synced = l.head
	return l, damage, nil
}

func openFile(dir, name string, create int) (*os.File, error) {
	path := dir + "/" + name
	fd, err := unix.Open(path, unix.O_RDWR|create|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Close closes the file.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// load reads the whole file, and cuts off what a crash has torn.
func (l *Ledger) load(since time.Time) (damage, err error) {
	good, err := each(l.file, func(r audit.Record, line int64) {
		switch {
		case !r.Intact(), r.Source != l.head.Source, r.Seq != l.head.Seq+1, r.PrevHash != l.head.Hash:
			if damage == nil {
				damage = fmt.Errorf("record %d in line %d does not follow the one before it", r.Seq, line)
			}
		}
		l.note(r)
	})
	if bad := (*lineError)(nil); errors.As(err, &bad) {
		damage, err = errors.Join(damage, bad), nil
	}
	if err != nil {
		return damage, err
	}
	for i := 0; i < len(l.order); {
		id := l.order[i]
		if e := l.tasks[id]; e.Outcome != nil && e.Intent.Time.Before(since) {
			delete(l.tasks, id)
			l.order = append(l.order[:i], l.order[i+1:]...)
			continue
		}
		i++
	}
	info, err := l.file.Stat()
	if err != nil {
		return damage, err
	}
	l.size = good
	if info.Size() > good {
		if err := l.file.Truncate(good); err != nil {
			return damage, err
		}
	}
	return damage, nil
}

// lineError is a line that no record is in.
type lineError struct {
	line int64
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// each gives the records from the file's beginning, and the size of its whole
// lines. Lines that hold none are skipped and told at the end.
func each(r io.ReaderAt, do func(r audit.Record, line int64)) (good int64, err error) {
	lines := bufio.NewReaderSize(io.NewSectionReader(r, 0, 1<<62), 64<<10)
	var bad *lineError
	for n := int64(1); ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) { // what follows the last newline is torn
			if bad != nil {
				return good, bad
			}
			return good, nil
		}
		if err != nil {
			return good, err
		}
		good += int64(len(line))
		rec, err := audit.Decode(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			if bad == nil {
				bad = &lineError{n, err}
			}
			continue
		}
		do(rec, n)
	}
}

// note keeps a record in memory.
func (l *Ledger) note(r audit.Record) {
	l.head.Epoch, l.head.Seq, l.head.Hash = r.Epoch, r.Seq, r.Hash
	switch r.Action {
	case audit.TaskIntent:
		if l.tasks[r.Task] == nil {
			l.tasks[r.Task] = &Entry{Intent: r}
			l.order = append(l.order, r.Task)
		}
	case audit.TaskOutcome:
		if e := l.tasks[r.Task]; e != nil && e.Outcome == nil {
			e.Outcome = &r
		}
	}
}

// Append gives a record its place behind the head and makes it durable. After
// an error nothing of it is left; where even that can't be said, nothing is
// ever appended again until the ledger is opened anew.
//
// What was noted before it is durable with it.
func (l *Ledger) Append(r audit.Record) error { return l.append(r, true) }

// Note is Append without making the record durable: it survives every process,
// and the kernel writes it to the disk within half a minute. It is for records
// of what was not done, and of what changed nothing.
func (l *Ledger) Note(r audit.Record) error { return l.append(r, false) }

func (l *Ledger) append(r audit.Record, durable bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return l.broken
	}
	if l.file != nil && l.partBytes > 0 && l.size >= l.partBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.file == nil {
		file, err := openFile(l.dir, l.name, unix.O_CREAT)
		if err != nil {
			return err
		}
		if err := syncDir(l.dir); err != nil {
			file.Close()
			return err
		}
		l.file = file
	}
	r.Link(l.head)
	line := append(r.Canonical(), '\n')
	_, err := l.file.Write(line)
	if err == nil && durable {
		err = l.sync(int(l.file.Fd()))
	}
	if err != nil {
		err = fmt.Errorf("write %s: %w", l.file.Name(), err)
		if cut := l.file.Truncate(l.size); cut != nil {
			l.broken = errors.Join(err, cut)
		}
		return err
	}
	l.size += int64(len(line))
	l.note(r)
	if durable {
		l.synced = l.head
	}
	return nil
}

// Head tells where the chain stands.
func (l *Ledger) Head() audit.Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Durable tells how much of the chain no power cut can take away: what others
// are told, since a chain that has less than it said was rewritten.
func (l *Ledger) Durable() audit.Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// Entries gives what is known of the tasks, oldest first.
func (l *Ledger) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Entry, 0, len(l.order))
	for _, id := range l.order {
		out = append(out, *l.tasks[id])
	}
	return out
}

// Entry gives what is known of one task.
func (l *Ledger) Entry(task string) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.tasks[task]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// After gives at most most records whose seq is above after, in order, and
// whether there are more.
func (l *Ledger) After(after int64, most int) (records []audit.Record, more bool, err error) {
	l.mu.Lock()
	file, seq := l.file, l.head.Seq
	l.mu.Unlock()
	if file == nil || seq <= after {
		return nil, false, nil
	}
	_, err = each(file, func(r audit.Record, _ int64) {
		switch {
		case r.Seq <= after:
		case len(records) == most:
			more = true
		default:
			records = append(records, r)
		}
	})
	if bad := (*lineError)(nil); errors.As(err, &bad) {
		err = nil // Open has said so, and who reads sees the gap
	}
	return records, more, err
}
