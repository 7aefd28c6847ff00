package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// fill takes all the room that a small disk has.
func fill(dir string) (release func(), err error) {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for size := 1 << 20; size >= 1; size /= 2 {
		piece := make([]byte, size)
		for {
			if _, err := f.Write(piece); err != nil {
				break
			}
		}
	}
	return func() { os.Remove(f.Name()) }, nil
}

func full(ctx context.Context, r *round, dir string) error {
	r.strike()
	release, err := fill(dir)
	if err != nil {
		return err
	}
	defer release()
	pause(ctx, r.between(100*time.Millisecond, 1500*time.Millisecond))
	return nil
}

// perhapsFullAlready fills the disk of the agent's spool ahead of the runs, one
// time in three.
func perhapsFullAlready(r *round) {
	if r.random.IntN(3) > 0 {
		return
	}
	var err error
	r.release, err = fill(r.hosts[0].spool())
	r.b.must(err)
}

func agentDiskFull(ctx context.Context, r *round) error {
	if r.release == nil {
		return full(ctx, r, r.hosts[0].spool())
	}
	defer r.release()
	r.strike()
	pause(ctx, r.between(100*time.Millisecond, time.Second))
	return nil
}

func serverDiskFull(ctx context.Context, r *round) error {
	return full(ctx, r, filepath.Dir(r.c.Database()))
}

// tornSpool does to the newest file of a task's folder what a bad disk may
// have done: cut it off, or garble it.
func tornSpool(ctx context.Context, r *round) error {
	h, s := r.busy(ctx, time.Second)
	if h == nil {
		return nil
	}
	pause(ctx, r.between(0, 120*time.Millisecond))
	r.strike()
	r.kill(h.Name)
	for _, s := range h.supervisors() {
		kill(s.pid)
	}
	kill(r.scripts(h.Name)...)
	if err := tear(r, filepath.Join(h.spool(), s.task)); err != nil {
		return err
	}
	r.wake(h)
	return nil
}

func tear(r *round, dir string) error {
	var newest os.FileInfo
	for _, name := range []string{"received", "started", "done", "progress"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Size() > 0 && (newest == nil || info.ModTime().After(newest.ModTime())) {
			newest = info
		}
	}
	if newest == nil {
		return nil // forgotten by now
	}
	path := filepath.Join(dir, newest.Name())
	if r.random.IntN(2) == 0 {
		return os.Truncate(path, r.random.Int64N(newest.Size()))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := r.random.IntN(len(b))
	for i := at; i < min(at+1+r.random.IntN(64), len(b)); i++ {
		b[i] ^= byte(1 + r.random.IntN(255))
	}
	return os.WriteFile(path, b, 0o600)
}

// auditBit turns one bit of a copy of the stored trail over: whatever it is,
// the verifier has to say that this is not the trail as it was written.
func auditBit(ctx context.Context, r *round) error {
	b, err := os.ReadFile(choose(r, r.servers).audit)
	if err != nil {
		return err
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	if len(b) == 0 {
		return nil
	}
	r.strike()
	at := r.random.IntN(len(b))
	b[at] ^= 1 << r.random.IntN(8)
	path := filepath.Join(r.dir, "turned.jsonl")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	defer os.Remove(path)
	out, err := exec.CommandContext(ctx, r.c.Programs.Server, "audit", "verify", path).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		r.faults = append(r.faults, finding{Kind: foundAudit, Text: fmt.Sprintf("byte %d of a trail was changed to %q, and audit verify says (%v): %s", at, b[at], err, tail(string(out), 300))})
	}
	return nil
}

// sqliteLocked holds the lock that every writer of SQLite's write-ahead log
// needs: byte 120 of its index (WAL_WRITE_LOCK).
func sqliteLocked(ctx context.Context, r *round) error {
	f, err := os.OpenFile(r.c.Database()+"-shm", os.O_RDWR, 0)
	if err != nil {
		return nil // not open at this moment
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: 120, Len: 1}
	if !eventually(ctx, time.Second, func() bool { return unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock) == nil }) {
		return nil
	}
	r.strike()
	pause(ctx, 5*time.Second)
	return nil
}

// replaceFile lays a copy of a file in the place of another, in one step.
func replaceFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to+".new", b, 0o755); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// The moods of scripts are set ahead of the runs.

func moods(word string) func(*round) {
	return func(r *round) {
		for _, h := range r.hosts {
			r.mood(h, word)
		}
	}
}

func moodOfOne(word string) func(*round) { return func(r *round) { r.mood(choose(r, r.hosts), word) } }

// moodOfFirst is for the host whose spool has a small disk of its own.
func moodOfFirst(word string) func(*round) { return func(r *round) { r.mood(r.hosts[0], word) } }

// onlyWatch is for what the scripts do by themselves, each in its turn.
func onlyWatch(ctx context.Context, r *round) error {
	r.strike()
	r.over(ctx)
	return nil
}

// over waits until no run of the round is in hand any more, while the fault
// stays.
func (r *round) over(ctx context.Context) {
	left := slices.Clone(r.runs)
	eventually(ctx, 20*time.Second+r.kind.lasts, func() bool {
		left = slices.DeleteFunc(left, func(id string) bool {
			x, err := r.run(ctx, time.Second, id)
			return err == nil && x.settled()
		})
		return len(left) == 0
	})
}
