package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
)

const host = "web1.example.com"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func mustOpen(t *testing.T, dir string, now time.Time) (*Ledger, error) {
	t.Helper()
	l, damage, err := Open(dir, host, now, 90*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, damage
}

func write(t *testing.T, l *Ledger, action audit.Action, task string, at time.Time) {
	t.Helper()
	if err := l.Append(audit.Record{Time: at, Actor: "anna", Action: action, Task: task, Host: host}); err != nil {
		t.Fatal(err)
	}
}

// verified is what the offline verifier of the audit trail says of the file.
func verified(t *testing.T, dir string) audit.Report {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := audit.Verify(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLedger(t *testing.T) {
	dir := t.TempDir()
	l, damage := mustOpen(t, dir, start)
	if _, err := os.Stat(filepath.Join(dir, File)); !errors.Is(err, os.ErrNotExist) || damage != nil || l.Head().Seq != 0 {
		t.Errorf("an empty ledger: %v, %v, %+v", err, damage, l.Head())
	}
	write(t, l, audit.TaskIntent, "a", start)
	write(t, l, audit.TaskOutcome, "a", start.Add(time.Minute))
	write(t, l, audit.TaskIntent, "b", start.Add(time.Hour))
	if info, err := os.Stat(filepath.Join(dir, File)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	for name, now := range map[string]time.Time{"soon": start.Add(2 * time.Hour), "a year later": start.AddDate(1, 0, 0)} {
		again, damage := mustOpen(t, dir, now)
		want := 2
		if name == "a year later" {
			want = 1 // what has no outcome is never forgotten
		}
		entries := again.Entries()
		if damage != nil || again.Head() != l.Head() || again.Head().Seq != 3 || len(entries) != want || entries[len(entries)-1].Intent.Task != "b" {
			t.Errorf("%s: %v, head %+v, %d entries", name, damage, again.Head(), len(entries))
		}
	}
	if e, ok := l.Entry("a"); !ok || e.Outcome == nil {
		t.Errorf("a: %+v", e)
	}
	if e, ok := l.Entry("b"); !ok || e.Outcome != nil {
		t.Errorf("b: %+v", e)
	}
	records, more, err := l.After(1, 1)
	if err != nil || !more || len(records) != 1 || records[0].Seq != 2 {
		t.Errorf("after 1: %+v, more %v, %v", records, more, err)
	}
	if records, more, err = l.After(3, 10); err != nil || more || len(records) != 0 {
		t.Errorf("after 3: %+v, %v, %v", records, more, err)
	}
	if r := verified(t, dir); !r.OK {
		t.Errorf("the verifier says %+v", r)
	}
}

// A crash leaves a torn line: it is cut off, and the chain goes on without a gap.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	l, _ := mustOpen(t, dir, start)
	write(t, l, audit.TaskIntent, "a", start)
	write(t, l, audit.TaskOutcome, "a", start)
	whole, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(whole), '\n') + 1
	for cut := first; cut < len(whole); cut += 7 {
		if err := os.WriteFile(filepath.Join(dir, File), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l, damage := mustOpen(t, dir, start)
		if damage != nil || l.Head().Seq != 1 {
			t.Fatalf("cut at %d: %v, %+v", cut, damage, l.Head())
		}
		write(t, l, audit.TaskOutcome, "a", start)
		if r := verified(t, dir); !r.OK || l.Head().Seq != 2 {
			t.Fatalf("cut at %d: %+v", cut, r)
		}
	}
}

// Whoever changes a line, or takes one away, is noticed; the rest can be used.
func TestChangedLine(t *testing.T) {
	for name, change := range map[string]func(lines []string) []string{
		"changed": func(l []string) []string { l[1] = strings.Replace(l[1], "anna", "olga", 1); return l },
		"removed": func(l []string) []string { return append(l[:1], l[2:]...) },
		"nonsense": func(l []string) []string {
			l[1] = "hello\n"
			return l
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l, _ := mustOpen(t, dir, start)
			for range 3 {
				write(t, l, audit.TaskIntent, "a", start)
			}
			b, err := os.ReadFile(filepath.Join(dir, File))
			if err != nil {
				t.Fatal(err)
			}
			lines := change(strings.SplitAfter(string(b), "\n"))
			if err := os.WriteFile(filepath.Join(dir, File), []byte(strings.Join(lines, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			l, damage := mustOpen(t, dir, start)
			if damage == nil || l.Head().Seq != 3 {
				t.Errorf("damage %v, head %+v", damage, l.Head())
			}
		})
	}
}

// What could not be made durable is not there, and the chain has no gap.
func TestDiskThatFails(t *testing.T) {
	dir := t.TempDir()
	l, _ := mustOpen(t, dir, start)
	write(t, l, audit.TaskIntent, "a", start)
	works := l.sync
	l.sync = func(int) error { return errors.New("no room") }
	if err := l.Append(audit.Record{Action: audit.TaskIntent, Task: "b", Host: host, Time: start}); err == nil {
		t.Fatal("it says that it is durable")
	}
	if _, ok := l.Entry("b"); ok || l.Head().Seq != 1 {
		t.Errorf("it is there all the same: %+v", l.Head())
	}
	l.sync = works
	write(t, l, audit.TaskIntent, "c", start)
	if r := verified(t, dir); !r.OK || l.Head().Seq != 2 {
		t.Errorf("%+v", r)
	}
}

// What others are told of a chain survives a power cut: nothing that was only
// noted is in it, until something durable stands behind it, or the file was
// synced before it is set aside or used again.
func TestDurable(t *testing.T) {
	dir := t.TempDir()
	l, damage, err := OpenAsked(dir, host, start)
	if err != nil || damage != nil {
		t.Fatal(damage, err)
	}
	synced := 0
	works := l.sync
	l.sync = func(fd int) error { synced++; return works(fd) }
	note := func() {
		t.Helper()
		if err := l.Note(audit.Record{Time: start, Action: audit.TaskRefused, Host: host}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, seq int64, syncs int) {
		t.Helper()
		if got := l.Durable(); got.Seq != seq || synced != syncs || seq == l.Head().Seq && got != l.Head() {
			t.Errorf("%s: durable up to %d after %d syncs, want %d after %d", what, got.Seq, synced, seq, syncs)
		}
	}
	note()
	want("noted", 0, 0)
	write(t, l, audit.TaskTaken, "a", start)
	want("written", 2, 1)
	note()
	want("noted again", 2, 1)
	l.sync = func(int) error { return errors.New("no room") }
	if err := l.Append(audit.Record{Time: start, Action: audit.TaskTaken, Task: "b", Host: host}); err == nil {
		t.Fatal("it says that it is durable")
	}
	l.sync = func(fd int) error { synced++; return works(fd) }
	want("after an error", 2, 1)
	l.size = askedBytes
	note() // sets the file aside, with three records
	want("set aside", 3, 2)
	l.Close()
	l, _, err = OpenAsked(dir, host, start)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Durable() != l.Head() || l.Head().Seq != 4 {
		t.Errorf("opened anew: %+v of %+v", l.Durable(), l.Head())
	}
}

// A symlink in the ledger's place is not followed.
func TestSymlink(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "target")
	if err := os.Symlink(target, filepath.Join(dir, File)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir, host, start, time.Hour); err == nil {
		t.Error("it was opened")
	}
}
