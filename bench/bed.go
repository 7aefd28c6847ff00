package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"
)

// bed is what a company stands on here: company.T without a test.
type bed struct {
	ctx      context.Context
	log      io.Writer
	dir      string
	cleanups []func()
	failed   bool
	failure  error // why the measurement was given up
}

// onBed does one measurement and then takes away all that it has started and
// made, whatever happened. The measurement has a goroutine of its own, which
// Fatal ends, as in a test.
func onBed(ctx context.Context, log io.Writer, measure func(*bed) error) error {
	dir, err := os.MkdirTemp("", "restartilka-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bed{ctx: ctx, log: log, dir: dir}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := measure(b); err != nil {
			b.Fatal(err)
		}
	}()
	<-ended
	if cause := context.Cause(ctx); cause != nil {
		b.failure = cause
	}
	b.failed = b.failed || b.failure != nil
	cancel()
	for _, f := range slices.Backward(b.cleanups) {
		f()
	}
	return b.failure
}

func (b *bed) Helper()                         {}
func (b *bed) Context() context.Context        { return b.ctx }
func (b *bed) Cleanup(f func())                { b.cleanups = append(b.cleanups, f) }
func (b *bed) Failed() bool                    { return b.failed }
func (b *bed) Logf(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// Fatal gives the measurement up. It does not return.
func (b *bed) Fatal(args ...any) {
	b.failure = errors.New(fmt.Sprint(args...))
	runtime.Goexit()
}

// Fatalf is Fatal with a format.
func (b *bed) Fatalf(format string, args ...any) { b.Fatal(fmt.Sprintf(format, args...)) }

// Skip is for what a test could do without: a measurement can't.
func (b *bed) Skip(args ...any) { b.Fatal(args...) }

// Skipf is Skip with a format.
func (b *bed) Skipf(format string, args ...any) { b.Fatalf(format, args...) }

// pause waits, or gives up with the measurement's context.
func (b *bed) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.ctx.Done():
		b.Fatal(b.ctx.Err())
	}
}

func (b *bed) Errorf(format string, args ...any) {
	b.failed = true
	b.Logf(format, args...)
}

func (b *bed) TempDir() string {
	dir, err := os.MkdirTemp(b.dir, "")
	if err != nil {
		b.Fatal(err)
	}
	return dir
}

// memoryDir is a folder in memory where the machine has one: what very many
// hosts keep lies on their own disks, and not on this machine's.
func (b *bed) memoryDir() string {
	const shared = "/dev/shm"
	if fileSystem(shared) != "tmpfs" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(shared, "restartilka-bench-")
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// must ends the measurement where there is an error.
func (b *bed) must(err error) {
	if err != nil {
		b.Fatal(err)
	}
}
