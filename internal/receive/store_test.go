package receive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/receive"
	"github.com/restartilka/restartilka/internal/restart"
)

// take stores a batch that has to be taken.
func take(t *testing.T, s *receive.Store, records ...audit.Record) {
	t.Helper()
	head, err := s.Take(source, lines(records...))
	if err != nil {
		t.Fatal(err)
	}
	if last := headOf(records); head.Before(last) {
		t.Fatalf("it stands at %+v behind %+v", head, last)
	}
}

func TestBatchesOfAWholeChain(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	records := first(300)
	s := open(t, folder)
	for batch := range slices.Chunk(records[:200], 17) {
		take(t, s, batch...)
	}
	take(t, s, records[150:220]...) // an answer was lost
	take(t, s, records[:3]...)
	take(t, s, records[219:]...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, folder); !bytes.Equal(got, lines(records...)) {
		t.Errorf("%d bytes are stored of %d", len(got), len(lines(records...)))
	}
	files, err := filepath.Glob(filepath.Join(folder, source, "*.jsonl"))
	if err != nil || len(files) < 10 {
		t.Errorf("%d files of 8 KiB, %v", len(files), err)
	}
	s = open(t, folder)
	take(t, s, records[290:]...)
	more := chain(headOf(records), 5)
	take(t, s, more...)
	take(t, s, records[0]) // out of a file that has to be read first
	if r := whole(t, folder, headOf(more)); r.Stored != 305 || r.Duplicates != 0 {
		t.Errorf("%+v", r)
	}
	if alarms := alarmsOf(t, folder); len(alarms) > 0 {
		t.Errorf("%+v", alarms)
	}
}

func TestAGapIsAskedFor(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := open(t, folder, func(c *receive.StoreConfig) { c.Now = func() time.Time { return now } })
	records := first(20)
	behind := func(after int64, batch ...audit.Record) {
		t.Helper()
		head, err := s.Take(source, lines(batch...))
		if b, ok := errors.AsType[*audit.Behind](err); !ok || b.After != after || head.Seq != after {
			t.Fatalf("%+v, %v", head, err)
		}
	}
	behind(0, records[5:]...)
	take(t, s, records[:5]...)
	behind(8, slices.Concat(records[5:8], records[9:])...) // what is good of it is stored
	now = now.Add(30 * time.Second)
	behind(8, records[9:]...)
	if alarms := alarmsOf(t, folder); len(alarms) > 0 {
		t.Errorf("after half a minute: %+v", alarms)
	}
	now = now.Add(31 * time.Second)
	behind(8, records[9:]...)
	behind(8, records[9:]...)
	if alarms := alarmsOf(t, folder); len(alarms) != 1 || alarms[0].Kind != receive.AlarmGap || alarms[0].Seq != 9 {
		t.Errorf("%+v", alarms)
	}
	take(t, s, records[8:]...)
	whole(t, folder, headOf(records))
}

