package backup

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Writer writes a backup. It holds it to its manifest: a backup that would not
// be read again is an error here.
type Writer struct {
	zip    *gzip.Writer
	buffer *bufio.Writer // into zip
	sum    hash.Hash
	line   []byte
	tables []Table
	table  int   // the one that is written; -1 before the first
	left   int64 // of its rows
}

// NewWriter begins a backup with its manifest, in which Backup and Format are
// filled in.
func NewWriter(w io.Writer, m Manifest) (*Writer, error) {
	m.Backup, m.Format = magic, Format
	if err := m.check(); err != nil {
		return nil, err
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // most of it is packed already
	if err != nil {
		return nil, err
	}
	b := &Writer{zip: z, buffer: bufio.NewWriterSize(z, 256<<10), sum: sha256.New(), tables: m.Tables, table: -1}
	return b, b.json(m)
}

func (w *Writer) json(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode a line: %w", err)
	}
	return w.put(append(line, '\n'))
}

func (w *Writer) put(line []byte) error {
	if len(line) > maxLine {
		return fmt.Errorf("a line has %d bytes, and at most %d can be read again", len(line), maxLine)
	}
	w.sum.Write(line) // never fails
	_, err := w.buffer.Write(line)
	return err
}

// Table begins the next table of the manifest.
func (w *Writer) Table(name string) error {
	if w.left > 0 {
		return fmt.Errorf("%s has %d rows less than were counted", w.tables[w.table].Name, w.left)
	}
	w.table++
	if w.table >= len(w.tables) || w.tables[w.table].Name != name {
		return fmt.Errorf("table %s is not the next", name)
	}
	w.left = w.tables[w.table].Rows
	return w.json(tableLine{name})
}

// Row writes a row of the table: int64, string, []byte or nil for each column.
func (w *Writer) Row(row []any) (err error) {
	if w.table < 0 || w.left == 0 || len(row) != len(w.tables[w.table].Columns) {
		return errors.New("the row is not one of those that were counted")
	}
	w.left--
	if w.line, err = appendRow(w.line[:0], row); err != nil {
		return err
	}
	w.line = append(w.line, '\n')
	return w.put(w.line)
}

// Close ends the backup with its sum, which it returns; the writer below is not closed.
func (w *Writer) Close() (digest string, err error) {
	if w.left > 0 || w.table != len(w.tables)-1 {
		return "", errors.New("the backup is not whole yet")
	}
	digest = hex.EncodeToString(w.sum.Sum(nil))
	if err := w.json(lastLine{digest}); err != nil {
		return "", err
	}
	return digest, errors.Join(w.buffer.Flush(), w.zip.Close())
}
