package store

import (
	"context"
	"errors"
	"strings"

	"github.com/restartilka/restartilka/internal/audit"
)

// NoteBeside stores audit records in a database that servers may be working on,
// for a command that does something about it without being a server. A server
// gives them their place. CodeConflict where the database has another schema
// than this program knows.
func NoteBeside(ctx context.Context, c Config, records ...audit.Record) (err error) {
	s, err := openToRead(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if path, isFile := strings.CutPrefix(c.DSN, "sqlite:"); isFile {
		if path, err = realPath(path); err != nil {
			return err
		}
		s.writer = openWriter(path, "synchronous(FULL)")
	}
	s.source = c.Source
	if err := s.reach(ctx); err != nil {
		return err
	}
	if err := s.SchemaFits(ctx); err != nil {
		return err
	}
	return s.AppendAudit(ctx, records...)
}