func TestAChainGoesOnAfterARestore(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	s := open(t, folder)
	old := first(60)
	take(t, s, old...)
	second := restored(old[39], 10) // the database had forgotten 41 to 60
	take(t, s, second...)
	third := restored(second[1], 5)
	take(t, s, slices.Concat(second[5:], third)...)
	for name, wrong := range map[string][]audit.Record{
		"what the chain left behind": {chain(old[59].Head(), 1)[0]},
		"another of that number":     {restored(old[41], 2)[0]},
	} {
		if _, err := s.Take(source, lines(wrong...)); restart.CodeOf(err) != restart.CodeConflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	head := old[20].Head() // from a backup older than the one before
	head.Epoch = 4
	take(t, s, chain(head, 3)...)
	if r := whole(t, folder, audit.Head{}); r.Restores != 3 {
		t.Errorf("%+v", r)
	}
}

// Whatever does not fit is refused, kept as it came, and raises the alarm; what
// is good before it is stored.
func TestABreakRaisesTheAlarm(t *testing.T) {
	t.Parallel()
	records := first(10)
	relinked := func(r audit.Record, change func(*audit.Record)) audit.Record {
		change(&r)
		prev := audit.Head{Source: r.Source, Epoch: r.Epoch, Seq: r.Seq - 1, Hash: r.PrevHash}
		r.Link(prev)
		return r
	}
	other := relinked(records[6], func(r *audit.Record) { r.Actor = "boris" })
	changed := records[6]
	changed.Actor = "boris"
	unlinked := records[6]
	unlinked.PrevHash = records[2].Hash
	unlinked = relinked(unlinked, func(*audit.Record) {})
	foreign := chain(audit.Head{Source: "server-2"}, 1)[0]
	fork := relinked(records[6], func(r *audit.Record) { r.Epoch, r.PrevHash = 2, other.Hash })
	begin, _, _ := bytes.Cut(records[6].Canonical(), []byte(`,"hash":"`))
	begin = bytes.Replace(begin, []byte("очередь"), bytes.Repeat([]byte("x"), 16<<10), 1)
	sum := sha256.Sum256(append(slices.Clone(begin), '}'))
	long := fmt.Appendf(nil, "%s,\"hash\":\"%x\"}\n", begin, sum) // such as no server writes, and whole all the same
	far := chain(audit.Head{Source: source, Epoch: 1_000_000}, 1)[0]
	further := chain(audit.Head{Source: source, Epoch: 2, Seq: 999_999_999_999, Hash: other.Hash}, 1)[0]
	placeless := audit.Record{Actor: "anna", Source: source}
	second := relinked(records[0], func(r *audit.Record) { r.Epoch, r.PrevHash = 2, records[9].Hash })
	for name, c := range map[string]struct {
		kind  receive.AlarmKind
		seq   int64
		batch []byte
		taken int64
	}{
		"a changed record":                   {receive.AlarmChanged, 7, lines(records[5], changed), 6},
		"another record of a number":         {receive.AlarmChanged, 7, lines(records[5], records[6], other), 7},
		"a record that follows another":      {receive.AlarmBroken, 7, lines(records[5], unlinked), 6},
		"a fork behind nothing that is here": {receive.AlarmBroken, 7, lines(records[5], fork), 6},
		"a beginning that names one before":  {receive.AlarmBroken, 1, lines(records[5], second), 6},
		"a record of another source":         {receive.AlarmForeign, 1, lines(records[5], foreign), 6},
		"a record without a place":           {receive.AlarmMalformed, 0, lines(records[5], placeless), 6},
		"another order of members":           {receive.AlarmMalformed, 0, slices.Concat(lines(records[5]), []byte(`{"epoch":1,"source":"server-1","seq":7}`+"\n")), 6},
		"a member that is not known":         {receive.AlarmMalformed, 0, slices.Concat(lines(records[5]), bytes.Replace(lines(records[6]), []byte(`,"hash"`), []byte(`,"new":"x","hash"`), 1)), 6},
		"no JSON":                            {receive.AlarmMalformed, 0, []byte("\x1b[2Jhello\n"), 5},
		"a line too long to be read back":    {receive.AlarmMalformed, 0, slices.Concat(lines(records[5]), long), 6},
		"an epoch no file can be named by":   {receive.AlarmMalformed, 1, lines(records[5], far), 6},
		"a number no file can be named by":   {receive.AlarmMalformed, 1_000_000_000_000, lines(records[5], further), 6},
		"an empty line":                      {receive.AlarmMalformed, 0, []byte("\n"), 5},
		"a line without its end":             {receive.AlarmMalformed, 0, bytes.TrimSuffix(lines(records[5], records[6]), []byte("\n")), 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "trails")
			s := open(t, folder)
			take(t, s, records[:5]...)
			for range 3 { // it is sent again and again
				head, err := s.Take(source, c.batch)
				if e, ok := errors.AsType[*restart.Error](err); !ok || e.Code != restart.CodeConflict || !strings.Contains(e.Message, string(c.kind)) || e.Hint == "" {
					t.Fatalf("%v", err)
				}
				if head != records[c.taken-1].Head() {
					t.Errorf("it stands at %+v", head)
				}
			}
			alarms := alarmsOf(t, folder)
			if len(alarms) != 1 || alarms[0].Kind != c.kind || alarms[0].Seq != c.seq || alarms[0].Source != source || alarms[0].Text != restart.Escape(alarms[0].Text) {
				t.Fatalf("%+v", alarms)
			}
			kept, err := os.ReadFile(filepath.Join(folder, source, alarms[0].Stored))
			if err != nil || len(kept) == 0 || !bytes.HasSuffix(c.batch, kept) {
				t.Errorf("%q is kept, %v", kept, err)
			}
			take(t, s, records[5:]...) // the true chain goes on
			whole(t, folder, headOf(records))
			s.Close()
			s = open(t, folder)
			if alarmsOf(t, folder) == nil {
				t.Error("the alarm is over")
			}
			if err := os.Remove(filepath.Join(folder, source, "alarm.jsonl")); err != nil {
				t.Fatal(err)
			}
			take(t, s, chain(headOf(records), 1)...)
			if alarms := alarmsOf(t, folder); alarms != nil {
				t.Errorf("%+v", alarms)
			}
		})
	}
}

