package control

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// DumpView is a dump for somebody who was let in, and whose look is recorded:
// once for a whole page, whatever it shows of it. Of those that look at much text
// at once each has one place, from when he first needs it until Close. It is not
// safe for concurrent use.
type DumpView struct {
	wire.Dump

	c        *Control
	actor    restart.Actor
	held     int64  // bytes of text that the place is for
	giveBack func() // nil = it has none
}

// Close tells that nobody looks at the dump any more, so that others can. It may
// be called twice, and the dump be looked at again after it.
func (v *DumpView) Close() {
	if v.giveBack != nil {
		v.giveBack()
		v.held, v.giveBack = 0, nil
	}
}

// hold waits for a place for so much text. Nobody waits for one who has one.
func (v *DumpView) hold(ctx context.Context, size int64) error {
	if v.giveBack != nil && size <= v.held {
		return nil
	}
	v.Close()
	giveBack, err := v.c.cfg.Dumps.Place(ctx, size)
	if err == nil {
		v.held, v.giveBack = size, giveBack
	}
	return err
}

// OpenDump lets somebody in to a dump (otherwise CodeForbidden, or CodeNotFound
// for an upload of somebody else). part says for the record what is looked at:
// "page", "text", "report". What is looked at must be closed.
func (c *Control) OpenDump(ctx context.Context, actor restart.Actor, id, part string) (*DumpView, error) {
	d, err := c.letIn(ctx, actor, id, part)
	if err != nil {
		return nil, err
	}
	return &DumpView{Dump: wireDump(d), c: c, actor: actor}, nil
}

// holdBoth takes one place for two dumps: each of two people who compare could
// have one, and wait for the other's.
func (v *DumpView) holdBoth(ctx context.Context, other *DumpView) error {
	err := v.hold(ctx, v.Size+other.Size)
	if err == nil {
		other.held, other.giveBack = v.held, func() {}
	}
	return err
}

// Text lends read what was captured, byte for byte but for what was redacted. It
// is as hostile as anything that a service prints.
func (v *DumpView) Text(ctx context.Context, read func(text []byte)) error {
	if err := v.hold(ctx, v.Size); err != nil {
		return err
	}
	text, err := v.c.cfg.Dumps.Text(ctx, v.ID)
	if err == nil {
		read(text)
	}
	return err
}

// Stream is Text piece by piece, however slowly it is read. The reader must be
// closed.
func (v *DumpView) Stream(ctx context.Context) (io.ReadCloser, error) {
	return v.c.cfg.Dumps.Open(ctx, v.ID)
}

// Dumps gives the dumps of the file in their order. They are shared with others:
// nobody changes them.
func (v *DumpView) Dumps(ctx context.Context) ([]*dump.Dump, error) {
	if err := v.hold(ctx, v.Size); err != nil {
		return nil, err
	}
	return v.c.cfg.Dumps.Parsed(ctx, v.ID)
}

// First gives the first dump of the file.
func (v *DumpView) First(ctx context.Context) (*dump.Dump, error) {
	dumps, err := v.Dumps(ctx)
	if err != nil {
		return nil, err
	}
	return dumps[0], nil
}

// Report says what is in this file alone.
func (v *DumpView) Report(ctx context.Context) (wire.DumpAnalysis, error) {
	dumps, err := v.Dumps(ctx)
	if err != nil {
		return wire.DumpAnalysis{}, err
	}
	return reportOf([]string{v.ID}, dumps), nil
}

func reportOf(ids []string, dumps []*dump.Dump) wire.DumpAnalysis {
	report := analyse.Series(dumps, analyse.Options{})
	return wire.DumpAnalysis{Dumps: ids, Says: report.Verdict().String(), Report: report}
}

// Series lists the dumps of the series that this one is of, in order, this one
// among them. A dump that is alone is its own series.
func (v *DumpView) Series(ctx context.Context) ([]wire.Dump, error) {
	if v.Task == "" {
		return []wire.Dump{v.Dump}, nil
	}
	all, err := v.c.allDumps(ctx, store.DumpFilter{Task: v.Task})
	if err != nil {
		return nil, err
	}
	out := []wire.Dump{}
	for _, d := range ofOrigin(all, store.DumpOrigin(v.Origin)) {
		out = append(out, wireDump(d))
	}
	return out, nil
}

