package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// Dumps is the part of archive.Archive by which dumps are read and put in.
type Dumps interface {
	Text(ctx context.Context, id string) ([]byte, error)
	Open(ctx context.Context, id string) (io.ReadCloser, error)
	Place(ctx context.Context, size int64) (giveBack func(), err error)
	Parsed(ctx context.Context, id string) ([]*dump.Dump, error)
	Upload(ctx context.Context, owner, name string, file io.Reader, rec audit.Record) (store.Dump, error)
	Forget(id string)
	UploadMax() int64
}

// MaxUpload gives the most bytes that a file may have that somebody puts in.
func (c *Control) MaxUpload() int64 { return c.cfg.Dumps.UploadMax() }

// Dumps lists thread dumps that the actor may look at, the newest first. A page
// may be short, or empty, and have a next all the same.
func (c *Control) Dumps(ctx context.Context, actor restart.Actor, q wire.DumpQuery) (list []wire.Dump, next string, err error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return nil, "", err
	}
	f := store.DumpFilter{Run: q.Run, Service: q.Service, Host: q.Host, Before: q.Cursor, Limit: q.Limit}
	if q.Mine {
		f.Owner = actor.Name
	}
	may := c.dumpRights(ctx, actor)
	list = []wire.Dump{}
	const looks = 5 // pages of which none may be looked at
	for range looks {
		page, cursor, err := c.cfg.Store.Dumps(ctx, f)
		if err != nil {
			return nil, "", err
		}
		for _, d := range page {
			if may(d) == nil {
				list = append(list, wireDump(d))
			}
		}
		next, f.Before = cursor, cursor
		if len(list) > 0 || cursor == "" {
			break
		}
	}
	return list, next, nil
}

// dumpRights gives a question whether somebody may look at a dump, which looks
// once at each place. An upload is there for its owner alone.
func (c *Control) dumpRights(ctx context.Context, actor restart.Actor) func(store.Dump) error {
	type place struct{ service, environment, group string }
	known := map[place]error{}
	return func(d store.Dump) error {
		if d.Origin == store.DumpUpload {
			if !restart.SamePerson(d.Owner, actor.Name) {
				return restart.Errorf(restart.CodeNotFound, "there is no dump %s", restart.Quote(d.ID))
			}
			return c.rights().Require(actor, authz.See, authz.Object{})
		}
		at := place{d.Service, d.Environment, d.Group}
		err, asked := known[at]
		if !asked {
			err = c.mayControl(ctx, actor, restart.Run{Service: d.Service, Environment: d.Environment, Group: d.Group, Kind: restart.KindThreadDump}, authz.ViewDump)
			known[at] = err
		}
		return err
	}
}

// MayViewDumps tells whether somebody may look at the thread dumps of a run:
// whether a page is to have a link to them.
func (c *Control) MayViewDumps(ctx context.Context, actor restart.Actor, run restart.Run) bool {
	return c.mayControl(ctx, actor, run, authz.ViewDump) == nil
}

// letIn checks the right to look at a dump, and writes the record of it before
// anything is given out. part says what of it, for the record.
func (c *Control) letIn(ctx context.Context, actor restart.Actor, id, part string) (store.Dump, error) {
	d, err := c.cfg.Store.Dump(ctx, id)
	if err != nil {
		return d, err
	}
	rec := c.aboutDump(actor, audit.DumpViewed, d, part)
	if err := c.dumpRights(ctx, actor)(d); err != nil {
		if restart.CodeOf(err) == restart.CodeNotFound {
			return d, err // of somebody else: it is not even there
		}
		return d, c.refused(ctx, rec, err)
	}
	return d, c.note(ctx, rec)
}

// note stores a record that belongs to no change.
func (c *Control) note(ctx context.Context, rec audit.Record) error {
	if err := c.cfg.Store.AppendAudit(ctx, rec); err != nil {
		return err
	}
	c.cfg.Committed()
	return nil
}

func (c *Control) aboutDump(actor restart.Actor, action audit.Action, d store.Dump, part string) audit.Record {
	rec := c.record(actor, action)
	rec.Run, rec.Task, rec.Service, rec.Environment, rec.Host = d.RunID, d.TaskID, d.Service, d.Environment, d.Host
	rec.Detail = strings.TrimSpace(part + " of dump " + d.ID)
	return rec
}

// wireDump gives a dump as it is listed.
func wireDump(d store.Dump) wire.Dump {
	out := wire.Dump{
		ID: d.ID, Run: d.RunID, Task: d.TaskID, Host: d.Host, Service: d.Service, Environment: d.Environment, Group: d.Group, Origin: string(d.Origin),
		Place: d.Place, Number: d.Number, Of: d.Of, Runtime: d.Runtime, Method: d.Method, PID: d.PID, TakenAt: d.TakenAt, TookMS: float64(d.Took.Microseconds()) / 1000,
		Size: d.Size, Stored: d.Stored, Notes: d.Notes, Name: d.Name, Owner: d.Owner, Error: d.Error, CreatedAt: d.CreatedAt,
	}
	var verdict analyse.Finding
	if d.Verdict != nil && json.Unmarshal(d.Verdict, &verdict) == nil {
		out.Verdict, out.Says = &verdict, verdict.String()
	}
	var summary wire.DumpSummary
	if d.Summary != nil && json.Unmarshal(d.Summary, &summary) == nil {
		out.Summary = &summary
	}
	if d.Evidence != nil && json.Unmarshal(d.Evidence, &out.Evidence) != nil {
		out.Evidence = nil
	}
	return out
}