func TestWhatIsKeptApartIsBounded(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	s := open(t, folder)
	for i := range 100 {
		if _, err := s.Take(source, []byte(strings.Repeat("x", i+1)+"\n")); restart.CodeOf(err) != restart.CodeConflict {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadDir(filepath.Join(folder, source, "refused"))
	if err != nil || len(kept) != 64 {
		t.Errorf("%d files, %v", len(kept), err)
	}
	if alarms := alarmsOf(t, folder); len(alarms) < 64 || len(alarms) > 66 {
		t.Errorf("%d alarms", len(alarms))
	}
}

// A folder full of what senders were refused keeps no receiver from starting
// over a file whose end is damaged.
func TestDamageIsPutApartBesideWhatWasRefused(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	s := open(t, folder)
	records := first(20)
	take(t, s, records...)
	for i := range 70 {
		if _, err := s.Take(source, []byte(strings.Repeat("x", i+1)+"\n")); restart.CodeOf(err) != restart.CodeConflict {
			t.Fatal(err)
		}
	}
	s.Close()
	files, err := filepath.Glob(filepath.Join(folder, source, "*-*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	last := slices.Max(files)
	b, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-40:], "damage")
	if err := os.WriteFile(last, b, 0o600); err != nil {
		t.Fatal(err)
	}
	take(t, open(t, folder), records[15:]...)
	whole(t, folder, headOf(records))
	if alarms := alarmsOf(t, folder); !slices.ContainsFunc(alarms, func(a receive.Alarm) bool { return a.Kind == receive.AlarmDamaged && a.Stored != "" }) {
		t.Errorf("%+v", alarms)
	}
}

// What a sender makes of a record can't make its alarm unreadable, and a file
// of alarms that can't be read is an alarm.
func TestAlarmsCanBeRead(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	s := open(t, folder)
	take(t, s, first(1)...)
	hostile := []byte(`{"` + strings.Repeat(`я\u001b"`, 30_000) + "\n")
	if _, err := s.Take(source, hostile); restart.CodeOf(err) != restart.CodeConflict {
		t.Fatal(err)
	}
	alarms := alarmsOf(t, folder)
	if len(alarms) != 1 || len(alarms[0].Text) > 600 {
		t.Errorf("%+v", alarms)
	}
	path := filepath.Join(folder, source, "alarm.jsonl")
	standing := func() int { return receive.Standing(s, source) }
	for content, want := range map[string]int{"": 0, "\n": 0, "rubbish\n": 1, "\x00\x00\x00": 1} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := standing(); got != want {
			t.Errorf("%q is %d alarms", content, got)
		}
	}
}

func TestOneReceiverAFolder(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	open(t, folder)
	if _, err := receive.Open(t.Context(), receive.StoreConfig{Folder: folder, Sources: []string{source}}); restart.CodeOf(err) != restart.CodeConflict {
		t.Errorf("%v", err)
	}
}

func TestBoundsOfTheStore(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "trails")
	s := open(t, folder, func(c *receive.StoreConfig) { c.Most = 4 << 10 })
	records := first(30)
	take(t, s, records[:3]...)
	if head, err := s.Take(source, lines(records[3:]...)); restart.CodeOf(err) != restart.CodeDiskFull || head.Seq != 3 {
		t.Errorf("%+v, %v", head, err)
	}
	if _, err := s.Take("server-2", lines(records[:1]...)); restart.CodeOf(err) != restart.CodeForbidden {
		t.Errorf("%v", err)
	}
	if _, err := s.Take(source, make([]byte, audit.ReceiverBody+1)); restart.CodeOf(err) != restart.CodeTooLarge {
		t.Errorf("%v", err)
	}
	whole(t, folder, records[2].Head())
	s.Close()
	s = open(t, folder, func(c *receive.StoreConfig) { c.KeepFree = 1 << 60 })
	if _, err := s.Take(source, lines(records[3:]...)); restart.CodeOf(err) != restart.CodeDiskFull {
		t.Errorf("%v", err)
	}
	take(t, s, records[:2]...) // what is there needs no room
}

func TestPartsAreOnlyOfAStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := receive.Parts(dir); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("%v", err)
	}
	folder := filepath.Join(dir, "trails")
	s := open(t, folder)
	records := first(3)
	take(t, s, records...)
	for _, at := range []string{folder, filepath.Join(folder, source)} {
		parts, err := receive.Parts(at)
		if err != nil || len(parts) != 1 || parts[0].Source != source || parts[0].Size != int64(len(lines(records...))) {
			t.Errorf("%+v, %v", parts, err)
		}
	}
	// A batch that is being written is no part of it yet.
	path := filepath.Join(folder, source, "000001-000000000001.jsonl")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"source":"server-1","epo`); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stored(t, folder), lines(records...)) {
		t.Error("a torn line is read")
	}
}

// FuzzTake: whatever comes, what is stored is a whole trail, and nothing that
// was stored is lost.
func FuzzTake(f *testing.F) {
	records := first(6)
	f.Add(lines(records...))
	f.Add(lines(records[3:]...))
	f.Add(slices.Concat(lines(records[:2]...), lines(restored(records[0], 2)...)))
	f.Add([]byte("{\"source\":\"server-1\",\"epoch\":1,\"seq\":1}\n\n"))
	f.Fuzz(func(t *testing.T, batch []byte) {
		folder := filepath.Join(t.TempDir(), "trails")
		s := open(t, folder)
		defer s.Close()
		take(t, s, records[:2]...)
		head, err := s.Take(source, batch)
		if len(batch) > audit.ReceiverBody {
			return
		}
		if err == nil {
			for line := range bytes.Lines(batch) {
				var r audit.Record
				if err := json.Unmarshal(bytes.TrimSuffix(line, []byte("\n")), &r); err != nil || head.Before(r.Head()) {
					t.Fatalf("taken up to %+v: %q, %v", head, line, err)
				}
			}
		}
		whole(t, folder, head)
		if !bytes.HasPrefix(stored(t, folder), lines(records[:2]...)) {
			t.Fatal("what was stored is gone")
		}
	})
}
