package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
)

const (
	// askedBytes is how large the file of what servers asked grows before it is
	// set aside, and askedParts how many such are kept: who compares knows it too.
	askedBytes = audit.AskedPart
	askedParts = audit.AskedParts

	seqDigits = 12 // in the name of what was set aside
)

// partName is the file that is set aside with this record as its last: the
// names sort as the records follow each other.
func partName(name string, last int64) string {
	bare, suffix, _ := strings.Cut(name, ".")
	return fmt.Sprintf("%s-%0*d.%s", bare, seqDigits, last, suffix)
}

// parts names the files that were set aside, the oldest first.
func (l *Ledger) parts() (found []string, err error) {
	all, err := os.ReadDir(l.dir) // sorted
	for _, e := range all {
		bare, suffix, _ := strings.Cut(partName(l.name, 0), strings.Repeat("0", seqDigits))
		digits, ours := strings.CutPrefix(e.Name(), bare)
		digits, ends := strings.CutSuffix(digits, suffix)
		if ours && ends && len(digits) == seqDigits && strings.Trim(digits, "0123456789") == "" {
			found = append(found, e.Name())
		}
	}
	return found, err
}

// follow sets the head to where the newest part ends, so that the file goes on
// from there.
func (l *Ledger) follow() error {
	if l.partBytes == 0 {
		return nil
	}
	found, err := l.parts()
	if err != nil || len(found) == 0 {
		return err
	}
	file, err := openFile(l.dir, found[len(found)-1], 0)
	if err != nil {
		return err
	}
	defer file.Close() // read only
	_, err = each(file, func(r audit.Record, _ int64) { l.head.Epoch, l.head.Seq, l.head.Hash = r.Epoch, r.Seq, r.Hash })
	if bad := (*lineError)(nil); errors.As(err, &bad) {
		return nil // what was done to it shows to who verifies it
	}
	return err
}

// rotate sets the file aside under a name of its own, and drops the oldest
// parts. A crash at any step leaves the records where they were or in the part;
// the file is made anew with the next record.
func (l *Ledger) rotate() error {
	if err := l.sync(int(l.file.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", l.file.Name(), err)
	}
	l.synced = l.head
	if err := os.Rename(l.file.Name(), filepath.Join(l.dir, partName(l.name, l.head.Seq))); err != nil {
		return err
	}
	old := l.file
	l.file, l.size = nil, 0
	found, err := l.parts()
	for ; err == nil && len(found) > l.keepParts; found = found[1:] {
		err = os.Remove(filepath.Join(l.dir, found[0]))
	}
	return errors.Join(err, old.Close(), syncDir(l.dir))
}
