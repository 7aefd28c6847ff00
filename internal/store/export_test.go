package store

import (
	"context"
	"fmt"
)

// LimitPages makes the disk of a SQLite store full at so many pages, or at
// the number in use where that is more.
func LimitPages(s *Store, pages int) error {
	return s.write(context.Background(), "limit pages", func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages))
		return err
	})
}

// Setting reads what one value says in a writing transaction.
func Setting(s *Store, query string) (value string, err error) {
	err = s.write(context.Background(), "read setting", func(ctx context.Context, t tx) error {
		return t.row(ctx, query).Scan(&value)
	})
	return value, err
}

// Write runs a function in a writing transaction.
func Write(s *Store, do func() error) error {
	return s.write(context.Background(), "test", func(context.Context, tx) error { return do() })
}
