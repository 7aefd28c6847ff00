package storetest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	_ "modernc.org/sqlite" // the driver
)

// History tells what is in a long history, by the number of a run: any number
// from 0 will do.
type History struct {
	runs  int
	begin time.Time
	step  time.Duration
}

const (
	historyServices = 500
	historyBlocks   = 66 // of hosts, in each environment
	historyBlock    = 25
	historyActors   = 50
	historySpan     = 2 * 365 * 24 * time.Hour
	historyTasks    = 19 // of a run at most; ten on the average
)

var (
	historyEnvironments = []string{"production", "prestable", "testing"}
	historyReasons      = []string{
		"a new version of the configuration", "502s since the deploy of build %d", "workers hang after %d hours", "memory grows by %d MB a day", "the certificate was renewed",
		"утечка памяти, сборка %d", "connections to the database are stuck", "pick up the feature flag %d", "slow answers: p99 is %d ms", "rotate the log by hand",
	}
	historyRare = "cosmic rays in rack %d"
)

// Runs tells how many runs there are; each has an audit record.
func (h History) Runs() int { return h.runs }

// Run gives the id of a run.
func (h History) Run(i int) string {
	i %= h.runs
	return restart.FirstID(h.begin.Add(time.Duration(i) * h.step))[:10] + fmt.Sprintf("%016d", i)
}

// Host gives the first host of a run.
func (h History) Host(i int) string {
	i %= h.runs
	return hostName(i%historyServices, i/historyServices%len(historyEnvironments), 0)
}

// hostName gives a host of a service in an environment. Each host is of one
// environment, and of some services.
func hostName(service, environment, k int) string {
	return fmt.Sprintf("host%04d.test.internal", (service%historyBlocks*len(historyEnvironments)+environment)*historyBlock+k)
}

// Service gives the service of a run.
func (h History) Service(i int) string {
	return fmt.Sprintf("service%03d", i%h.runs%historyServices)
}

// Environment and Actor give a run's environment and who asked for it.
func (h History) Environment(i int) string {
	return historyEnvironments[i%h.runs/historyServices%len(historyEnvironments)]
}

// Actor gives who asked for a run.
func (h History) Actor(i int) string { return fmt.Sprintf("person%02d", i%h.runs%historyActors) }

// Group gives the group that a run is over.
func (h History) Group(i int) string { return h.Service(i) + "-" + h.Environment(i) }

// Reason gives the key of a run's reason, but for those few that are rare.
func (h History) Reason(i int) string { return keyOf(historyReasons[i%h.runs%len(historyReasons)]) }

// Day gives the day of a run.
func (h History) Day(i int) string {
	return h.begin.Add(time.Duration(i%h.runs) * h.step).Format(time.DateOnly)
}

// Inventory describes the services, groups and hosts of the history, as an
// inventory of kind yaml has them.
func (h History) Inventory() string {
	var b strings.Builder
	b.WriteString("services:\n")
	for s := range historyServices {
		fmt.Fprintf(&b, "  - {name: service%03d, package: service%03d, unit: service%03d.service, owners: ['team:team%02d', person%02d]}\n", s, s, s, s%20, s%historyActors)
	}
	b.WriteString("groups:\n")
	for s := range historyServices {
		for n, e := range historyEnvironments {
			fmt.Fprintf(&b, "  - {name: service%03d-%s, environment: %s, services: [service%03d], hosts: [", s, e, e, s)
			for k := range historyTasks {
				b.WriteString(hostName(s, n, k) + ", ")
			}
			b.WriteString("]}\n")
		}
	}
	b.WriteString("hosts:\n")
	for n := range historyBlocks * len(historyEnvironments) * historyBlock {
		fmt.Fprintf(&b, "  - {name: %s}\n", hostName(0, 0, n))
	}
	return b.String()
}

// FillHistory puts runs that are over into a database that has the schema of a
// store and that no server works on: the oldest two years ago, each with one to
// nineteen hosts, its plan and an audit record, every tenth with what an agent
// said; and counts them. It writes past the store: for measuring only.
func FillHistory(ctx context.Context, dsn string, runs int) (History, error) {
	h := History{runs: runs, begin: time.Now().UTC().Add(-historySpan).Truncate(time.Millisecond), step: max((historySpan / time.Duration(runs)).Truncate(time.Microsecond), time.Microsecond)}
	f, err := openFiller(ctx, dsn)
	if err != nil {
		return h, err
	}
	defer f.db.Close()
	indexes, err := f.dropIndexes(ctx)
	if err != nil {
		return h, err
	}
	rows, err := f.rows(h)
	if err != nil {
		return h, err
	}
	if err := f.do(ctx, f.before, rows, indexes, f.after); err != nil {
		return h, err
	}
	if err := f.db.Close(); err != nil {
		return h, err
	}
	s, err := store.Open(ctx, store.Config{DSN: dsn, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return h, err
	}
	defer s.Close()
	if err := s.Recount(ctx); err != nil {
		return h, err
	}
	// A database that has come to this by years has vacuumed itself.
	if f, err = openFiller(ctx, dsn); err != nil {
		return h, err
	}
	defer f.db.Close()
	return h, f.do(ctx, f.after)
}

func (f filler) do(ctx context.Context, statements ...[]string) error {
	for _, statement := range slices.Concat(statements...) {
		if _, err := f.db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fill a history: %w: %.80s", err, statement)
		}
	}
	return nil
}

