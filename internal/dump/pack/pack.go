// Package pack makes captures small: as they lie in a spool, travel and are
// kept, they are zstd. A thread dump says the same many times, so that some 3 %
// of it are left.
package pack

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// window is how far back a repetition is found, in bytes: it bounds the memory
	// of both ends.
	window = 1 << 20
	// maxWindow is the most that is borne of what others have packed.
	maxWindow = 8 << 20
	// MaxUnpacked bounds one capture, header included.
	MaxUnpacked = dump.MaxCapture + dump.MaxHeader
)

// Pack packs a capture. Nothing is kept in memory afterwards.
func Pack(capture []byte) ([]byte, error) {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("pack a dump: %w", err)
	}
	return w.EncodeAll(capture, nil), w.Close()
}

// Unpack gives what was packed, of at most most bytes: CodeTooLarge where it is
// longer, CodeInvalid where it was not packed, or is not whole. The reader must
// be closed.
func Unpack(r io.Reader, most int64) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("unpack a dump: %w", err)
	}
	return &unpacked{d: d, left: most}, nil
}

// Bytes is Unpack of one capture as a whole.
func Bytes(packed io.Reader) ([]byte, error) {
	r, err := Unpack(packed, MaxUnpacked)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// unpacked counts what comes out, so that a small file can't become a huge one.
type unpacked struct {
	d    *zstd.Decoder
	left int64
}

var errLong = restart.Errorf(restart.CodeTooLarge, "the dump is longer than it may be")

func (u *unpacked) Read(p []byte) (int, error) {
	if u.left < 0 {
		return 0, errLong
	}
	n, err := u.d.Read(p[:min(int64(len(p)), u.left+1)])
	if u.left -= int64(n); u.left < 0 {
		return n - 1, errLong
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, restart.Errorf(restart.CodeInvalid, "the dump can't be unpacked: %v", err).WithHint("it is not whole, or not zstd: fetch it again").Because(err)
	}
	return n, err
}

func (u *unpacked) Close() error {
	u.d.Close()
	return nil
}
