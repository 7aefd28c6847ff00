package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/restartilka/restartilka/internal/restart"
)

// Counts are kept in the transaction that ends a run, so that they are those of
// the runs that are there. A run counts once it has started and is over, by when
// it ended; rehearsals and undrains by themselves do not count.
const (
	// Soon is how soon after a restart another one of the same service,
	// environment and group means that the first did not help.
	Soon = 24 * time.Hour
	// Lately is how long after a reason the same one, for the same service, is
	// counted as given again.
	Lately = 28 * 24 * time.Hour
)

// everywhere stands for all environments together, where counts of a service by
// week and month are added up over them. No environment can have that name.
const everywhere = "*"

const (
	grainDay   = "day"
	grainWeek  = "week"
	grainMonth = "month"
)

const microsADay = int64(24 * time.Hour / time.Microsecond)

// periodOf gives the first day of the period that a moment is in, in days since
// 1970: of a week, its Monday.
func periodOf(grain string, at int64) int64 {
	day := at / microsADay
	switch grain {
	case grainWeek:
		return (day+3)/7*7 - 3
	case grainMonth:
		return day - int64(time.UnixMicro(at).UTC().Day()) + 1
	}
	return day
}

// Times are counted by steps of a scale, each a quarter of an octave: from a
// tenth of a second to a month, within a tenth of what they are.
const (
	timeSteps     = 4
	shortest      = 100 * time.Millisecond
	longestBucket = 100
)

func bucketOf(took int64) int64 {
	if took <= int64(shortest/time.Microsecond) {
		return 0
	}
	return min(int64(math.Ceil(timeSteps*math.Log2(float64(took)/float64(shortest/time.Microsecond)))), longestBucket)
}

// bucketEnd gives the longest time that falls into a bucket.
func bucketEnd(bucket int64) time.Duration {
	return time.Duration(float64(shortest) * math.Exp2(float64(bucket)/timeSteps))
}

// searched gives what a run is found by.
func searched(reason, ticket string) string { return restart.FoldReason(reason + " " + ticket) }

// reasonKey names what is one reason, however often it is given; "" = none.
func reasonKey(reason string) string {
	same := restart.SameReason(reason)
	if same == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(same))
	return hex.EncodeToString(sum[:8])
}

// ended is what counts of a run that is over.
type ended struct {
	id, service, environment, group, key string
	kind                                 restart.Kind
	work                                 restart.Work
	state                                restart.RunState
	created, started, finished, hosts    int64
}

const endedColumns = `runs.id, runs.service, runs.environment, runs.host_group, runs.reason_key, runs.kind, runs.work, runs.state,
	runs.created_at, runs.started_at, runs.finished_at, (SELECT count(DISTINCT host) FROM tasks WHERE run_id = runs.id AND tasks.started_at IS NOT NULL)`

// counted is which runs count.
const counted = `runs.started_at IS NOT NULL AND runs.finished_at IS NOT NULL AND runs.work = '' AND runs.state IN ('completed', 'failed', 'aborted')`

func scanEnded(row scanner) (e ended, err error) {
	err = row.Scan(&e.id, &e.service, &e.environment, &e.group, &e.key, &e.kind, &e.work, &e.state, &e.created, &e.started, &e.finished, &e.hosts)
	return e, err
}

// restarted tells whether the run is one that makes another one before it
// count as no help.
func (e ended) restarted() bool {
	return e.kind == restart.KindRestart && e.work == restart.WorkWhole && e.state != restart.RunAborted
}

