package backup

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"

	"github.com/restartilka/restartilka/internal/restart"
)

// Reader reads a backup from its beginning to its end, once.
type Reader struct {
	input    *bufio.Reader
	lines    *bufio.Reader
	zip      *gzip.Reader
	sum      hash.Hash
	line     []byte
	values   []value
	manifest Manifest
	digest   string
	table    int
	left     int64
}

// NewReader reads the manifest. CodeInvalid where this is no backup,
// CodeConflict where it has a newer format.
func NewReader(r io.Reader) (*Reader, error) {
	input := bufio.NewReader(r) // gzip takes no more from it than belongs to the backup
	z, err := gzip.NewReader(input)
	if err != nil {
		return nil, broken(err)
	}
	z.Multistream(false)
	b := &Reader{input: input, zip: z, lines: bufio.NewReaderSize(z, 256<<10), sum: sha256.New(), table: -1}
	line, err := b.next()
	if err != nil {
		return nil, err
	}
	b.sum.Write(line) // never fails
	if err := json.Unmarshal(line, &b.manifest); err != nil {
		return nil, damaged("its first line is not that of a backup")
	}
	return b, b.manifest.check()
}

// Manifest gives the manifest.
func (r *Reader) Manifest() Manifest { return r.manifest }

// Digest gives the SHA-256 of the backup, once Next has said that it is whole.
func (r *Reader) Digest() string { return r.digest }

// Next gives the next row and its table. No row and no error means that the
// backup has been read to its end and is whole; before that, nothing of it may
// count.
func (r *Reader) Next() (table Table, row []any, err error) {
	for r.left == 0 {
		if r.table++; r.table >= len(r.manifest.Tables) {
			return Table{}, nil, r.end()
		}
		line, err := r.next()
		if err != nil {
			return Table{}, nil, err
		}
		r.sum.Write(line)
		var head tableLine
		table = r.manifest.Tables[r.table]
		if json.Unmarshal(line, &head) != nil || head.Table != table.Name {
			return Table{}, nil, damaged("table %s does not come where it should", table.Name)
		}
		r.left = table.Rows
	}
	r.left--
	table = r.manifest.Tables[r.table]
	line, err := r.next()
	if err != nil {
		return Table{}, nil, err
	}
	r.sum.Write(line)
	r.values = r.values[:0]
	if err := json.Unmarshal(line, &r.values); err != nil || len(r.values) != len(table.Columns) {
		return Table{}, nil, damaged("a row of table %s is not one", table.Name).Because(err)
	}
	row = make([]any, len(r.values))
	for i := range r.values {
		row[i] = r.values[i].v
	}
	return table, row, nil
}

// end compares the sum, and makes sure that nothing follows.
func (r *Reader) end() error {
	if r.digest != "" {
		return nil
	}
	line, err := r.next()
	if err != nil {
		return err
	}
	var last lastLine
	digest := hex.EncodeToString(r.sum.Sum(nil))
	if json.Unmarshal(line, &last) != nil || last.SHA256 != digest {
		return damaged("its SHA-256 is not the one that it ends with")
	}
	if _, err := r.lines.ReadByte(); !errors.Is(err, io.EOF) {
		if err != nil {
			return broken(err)
		}
		return damaged("something follows its end")
	}
	if _, err := r.input.ReadByte(); !errors.Is(err, io.EOF) {
		return damaged("something follows its end")
	}
	r.digest = digest
	return nil
}

// next reads a line with its end.
func (r *Reader) next() ([]byte, error) {
	r.line = r.line[:0]
	for {
		part, err := r.lines.ReadSlice('\n')
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return r.line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, broken(err)
		case len(r.line) > maxLine:
			return nil, damaged("one of its lines is too long")
		}
	}
}

// broken tells an input that ends early, or is something else, from one that
// can't be read.
func broken(err error) error {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it ends too early").Because(err)
	case errors.Is(err, gzip.ErrHeader):
		return damaged("it does not begin as one").Because(err)
	case errors.Is(err, gzip.ErrChecksum), corrupt:
		return damaged("its bytes were changed").Because(err)
	}
	return restart.Errorf(restart.CodeInvalid, "the backup can't be read: %v", err).Because(err)
}

// Verify reads a whole backup and says whether it is one: its manifest and
// digest, or what is wrong.
func Verify(r io.Reader, progress func(rows int64)) (Manifest, string, error) {
	b, err := NewReader(r)
	if err != nil {
		return Manifest{}, "", err
	}
	for rows := int64(0); ; rows++ {
		_, row, err := b.Next()
		if row == nil {
			return b.manifest, b.digest, err
		}
		progress(rows)
	}
}
