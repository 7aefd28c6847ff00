package ledger

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/restartilka/restartilka/internal/audit"
)

// openSmall opens the record of what servers asked, of which parts are small
// and two are kept.
func openSmall(t *testing.T, dir string) *Ledger {
	t.Helper()
	l := newLedger(dir, AskedFile, audit.AgentSource+host+audit.AskedSource)
	l.partBytes, l.keepParts = 2000, 2
	l, damage, err := l.open(start)
	if err != nil || damage != nil {
		t.Fatalf("%v, damage %v", err, damage)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func noteAsked(t *testing.T, l *Ledger, n int) {
	t.Helper()
	for range n {
		if err := l.Note(audit.Record{Time: start, Actor: "anna", Action: audit.TaskTaken, Task: "a", Host: host}); err != nil {
			t.Fatal(err)
		}
	}
}

// verifyParts verifies some files as the parts of one trail.
func verifyParts(t *testing.T, dir string, names ...string) audit.Report {
	t.Helper()
	var parts []io.Reader
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		parts = append(parts, f)
	}
	r, err := audit.Verify(io.MultiReader(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What servers asked is one chain over several files, of which the oldest go.
func TestAskedIsBounded(t *testing.T) {
	dir := t.TempDir()
	l := openSmall(t, dir)
	var parts []string
	var err error
	for len(parts) == 0 && l.head.Seq < 100 && err == nil {
		noteAsked(t, l, 1)
		parts, err = l.parts()
	}
	if err != nil || len(parts) != 1 || parts[0] != partName(AskedFile, l.head.Seq-1) {
		t.Fatalf("%v, %v, at %d", parts, err, l.head.Seq)
	}
	if r := verifyParts(t, dir, parts[0], AskedFile); !r.OK {
		t.Errorf("two files are not one chain: %+v", r)
	}
	l.Close()
	l = openSmall(t, dir)
	noteAsked(t, l, 100)
	all, err := os.ReadDir(dir)
	if err != nil || len(all) != 3 {
		t.Errorf("%d files, %v", len(all), err)
	}
	for _, e := range all {
		if info, err := e.Info(); err != nil || info.Size() > 3000 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %+v, %v", e.Name(), info, err)
		}
	}
	parts, _ = l.parts()
	if r := verifyParts(t, dir, append(slices.Clone(parts), AskedFile)...); r.OK || r.Sources[0].Changed+r.Sources[0].Duplicates != 0 || r.FaultCount != 1 {
		t.Errorf("all but the beginning should verify: %+v", r)
	}
	head := l.Head()
	l.Close()
	if again := openSmall(t, dir); again.Head() != head {
		t.Errorf("opened anew it stands at %+v, not %+v", again.Head(), head)
	}
}

// A crash between any two steps of setting a file aside loses no record: the
// chain goes on where it stood.
func TestAskedSurvivesACrash(t *testing.T) {
	dir := t.TempDir()
	l := openSmall(t, dir)
	noteAsked(t, l, 3)
	head := l.Head()
	l.Close()
	if err := os.Rename(filepath.Join(dir, AskedFile), filepath.Join(dir, partName(AskedFile, head.Seq))); err != nil {
		t.Fatal(err)
	}
	l = openSmall(t, dir) // renamed, and no new file yet
	if l.Head() != head {
		t.Errorf("it stands at %+v, not %+v", l.Head(), head)
	}
	noteAsked(t, l, 1)
	if r := verifyParts(t, dir, partName(AskedFile, head.Seq), AskedFile); !r.OK {
		t.Errorf("%+v", r)
	}
	l.Close()
	if err := os.Truncate(filepath.Join(dir, AskedFile), 10); err != nil { // a new file, its first line torn
		t.Fatal(err)
	}
	l = openSmall(t, dir)
	if l.Head() != head {
		t.Errorf("torn, it stands at %+v, not %+v", l.Head(), head)
	}
}

// The record of what root began is never set aside: servers fetch it.
func TestLedgerIsNotSetAside(t *testing.T) {
	dir := t.TempDir()
	l, _ := mustOpen(t, dir, start)
	l.size = askedBytes + 1
	write(t, l, audit.TaskIntent, "a", start)
	if parts, err := l.parts(); err != nil || len(parts) != 0 {
		t.Errorf("%v, %v", parts, err)
	}
}
