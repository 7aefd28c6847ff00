package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// bed is what a company stands on here: company.T without a test.
type bed struct {
	ctx context.Context
	dir string
	say func(format string, args ...any)

	mu       sync.Mutex
	cleanups []func()
	failure  error // why it was given up
}

// onBed works on a bed, and then takes away what was started and made on it,
// whatever happened; the folder stays where keep says so. The work has a
// goroutine of its own, which Fatal ends, as in a test.
func onBed(ctx context.Context, dir string, say func(string, ...any), work func(*bed)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bed{ctx: ctx, dir: dir, say: say}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		work(b)
	}()
	<-ended
	cancel()
	swept := make(chan struct{})
	go func() { // a cleanup may call Fatal, too
		defer close(swept)
		b.sweep()
	}()
	<-swept
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failure
}

func (b *bed) sweep() {
	b.mu.Lock()
	cleanups := b.cleanups
	b.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
}

func (b *bed) Helper()                  {}
func (b *bed) Context() context.Context { return b.ctx }
func (b *bed) Failed() bool             { return false } // logs are kept, not printed
func (b *bed) Cleanup(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cleanups = append(b.cleanups, f)
}
func (b *bed) Logf(format string, args ...any) { b.say(format, args...) }

// Fatal gives the work up. It does not return.
func (b *bed) Fatal(args ...any) {
	b.mu.Lock()
	b.failure = errors.Join(b.failure, errors.New(fmt.Sprint(args...)))
	b.mu.Unlock()
	runtime.Goexit()
}

// Fatalf is Fatal with a format; Skipf too, for nothing is skipped in silence here.
func (b *bed) Fatalf(format string, args ...any) { b.Fatal(fmt.Sprintf(format, args...)) }

// Skipf is Fatalf.
func (b *bed) Skipf(format string, args ...any) { b.Fatalf(format, args...) }

// Errorf remembers a failure and goes on.
func (b *bed) Errorf(format string, args ...any) {
	b.say(format, args...)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failure = errors.Join(b.failure, fmt.Errorf(format, args...))
}

// TempDir makes a folder that goes with the whole.
func (b *bed) TempDir() string {
	dir, err := os.MkdirTemp(b.dir, "")
	b.must(err)
	return dir
}

func (b *bed) must(err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// pause waits, and tells whether the work is still wanted then.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// eventually asks every 15 ms until it is so, for at most a time.
func eventually(ctx context.Context, most time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(most); !ok(); {
		if time.Now().After(deadline) || !pause(ctx, 15*time.Millisecond) {
			return false
		}
	}
	return true
}
