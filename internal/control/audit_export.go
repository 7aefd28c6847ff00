package control

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/authz"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/wire"
)

// maxAuditExport bounds the records of one file: some 150 MB.
const maxAuditExport = 200_000

// A search for an export may look at the whole trail: so many at once, each for
// so long, and others wait.
const (
	exportsAtOnce = 2
	exportFor     = 2 * time.Minute
)

// AuditExport is a file of records that is about to be given out, and that is on
// record already.
type AuditExport struct {
	Name, Media string // of the file
	Records     int

	form  string
	ids   []int64
	store *store.Store
}

// ExportAudit finds all records that a query names and that have a place in
// their chain, in the order of the chains, and records that they are given out.
// Where nothing but time narrows the query, the seals are among them, so that
// what is between two moments can be verified. CodeTooLarge where there are more
// than fit into one file.
func (c *Control) ExportAudit(ctx context.Context, actor restart.Actor, q wire.AuditQuery, form string) (*AuditExport, error) {
	out := &AuditExport{form: form, store: c.cfg.Store}
	rec := c.record(actor, audit.AuditExported)
	rec.Params = exportParams(q, form)
	switch form {
	case "", wire.AuditLines:
		out.form, out.Name, out.Media = wire.AuditLines, "audit.jsonl", "application/x-ndjson"
	case wire.AuditTable:
		out.Name, out.Media = "audit.csv", "text/csv; charset=utf-8"
	default:
		return nil, restart.Errorf(restart.CodeInvalid, "there is no form %s of an export", restart.Quote(form)).WithHint("%s or %s", wire.AuditLines, wire.AuditTable)
	}
	if err := c.rights().Require(actor, authz.Audit, authz.Object{}); err != nil {
		return nil, c.refused(ctx, rec, err)
	}
	q.After, q.Newest, q.Stored = "", false, false
	if q == (wire.AuditQuery{Since: q.Since, Until: q.Until, Limit: q.Limit}) {
		q.Seals = true
	}
	filter, err := auditFilter(q)
	if err != nil {
		return nil, err
	}
	ids, more, err := c.placesToExport(ctx, filter)
	if err != nil {
		return nil, err
	}
	if more {
		return nil, restart.Errorf(restart.CodeTooLarge, "there are more than %d such records, the most that one file has", maxAuditExport).WithHint("ask for fewer days at a time")
	}
	out.ids, out.Records = ids, len(ids)
	rec.Detail = fmt.Sprintf("%d records", len(ids))
	return out, c.note(ctx, rec)
}

// placesToExport searches once there is a place for it.
func (c *Control) placesToExport(ctx context.Context, filter store.AuditFilter) (ids []int64, more bool, err error) {
	select {
	case c.exports <- struct{}{}:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	defer func() { <-c.exports }()
	search, cancel := context.WithTimeout(ctx, exportFor)
	defer cancel()
	ids, more, err = c.cfg.Store.AuditPlaces(search, filter, maxAuditExport)
	if err != nil && search.Err() != nil && ctx.Err() == nil {
		return nil, false, restart.Errorf(restart.CodeTooLarge, "the search for the records of the file took longer than %s", restart.Span(exportFor)).
			WithHint("ask for fewer days at a time, or without words")
	}
	return ids, more, err
}

// exportParams says in a record what was asked for.
func exportParams(q wire.AuditQuery, form string) map[string]string {
	params := map[string]string{}
	if form != "" {
		params["form"] = form
	}
	for name, values := range q.Values() {
		if !slices.Contains([]string{"after", "limit", "newest", "stored"}, name) {
			params[name] = values[0]
		}
	}
	return params
}

// Write writes the file.
func (x *AuditExport) Write(ctx context.Context, w io.Writer) error {
	table := csv.NewWriter(w)
	if x.form == wire.AuditTable {
		if _, err := io.WriteString(w, "\xef\xbb\xbf"); err != nil { // so that spreadsheets read UTF-8
			return err
		}
		table.Write(audit.Columns()) //nolint:errcheck // Error says it
	}
	const piece = 500
	for ids := range slices.Chunk(x.ids, piece) {
		entries, err := x.store.AuditEntries(ctx, ids)
		if err != nil {
			return err
		}
		var lines []byte
		for _, e := range entries {
			if x.form == wire.AuditTable {
				table.Write(e.Row()) //nolint:errcheck // Error says it
				continue
			}
			lines = append(append(lines, e.Canonical()...), '\n')
		}
		table.Flush()
		if err := table.Error(); err != nil {
			return err
		}
		if _, err := w.Write(lines); err != nil {
			return err
		}
	}
	table.Flush()
	return table.Error()
}
