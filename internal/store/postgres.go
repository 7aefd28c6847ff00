package store

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/restartilka/restartilka/internal/restart"
)

// connections is how many of PostgreSQL's connections one server uses at most.
const connections = 24

// openPostgres prepares the pool; nothing is connected yet. The settings of
// the URL are pgx's: see https://pkg.go.dev/github.com/jackc/pgx/v5/pgconn#ParseConfig.
func (s *Store) openPostgres(dsn string) error {
	s.dialect = postgresDialect()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return restart.Errorf(restart.CodeInvalid, "the address of the PostgreSQL database is not understood").
			WithHint("postgres://user@host:5432/database?sslmode=verify-full").Because(err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	// What is answered as committed is on the disk, whatever the cluster's default.
	config.RuntimeParams["synchronous_commit"] = "on"
	// The text is written for this level, whatever the cluster's default.
	config.RuntimeParams["default_transaction_isolation"] = "read committed"
	// Each statement reads a few rows by an index. PostgreSQL guesses a few of them
	// dear, and compiling such a one takes longer than anything it does.
	config.RuntimeParams["jit"] = "off"
	// Nor are workers started for one: a few rows are read sooner than a process starts.
	config.RuntimeParams["max_parallel_workers_per_gather"] = "0"
	config.RuntimeParams["application_name"] = "restartilka"
	// A server that vanished in a transaction must not keep a run's row.
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "60s"
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s.writer, s.reader = db, db
	return nil
}