// SeriesReport says what the whole series says together: what stands still, and
// what is hot, one dump alone can't tell.
func (v *DumpView) SeriesReport(ctx context.Context) (wire.DumpAnalysis, error) {
	series, err := v.Series(ctx)
	if err != nil {
		return wire.DumpAnalysis{}, err
	}
	fit, size := v.fitting(series)
	if err := v.hold(ctx, size); err != nil {
		return wire.DumpAnalysis{}, err
	}
	var ids []string
	var dumps []*dump.Dump
	for _, d := range fit {
		parsed, err := v.c.cfg.Dumps.Parsed(ctx, d.ID)
		if code := restart.CodeOf(err); code == restart.CodeInvalid || code == restart.CodeNotFound {
			continue // it can't be read: the others can
		} else if err != nil {
			return wire.DumpAnalysis{}, err
		}
		ids, dumps = append(ids, d.ID), append(dumps, parsed...)
	}
	if len(dumps) == 0 {
		return v.Report(ctx)
	}
	return reportOf(ids, dumps), nil
}

// fitting leaves this dump, and of the others of its series those that have a
// text and can be held in memory with it; and tells how long they are together.
func (v *DumpView) fitting(series []wire.Dump) (fit []wire.Dump, size int64) {
	size = v.Size
	for _, d := range series {
		switch {
		case d.ID == v.ID:
			fit = append(fit, d)
		case d.Stored > 0 && size+d.Size <= maxTogether: // the size of one without bytes is a host's word
			fit, size = append(fit, d), size+d.Size
		}
	}
	return fit, size
}

// Threads lists threads of one dump of the file.
func (v *DumpView) Threads(ctx context.Context, q wire.ThreadQuery) (list []dump.Thread, next string, err error) {
	dumps, err := v.Dumps(ctx)
	if err != nil {
		return nil, "", err
	}
	n, err := numberOf(q.Dump, len(dumps))
	if err != nil {
		return nil, "", err
	}
	from := 0
	if q.Cursor != "" {
		if from, err = strconv.Atoi(q.Cursor); err != nil || from < 0 {
			return nil, "", restart.Errorf(restart.CodeInvalid, "%s is not a cursor", restart.Quote(q.Cursor)).WithHint("use next of the page before")
		}
	}
	limit := min(cmp.Or(max(q.Limit, 0), 200), 1000)
	threads := dumps[n].Threads
	list = []dump.Thread{}
	for i := from; i < len(threads); i++ {
		if !wanted(threads[i], q) {
			continue
		}
		if len(list) == limit {
			return list, strconv.Itoa(i), nil
		}
		list = append(list, threads[i])
	}
	return list, "", nil
}

func wanted(t dump.Thread, q wire.ThreadQuery) bool {
	has := func(text, part string) bool {
		return strings.Contains(strings.ToLower(text), strings.ToLower(part))
	}
	if q.State != "" && t.State != q.State || q.Name != "" && !has(t.Name, q.Name) {
		return false
	}
	return q.Frame == "" || slices.ContainsFunc(t.Stack, func(f dump.Frame) bool { return has(f.Function, q.Frame) })
}

// Flame merges the stacks of the file's dumps.
func (v *DumpView) Flame(ctx context.Context, o analyse.FlameOptions) (*analyse.Flame, error) {
	dumps, err := v.Dumps(ctx)
	if err != nil {
		return nil, err
	}
	return analyse.FlameOf(dumps, o), nil
}

// maxTogether bounds the text of the dumps that one report is made of, in bytes:
// parsed, it takes several times that in memory.
const maxTogether = 256 << 20

// RunDumps is the dumps of a run for somebody who was let in.
type RunDumps struct {
	wire.RunDumps

	Run   restart.Run
	Hosts []analyse.Host // that the report is made of
	Looks [][]DumpLook   // the dumps of each of Hosts, and where each is kept

	all      []store.Dump // of each origin
	giveBack func()
}

// Close tells that nobody looks at the dumps any more, so that others can. It may
// be called twice.
func (r *RunDumps) Close() { r.giveBack() }

