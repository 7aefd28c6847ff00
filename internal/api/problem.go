package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/wire"
)

// problem tells err to the caller, and what is ours to the log.
func (a *api) problem(ctx context.Context, err error) *wire.Problem {
	p := wire.ProblemOf(err, requestID(ctx))
	if p.Code == restart.CodeInternal && ctx.Err() == nil {
		a.cfg.Logger.ErrorContext(ctx, "answer a request", "request_id", p.RequestID, "actor", actorOf(ctx).Name, "error", err)
	}
	return p
}

// refuse answers with a problem where no operation has taken the request.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := a.problem(r.Context(), err)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="restartilka"`)
	}
	writeProblem(w, p)
}

func writeProblem(w http.ResponseWriter, p *wire.Problem) {
	w.Header().Set("Content-Type", wire.ProblemType)
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) //nolint:errcheck // the caller has gone: nobody is left to tell
}

// translate makes our problem of what huma itself finds wrong with a request.
// It is one of huma's transformers: it sees every answer before it is written.
func (a *api) translate(ctx huma.Context, status string, body any) (any, error) {
	found, ok := body.(*huma.ErrorModel)
	if !ok {
		return body, nil
	}
	code, _ := strconv.Atoi(status)
	r, _ := ctx.Operation().Metadata["route"].(route)
	p := a.explain(ctx.Context(), code, found, cmp.Or(r.most, maxBody))
	if r.refusals != "" && code < 500 {
		a.cfg.Control.Unreadable(ctx.Context(), actorOf(ctx.Context()), r.refusals, restart.Errorf(p.Code, "%s", p.Detail))
	}
	return p, nil
}

// explain keeps huma's status, and words its findings as one sentence. Their
// values are not repeated: they came from outside.
func (a *api) explain(ctx context.Context, status int, found *huma.ErrorModel, bound int64) *wire.Problem {
	var details []string
	for _, d := range found.Errors {
		text := d.Message
		if d.Location != "" {
			text += " (" + d.Location + ")"
		}
		details = append(details, text)
	}
	const most = 5
	if n := len(details); n > most {
		details = append(details[:most], "and "+strconv.Itoa(n-most)+" more")
	}
	var err error
	switch {
	case status == http.StatusRequestEntityTooLarge:
		err = restart.Errorf(restart.CodeTooLarge, "the request's body is over %d bytes", bound)
	case status >= 500:
		err = errors.New(found.Detail + ": " + strings.Join(details, "; "))
	case len(details) == 0:
		err = restart.Errorf(restart.CodeInvalid, "the request can't be read: %s", restart.Escape(found.Detail))
	default:
		err = restart.Errorf(restart.CodeInvalid, "the request is not acceptable: %s", restart.Escape(strings.Join(details, "; ")))
	}
	p := a.problem(ctx, err)
	p.Status, p.Title = status, http.StatusText(status)
	return p
}

// writeJSON answers where no operation of huma's does.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the caller has gone: nobody is left to tell
}
