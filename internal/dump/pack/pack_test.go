package pack_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/restart"
)

func TestPackedComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOf(rapid.Byte()).Draw(t, "capture")
		want = bytes.Repeat(want, rapid.IntRange(1, 50).Draw(t, "times"))
		packed, err := pack.Pack(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pack.Bytes(bytes.NewReader(packed))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes became %d: %v", len(want), len(got), err)
		}
		if len(want) > 0 {
			if _, err := pack.Bytes(bytes.NewReader(packed[:len(packed)-1])); restart.CodeOf(err) != restart.CodeInvalid {
				t.Fatalf("cut: %v", err)
			}
		}
	})
}

func TestADumpBecomesSmall(t *testing.T) {
	var b bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&b, "\"http-nio-8080-exec-%d\" #%d daemon prio=5 os_prio=0 tid=0x00007f%010x nid=0x%x waiting on condition\n   java.lang.Thread.State: WAITING (parking)\n\tat jdk.internal.misc.Unsafe.park(java.base@17.0.9/Native Method)\n\tat java.util.concurrent.locks.LockSupport.park(java.base@17.0.9/LockSupport.java:341)\n\n", i, i+40, i*4096, i+1000)
	}
	packed, err := pack.Pack(b.Bytes())
	if err != nil || len(packed) > b.Len()/10 {
		t.Errorf("%d bytes became %d: %v", b.Len(), len(packed), err)
	}
}

// TestABombIsNotUnpacked: a few bytes that stand for gigabytes end where the
// bound is.
func TestABombIsNotUnpacked(t *testing.T) {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := w.EncodeAll(make([]byte, 1<<20), nil)
	bomb = bytes.Repeat(bomb, 4000)
	r, err := pack.Unpack(bytes.NewReader(bomb), 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if n != 3<<20 || restart.CodeOf(err) != restart.CodeTooLarge {
		t.Errorf("%d bytes came out: %v", n, err)
	}
	if _, err := pack.Bytes(bytes.NewReader([]byte("no zstd"))); restart.CodeOf(err) != restart.CodeInvalid {
		t.Errorf("rubbish: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	packed, err := pack.Pack([]byte("\"main\" #1 prio=5\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := pack.Unpack(bytes.NewReader(b), 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, r)
		if n > 1<<16 || err != nil && restart.CodeOf(err) != restart.CodeInvalid && restart.CodeOf(err) != restart.CodeTooLarge {
			t.Errorf("%d bytes: %v", n, err)
		}
	})
}
