package storetest

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	_ "modernc.org/sqlite" // the driver
)

// History tells what is in a long history, by the number of a run: any number
// from 0 will do.
type History struct{ runs int }

const (
	historyServices = 200
	historyHosts    = 5000
	historyActors   = 50
)

var historyEnvironments = []string{"production", "prestable", "testing"}

// Run gives the id of a run.
func (h History) Run(i int) string { return fmt.Sprintf("00%024d", i%h.runs) }

// Host gives the first host of a run, Service its service.
func (h History) Host(i int) string {
	return fmt.Sprintf("host%04d.test.internal", (i%h.runs)*7%historyHosts)
}

// Service gives the service of a run.
func (h History) Service(i int) string {
	return fmt.Sprintf("service%03d", i%h.runs%historyServices)
}

// Environment and Actor give a run's environment and who asked for it.
func (h History) Environment(i int) string {
	return historyEnvironments[i%h.runs%len(historyEnvironments)]
}

// Actor gives who asked for a run.
func (h History) Actor(i int) string { return fmt.Sprintf("person%02d", i%h.runs%historyActors) }

// FillHistory puts runs that are over into the SQLite file of a store, which
// nobody may have open and which has its schema: the oldest two years ago, each
// with one to three hosts, its plan and an audit record, every tenth with what each
// agent said. It writes past the store, without its checks: for measuring only.
func FillHistory(ctx context.Context, path string, runs int) (History, error) {
	h := History{runs: runs}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-262144)")
	if err != nil {
		return h, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // one connection has the pragmas
	indexes, err := dropIndexes(ctx, db)
	if err != nil {
		return h, err
	}
	now := time.Now().UTC()
	step := max(2*365*24*time.Hour/time.Duration(runs), time.Microsecond)
	plan, err := planText(now)
	if err != nil {
		return h, err
	}
	// i is a run's number, k that of a host of it; id and at follow from them.
	with := fmt.Sprintf(`WITH RECURSIVE number (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < %d),
		run AS (SELECT i, printf('00%%024d', i) AS id, %d + i * %d AS at FROM number)`, runs, now.Add(-2*365*24*time.Hour).UnixMicro(), step.Microseconds())
	hosts := `, task AS (SELECT run.*, k, printf('01%022d%02d', i, k) AS task, printf('host%04d.test.internal', (i * 7 + k) % ` + fmt.Sprint(historyHosts) + `) AS host
		FROM run, (SELECT 0 AS k UNION ALL SELECT 1 UNION ALL SELECT 2) WHERE k <= i % 3)`
	for _, statement := range append([]string{
		with + fmt.Sprintf(` INSERT INTO runs (id, state, cause, explanation, control, acknowledged, held, scenario, digest, kind, service, environment, project, host_group, params,
			actor, via, reason, ticket, idempotency_key, epoch, version, owner, lease_until, created_at, started_at, finished_at)
			SELECT id, CASE i %% 50 WHEN 7 THEN 'failed' WHEN 8 THEN 'aborted' ELSE 'completed' END, CASE i %% 50 WHEN 7 THEN 'failure' WHEN 8 THEN 'operator' ELSE '' END, '', '', 0, 0,
			'systemd-restart', '%s', 'restart', printf('service%%03d', i %% %d), CASE i %% 3 WHEN 0 THEN 'production' WHEN 1 THEN 'prestable' ELSE 'testing' END,
			'shop', printf('group%%03d', i %% %d), '{}', printf('person%%02d', i %% %d), 'cli', 'a new version of the configuration', '', '', 1, 12, '', 0, at, at + 1000000, at + 31000000 FROM run`,
			strings.Repeat("ab", 32), historyServices, historyServices, historyActors),
		with + hosts + ` INSERT INTO tasks (id, run_id, service, host, position, batch, attempt, state, cause, phase, error, exit_code, drained, started_at, finished_at, version, held)
			SELECT task, id, printf('service%03d', i % ` + fmt.Sprint(historyServices) + `), host, k, k, 1, CASE i % 50 WHEN 7 THEN 'failed' ELSE 'succeeded' END, '', '', '', 0, 0, at + 1000000 + k * 10000000, at + 9000000 + k * 10000000, 12, 0 FROM task`,
		with + hosts + `INSERT INTO task_details (task_id, detail) SELECT task, x'00' || CAST(printf('{"task":"%s","run":"%s","service":"s","stage":"done","revision":9,"received_at":"2026-01-01T00:00:00Z","outcome":"succeeded","phases":[{"phase":"run","started_at":"2026-01-01T00:00:00Z","finished_at":"2026-01-01T00:00:05Z","exit_code":0}]}', task, id) AS BLOB) FROM task WHERE i % 10 = 0`,
		with + ` INSERT INTO plans (run_id, plan) SELECT id, x'00' || CAST(printf('` + plan + `', (i * 7) % ` + fmt.Sprint(historyHosts) + `) AS BLOB) FROM run`,
		with + ` INSERT INTO audit_records (source, seq, actor, action, run_id, service, body) SELECT 'history', i + 1, printf('person%02d', i % ` + fmt.Sprint(historyActors) + `), 'run.ended', id,
			printf('service%03d', i % ` + fmt.Sprint(historyServices) + `), CAST(printf('{"source":"history","epoch":1,"seq":%d,"action":"run.ended","run":"%s"}', i + 1, id) AS BLOB) FROM run`,
	}, indexes...) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return h, fmt.Errorf("fill a history: %w: %.60s", err, statement)
		}
	}
	return h, db.Close()
}

// dropIndexes drops those that are not part of a table, and gives the statements
// that make them again: one sort at the end costs less than each row in its place.
func dropIndexes(ctx context.Context, db *sql.DB) (again []string, err error) {
	rows, err := db.QueryContext(ctx, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		names, again = append(names, name), append(again, text)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	rows.Close()
	for _, name := range names {
		if _, err := db.ExecContext(ctx, "DROP INDEX "+name); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// planText gives a plan of one host as a format for printf, with the host's
// number left out.
func planText(now time.Time) (string, error) {
	b, err := json.Marshal(restart.Plan{
		Hash: "h", Request: restart.Request{Service: "s", Reason: "r"}, Scenario: "systemd-restart", Digest: strings.Repeat("ab", 32), Kind: restart.KindRestart,
		Service: restart.Service{Name: "s"}, Environment: "production", Strategy: restart.Strategy{Batches: []restart.Amount{{Count: 1}}},
		Hosts:   []restart.PlannedHost{{Host: restart.Host{Name: "host%04d.test.internal"}, Health: restart.HealthUnknown}},
		Batches: []int{1}, MadeAt: now.Truncate(time.Second), InventoryAt: now.Truncate(time.Second),
	})
	return string(b), err
}
