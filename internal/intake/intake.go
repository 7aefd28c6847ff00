// Package intake reads files that people put in, for every way in by which they
// do: a server gives a request so many seconds, and a file takes as long as the
// way is slow.
package intake

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

const (
	// Patience is how long a piece of a file may take to come.
	Patience = 30 * time.Second
	// Time is how long the whole of one may.
	Time = 10 * time.Minute
)

// TooLarge refuses a file of more than most bytes.
func TooLarge(most int64) error {
	return restart.Errorf(restart.CodeTooLarge, "the file has more than %d MB", most/1_000_000).
		WithHint("compress it with gzip or zstd, or read it where it is: restartilka analyse FILE")
}

// Body gives the body of a request to be read for as long as it keeps coming and
// ctx lasts, whatever time the server gives to others. One of more than most
// bytes is TooLarge, and its connection is closed.
func Body(ctx context.Context, w http.ResponseWriter, r *http.Request, most int64) io.ReadCloser {
	from := http.MaxBytesReader(w, r.Body, most)
	return &body{Closer: from, from: from, rc: http.NewResponseController(w), most: most, ctx: ctx}
}

type body struct {
	io.Closer

	from io.Reader
	rc   *http.ResponseController
	most int64
	ctx  context.Context //nolint:containedctx // of the one request that is read
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	b.rc.SetReadDeadline(time.Now().Add(Patience)) //nolint:errcheck // where it can't be set, there is none
	n, err := b.from.Read(p)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return n, TooLarge(b.most)
	}
	return n, err
}
