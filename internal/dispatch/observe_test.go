package dispatch

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/restartilka/restartilka/internal/restart"
)

func TestVerbs(t *testing.T) {
	for _, c := range []struct{ method, path, want string }{
		{http.MethodPut, "/v1/tasks/01a", "put"},
		{http.MethodGet, "/v1/tasks/01a?after=1&wait=25s", "status"},
		{http.MethodGet, "/v1/tasks/01a/output?offset=0", "output"},
		{http.MethodGet, "/v1/tasks/01a/dumps/3", "dumps"},
		{http.MethodPost, "/v1/evidence", "evidence"},
		{http.MethodPost, "/v1/tasks/01a/cancel", "cancel"},
		{http.MethodDelete, "/v1/tasks/01a", "forget"},
		{http.MethodPost, "/v1/check", "check"},
		{http.MethodPost, "/v1/probe", "probe"},
		{http.MethodPost, "/v1/certificate/request", "certificate_request"},
	} {
		if got := verbOf(c.method, c.path); got != c.want {
			t.Errorf("%s %s is %s, want %s", c.method, c.path, got, c.want)
		}
	}
}

func TestResults(t *testing.T) {
	e := restart.Errorf(restart.CodeBusy, "busy")
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want Result
	}{
		{t.Context(), nil, ResultOK},
		{t.Context(), &RefusedError{e}, ResultRefused},
		{t.Context(), &NotSentError{e}, ResultNotSent},
		{t.Context(), errors.New("connection reset"), ResultUnanswered},
		{t.Context(), context.DeadlineExceeded, ResultUnanswered},
		{gone, context.Canceled, ResultCancelled},
		{gone, &NotSentError{e}, ResultCancelled},
		{gone, &RefusedError{e}, ResultRefused}, // it has answered all the same
	} {
		if got := resultOf(c.ctx, c.err); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
	}
}
