package restart

import (
	"errors"
	"fmt"
)

// Code classifies an error for programs: it is stable, and every way in maps
// it to its own idiom (HTTP status, exit code) in exactly one place.
type Code string

// The codes of errors that people see.
const (
	CodeInvalid        Code = "invalid"          // the request is malformed: a name, a number, an expression
	CodeReason         Code = "reason_refused"   // the reason is missing or says nothing
	CodeNotFound       Code = "not_found"        // no such service, group, host, run, token
	CodeUnauthorised   Code = "unauthorised"     // nobody is signed in
	CodeForbidden      Code = "forbidden"        // signed in, without the right
	CodeSignInAgain    Code = "sign_in_again"    // signed in too long ago for this
	CodeTooMany        Code = "too_many"         // asked too often; try again later
	CodeConflict       Code = "conflict"         // the object is not in a state that allows this
	CodePlanChanged    Code = "plan_changed"     // the inventory says something else than when the plan was shown
	CodeLocked         Code = "locked"           // another run holds the service
	CodeFrozen         Code = "frozen"           // a freeze applies to the service in its environment
	CodeTicket         Code = "ticket_refused"   // the rules want a ticket, or another one, or its tracker can't be asked
	CodeNotReviewed    Code = "not_reviewed"     // the host does not trust this scenario
	CodeUnavailable    Code = "unavailable"      // a system we need (inventory, database, log) does not answer
	CodeTooLarge       Code = "too_large"        // over a stated bound
	CodeInternal       Code = "internal"         // ours; details are in the server's log under the request id
	CodeClockSkew      Code = "clock_skew"       // the clocks of server and host differ by more than 30 s
	CodeReplay         Code = "replay"           // the envelope is expired or was forgotten on purpose
	CodeStaleEpoch     Code = "stale_epoch"      // a newer server has taken this run
	CodeBadSignature   Code = "bad_signature"    // the envelope was not signed by a key this host trusts
	CodeWrongHost      Code = "wrong_host"       // the envelope names another host
	CodeWrongGroup     Code = "wrong_group"      // the host says that it is not in that group
	CodeUnknownService Code = "unknown_service"  // the host does not list this service
	CodeNotInstalled   Code = "not_installed"    // the package is not installed on the host
	CodeBusy           Code = "busy"             // another task of this service is active on the host
	CodeParam          Code = "bad_parameter"    // a parameter is unknown, missing or outside its type
	CodeDiskFull       Code = "disk_full"        // no room to store what must be stored first
	CodeStopping       Code = "stopping"         // the program is shutting down
	CodeTombstone      Code = "tombstone"        // this task id was ended for ever before it started
	CodeAuditBacklog   Code = "audit_backlog"    // the remote log has not taken what it must take first
	CodeUnreachable    Code = "host_unreachable" // nothing could be sent to the host
	CodeCertificate    Code = "bad_certificate"  // the peer showed a certificate that does not fit
	CodeRevoked        Code = "revoked"          // the peer's certificate was revoked
	CodeUnhealthy      Code = "unhealthy"        // the service was not healthy within its deadline
)

// Error is an error made for people: a code, one sentence, and a hint that
// says what to do. Anything that is not an *Error is shown as "internal error".
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	field   string
	cause   error
}

// Errorf makes an Error without a hint. A %w verb keeps the cause for
// errors.Is, and out of the sentence only if the format leaves it out.
func Errorf(code Code, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: wrapped.Error(), cause: errors.Unwrap(wrapped)}
}

// WithHint returns a copy of e that says what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Because returns a copy of e with a private cause, for errors.Is and the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// InField returns err, told of a field of the form or request that it is about,
// so that a page shows it there. The innermost telling holds. What is nobody's
// slip (CodeUnavailable, CodeInternal) is about no field.
func InField(err error, field string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.field != "" || e.Code == CodeUnavailable || e.Code == CodeInternal {
		return err
	}
	c := *e
	c.field = field
	return &c
}

// FieldOf gives the field that err is about; "" = none, or not known. A reason
// that is refused is about the field of that name, unless it was told of another.
func FieldOf(err error) string {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return ""
	case e.field == "" && e.Code == CodeReason:
		return "reason"
	}
	return e.field
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// Unwrap gives the private cause.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf gives the code of the first *Error in err's chain: CodeInternal for
// any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
