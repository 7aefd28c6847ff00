package control

import (
	"errors"

	"github.com/restartilka/restartilka/internal/restart"
)

// Field names the part of a request that an error is about, as the request
// calls it in JSON. It is the error's cause: a form shows the sentence beside
// that field, programs see the sentence alone.
type Field string

func (f Field) Error() string { return "in the field " + string(f) }

// FieldOf gives the field that an error is about; "" = none in particular.
func FieldOf(err error) string {
	if f, ok := errors.AsType[Field](err); ok {
		return string(f)
	}
	if restart.CodeOf(err) == restart.CodeReason {
		return "reason"
	}
	return ""
}

// at notes which field an error is about; nil stays nil.
func at(field string, err error) error {
	e, ok := errors.AsType[*restart.Error](err)
	if !ok {
		return err
	}
	return e.Because(errors.Join(Field(field), errors.Unwrap(e)))
}
