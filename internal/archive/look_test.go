package archive_test

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/restartilka/restartilka/internal/archive"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// TestLooksWait: much text is held by two at once; who waits is told so after a
// while, or gives up by himself.
func TestLooksWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const much = 100 << 20
		a := archive.New(archive.Config{})
		first, err := a.Place(t.Context(), much)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Place(t.Context(), much); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Place(t.Context(), 1000); err != nil {
			t.Errorf("little text: %v", err)
		}
		begun := time.Now()
		if _, err := a.Place(t.Context(), much); restart.CodeOf(err) != restart.CodeUnavailable || time.Since(begun) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Place(ctx, much); err != context.DeadlineExceeded { //nolint:errorlint // as it is
			t.Errorf("whoever has gone: %v", err)
		}
		time.AfterFunc(time.Second, first)
		begun = time.Now()
		third, err := a.Place(t.Context(), much)
		if err != nil || time.Since(begun) != time.Second {
			t.Errorf("after %s: %v", time.Since(begun), err)
		}
		first() // a second time: it gives back nothing
		if _, err := a.Place(t.Context(), much); restart.CodeOf(err) != restart.CodeUnavailable {
			t.Errorf("a third at once: %v", err)
		}
		third()
	})
}

// TestOpenHoldsLittle: what is given out as a file is never unpacked as a whole.
func TestOpenHoldsLittle(t *testing.T) { //nolint:paralleltest // it counts what is allocated
	w := newWorld(t)
	const size = 64 << 20
	now := time.Now().UTC().Truncate(time.Microsecond)
	d := store.Dump{ID: restart.NewID(now), Origin: store.DumpUpload, Owner: "vera", Name: "x", Number: 1, Of: 1, Runtime: dump.JVM, TakenAt: now, CreatedAt: now, Size: size}
	if err := w.store.AddDump(t.Context(), d, packed(t, strings.Repeat("all is well here\nno, it is not\n\n", size/32))); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := w.Open(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := io.Copy(struct{ io.Writer }{io.Discard}, r)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err != nil || n != size || took > size/4 {
		t.Errorf("%d bytes were allocated for %d of %d: %v", took, n, size, err)
	}
	w.fetch(report(1), packed(t, threads(3)), nil)
	kept := w.fetch(report(2), packed(t, threads(3)), nil)
	small, err := w.Open(t.Context(), kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	whole, err := w.Text(t.Context(), kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(small); err != nil || !bytes.Equal(got, whole) || int64(len(got)) != kept.Size {
		t.Errorf("%v\n%s", err, got)
	}
}