// filler is what differs between the databases where rows are made in bulk.
type filler struct {
	db            *sql.DB
	numbers       string // of a common table expression: the rows of number (i), from 0 below %d
	blob          string // of a text, with a zero byte before it
	padded        func(expression string, width int) string
	indexes       string // lists those that are no part of a table
	before, after []string
}

func openFiller(ctx context.Context, dsn string) (f filler, err error) {
	path, isFile := strings.CutPrefix(dsn, "sqlite:")
	if isFile {
		f = filler{
			numbers: "SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i + 1 < %d",
			blob:    "x'00' || CAST(%s AS BLOB)",
			padded:  func(e string, width int) string { return fmt.Sprintf("printf('%%0%dd', %s)", width, e) },
			indexes: "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
		}
		f.db, err = sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-262144)")
	} else {
		f = filler{
			numbers: "SELECT generate_series(CAST(0 AS BIGINT), %d - 1)",
			blob:    `'\x00'::bytea || convert_to(%s, 'UTF8')`,
			padded:  func(e string, width int) string { return fmt.Sprintf("lpad(CAST(%s AS TEXT), %d, '0')", e, width) },
			indexes: "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND indexname NOT IN (SELECT conname FROM pg_constraint)",
			before:  []string{"SET session_replication_role = replica", "SET maintenance_work_mem = '256MB'", "SET synchronous_commit = off"},
			after:   []string{"VACUUM ANALYZE", "CHECKPOINT"},
		}
		f.db, err = sql.Open("pgx", dsn)
	}
	if err != nil {
		return f, err
	}
	f.db.SetMaxOpenConns(1) // one connection has the settings
	return f, f.db.PingContext(ctx)
}

// rows gives the statements that fill the tables. In them i is a run's number,
// k that of a host of it; all else follows from these.
func (f filler) rows(h History) ([]string, error) {
	plan, err := planText(h.begin)
	if err != nil {
		return nil, err
	}
	id := "" // as restart.FirstID
	for shift := 45; shift >= 0; shift -= 5 {
		id += fmt.Sprintf("substr('0123456789abcdefghjkmnpqrstvwxyz', CAST(((at / 1000) >> %d) & 31 AS INTEGER) + 1, 1) || ", shift)
	}
	service, environment := "'service' || "+f.padded(fmt.Sprintf("i %% %d", historyServices), 3), environmentOf()
	host := "'host' || " + f.padded(fmt.Sprintf("(i %% %d %% %d * %d + i / %d %% %d) * %d + k", historyServices, historyBlocks, len(historyEnvironments), historyServices, len(historyEnvironments), historyBlock), 4) + " || '.test.internal'"
	person := "'person' || " + f.padded(fmt.Sprintf("i %% %d", historyActors), 2)
	with := fmt.Sprintf(`WITH RECURSIVE number (i) AS (%s), timed AS (SELECT i, %d + i * %d AS at FROM number),
		run AS (SELECT i, at, %s%s AS id, %s AS service, %s AS environment, %s AS actor, CASE i %% 50 WHEN 7 THEN 'failed' WHEN 8 THEN 'aborted' ELSE 'completed' END AS state FROM timed)`,
		fmt.Sprintf(f.numbers, h.runs), h.begin.UnixMicro(), h.step.Microseconds(), id, f.padded("i", 16), service, environment, person)
	hosts := fmt.Sprintf(`, one (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM one WHERE k < %d), task AS (SELECT run.*, k, substr(id, 1, 10) || %s AS task, %s AS host FROM run JOIN one ON k <= i %% %d)`,
		historyTasks-1, f.padded("i * 100 + k", 16), host, historyTasks)
	reason, key := reasonOf()
	return []string{
		with + fmt.Sprintf(` INSERT INTO runs (id, state, cause, explanation, control, acknowledged, held, scenario, digest, kind, service, environment, project, host_group, params,
			actor, via, reason, ticket, idempotency_key, epoch, version, owner, lease_until, created_at, started_at, finished_at, search, reason_key)
			SELECT id, state, CASE state WHEN 'failed' THEN 'failure' WHEN 'aborted' THEN 'operator' ELSE '' END, '', '', 0, 0,
			CASE WHEN i %% 20 = 3 THEN 'process-dump' ELSE 'systemd-restart' END, '%s', CASE WHEN i %% 20 = 3 THEN 'thread-dump' ELSE 'restart' END, service, environment,
			'shop', service || '-' || environment, '{}', actor, 'cli', reason, '', '', 1, 12, '', 0, at, at + 1000000, at + 11000000 + (i %% 97) * 3000000, reason, reason_key
			FROM (SELECT run.*, %s AS reason, %s AS reason_key FROM run) AS asked`, strings.Repeat("ab", 32), reason, key),
		with + hosts + ` INSERT INTO tasks (id, run_id, service, host, position, batch, attempt, state, cause, phase, error, exit_code, drained, started_at, finished_at, version, held)
			SELECT task, id, service, host, k, k, 1, CASE state WHEN 'failed' THEN 'failed' ELSE 'succeeded' END, '', '', '', 0, 0, at + 1000000 + k * 1000000, at + 9000000 + k * 1000000 + (i + k) % 89 * 100000, 12, 0 FROM task`,
		with + hosts + fmt.Sprintf(` INSERT INTO task_details (task_id, detail) SELECT task, `+f.blob+` FROM task WHERE i %% 10 = 0 AND k = 0`,
			`'{"task":"' || task || '","run":"' || id || '","service":"s","stage":"done","revision":9,"received_at":"2026-01-01T00:00:00Z","outcome":"succeeded","phases":[{"phase":"run","started_at":"2026-01-01T00:00:00Z","finished_at":"2026-01-01T00:00:05Z","exit_code":0}]}'`),
		with + fmt.Sprintf(` INSERT INTO plans (run_id, plan) SELECT id, `+f.blob+` FROM (SELECT run.*, 0 AS k FROM run) AS run`,
			"'"+strings.Replace(plan, "HOST", "' || "+host+" || '", 1)+"'"),
		with + ` INSERT INTO audit_records (source, seq, actor, action, run_id, service, host, environment, area, happened_at, search, body)
			SELECT 'history', i + 1, actor, 'run.ended', id, service, ` + host + `, environment, 'runs', at, ` + reason + `, ` +
			strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf(f.blob, `'{"source":"history","epoch":1,"seq":' || CAST(i + 1 AS TEXT) || ',"action":"run.ended","run":"' || id || '"}'`), "x'00' || "), `'\x00'::bytea || `) + ` FROM (SELECT run.*, 0 AS k FROM run) AS run`,
	}, nil
}