// countEnd counts a run that has just ended.
func countEnd(ctx context.Context, t tx, id string) error {
	e, err := scanEnded(t.row(ctx, "SELECT "+endedColumns+" FROM runs WHERE runs.id = ? AND "+counted, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	n := newCounts()
	n.add(e)
	if e.restarted() {
		rows, err := t.rows(ctx, `UPDATE runs SET again = 1 WHERE service = ? AND environment = ? AND finished_at <= ? AND finished_at > ?
			AND host_group = ? AND kind = 'restart' AND work = '' AND state = 'completed' AND started_at IS NOT NULL AND again = 0 AND id <> ? RETURNING finished_at`,
			e.service, e.environment, e.created, e.created-Soon.Microseconds(), e.group, e.id)
		before, err := collect(rows, err, func(r *sql.Rows) (at int64, err error) {
			err = r.Scan(&at)
			return at, err
		})
		if err != nil {
			return err
		}
		for _, at := range before {
			n.again(e, at)
		}
	}
	if e.key != "" {
		var before int
		err := t.row(ctx, "SELECT count(*) FROM (SELECT 1 FROM runs WHERE service = ? AND reason_key = ? AND id < ? AND id >= ? AND finished_at < ? AND "+counted+" LIMIT 1) AS found",
			e.service, e.key, e.id, e.lately(), e.finished).Scan(&before)
		if err != nil {
			return err
		}
		if before > 0 {
			n.reason(e)
		}
	}
	return n.write(ctx, t)
}

// lately gives the id from which on a run with the same reason is counted.
func (e ended) lately() string { return restart.FirstID(restart.TimeOfID(e.id).Add(-Lately)) }

// countTask counts a restart on one host that is over. It has a week only: how
// fast a host was years ago helps nobody.
func countTask(ctx context.Context, t tx, id string) error {
	_, err := t.exec(ctx, "INSERT INTO host_counts (week, host, environment, tasks, failed, took) SELECT "+hostCount+
		" WHERE tasks.id = ? AND "+countedTask+` ON CONFLICT (week, host, environment) DO UPDATE
		SET tasks = host_counts.tasks + 1, failed = host_counts.failed + excluded.failed, took = host_counts.took + excluded.took`, id)
	return err
}

const (
	hostCount = `(tasks.finished_at / 86400000000 + 3) / 7 * 7 - 3 AS week, tasks.host AS host, runs.environment AS environment, 1 AS one,
		CASE WHEN tasks.state = 'succeeded' THEN 0 ELSE 1 END AS bad, tasks.finished_at - tasks.started_at AS took FROM tasks JOIN runs ON runs.id = tasks.run_id`
	countedTask = `tasks.started_at IS NOT NULL AND tasks.finished_at IS NOT NULL AND tasks.state IN ('succeeded', 'failed', 'timed_out') AND runs.kind = 'restart' AND runs.work = ''`
)

// countsTask tells whether a task in a state is looked at by countTask.
func countsTask(s restart.TaskState) bool {
	return s == restart.TaskSucceeded || s == restart.TaskFailed || s == restart.TaskTimedOut
}

type (
	countKey struct {
		service, grain    string
		period            int64
		environment, kind string
	}
	countRow struct{ runs, completed, failed, aborted, hosts, again int64 }
	timeKey  struct {
		countKey
		bucket int64
	}
	reasonID struct {
		countKey
		key string
	}
	reasonRow struct {
		runs   int64
		latest string
	}
)

// counts are what is to be added to the tables.
type counts struct {
	runs    map[countKey]countRow
	times   map[timeKey]int64
	reasons map[reasonID]reasonRow
}

func newCounts() counts {
	return counts{map[countKey]countRow{}, map[timeKey]int64{}, map[reasonID]reasonRow{}}
}

// keys gives where a run counts that ended at a moment.
func (e ended) keys(at int64, grains ...string) (out []countKey) {
	for _, service := range []string{"", e.service} {
		for _, grain := range grains {
			out = append(out, countKey{service, grain, periodOf(grain, at), e.environment, string(e.kind)})
		}
	}
	return out
}

// wide gives where it counts beside that, for all environments together.
func (e ended) wide(at int64) (out []countKey) {
	for _, grain := range []string{grainWeek, grainMonth} {
		out = append(out, countKey{e.service, grain, periodOf(grain, at), everywhere, string(e.kind)})
	}
	return out
}

func (n counts) add(e ended) {
	for _, k := range append(e.keys(e.finished, grainDay, grainWeek, grainMonth), e.wide(e.finished)...) {
		r := n.runs[k]
		r.runs++
		r.hosts += e.hosts
		switch e.state {
		case restart.RunCompleted:
			r.completed++
		case restart.RunFailed:
			r.failed++
		default:
			r.aborted++
		}
		n.runs[k] = r
	}
	if e.state == restart.RunCompleted { // how long one takes that was broken off says nothing
		for _, k := range append(e.keys(e.finished, grainWeek, grainMonth), e.wide(e.finished)...) {
			n.times[timeKey{k, bucketOf(e.finished - e.started)}]++
		}
	}
}

// again counts that a restart which had ended at a moment did not help: e came
// after it.
func (n counts) again(e ended, at int64) {
	for _, k := range append(e.keys(at, grainDay, grainWeek, grainMonth), e.wide(at)...) {
		r := n.runs[k]
		r.again++
		n.runs[k] = r
	}
}

func (n counts) reason(e ended) {
	for _, k := range append(e.keys(e.finished, grainWeek, grainMonth), e.wide(e.finished)...) {
		if k.service != "" {
			r := n.reasons[reasonID{k, e.key}]
			n.reasons[reasonID{k, e.key}] = reasonRow{r.runs + 1, max(r.latest, e.id)}
		}
	}
}

// write adds to the tables, always in the same order, so that two transactions
// can't wait for each other.
func (n counts) write(ctx context.Context, t tx) error {
	for part := range slices.Chunk(sorted(n.runs, countKey.compare), countBatch) {
		var args []any
		for _, k := range part {
			r := n.runs[k]
			args = append(args, k.service, k.grain, k.period, k.environment, k.kind, r.runs, r.completed, r.failed, r.aborted, r.hosts, r.again)
		}
		if _, err := t.exec(ctx, `INSERT INTO run_counts (service, grain, period, environment, kind, runs, completed, failed, aborted, hosts, again) VALUES `+
			repeat("("+marks(11)+")", len(part))+` ON CONFLICT (service, grain, period, environment, kind) DO UPDATE
			SET runs = run_counts.runs + excluded.runs, completed = run_counts.completed + excluded.completed, failed = run_counts.failed + excluded.failed,
			aborted = run_counts.aborted + excluded.aborted, hosts = run_counts.hosts + excluded.hosts, again = run_counts.again + excluded.again`, args...); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(sorted(n.times, func(a, b timeKey) int {
		if c := a.countKey.compare(b.countKey); c != 0 {
			return c
		}
		return int(a.bucket - b.bucket)
	}), countBatch) {
		var args []any
		for _, k := range part {
			args = append(args, k.service, k.grain, k.period, k.environment, k.kind, k.bucket, n.times[k])
		}
		if _, err := t.exec(ctx, `INSERT INTO run_times (service, grain, period, environment, kind, bucket, runs) VALUES `+repeat("("+marks(7)+")", len(part))+
			` ON CONFLICT (service, grain, period, environment, kind, bucket) DO UPDATE SET runs = run_times.runs + excluded.runs`, args...); err != nil {
			return err
		}
	}
	return n.writeReasons(ctx, t)
}

func (n counts) writeReasons(ctx context.Context, t tx) error {
	for part := range slices.Chunk(sorted(n.reasons, func(a, b reasonID) int {
		if c := a.countKey.compare(b.countKey); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	}), countBatch) {
		var args []any
		for _, k := range part {
			r := n.reasons[k]
			args = append(args, k.grain, k.period, k.service, k.environment, k.kind, k.key, r.runs, r.latest)
		}
		if _, err := t.exec(ctx, `INSERT INTO reason_counts (grain, period, service, environment, kind, reason_key, runs, latest) VALUES `+repeat("("+marks(8)+")", len(part))+
			` ON CONFLICT (grain, period, service, environment, kind, reason_key) DO UPDATE SET runs = reason_counts.runs + excluded.runs,
			latest = CASE WHEN excluded.latest > reason_counts.latest THEN excluded.latest ELSE reason_counts.latest END`, args...); err != nil {
			return err
		}
	}
	return nil
}

// countBatch is how many rows one statement adds to.
const countBatch = 200

func (k countKey) compare(b countKey) int {
	for _, c := range []int{strings.Compare(k.service, b.service), strings.Compare(k.grain, b.grain), int(k.period - b.period), strings.Compare(k.environment, b.environment)} {
		if c != 0 {
			return c
		}
	}
	return strings.Compare(k.kind, b.kind)
}

func sorted[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, compare)
	return out
}
