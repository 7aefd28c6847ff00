package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"modernc.org/sqlite"
)

// Bounds of what a connection to SQLite keeps parsed.
const (
	mostStatements = 64
	longestKept    = 2048 // bytes; longer texts name a batch of rows, and their number is rarely the same twice
)

// keeper opens connections to SQLite that keep their statements parsed: the
// store says the same few dozen texts again and again, and to parse one costs
// more than to do it. A statement belongs to its connection, so nothing has to
// be prepared beforehand, and nothing waits for another connection.
type keeper struct {
	driver sqlite.Driver
	name   string
}

// Connect opens a connection.
func (k *keeper) Connect(context.Context) (driver.Conn, error) {
	c, err := k.driver.Open(k.name)
	if err != nil {
		return nil, err
	}
	able, ok := c.(connection)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's connection %T lacks what the store needs of it", c), c.Close())
	}
	return &keeping{connection: able, kept: map[string]*statement{}}, nil
}

// Driver is SQLite's.
func (k *keeper) Driver() driver.Driver { return &k.driver }

// connection is what database/sql uses of the driver's connection.
type connection interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// keeping is a connection with its statements. As every driver.Conn, it is used
// by one goroutine at a time.
type keeping struct {
	connection
	kept map[string]*statement // by their text
}

// statement is one that is kept.
type statement struct {
	prepared
	busy bool // its rows are being read
}

type prepared interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// statement gives the parsed form of a text; nil where it is not kept, or where
// its rows are being read just now.
func (k *keeping) statement(ctx context.Context, text string) (*statement, error) {
	if s := k.kept[text]; s != nil || len(text) > longestKept {
		if s != nil && s.busy {
			return nil, nil
		}
		return s, nil
	}
	raw, err := k.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	able, ok := raw.(prepared)
	if !ok {
		return nil, raw.Close()
	}
	s := &statement{prepared: able}
	for old, has := range k.kept { // any of them: all that are used often fit in
		if len(k.kept) < mostStatements {
			break
		}
		if !has.busy {
			if err := k.drop(old, has); err != nil {
				return nil, errors.Join(err, s.Close())
			}
		}
	}
	k.kept[text] = s
	return s, nil
}

// drop gives a statement up.
func (k *keeping) drop(text string, s *statement) error {
	if k.kept[text] == s {
		delete(k.kept, text)
	}
	return s.Close()
}

// ExecContext does a statement. One that fails is not kept.
func (k *keeping) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	s, err := k.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return k.connection.ExecContext(ctx, text, args)
	}
	r, err := s.ExecContext(ctx, args)
	if err != nil {
		k.drop(text, s) //nolint:errcheck // it says again why it failed
		return nil, err
	}
	return r, nil
}

// QueryContext asks a question.
func (k *keeping) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := k.statement(ctx, text)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return k.connection.QueryContext(ctx, text, args)
	}
	r, err := s.QueryContext(ctx, args)
	if err != nil {
		k.drop(text, s) //nolint:errcheck // it says again why it failed
		return nil, err
	}
	s.busy = true
	return &answers{Rows: r, of: k, text: text, statement: s}, nil
}

// Close gives every statement up, and then the connection.
func (k *keeping) Close() error {
	var errs []error
	for text, s := range k.kept {
		errs = append(errs, k.drop(text, s))
	}
	return errors.Join(append(errs, k.connection.Close())...)
}

// answers are the rows of a kept statement, which may be used again after them.
type answers struct {
	driver.Rows
	of        *keeping
	text      string
	statement *statement
	failed    bool
}

// Next gives the next row, or io.EOF.
func (a *answers) Next(row []driver.Value) error {
	err := a.Rows.Next(row)
	a.failed = a.failed || err != nil && !errors.Is(err, io.EOF)
	return err
}

// Close ends the reading. A statement that has failed is not kept.
func (a *answers) Close() error {
	err := a.Rows.Close()
	a.statement.busy = false
	if err != nil || a.failed {
		return errors.Join(err, a.of.drop(a.text, a.statement))
	}
	return err
}
