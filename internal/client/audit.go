package client

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/wire"
)

// Audit searches the trail; next of the page goes on after its last record.
func (c *Client) Audit(ctx context.Context, q wire.AuditQuery) (wire.List[audit.Record], error) {
	return get[wire.List[audit.Record]](ctx, c, "audit", q.Values())
}

// ExportAudit writes all records that a query names in one of its forms:
// wire.AuditLines, in the order of their chains, or wire.AuditTable.
func (c *Client) ExportAudit(ctx context.Context, w io.Writer, q wire.AuditQuery, form string) error {
	values := q.Values()
	values.Set("form", form)
	resp, err := c.do(ctx, http.MethodGet, "audit/export", values, nil, http.Header{"Accept": {"*/*"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("copy records of the audit trail: %w", err)
	}
	return nil
}
