package control

import (
	"context"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// DumpLook is one dump of a series. A file may hold several: Number counts them
// within it, from 1.
type DumpLook struct {
	wire.Dump

	InFile int
	Parsed *dump.Dump
}

// Looks gives the dumps of the series that this one is of, in order, each read;
// all of this file, and of the others those that can be read and are not too
// many bytes together. They are shared with others: nobody changes them.
func (v *DumpView) Looks(ctx context.Context) ([]DumpLook, error) {
	series, err := v.Series(ctx)
	if err != nil {
		return nil, err
	}
	fit, size := v.fitting(series)
	if err := v.hold(ctx, size); err != nil {
		return nil, err
	}
	var out []DumpLook
	for _, d := range fit {
		parsed, err := v.c.cfg.Dumps.Parsed(ctx, d.ID)
		if code := restart.CodeOf(err); d.ID != v.ID && (code == restart.CodeInvalid || code == restart.CodeNotFound) {
			continue // it can't be read: the others can
		} else if err != nil {
			return nil, err
		}
		for i, p := range parsed {
			out = append(out, DumpLook{Dump: d, InFile: i + 1, Parsed: p})
		}
	}
	return out, nil
}

// HostDumps gives what the dumps of a run are, of each origin, without their
// bytes, by host and in order.
func (r *RunDumps) HostDumps() []wire.Dump {
	out := make([]wire.Dump, 0, len(r.all))
	for _, d := range r.all {
		out = append(out, wireDump(d))
	}
	return out
}
