package archive

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
)

// costOf estimates what the parsed form of a text takes in memory, in bytes.
func costOf(size int64) int64 { return 3*size + 4096 }

const (
	// muchText is from how much text on a look waits for its place, in bytes.
	muchText = 1 << 20
	// lookPatience is how long it waits.
	lookPatience = 10 * time.Second
)

// Place waits for a place to hold that many bytes of text in, for somebody who
// looks at them; CodeUnavailable where others have all places for long. Little
// text needs none.
func (a *Archive) Place(ctx context.Context, size int64) (giveBack func(), err error) {
	if size < muchText {
		return func() {}, nil
	}
	late := time.NewTimer(lookPatience)
	defer late.Stop()
	select {
	case a.looks <- struct{}{}:
		return sync.OnceFunc(func() { <-a.looks }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late.C:
		return nil, restart.Errorf(restart.CodeUnavailable, "others look at large dumps just now").WithHint("try again in a moment")
	}
}

// Text gives the text of a stored dump. One without bytes is CodeNotFound.
func (a *Archive) Text(ctx context.Context, id string) ([]byte, error) {
	data, err := a.stored(ctx, id)
	if err != nil {
		return nil, err
	}
	return unpack(data, max(maxText, maxUploadText))
}

// Open is Text that is unpacked as it is read, so that it is never in memory as
// a whole. The reader must be closed.
func (a *Archive) Open(ctx context.Context, id string) (io.ReadCloser, error) {
	data, err := a.stored(ctx, id)
	if err != nil {
		return nil, err
	}
	return unpacking(data, max(maxText, maxUploadText))
}

// stored gives the bytes of a dump as they are kept.
func (a *Archive) stored(ctx context.Context, id string) ([]byte, error) {
	d, data, err := a.cfg.Store.ReadDump(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		why := d.Error
		if why == "" {
			why = "none came from the host"
		}
		return nil, restart.Errorf(restart.CodeNotFound, "dump %s has no text: %s", d.ID, why)
	}
	return data, nil
}

// Parsed gives the dumps of a stored file, in their order. They are shared:
// nobody changes them. A file without bytes is CodeNotFound, one that is no dump
// CodeInvalid.
func (a *Archive) Parsed(ctx context.Context, id string) ([]*dump.Dump, error) {
	for {
		dumps, there, wait := a.cache.enter(id)
		if there {
			return dumps, nil
		}
		if wait == nil {
			return a.parse(ctx, id)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// parse reads and parses a file that is not in the cache, and puts it there.
func (a *Archive) parse(ctx context.Context, id string) (dumps []*dump.Dump, err error) {
	var size int64
	defer func() { a.cache.leave(id, dumps, costOf(size)) }()
	giveBack, err := a.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer giveBack()
	text, err := a.Text(ctx, id)
	if err != nil {
		return nil, err
	}
	size = int64(len(text))
	return a.understand(text)
}

// understand parses a text. What makes the parser fall over is a text that can't
// be read, and is logged: one strange file must not take the server down, or the
// others of its group with it.
func (a *Archive) understand(text []byte) (dumps []*dump.Dump, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			a.log.Error("a thread dump could not be read", "fault", fault, "bytes", len(text))
			dumps, err = nil, restart.Errorf(restart.CodeInvalid, "it can't be read").Because(fmt.Errorf("%v", fault))
		}
	}()
	dumps, err = a.parser(text)
	if err == nil && len(dumps) == 0 {
		err = restart.Errorf(restart.CodeInvalid, "there is no thread dump in it")
	}
	return dumps, err
}

// Forget drops a dump from what is kept in memory.
func (a *Archive) Forget(id string) { a.cache.forget(id) }