func environmentOf() string {
	text := fmt.Sprintf("CASE i / %d %% %d", historyServices, len(historyEnvironments))
	for n, e := range historyEnvironments {
		text += fmt.Sprintf(" WHEN %d THEN '%s'", n, e)
	}
	return text + " END"
}

// reasonOf gives expressions of a run's reason and of its key, as the store has
// them.
func reasonOf() (reason, key string) {
	reason, key = "CASE", "CASE"
	for n, template := range append(historyReasons, historyRare) {
		when := fmt.Sprintf(" WHEN i %% %d = %d THEN ", len(historyReasons), n)
		if template == historyRare {
			when = " ELSE "
		} else if n == 0 {
			reason, key = reason+" WHEN i % 99991 = 77 THEN "+numbered(historyRare), key+" WHEN i % 99991 = 77 THEN '"+keyOf(historyRare)+"'"
		}
		reason, key = reason+when+numbered(template), key+when+"'"+keyOf(template)+"'"
	}
	return reason + " END", key + " END"
}

// numbered puts a number of the run's into a text.
func numbered(template string) string {
	before, after, _ := strings.Cut(template, "%d")
	if before == template {
		return "'" + template + "'"
	}
	return "'" + before + "' || CAST(i % 1009 AS TEXT) || '" + after + "'"
}

func keyOf(template string) string {
	sum := sha256.Sum256([]byte(restart.SameReason(strings.Replace(template, "%d", "1", 1))))
	return hex.EncodeToString(sum[:8])
}

// dropIndexes drops those that are not part of a table, and gives the statements
// that make them again: one sort at the end costs less than each row in its place.
func (f filler) dropIndexes(ctx context.Context) (again []string, err error) {
	rows, err := f.db.QueryContext(ctx, f.indexes)
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
		if _, err := f.db.ExecContext(ctx, "DROP INDEX "+name); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// planText gives a plan of one host, whose name is HOST.
func planText(now time.Time) (string, error) {
	b, err := json.Marshal(restart.Plan{
		Hash: "h", Request: restart.Request{Service: "s", Reason: "r"}, Scenario: "systemd-restart", Digest: strings.Repeat("ab", 32), Kind: restart.KindRestart,
		Service: restart.Service{Name: "s"}, Environment: "production", Strategy: restart.Strategy{Batches: []restart.Amount{{Count: 1}}},
		Hosts:   []restart.PlannedHost{{Host: restart.Host{Name: "HOST"}, Health: restart.HealthUnknown}},
		Batches: []int{1}, MadeAt: now.Truncate(time.Second), InventoryAt: now.Truncate(time.Second),
	})
	return string(b), err
}
