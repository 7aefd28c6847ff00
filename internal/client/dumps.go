package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/wire"
)

// Dumps lists thread dumps, the newest first.
func (c *Client) Dumps(ctx context.Context, q wire.DumpQuery) (wire.List[wire.Dump], error) {
	return get[wire.List[wire.Dump]](ctx, c, "dumps", q.Values())
}

// Dump gives one dump: where it comes from, and its verdict.
func (c *Client) Dump(ctx context.Context, id string) (wire.Dump, error) {
	return get[wire.Dump](ctx, c, "dumps/"+segment(id), nil)
}

// DumpReport gives all that is found in a dump, or in the whole series of which
// it is one.
func (c *Client) DumpReport(ctx context.Context, id string, series bool) (wire.DumpAnalysis, error) {
	query := url.Values{}
	if series {
		query.Set("series", "true")
	}
	return get[wire.DumpAnalysis](ctx, c, "dumps/"+segment(id)+"/report", query)
}

// DumpThreads lists threads of a dump.
func (c *Client) DumpThreads(ctx context.Context, id string, q wire.ThreadQuery) (wire.List[dump.Thread], error) {
	return get[wire.List[dump.Thread]](ctx, c, "dumps/"+segment(id)+"/threads", q.Values())
}

// RunDumps gives what the dumps of a run say together. origin chooses which of
// them, as wire.Dump has it; "" = those that tell most.
func (c *Client) RunDumps(ctx context.Context, run, origin string) (wire.RunDumps, error) {
	query := url.Values{}
	if origin != "" {
		query.Set("origin", origin)
	}
	return get[wire.RunDumps](ctx, c, "runs/"+segment(run)+"/dumps", query)
}

// CompareDumps tells what changed from one dump to another.
func (c *Client) CompareDumps(ctx context.Context, before, after string) (wire.DumpComparison, error) {
	return get[wire.DumpComparison](ctx, c, "dumps/"+segment(before)+"/compare/"+segment(after), nil)
}

// The forms of WriteDump.
const (
	DumpRaw        = "raw"        // the text as it was captured, byte for byte
	DumpCollapsed  = "collapsed"  // folded stacks
	DumpSpeedscope = "speedscope" // for speedscope.app
)

// WriteDump writes a dump in one of its forms.
func (c *Client) WriteDump(ctx context.Context, w io.Writer, id, form string) error {
	resp, err := c.do(ctx, http.MethodGet, "dumps/"+segment(id)+"/"+segment(form), nil, nil, http.Header{"Accept": {"*/*"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("copy dump %s: %w", id, err)
	}
	return nil
}

// UploadDump puts a file into the viewer, as one's own.
func (c *Client) UploadDump(ctx context.Context, name string, file io.Reader) (wire.Dump, error) {
	var out wire.Dump
	resp, err := c.do(ctx, http.MethodPost, "dumps", url.Values{"name": {name}}, file, http.Header{"Content-Type": {"application/octet-stream"}})
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	return out, c.decode(resp.Body, &out)
}

// DeleteDump deletes a dump before its time.
func (c *Client) DeleteDump(ctx context.Context, id, reason string) error {
	_, err := ask[struct{}](ctx, c, http.MethodDelete, "dumps/"+segment(id), url.Values{"reason": {reason}}, nil, nil)
	return err
}
