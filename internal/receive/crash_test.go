package receive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/receive"
)

// What a power cut may leave of the last batch: a piece of it, zeros where its
// end was to be, other bytes, or nothing. Everything that was answered for is
// there, and the chain goes on.
func TestAPowerCutLosesNothingAnswered(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir := inMemory(t)
		defer os.RemoveAll(dir)
		c := receive.StoreConfig{Folder: filepath.Join(dir, "trails"), Sources: []string{source}, FileSize: 4 << 10, KeepFree: 1}
		answered := audit.Head{Source: source}
		for range rapid.IntRange(1, 3).Draw(t, "crashes") {
			s, err := receive.Open(context.Background(), c)
			if err != nil {
				t.Fatal(err)
			}
			for range rapid.IntRange(0, 5).Draw(t, "batches") {
				if answered, err = s.Take(source, lines(chain(answered, rapid.IntRange(1, 12).Draw(t, "records"))...)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			tear(t, filepath.Join(c.Folder, source), chain(answered, 5))
			if s, err = receive.Open(context.Background(), c); err != nil {
				t.Fatal(err)
			}
			head, err := s.Take(source, nil)
			if err != nil || head.Before(answered) {
				t.Fatalf("it stands at %+v, and has answered for %+v, %v", head, answered, err)
			}
			answered = head
			if answered, err = s.Take(source, lines(chain(answered, 2)...)); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if b, err := os.ReadFile(filepath.Join(c.Folder, source, "alarm.jsonl")); err == nil && !bytes.Contains(b, []byte(receive.AlarmDamaged)) {
				t.Fatalf("%s", b)
			}
		}
		var all bytes.Buffer
		parts, err := receive.Parts(c.Folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			b, err := os.ReadFile(p.Path)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		if report, err := audit.Verify(&all, answered); err != nil || !report.OK {
			t.Fatalf("%+v, %v", report, err)
		}
	})
}

// inMemory makes a folder that is quick to sync, where the machine has one.
func inMemory(t *rapid.T) string {
	shared := "/dev/shm"
	if info, err := os.Stat(shared); err != nil || !info.IsDir() {
		shared = ""
	}
	dir, err := os.MkdirTemp(shared, "receive-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// tear adds to the last file, or to a new one, what was not answered for.
func tear(t *rapid.T, folder string, next []audit.Record) {
	batch := lines(next...)
	piece := batch[:rapid.IntRange(0, len(batch)).Draw(t, "bytes")]
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 1:
		piece = append(bytes.Clone(piece), make([]byte, rapid.IntRange(0, 40_000).Draw(t, "zeros"))...)
	case 2:
		piece = bytes.Clone(piece)
		if len(piece) > 0 {
			clear(piece[rapid.IntRange(0, len(piece)-1).Draw(t, "from"):])
		}
	case 3:
		piece = append(bytes.Clone(piece), rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "junk")...)
	}
	files, err := filepath.Glob(filepath.Join(folder, "0*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(folder, fmt.Sprintf("%06d-%012d.jsonl", next[0].Epoch, next[0].Seq))
	if len(files) > 0 && rapid.Bool().Draw(t, "in the last file") {
		at = files[len(files)-1]
	}
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(piece); err != nil {
		t.Fatal(err)
	}
}

// Bytes that were answered for and are damaged now are put apart, and asked of
// the source again.
func TestDamageIsHealedByTheSource(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	records := first(20)
	s := open(t, folder, func(c *receive.StoreConfig) { c.FileSize = 1 << 20 })
	take(t, s, records...)
	s.Close()
	path := filepath.Join(folder, source, "000001-000000000001.jsonl")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := len(lines(records[:12]...)) + 40
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, folder)
	head, err := s.Take(source, lines(chain(headOf(records), 1)...))
	if behind, ok := errors.AsType[*audit.Behind](err); !ok || behind.After != 12 || head.Seq != 12 {
		t.Fatalf("%+v, %v", head, err)
	}
	alarms := alarmsOf(t, folder)
	if len(alarms) != 1 || alarms[0].Kind != receive.AlarmDamaged || alarms[0].Seq != 13 {
		t.Fatalf("%+v", alarms)
	}
	if kept, err := os.ReadFile(filepath.Join(folder, source, alarms[0].Stored)); err != nil || !bytes.HasSuffix(kept, lines(records[13:]...)) {
		t.Errorf("%d bytes are kept, %v", len(kept), err)
	}
	take(t, s, records[12:]...)
	whole(t, folder, headOf(records))
}

// A real receiver is killed at random moments while a server ships to it:
// whatever it has answered for is there at the next start, and at the end there
// is every record once.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	r := process(t, "", source)
	records := first(2000)
	r.Start()
	sink := sinkTo(t, r, source)
	var answered atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sending sync.WaitGroup
	sending.Go(func() {
		for sent := int64(0); sent < int64(len(records)) && ctx.Err() == nil; {
			if sink.Send(ctx, records[sent:min(sent+25, int64(len(records)))]) == nil {
				sent = min(sent+25, int64(len(records)))
				answered.Store(sent)
			}
		}
	})
	kills := 0
	for answered.Load() < int64(len(records)) {
		time.Sleep(rand.N(60 * time.Millisecond)) // the moment is what is random
		before := answered.Load()
		r.Kill()
		kills++
		if before > 0 {
			parts, err := receive.Parts(r.Folder())
			if err != nil || len(parts) == 0 {
				t.Fatalf("%v, %v", parts, err)
			}
			report, err := audit.Verify(bytes.NewReader(stored(t, r.Folder())))
			if err != nil || !report.OK || report.Sources[0].Stored < before {
				t.Fatalf("%d were answered for: %+v, %v", before, report, err)
			}
		}
		r.Start()
	}
	sending.Wait()
	if s := whole(t, r.Folder(), headOf(records)); s.Duplicates != 0 || s.Stored != int64(len(records)) {
		t.Errorf("%+v", s)
	}
	if kills < 3 {
		t.Errorf("it was killed %d times only", kills)
	}
	t.Logf("killed %d times", kills)
}
