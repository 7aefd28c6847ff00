package spool_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/agent/spool"
	"github.com/restartilka/restartilka/internal/protocol"
)

// readAll reads a whole output, and fails on any hole that is not told.
func readAll(t rapid.TB, s *spool.Spool, id string, size int64) (data []byte, kept, lost int64) {
	for at := int64(0); ; {
		o, err := s.ReadOutput(id, at, size)
		if err != nil {
			t.Fatal(err)
		}
		if o.Offset != at {
			t.Fatalf("asked for %d, got %d", at, o.Offset)
		}
		if len(o.Data) == 0 && o.Truncated == 0 {
			if at != size {
				t.Fatalf("ended at %d of %d", at, size)
			}
			return data, kept, lost
		}
		data = append(data, o.Data...)
		at += int64(len(o.Data)) + o.Truncated
		kept += int64(len(o.Data))
		lost += o.Truncated
	}
}

func testHeadAndTailAreKept(t *testing.T, b *bed) {
	const period = 251
	pattern := bytes.Repeat(func() (p []byte) {
		for i := range period {
			p = append(p, byte(i))
		}
		return p
	}(), (1<<20)/period+2)
	s := b.spool(t)
	for _, size := range []int64{0, 1, spool.Chunk, protocol.Head - 1, protocol.Head + 1, protocol.Head + 2*protocol.Tail + 77} {
		e := envelopeFor(fmt.Sprintf("nginx%d", size))
		b.receive(t, s, e)
		out := b.task(t, e.Task).NewOutput()
		for at := int64(0); at < size; {
			n := min(size-at, 1<<20)
			out.Write(pattern[at%period:][:n])
			at += n
		}
		out.Close()
		if out.Size() != size || out.Dropped() != 0 {
			t.Errorf("size %d, dropped %d", out.Size(), out.Dropped())
		}
		data, kept, lost := readAll(t, s, e.Task, size)
		if kept+lost != size || kept < min(size, protocol.Head+protocol.Tail) || kept > protocol.Head+protocol.Tail+spool.SegmentSize {
			t.Errorf("of %d bytes %d are kept", size, kept)
		}
		// The head and the tail are what was written at their offsets.
		head := data[:min(int64(len(data)), protocol.Head)]
		tail := data[max(0, int64(len(data))-protocol.Tail):]
		for at, part := range map[int64][]byte{0: head, size - int64(len(tail)): tail} {
			for i := 0; i < len(part); i += period {
				n := min(period, len(part)-i)
				if !bytes.Equal(part[i:i+n], pattern[(at+int64(i))%period:][:n]) {
					t.Fatalf("what was written at %d is wrong", at+int64(i))
				}
			}
		}
		if n, err := s.OutputSize(e.Task); err != nil || n != size {
			t.Errorf("size by the files %d, %v", n, err)
		}
	}
}

func testOutputIsReadAsItWasWrittenFromAnyOffset(t *testing.T, b *bed) {
	s, root := b.spool(t), b.folder(t)
	rapid.Check(t, func(t *rapid.T) {
		e := envelopeFor("nginx")
		if err := s.Receive(e, spool.Received{}); err != nil {
			t.Fatal(err)
		}
		defer s.Bury(stoneFor(e)) // the next round has its own
		task, err := spool.OpenTaskOn(root, e.Task)
		if err != nil {
			t.Fatal(err)
		}
		defer task.Close()
		out := task.NewOutput()
		var want []byte
		for _, piece := range rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 300)).Draw(t, "pieces") {
			out.Write(piece)
			want = append(want, piece...)
		}
		out.Close()
		data, _, lost := readAll(t, s, e.Task, int64(len(want)))
		if !bytes.Equal(data, want) || lost != 0 {
			t.Fatalf("%d bytes of %d, %d lost", len(data), len(want), lost)
		}
		at := rapid.Int64Range(0, int64(len(want))).Draw(t, "offset")
		o, err := s.ReadOutput(e.Task, at, int64(len(want)))
		if err != nil || !bytes.Equal(o.Data, want[at:min(int64(len(want)), at+spool.Chunk)]) {
			t.Fatalf("from %d: %d bytes, %v", at, len(o.Data), err)
		}
	})
}
