package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/intake"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// dumpID is the input of an operation on one dump.
type dumpID struct {
	ID string `path:"id"`
}

func (a *api) listDumps(ctx context.Context, actor restart.Actor, in *struct{ wire.DumpQuery }) (wire.List[wire.Dump], error) {
	list, next, err := a.cfg.Control.Dumps(ctx, actor, in.DumpQuery)
	return wire.ListOf(list, next), err
}

func (a *api) getDump(ctx context.Context, actor restart.Actor, in *dumpID) (wire.Dump, error) {
	v, err := a.cfg.Control.OpenDump(ctx, actor, in.ID, "verdict")
	if err != nil {
		return wire.Dump{}, err
	}
	return v.Dump, nil
}

func (a *api) getDumpReport(ctx context.Context, actor restart.Actor, in *struct {
	ID     string `path:"id"`
	Series bool   `query:"series" doc:"of all dumps of the series that this one is of"`
}) (wire.DumpAnalysis, error) {
	v, err := a.cfg.Control.OpenDump(ctx, actor, in.ID, "report")
	if err != nil {
		return wire.DumpAnalysis{}, err
	}
	defer v.Close()
	if in.Series {
		return v.SeriesReport(ctx)
	}
	return v.Report(ctx)
}

func (a *api) listDumpThreads(ctx context.Context, actor restart.Actor, in *struct {
	ID string `path:"id"`
	wire.ThreadQuery
}) (wire.List[dump.Thread], error) {
	v, err := a.cfg.Control.OpenDump(ctx, actor, in.ID, "threads")
	if err != nil {
		return wire.List[dump.Thread]{}, err
	}
	defer v.Close()
	threads, next, err := v.Threads(ctx, in.ThreadQuery)
	return wire.ListOf(threads, next), err
}

func (a *api) compareDumps(ctx context.Context, actor restart.Actor, in *struct {
	ID    string `path:"id"`
	Other string `path:"other" doc:"the later one"`
}) (wire.DumpComparison, error) {
	return a.cfg.Control.CompareDumps(ctx, actor, in.ID, in.Other)
}

func (a *api) getRunDumps(ctx context.Context, actor restart.Actor, in *struct {
	ID     string `path:"id"`
	Origin string `query:"origin" maxLength:"20" doc:"of which dumps: run, before, evidence or after; empty: the first of them that the run has"`
}) (wire.RunDumps, error) {
	v, err := a.cfg.Control.OpenRunDumps(ctx, actor, in.ID, in.Origin, "report")
	if err != nil {
		return wire.RunDumps{}, err
	}
	defer v.Close()
	return v.RunDumps, nil
}

func (a *api) deleteDump(ctx context.Context, actor restart.Actor, in *struct {
	ID     string `path:"id"`
	Reason string `query:"reason" doc:"why it goes; needed, but for a file of one's own" maxLength:"2000"`
}) error {
	return a.cfg.Control.DeleteDump(ctx, actor, in.ID, in.Reason)
}

// rawDump gives the text of a dump as a file: never as anything that a browser
// would run.
func (a *api) rawDump(ctx context.Context, actor restart.Actor, in *dumpID) (http.HandlerFunc, error) {
	v, err := a.cfg.Control.OpenDump(ctx, actor, in.ID, "text")
	if err != nil {
		return nil, err
	}
	text, err := v.Stream(ctx)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		defer text.Close()
		announce(w, "text/plain; charset=utf-8", "restartilka-dump-"+v.ID+".txt", v.Size)
		if err := patiently(w, text); err != nil && r.Context().Err() == nil {
			a.cfg.Logger.ErrorContext(r.Context(), "give out a dump", "request_id", requestID(r.Context()), "dump", v.ID, "error", err)
		}
	}, nil
}

// foldedDump gives the stacks of a dump, folded, as flame graph tools read them.
func (a *api) foldedDump(ctx context.Context, actor restart.Actor, in *dumpID) (http.HandlerFunc, error) {
	v, err := a.cfg.Control.OpenDump(ctx, actor, in.ID, "folded stacks")
	if err != nil {
		return nil, err
	}
	defer v.Close()
	flame, err := v.Flame(ctx, analyse.FlameOptions{})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := analyse.Collapsed(&b, flame); err != nil {
		return nil, fmt.Errorf("fold the stacks of dump %s: %w", v.ID, err)
	}
	return file("text/plain; charset=utf-8", "restartilka-dump-"+v.ID+".collapsed", b.Bytes()), nil
}

// speedscopeDump gives a dump for speedscope.app.
func (a *api) speedscopeDump(ctx context.Context, actor restart.Actor, in *dumpID) (http.HandlerFunc, error) {
	v, err := a.cfg.Control.OpenDump(ctx, actor, in.ID, "speedscope file")
	if err != nil {
		return nil, err
	}
	defer v.Close()
	flame, err := v.Flame(ctx, analyse.FlameOptions{})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := analyse.Speedscope(&b, flame, strings.TrimSpace(v.Service+" "+v.Host)); err != nil {
		return nil, fmt.Errorf("write dump %s for speedscope: %w", v.ID, err)
	}
	return file("application/json", "restartilka-dump-"+v.ID+".speedscope.json", b.Bytes()), nil
}

// file answers with bytes to be saved.
func file(media, name string, data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		announce(w, media, name, int64(len(data)))
		patiently(w, bytes.NewReader(data)) //nolint:errcheck // whoever reads it has gone
	}
}

// announce says what file comes. One that ends earlier is seen not to be whole.
func announce(w http.ResponseWriter, media, name string, size int64) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
}

// patiently writes for as long as each piece is read in time.
func patiently(w http.ResponseWriter, from io.Reader) error {
	rc := http.NewResponseController(w)
	piece := make([]byte, 256<<10)
	for {
		n, err := from.Read(piece)
		rc.SetWriteDeadline(time.Now().Add(writePatience)) //nolint:errcheck // where it can't be set, there is none
		if _, werr := w.Write(piece[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// uploadDump reads a file as it comes, so that a long one is refused at its
// bound, and a slow one is no reason to end the connection early.
func (a *api) uploadDump(w http.ResponseWriter, r *http.Request) {
	most := a.cfg.Control.MaxUpload()
	if r.ContentLength > most {
		a.refuse(w, r, intake.TooLarge(most))
		return
	}
	name := r.URL.Query().Get("name")
	if len(name) > 1000 {
		a.refuse(w, r, restart.Errorf(restart.CodeInvalid, "the name of the file has more than 1000 bytes"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), intake.Time)
	defer cancel()
	d, err := a.cfg.Control.UploadDump(ctx, actorOf(ctx), name, intake.Body(ctx, w, r, most))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, d)
}
