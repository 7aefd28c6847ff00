package api

import (
	"context"
	"net/http"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

func (a *api) searchAudit(ctx context.Context, actor restart.Actor, in *struct{ wire.AuditQuery }) (wire.AuditList, error) {
	records, next, err := a.cfg.Control.Audit(ctx, actor, in.AuditQuery)
	return wire.ListOf(records, next), err
}

// exportAudit gives out a file. One that breaks off ends the connection, so that
// nobody takes it for whole.
func (a *api) exportAudit(ctx context.Context, actor restart.Actor, in *struct {
	wire.AuditQuery
	Form string `query:"form" enum:"jsonl,csv" doc:"jsonl, which is also what is given where none is named: a record a line, in its canonical bytes; or csv"`
}) (http.HandlerFunc, error) {
	export, err := a.cfg.Control.ExportAudit(ctx, actor, in.AuditQuery, in.Form)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", export.Media)
		w.Header().Set("Content-Disposition", `attachment; filename="`+export.Name+`"`)
		if err := export.Write(r.Context(), patientWriter{w}); err != nil {
			if r.Context().Err() == nil {
				a.cfg.Logger.ErrorContext(r.Context(), "export the audit trail", "request_id", requestID(r.Context()), "actor", actor.Name, "error", err)
			}
			breakOff(w)
		}
	}, nil
}

// breakOff ends an answer in its middle, so that who reads it knows.
func breakOff(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // where it can't be set, the server has no deadlines
}

// patientWriter waits for each piece to be read.
type patientWriter struct{ http.ResponseWriter }

func (p patientWriter) Write(b []byte) (int, error) {
	http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(writePatience)) //nolint:errcheck // where it can't be set, there is none
	return p.ResponseWriter.Write(b)
}