// OpenRunDumps gives what the dumps of a run say together. origin chooses which;
// "" = those that its scenario took, else those from before it, else the
// evidence of its tasks. CodeNotFound where there are none. It must be closed.
func (c *Control) OpenRunDumps(ctx context.Context, actor restart.Actor, id, origin, part string) (*RunDumps, error) {
	run, err := c.Run(ctx, actor, id)
	if err != nil {
		return nil, err
	}
	rec := about(c.record(actor, audit.DumpViewed), run)
	rec.Reason, rec.Params, rec.Detail = "", nil, part+" of all dumps of the run"
	if err := c.mayControl(ctx, actor, run, authz.ViewDump); err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	all, err := c.allDumps(ctx, store.DumpFilter{Run: id})
	if err != nil {
		return nil, err
	}
	out := &RunDumps{Run: run, all: all, RunDumps: wire.RunDumps{Run: run.ID, Service: run.Service, Origins: []string{}, Dumps: []wire.Dump{}}}
	for _, o := range store.DumpOrigins() {
		if len(ofOrigin(all, o)) > 0 {
			out.Origins = append(out.Origins, string(o))
		}
	}
	if out.Origin = chooseOrigin(out.Origins, origin); out.Origin == "" {
		return nil, restart.Errorf(restart.CodeNotFound, "run %s has no such thread dumps", run.ID).
			WithHint("it has: %s; a run takes some by a scenario of kind thread-dump, or by evidence in its scenario", nameOr(strings.Join(out.Origins, ", "), "none"))
	}
	if err := c.note(ctx, rec); err != nil {
		return nil, err
	}
	list := ofOrigin(all, store.DumpOrigin(out.Origin))
	var size int64
	for _, d := range list {
		if d.Stored > 0 {
			size += d.Size
		}
	}
	if out.giveBack, err = c.cfg.Dumps.Place(ctx, size); err != nil {
		return nil, err
	}
	if err := c.group(ctx, out, list); err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

func chooseOrigin(there []string, wanted string) string {
	if wanted != "" {
		if slices.Contains(there, wanted) {
			return wanted
		}
		return ""
	}
	for _, o := range []store.DumpOrigin{store.DumpOfRun, store.DumpBefore, store.DumpEvidence, store.DumpAfter} {
		if slices.Contains(there, string(o)) {
			return string(o)
		}
	}
	return ""
}

// group reads the dumps and makes the report of all hosts together.
func (c *Control) group(ctx context.Context, out *RunDumps, list []store.Dump) error {
	left := int64(maxTogether)
	leaveOut := func(host string) {
		if !slices.Contains(out.LeftOut, host) {
			out.LeftOut = append(out.LeftOut, host)
		}
	}
	for _, d := range list {
		out.Dumps = append(out.Dumps, wireDump(d))
		if d.Stored > 0 {
			left -= d.Size
		}
		if d.Stored == 0 || left < 0 {
			leaveOut(d.Host)
			continue
		}
		parsed, err := c.cfg.Dumps.Parsed(ctx, d.ID)
		if code := restart.CodeOf(err); code == restart.CodeInvalid || code == restart.CodeNotFound {
			leaveOut(d.Host)
			continue
		} else if err != nil {
			return err
		}
		if n := len(out.Hosts); n == 0 || out.Hosts[n-1].Name != d.Host {
			out.Hosts, out.Looks = append(out.Hosts, analyse.Host{Name: d.Host}), append(out.Looks, nil)
		}
		last := len(out.Hosts) - 1
		for i, p := range parsed {
			out.Hosts[last].Dumps = append(out.Hosts[last].Dumps, p)
			out.Looks[last] = append(out.Looks[last], DumpLook{Dump: wireDump(d), InFile: i + 1, Parsed: p})
		}
	}
	out.LeftOut = slices.DeleteFunc(out.LeftOut, func(name string) bool {
		return slices.ContainsFunc(out.Hosts, func(h analyse.Host) bool { return h.Name == name })
	})
	out.Report = analyse.Group(out.Hosts, analyse.Options{})
	out.Says = out.Report.Verdict().String()
	return nil
}
