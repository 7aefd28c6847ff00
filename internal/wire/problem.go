package wire

import (
	"errors"
	"net/http"

	"github.com/restartilka/restartilka/internal/protocol"
	"github.com/restartilka/restartilka/internal/restart"
)

// ProblemType is the media type of a Problem (RFC 9457).
const ProblemType = "application/problem+json"

// Problem is an error as the API tells it: a *restart.Error with its HTTP
// status and the id under which the server has logged the request.
type Problem struct {
	Title     string       `json:"title" doc:"the status in words"`
	Status    int          `json:"status"`
	Code      restart.Code `json:"code" doc:"for programs: stable"`
	Detail    string       `json:"detail" doc:"one sentence for people"`
	Hint      string       `json:"hint,omitempty" doc:"what to do"`
	RequestID string       `json:"request_id,omitempty" doc:"finds the request in the server's log"`
}

// ProblemOf tells err as a problem. Whatever is not a *restart.Error becomes
// "internal error": its text is for the log only.
func ProblemOf(err error, requestID string) *Problem {
	e, ok := errors.AsType[*restart.Error](err)
	if !ok {
		e = restart.Errorf(restart.CodeInternal, "internal error").WithHint("the server's log tells more under request %s", requestID)
	}
	status := protocol.StatusOf(e.Code)
	return &Problem{Title: http.StatusText(status), Status: status, Code: e.Code, Detail: e.Message, Hint: e.Hint, RequestID: requestID}
}

// Err gives the error that the problem tells.
func (p *Problem) Err() *restart.Error {
	e := restart.Errorf(p.Code, "%s", p.Detail)
	if p.Hint != "" {
		e = e.WithHint("%s", p.Hint)
	}
	return e
}

// Error makes a Problem an error.
func (p *Problem) Error() string { return p.Err().Error() }

// GetStatus gives the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType gives the media type in place of application/json.
func (p *Problem) ContentType(string) string { return ProblemType }
