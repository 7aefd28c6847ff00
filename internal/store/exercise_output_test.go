package store_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// readOutput reads all from offset on, in pages, and gives the bytes and how
// many are missing; pieces must follow each other.
func readOutput(t *testing.T, s *store.Store, task string, offset int64, limit int) (data []byte, truncated int64) {
	t.Helper()
	for {
		pieces, err := s.Output(t.Context(), task, offset, limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(pieces) == 0 {
			return data, truncated
		}
		size := 0
		for _, p := range pieces {
			if p.Offset != offset || p.EOF || (len(p.Data) > 0) == (p.Truncated > 0) {
				t.Fatalf("at %d comes offset %d, %d bytes, %d truncated, EOF %v", offset, p.Offset, len(p.Data), p.Truncated, p.EOF)
			}
			data, truncated, size = append(data, p.Data...), truncated+p.Truncated, size+len(p.Data)
			offset += int64(len(p.Data)) + p.Truncated
		}
		if limit > 0 && size > limit {
			t.Fatalf("%d bytes in a page of %d", size, limit)
		}
	}
}

func mustAppend(t *testing.T, s *store.Store, task string, offset int64, data []byte, truncated int64) {
	t.Helper()
	if err := s.AppendOutput(t.Context(), task, offset, data, truncated); err != nil {
		t.Fatal(err)
	}
}

func exerciseOutput(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	task := mustCreate(t, s, newRun(1)).Tasks[0].ID
	if data, n := readOutput(t, s, task, 0, 0); len(data) != 0 || n != 0 {
		t.Fatalf("a new task has output %q, %d", data, n)
	}
	text := []byte("line one\nline two without an end \x00\xff\xfe строка")
	mustAppend(t, s, task, 0, text[:10], 0)
	mustAppend(t, s, task, 0, text[:10], 0) // again
	mustAppend(t, s, task, 5, text[5:20], 0)
	mustAppend(t, s, task, 0, text, 0) // all again, cut differently
	mustAppend(t, s, task, 3, text[3:9], 0)
	if data, n := readOutput(t, s, task, 0, 0); !bytes.Equal(data, text) || n != 0 {
		t.Fatalf("output %q, %d truncated", data, n)
	}
	if data, _ := readOutput(t, s, task, 7, 4); !bytes.Equal(data, text[7:]) {
		t.Fatalf("output from 7 in pages of 4: %q", data)
	}
	// The agent itself dropped some, and then some at the end.
	end := int64(len(text))
	mustAppend(t, s, task, end, nil, 1000)
	mustAppend(t, s, task, end, nil, 1000)
	mustAppend(t, s, task, end+1000, []byte("tail"), 0)
	mustAppend(t, s, task, end+1004, nil, 7)
	if next, err := s.OutputEnd(t.Context(), task); err != nil || next != end+1011 {
		t.Fatalf("the output ends at %d, error %v, want %d", next, err, end+1011)
	}
	if data, n := readOutput(t, s, task, 0, 0); string(data) != string(text)+"tail" || n != 1007 {
		t.Fatalf("output %q, %d truncated", data, n)
	}
	_, err := s.Output(t.Context(), newID(), 0, 0)
	wantCode(t, err, restart.CodeNotFound)
	wantCode(t, s.AppendOutput(t.Context(), newID(), 0, text, 0), restart.CodeNotFound)
	wantCode(t, s.AppendOutput(t.Context(), task, -1, text, 0), restart.CodeInvalid)
}

func exerciseOutputBounds(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	task := mustCreate(t, s, newRun(1)).Tasks[0].ID
	const total, piece = protocol.Head + protocol.Tail + 5<<20 + 12345, 3<<20 + 77 // pieces cross the end of the head
	all := make([]byte, total)
	random := rand.NewChaCha8([32]byte{1})
	for i := 0; i < total; i += 4096 { // most of it compresses, as logs do
		random.Read(all[i:min(i+256, total)])
	}
	for at := 0; at < total; at += piece {
		mustAppend(t, s, task, int64(at), all[at:min(at+piece, total)], 0)
	}
	pieces, err := s.Output(t.Context(), task, protocol.Head-100, 0)
	if err != nil || len(pieces) < 2 || !bytes.Equal(pieces[0].Data, all[protocol.Head-100:protocol.Head]) || pieces[1].Truncated == 0 {
		t.Fatalf("the head ends wrongly: error %v", err)
	}
	if kept := pieces[1].Offset + pieces[1].Truncated; kept > total-protocol.Tail || kept < total-protocol.Tail-1<<20 {
		t.Fatalf("the tail begins at %d of %d", kept, total)
	}
	data, truncated := readOutput(t, s, task, 0, 0)
	if int64(len(data))+truncated != total || !bytes.Equal(data[:protocol.Head], all[:protocol.Head]) {
		t.Fatalf("%d bytes kept, %d truncated of %d", len(data), truncated, total)
	}
	if !bytes.Equal(data[len(data)-protocol.Tail:], all[total-protocol.Tail:]) {
		t.Fatal("the tail is not the end of the output")
	}
}