// UploadDump puts a file into the viewer. It is its owner's alone, and goes
// after a day.
func (c *Control) UploadDump(ctx context.Context, actor restart.Actor, name string, file io.Reader) (wire.Dump, error) {
	if err := c.rights().Require(actor, authz.See, authz.Object{}); err != nil {
		return wire.Dump{}, c.refused(ctx, c.record(actor, audit.DumpUploaded), err)
	}
	d, err := c.cfg.Dumps.Upload(ctx, actor.Name, name, file, c.record(actor, audit.DumpUploaded))
	if err != nil {
		return wire.Dump{}, c.refused(ctx, c.record(actor, audit.DumpUploaded), err)
	}
	c.cfg.Committed()
	return wireDump(d), nil
}

// DeleteDump deletes a dump before its time: an admin any, and whoever has put
// a file in his own. A dump of a run is evidence, so that a reason is needed.
func (c *Control) DeleteDump(ctx context.Context, actor restart.Actor, id, reason string) error {
	d, err := c.cfg.Store.Dump(ctx, id)
	if err != nil {
		rec := c.record(actor, audit.DumpDeleted)
		rec.Detail = clip(id)
		return c.refused(ctx, rec, err)
	}
	rec := c.aboutDump(actor, audit.DumpDeleted, d, "")
	if d.Origin == store.DumpUpload {
		if err := c.dumpRights(ctx, actor)(d); err != nil {
			return c.refused(ctx, rec, err)
		}
	} else {
		if err := c.rights().Require(actor, authz.Administer, authz.Object{}); err != nil {
			return c.refused(ctx, rec, err)
		}
		if reason, err = restart.CheckReason(reason); err != nil {
			return c.refused(ctx, rec, err)
		}
		rec.Reason = reason
	}
	if err := c.cfg.Store.DeleteDump(ctx, id, c.now(), rec); err != nil {
		return c.refused(ctx, rec, err)
	}
	c.cfg.Dumps.Forget(id)
	c.deleted.Add(1)
	c.cfg.Committed()
	return nil
}

// DumpDeletions counts the dumps that were deleted here, for whoever keeps what
// dumps say: nothing of one that is deleted may stay.
func (c *Control) DumpDeletions() int64 { return c.deleted.Load() }

// CompareDumps tells what changed from one dump to another. Each of the two is
// recorded.
func (c *Control) CompareDumps(ctx context.Context, actor restart.Actor, before, after string) (wire.DumpComparison, error) {
	var out wire.DumpComparison
	a, err := c.OpenDump(ctx, actor, before, "comparison with "+clip(after))
	if err != nil {
		return out, err
	}
	b, err := c.OpenDump(ctx, actor, after, "comparison with "+clip(before))
	if err != nil {
		return out, err
	}
	defer a.Close()
	if err := a.holdBoth(ctx, b); err != nil {
		return out, err
	}
	first, err := a.Picture(ctx)
	if err != nil {
		return out, err
	}
	second, err := b.Picture(ctx)
	if err != nil {
		return out, err
	}
	if err := analyse.CheckPair(first, second); err != nil {
		return out, err
	}
	out.Before, out.After = a.Dump, b.Dump
	out.Difference = analyse.Compare(first, second, analyse.Options{})
	out.Says = out.Difference.Verdict().String()
	return out, nil
}

// byHost sorts dumps by host and then in the order in which they were taken.
func byHost(a, b store.Dump) int {
	return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Place, b.Place), strings.Compare(a.ID, b.ID))
}

// allDumps reads every dump of a run or a task, up to a bound.
func (c *Control) allDumps(ctx context.Context, f store.DumpFilter) ([]store.Dump, error) {
	const most = 20_000
	var out []store.Dump
	for f.Limit = 200; ; {
		page, next, err := c.cfg.Store.Dumps(ctx, f)
		if err != nil {
			return nil, err
		}
		out = append(out, page...)
		if next == "" || len(out) >= most {
			slices.SortFunc(out, byHost)
			return out, nil
		}
		f.Before = next
	}
}

// ofOrigin leaves the dumps of one origin.
func ofOrigin(list []store.Dump, origin store.DumpOrigin) []store.Dump {
	return slices.DeleteFunc(slices.Clone(list), func(d store.Dump) bool { return d.Origin != origin })
}

// numberOf reads which dump of a file is meant, from 1; 0 = the first.
func numberOf(n, all int) (int, error) {
	if n = max(n, 1); n > all {
		return 0, restart.Errorf(restart.CodeNotFound, "the file has %s, and no %d", fmt.Sprintf("%d dumps", all), n)
	}
	return n - 1, nil
}
