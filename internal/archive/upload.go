package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/pack"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
)

// Upload reads a file to its end and stores it as somebody's own: plain text,
// gzip or zstd. One that is too long is CodeTooLarge and is not read further;
// one in which there is no dump CodeInvalid. The record is stored with it, and
// gets the dump's name as its detail.
func (a *Archive) Upload(ctx context.Context, owner, name string, file io.Reader, rec audit.Record) (store.Dump, error) {
	select {
	case a.taken <- struct{}{}:
		defer func() { <-a.taken }()
	default:
		return store.Dump{}, restart.Errorf(restart.CodeTooMany, "%d files are being read already", takenAtOnce).WithHint("try again in a moment")
	}
	data, err := io.ReadAll(io.LimitReader(file, a.cfg.UploadMax+1))
	if err != nil {
		if e, ok := errors.AsType[*restart.Error](err); ok {
			return store.Dump{}, e
		}
		return store.Dump{}, restart.Errorf(restart.CodeInvalid, "the file did not arrive to its end").WithHint("try again").Because(err)
	}
	if int64(len(data)) > a.cfg.UploadMax {
		return store.Dump{}, restart.Errorf(restart.CodeTooLarge, "the file has more than %d MB", a.cfg.UploadMax/1_000_000).
			WithHint("compress it with gzip or zstd, or read it where it is: restartilka analyse FILE")
	}
	d, data, err := a.look(ctx, data)
	if err != nil {
		return store.Dump{}, err
	}
	d.Owner, d.Name = owner, cleanName(name)
	rec.Detail = fmt.Sprintf("dump %s: %s", d.ID, d.Name)
	if err := a.cfg.Store.AddDump(ctx, d, data, rec); err != nil {
		return store.Dump{}, err
	}
	d.Stored = int64(len(data))
	a.grew(len(data))
	a.cfg.Kept(d.Runtime, d.Origin)
	return d, nil
}

// look makes a row of a file that somebody puts in, and gives the bytes to store.
func (a *Archive) look(ctx context.Context, data []byte) (store.Dump, []byte, error) {
	giveBack, err := a.slot(ctx)
	if err != nil {
		return store.Dump{}, nil, err
	}
	defer giveBack()
	text, err := unpack(data, maxUploadText)
	if err != nil {
		return store.Dump{}, nil, err
	}
	text = a.cfg.Redact.Text(text)
	dumps, err := a.understand(text)
	if err != nil {
		return store.Dump{}, nil, err
	}
	packed, err := pack.Pack(text)
	if err != nil {
		return store.Dump{}, nil, err
	}
	now := a.now()
	d := store.Dump{
		ID: restart.NewID(now), Origin: store.DumpUpload, Number: 1, Of: 1, Runtime: dumps[0].Runtime, TakenAt: now, Size: int64(len(text)), CreatedAt: now,
	}
	if taken := dumps[0].Taken; !taken.IsZero() && taken.Year() > 1990 && taken.Year() < 2200 {
		d.TakenAt = taken.UTC()
	}
	if h := dumps[0].Header; h != nil {
		d.PID, d.Method = max(h.PID, 0), clip(restart.Escape(h.Method), 20)
	}
	if !known(d.Runtime) {
		d.Runtime = ""
	}
	a.judge(&d, dumps)
	return d, packed, nil
}

// known tells whether there is such a runtime.
func known(r dump.Runtime) bool { return slices.Contains(dump.Runtimes(), r) }

// cleanName bounds the name of a file: its last part, escaped.
func cleanName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name == "." || name == "/" {
		name = "a file"
	}
	return clip(restart.Escape(name), 200)
}
