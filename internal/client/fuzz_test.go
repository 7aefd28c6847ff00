package client

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// FuzzEvents feeds the decoder anything: it ends, and what it gives is what an
// encoder could have written.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("id: 1\nevent: run\ndata: {}\n\n"))
	f.Add([]byte(": alive\n\ndata: a\r\ndata:b\r\n\r\nevent: end\n\n"))
	f.Add([]byte("data\n\ndata: cut"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDecoder(bytes.NewReader(b))
		for n := 0; ; n++ {
			e, err := d.next()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("%v", err)
				}
				return
			}
			if strings.Contains(e.kind, "\n") || strings.Contains(e.id, "\n") {
				t.Fatalf("a field of more than one line: %+v", e)
			}
			if n > len(b) {
				t.Fatal("more events than bytes")
			}
			again := newDecoder(strings.NewReader("id: " + e.id + "\nevent: " + e.kind + "\ndata: " + strings.ReplaceAll(e.data, "\n", "\ndata: ") + "\n\n"))
			if back, err := again.next(); !strings.Contains(e.data+e.id+e.kind, "\r") && (err != nil || back != e) {
				t.Fatalf("%+v came back as %+v, %v", e, back, err)
			}
		}
	})
}

func TestAnEventIsBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("data: "), endlessly('x'))
	if _, err := newDecoder(endless).next(); !errors.Is(err, errTooLong) {
		t.Errorf("%v", err)
	}
}

type endlessly byte

func (e endlessly) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}
