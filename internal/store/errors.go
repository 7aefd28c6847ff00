package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/restartilka/restartilka/internal/restart"
)

// errClosed is the cause of a refusal after Close.
var errClosed = errors.New("the store is closed")

// translate turns what a driver returned into what the rest of the program
// understands. doing says what was tried: "renew leases". An error that is
// already made for people, and a cancelled context, stay what they are; a
// deadline that passes means that the database did not answer in time.
func (s *Store) translate(doing string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*restart.Error](err); ok {
		return e
	}
	wrapped := fmt.Errorf("%s: %w", doing, err)
	if errors.Is(err, context.Canceled) {
		return wrapped
	}
	switch faultOf(err) {
	case faultFull:
		return restart.Errorf(restart.CodeDiskFull, "there is no room left for the database").
			WithHint("free space where the database keeps its files").Because(wrapped)
	case faultUnique:
		return restart.Errorf(restart.CodeConflict, "what was to be stored is there already").Because(wrapped)
	case faultReference:
		return restart.Errorf(restart.CodeNotFound, "what was to be stored belongs to something that is not there").Because(wrapped)
	case faultCollision, faultUnavailable:
		return s.unavailable(wrapped)
	}
	_, network := errors.AsType[net.Error](err)
	if network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errClosed) {
		return s.unavailable(wrapped)
	}
	return wrapped
}

func (s *Store) unavailable(cause error) error {
	return restart.Errorf(restart.CodeUnavailable, "the database (%s) does not answer as it should", s.dialect.name).
		WithHint("the server's log has the details").Because(cause)
}

func notFound(kind, id string) error {
	return restart.Errorf(restart.CodeNotFound, "there is no %s %s", kind, restart.Quote(id))
}
