package backup_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/backup"
	"github.com/restartilka/restartilka/internal/restart"
)

func manifest(rows ...[][]any) backup.Manifest {
	m := backup.Manifest{Schema: 3, MadeAt: time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC), Server: "main", Program: "0.3.0", Database: "SQLite", Tables: []backup.Table{}}
	for i, r := range rows {
		columns := []string{"id", "b", "c", "d"}
		m.Tables = append(m.Tables, backup.Table{Name: string(rune('a' + i)), Columns: columns, Rows: int64(len(r))})
	}
	return m
}

func write(t interface{ Fatal(...any) }, tables ...[][]any) ([]byte, string) {
	var b bytes.Buffer
	m := manifest(tables...)
	w, err := backup.NewWriter(&b, m)
	for i, rows := range tables {
		if err == nil {
			err = w.Table(m.Tables[i].Name)
		}
		for _, row := range rows {
			if err == nil {
				err = w.Row(row)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	digest, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digest
}

func read(b []byte) (rows [][]any, digest string, err error) {
	r, err := backup.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, "", err
	}
	for {
		_, row, err := r.Next()
		if err != nil {
			return nil, "", err
		}
		if row == nil {
			return rows, r.Digest(), nil
		}
		rows = append(rows, row)
	}
}

var sample = [][][]any{
	{
		{"01", int64(-1), []byte("\x00\xff\x1f"), nil},
		{"02", int64(math.MaxInt64), []byte{}, "«tab\t\"quote\" \\ <&> \u2028 \x01 line\n»"},
	},
	{},
	{{"03", int64(math.MinInt64), nil, strings.Repeat("x", 3<<20)}},
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	b, digest := write(t, sample...)
	rows, got, err := read(b)
	if err != nil || got != digest {
		t.Fatalf("digest %s, want %s; %v", got, digest, err)
	}
	if diff := cmp.Diff(append(append([][]any{}, sample[0]...), sample[2]...), rows); diff != "" {
		t.Error(diff)
	}
	// The sum is what anybody gets from the lines before the last.
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	text = text[:bytes.LastIndexByte(text[:len(text)-1], '\n')+1]
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != digest {
		t.Errorf("sum of the lines is not %s", digest)
	}
	m, got, err := backup.Verify(bytes.NewReader(b), func(int64) {})
	if err != nil || got != digest || m.Rows() != 3 || m.Format != backup.Format {
		t.Errorf("%+v %s %v", m, got, err)
	}
}

func TestWhateverIsWrittenIsRead(t *testing.T) {
	value := rapid.OneOf(
		rapid.Map(rapid.Int64(), func(n int64) any { return n }),
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) any { return append([]byte{}, b...) }),
		rapid.Just[any](nil))
	rapid.Check(t, func(t *rapid.T) {
		table := rapid.SliceOf(rapid.SliceOfN(value, 4, 4)).Draw(t, "rows")
		b, _ := write(t, table)
		rows, _, err := read(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(table, rows, cmp.Transformer("", func(r [][]any) [][]any { return append([][]any{}, r...) })); diff != "" {
			t.Fatal(diff)
		}
	})
}

// No piece, and no change of a byte, passes for a backup.
func TestADamagedBackupIsRefused(t *testing.T) {
	b, digest := write(t, sample[0], nil)
	refused := func(what string, b []byte) {
		t.Helper()
		_, _, err := read(b)
		if code := restart.CodeOf(err); code != restart.CodeInvalid && code != restart.CodeConflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range b {
		refused("cut", b[:n])
	}
	for i := 10; i < len(b); i++ { // what is before is gzip's own time and system
		changed := bytes.Clone(b)
		changed[i] ^= 0x40
		if _, same, err := read(changed); err == nil && same == digest {
			continue // a bit that gzip does not use
		}
		refused("changed", changed)
	}
	refused("longer", append(bytes.Clone(b), 0))
	refused("twice", append(bytes.Clone(b), b...))

	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	lines = lines[:len(lines)-1]
	// An attacker who makes the sum anew still has to keep to the manifest.
	again := func(lines ...[]byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		body := bytes.Join(lines, nil)
		sum := sha256.Sum256(body)
		z.Write(body)
		z.Write([]byte(`{"sha256":"` + hex.EncodeToString(sum[:]) + `"}` + "\n"))
		z.Close()
		return out.Bytes()
	}
	if _, _, err := read(again(lines[:len(lines)-1]...)); err != nil {
		t.Fatalf("the same lines: %v", err)
	}
	refused("a row less", again(lines[0], lines[1], lines[2], lines[4]))
	refused("a row more", again(lines[0], lines[1], lines[2], lines[2], lines[3], lines[4]))
	refused("a table less", again(lines[:4]...))
	refused("a line more", again(append(append([][]byte{}, lines[:5]...), lines[4])...))
	for old, with := range map[string]string{
		`"name":"a"`: `"name":"a; DROP TABLE runs"`, `"id"`: `"id) VALUES ("`, `"format":1`: `"format":2`, `"schema":3`: `"schema":0`,
		`"restartilka"`: `"other"`, `"rows":2`: `"rows":-2`, `"name":"b"`: `"name":"a"`,
	} {
		if !bytes.Contains(lines[0], []byte(old)) {
			t.Fatalf("no %s in %s", old, lines[0])
		}
		refused(with, again(append([][]byte{bytes.Replace(lines[0], []byte(old), []byte(with), 1)}, lines[1:5]...)...))
	}
	for _, row := range []string{`["01",1.5,null,null]`, `["01",true,null,null]`, `["01",{"b":"!"},null,null]`, `["01",{},null,null]`, `["01",1]`, `{}`, `[`, `["01",99999999999999999999,null,null]`} {
		refused(row, again(lines[0], lines[1], []byte(row+"\n"), lines[3], lines[4]))
	}
}

func TestTheWriterKeepsToItsManifest(t *testing.T) {
	m := manifest(sample[0])
	w, err := backup.NewWriter(io.Discard, m)
	if err != nil {
		t.Fatal(err)
	}
	row := sample[0][0]
	if w.Row(row) == nil || w.Table("b") == nil {
		t.Error("a row without its table")
	}
	w, _ = backup.NewWriter(io.Discard, m)
	if err := w.Table("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err == nil {
		t.Error("closed with rows missing")
	}
	if w.Row(row[:3]) == nil || w.Row([]any{1.5, nil, nil, nil}) == nil {
		t.Error("rows that are none")
	}
	w.Row(row)
	if w.Row(row) == nil {
		t.Error("a row too many")
	}
}

func FuzzRead(f *testing.F) {
	b, _ := write(f, sample[0], nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, err := read(b)
		if code := restart.CodeOf(err); err != nil && code != restart.CodeInvalid && code != restart.CodeConflict {
			t.Error(err)
		}
	})
}
