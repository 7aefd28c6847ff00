package receive

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/restartilka/restartilka/internal/audit"
)

// maxLine bounds a line: a record, its newline, and room to notice a longer one.
const maxLine = 16 << 10

// digest is a record's hash.
type digest [32]byte

// segment is one file of a source: records of one epoch, with consecutive
// numbers from first on.
type segment struct {
	path         string
	epoch, first int64
	size         int64    // bytes of whole records on the disk
	digests      []digest // of its records, by their number; nil while it was not read
}

var segmentName = regexp.MustCompile(`^([0-9]{6})-([0-9]{12})\.jsonl$`)

func newSegment(dir string, epoch, first int64) *segment {
	return &segment{path: filepath.Join(dir, fmt.Sprintf("%06d-%012d.jsonl", epoch, first)), epoch: epoch, first: first}
}

// segments lists the files of a source's folder, in the order of its chain.
func segments(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []*segment
	for _, e := range entries {
		m := segmentName.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		epoch, _ := strconv.ParseInt(m[1], 10, 64) // digits, so few that they fit
		first, _ := strconv.ParseInt(m[2], 10, 64)
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		s := newSegment(dir, epoch, first)
		s.size = info.Size()
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *segment) int {
		if a.epoch != b.epoch {
			return int(a.epoch - b.epoch)
		}
		return int(a.first - b.first)
	})
	return all, nil
}

func (s *segment) last() int64 { return s.first + int64(len(s.digests)) - 1 }

// get gives the digest of a record by its number.
func (s *segment) get(seq int64) (digest, bool) {
	if seq < s.first || seq > s.last() {
		return digest{}, false
	}
	return s.digests[seq-s.first], true
}

// errDamaged is a line that is not the record which has to stand there.
var errDamaged = errors.New("it does not hold the records that it was given")

// scan reads the records of a file, and gives how many bytes of whole ones
// stand at its beginning. Records from the offset strictFrom on are checked in
// full; before that, where they were answered for, only that each is the one
// that its place needs.
func (s *segment) scan(file io.Reader, source string, strictFrom int64) (whole int64, last audit.Head, err error) {
	input := bufio.NewReaderSize(file, maxLine)
	s.digests = nil
	for {
		line, err := input.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, last, err
		}
		if err != nil {
			return whole, last, nil
		}
		seq := s.first + int64(len(s.digests))
		sum, ok := lineDigest(line, source, s.epoch, seq)
		if ok && whole >= strictFrom {
			ok = s.strictly(line, seq)
		}
		if !ok {
			return whole, last, nil
		}
		s.digests = append(s.digests, sum)
		last = audit.Head{Source: source, Epoch: s.epoch, Seq: seq, Hash: hex.EncodeToString(sum[:])}
		whole += int64(len(line))
	}
}

// strictly checks one record, and that it follows the one before it in the file.
func (s *segment) strictly(line []byte, seq int64) bool {
	r, err := audit.ReadLine(line[:len(line)-1])
	if err != nil {
		return false
	}
	before, ok := s.get(seq - 1)
	return !ok || r.PrevHash == hex.EncodeToString(before[:])
}

const hashMember = `,"hash":"`

// lineDigest reads the hash of a canonical record of a known place, without
// taking the record apart.
func lineDigest(line []byte, source string, epoch, seq int64) (sum digest, ok bool) {
	begin := strconv.AppendInt(append(append(make([]byte, 0, 128), `{"source":"`...), source+`","epoch":`...), epoch, 10)
	begin = append(strconv.AppendInt(append(begin, `,"seq":`...), seq, 10), ',')
	const end = len(`"}`) + 1
	at := len(line) - end - hex.EncodedLen(len(sum))
	if !bytes.HasPrefix(line, begin) || at < len(begin) || !bytes.HasSuffix(line, []byte("\"}\n")) || !bytes.HasSuffix(line[:at], []byte(hashMember)) {
		return sum, false
	}
	_, err := hex.Decode(sum[:], line[at:len(line)-end])
	return sum, err == nil
}

// load reads the digests of a file that is complete.
func (s *segment) load(source string) error {
	file, err := s.open(os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	whole, _, err := s.scan(file, source, s.size)
	if err == nil && whole != s.size {
		err = errDamaged
	}
	if err != nil {
		s.digests = nil
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	return nil
}

func (s *segment) open(flags int) (*os.File, error) {
	return os.OpenFile(s.path, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o640)
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
