package store

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/restartilka/restartilka/internal/restart"
)

// Window is how far back statistics look: whole weeks or months, in UTC, the
// one under way among them.
type Window string

// The windows.
const (
	WindowWeek    Window = "week"
	WindowMonth   Window = "4weeks"
	WindowQuarter Window = "3months"
	WindowYear    Window = "12months"
)

// Windows lists them, the shortest first.
func Windows() []Window { return []Window{WindowWeek, WindowMonth, WindowQuarter, WindowYear} }

// since gives the first day of the window and what it is counted by.
func (w Window) since(now time.Time) (grain string, first int64) {
	day := func(t time.Time) int64 { return t.UnixMicro() / microsADay }
	month := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	switch w {
	case WindowWeek:
		return grainWeek, periodOf(grainWeek, now.UnixMicro())
	case WindowQuarter:
		return grainMonth, day(month.AddDate(0, -2, 0))
	case WindowYear:
		return grainMonth, day(month.AddDate(0, -11, 0))
	}
	return grainWeek, periodOf(grainWeek, now.UnixMicro()) - 21
}

// step is what one point of the window's series covers.
func (w Window) step() string {
	if w == WindowYear {
		return grainMonth
	}
	return grainDay
}

// points gives the first day of each point up to now.
func (w Window) points(now time.Time) (out []int64) {
	_, first := w.since(now)
	last := periodOf(w.step(), now.UnixMicro())
	for at := first; at <= last; {
		out = append(out, at)
		if next := dayTime(at); w.step() == grainMonth {
			at = next.AddDate(0, 1, 0).UnixMicro() / microsADay
		} else {
			at++
		}
	}
	return out
}

func dayTime(day int64) time.Time { return time.UnixMicro(day * microsADay).UTC() }

// FiguresFilter says what statistics are of; empty fields do not narrow.
type FiguresFilter struct {
	Window               Window
	Now                  time.Time
	Service, Environment string
	Kind                 restart.Kind
}

// Figures are the statistics of a window: runs by when they ended.
type Figures struct {
	Since        time.Time
	Total        Tally
	Points       []Point
	Environments []Tally
	Services     []Tally // those with most runs first, all of them
	Reasons      []Recurrence
}

// Tally is how the runs of something went.
type Tally struct {
	Name                                    string
	Runs, Completed, Failed, Aborted, Hosts int64
	Restarts, Dumps                         int64 // of the runs, by kind
	Restarted                               int64 // restarts that were completed
	Again                                   int64 // of these: the same was restarted again within Soon
	P50, P95                                time.Duration
}

// Point is one step of the series.
type Point struct {
	From time.Time
	Tally
}

// Recurrence is one reason that was given again.
type Recurrence struct {
	Service, Reason, Run string // the newest run with it
	Runs                 int64  // with it, not the first
}

// HostTally is how restarts went on one host.
type HostTally struct {
	Host          string
	Tasks, Failed int64
	Mean          time.Duration
}

// Bounds of what is listed.
const (
	mostReasons = 20
	mostHosts   = 20
	timedTop    = 10 // services whose times are told
	fewTasks    = 3  // a host with fewer restarts is not compared
)

// Figures reads statistics from what was counted as runs ended. Reasons are
// read beside the rest: a run that ends between the two may be in one and not yet in
// the other.
func (s *Store) Figures(ctx context.Context, f FiguresFilter) (Figures, error) {
	_, first := f.Window.since(f.Now)
	out := Figures{Since: dayTime(first)}
	parts, ctx := errgroup.WithContext(ctx)
	for what, these := range map[string][]func(context.Context, tx, *Figures) error{
		"read statistics": {f.series, f.services, f.times}, "read statistics of reasons": {f.reasons},
	} {
		parts.Go(func() error {
			return s.read(ctx, what, func(ctx context.Context, t tx) error {
				for _, read := range these {
					if err := read(ctx, t, &out); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	err := parts.Wait()
	return out, err
}

// narrowed gives the conditions on a table of counts; of its environment, the
// one that is given, and else what without says.
func (f FiguresFilter) narrowed(grain string, without ...condition) (conditions []condition) {
	_, first := f.Window.since(f.Now)
	conditions = []condition{{"grain = ?", []any{grain}}, {"period >= ?", []any{first}}, {"period <= ?", []any{periodOf(grain, f.Now.UnixMicro())}}}
	if f.Environment != "" {
		without = []condition{{"environment = ?", []any{f.Environment}}}
	}
	conditions = append(conditions, without...)
	if f.Kind != "" {
		conditions = append(conditions, condition{"kind = ?", []any{string(f.Kind)}})
	}
	return conditions
}

// Counts of each environment, and of all together: a row is one or the other.
var (
	eachOne  = condition{"environment <> ?", []any{everywhere}}
	together = condition{"environment = ?", []any{everywhere}}
)

const tallyColumns = "runs, completed, failed, aborted, hosts, again"

// tallied is one row of run_counts.
type tallied struct {
	period                   int64
	service, environment     string
	kind                     restart.Kind
	runs, completed, failed  int64
	aborted, hosts, repeated int64
}

func (n *Tally) add(x tallied) {
	n.Runs, n.Completed, n.Failed, n.Aborted, n.Hosts, n.Again = n.Runs+x.runs, n.Completed+x.completed, n.Failed+x.failed, n.Aborted+x.aborted, n.Hosts+x.hosts, n.Again+x.repeated
	switch x.kind {
	case restart.KindRestart:
		n.Restarts, n.Restarted = n.Restarts+x.runs, n.Restarted+x.completed
	case restart.KindThreadDump:
		n.Dumps += x.runs
	}
}

// series adds up over time and by environment.
func (f FiguresFilter) series(ctx context.Context, t tx, out *Figures) error {
	where, args := allOf(append([]condition{{"service = ?", []any{f.Service}}}, f.narrowed(f.Window.step(), eachOne)...))
	rows, err := t.rows(ctx, "SELECT period, environment, kind, "+tallyColumns+" FROM run_counts WHERE "+where, args...)
	all, err := collect(rows, err, func(r *sql.Rows) (x tallied, err error) {
		err = r.Scan(&x.period, &x.environment, &x.kind, &x.runs, &x.completed, &x.failed, &x.aborted, &x.hosts, &x.repeated)
		return x, err
	})
	if err != nil {
		return err
	}
	at := map[int64]int{}
	for i, first := range f.Window.points(f.Now) {
		at[first] = i
		out.Points = append(out.Points, Point{From: dayTime(first)})
	}
	environments := map[string]*Tally{}
	for _, x := range all {
		if i, ok := at[x.period]; ok {
			out.Points[i].add(x)
		}
		if environments[x.environment] == nil {
			environments[x.environment] = &Tally{Name: x.environment}
		}
		environments[x.environment].add(x)
		out.Total.add(x)
	}
	out.Environments = ranked(environments)
	return nil
}

// services adds up by service.
func (f FiguresFilter) services(ctx context.Context, t tx, out *Figures) error {
	grain, _ := f.Window.since(f.Now)
	which := condition{"service <> ''", nil}
	if f.Service != "" {
		which = condition{"service = ?", []any{f.Service}}
	}
	where, args := allOf(append([]condition{which}, f.narrowed(grain, together)...))
	rows, err := t.rows(ctx, "SELECT service, kind, "+sums("runs", "completed", "failed", "aborted", "hosts", "again")+" FROM run_counts WHERE "+where+" GROUP BY service, kind", args...)
	all, err := collect(rows, err, func(r *sql.Rows) (x tallied, err error) {
		err = r.Scan(&x.service, &x.kind, &x.runs, &x.completed, &x.failed, &x.aborted, &x.hosts, &x.repeated)
		return x, err
	})
	services := map[string]*Tally{}
	for _, x := range all {
		if services[x.service] == nil {
			services[x.service] = &Tally{Name: x.service}
		}
		services[x.service].add(x)
	}
	out.Services = ranked(services)
	return err
}

// sums adds columns up, as integers in both databases.
func sums(columns ...string) string {
	text := ""
	for i, c := range columns {
		if i > 0 {
			text += ", "
		}
		text += "CAST(SUM(" + c + ") AS BIGINT)"
	}
	return text
}

// ranked puts those with most runs first.
func ranked(tallies map[string]*Tally) []Tally {
	out := make([]Tally, 0, len(tallies))
	for _, name := range slices.Sorted(maps.Keys(tallies)) {
		out = append(out, *tallies[name])
	}
	slices.SortStableFunc(out, func(a, b Tally) int { return cmp.Compare(b.Runs, a.Runs) })
	return out
}

// times tells how long runs took that were completed: all, and those of the
// services with most.
func (f FiguresFilter) times(ctx context.Context, t tx, out *Figures) error {
	grain, _ := f.Window.since(f.Now)
	names := []any{f.Service}
	top := out.Services[:min(len(out.Services), timedTop)]
	for _, s := range top {
		names = append(names, s.Name)
	}
	where, args := allOf(append([]condition{{"service IN (" + marks(len(names)) + ")", names}}, f.narrowed(grain)...))
	rows, err := t.rows(ctx, "SELECT service, bucket, "+sums("runs")+" FROM run_times WHERE "+where+" GROUP BY service, bucket", args...)
	type step struct {
		service      string
		bucket, runs int64
	}
	all, err := collect(rows, err, func(r *sql.Rows) (x step, err error) {
		err = r.Scan(&x.service, &x.bucket, &x.runs)
		return x, err
	})
	buckets := map[string]map[int64]int64{}
	for _, x := range all {
		if buckets[x.service] == nil {
			buckets[x.service] = map[int64]int64{}
		}
		buckets[x.service][x.bucket] = x.runs
	}
	out.Total.P50, out.Total.P95 = quantile(buckets[f.Service], 0.50), quantile(buckets[f.Service], 0.95)
	for i := range top {
		top[i].P50, top[i].P95 = quantile(buckets[top[i].Name], 0.50), quantile(buckets[top[i].Name], 0.95)
	}
	return err
}

// quantile gives the middle of the bucket that has the quantile: within a tenth.
func quantile(buckets map[int64]int64, q float64) time.Duration {
	total := int64(0)
	for _, n := range buckets {
		total += n
	}
	rank := int64(math.Ceil(q * float64(total)))
	for _, bucket := range slices.Sorted(maps.Keys(buckets)) {
		if rank -= buckets[bucket]; rank <= 0 {
			return time.Duration(float64(bucketEnd(bucket)) / math.Exp2(0.5/timeSteps))
		}
	}
	return 0
}

// reasons tells which were given again most often.
func (f FiguresFilter) reasons(ctx context.Context, t tx, out *Figures) error {
	grain, _ := f.Window.since(f.Now)
	conditions := f.narrowed(grain, together)
	if f.Service != "" {
		conditions = append(conditions, condition{"service = ?", []any{f.Service}})
	}
	where, args := allOf(conditions)
	rows, err := t.rows(ctx, `SELECT given.service, given.runs, given.latest, runs.reason FROM
		(SELECT service, reason_key, `+sums("runs")+` AS runs, MAX(latest) AS latest FROM reason_counts WHERE `+where+`
		GROUP BY service, reason_key ORDER BY 3 DESC, 4 DESC LIMIT ?) AS given JOIN runs ON runs.id = given.latest ORDER BY given.runs DESC, given.latest DESC`, append(args, mostReasons)...)
	out.Reasons, err = collect(rows, err, func(r *sql.Rows) (x Recurrence, err error) {
		err = r.Scan(&x.Service, &x.Runs, &x.Run, &x.Reason)
		return x, err
	})
	return err
}

// SlowestHosts tells on which hosts restarts take longest, by their mean, the
// slowest first, whatever service and kind are asked for; and since when: at most
// four weeks back.
func (s *Store) SlowestHosts(ctx context.Context, f FiguresFilter) (slowest []HostTally, since time.Time, err error) {
	week := periodOf(grainWeek, f.Now.UnixMicro())
	if f.Window != WindowWeek {
		week -= 21
	}
	conditions := []condition{{"week >= ?", []any{week}}, {"week <= ?", []any{f.Now.UnixMicro() / microsADay}}}
	if f.Environment != "" {
		conditions = append(conditions, condition{"environment = ?", []any{f.Environment}})
	}
	where, args := allOf(conditions)
	err = s.ask(ctx, "read statistics of hosts", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT host, "+sums("tasks", "failed", "took")+" FROM host_counts WHERE "+where+
			" GROUP BY host HAVING SUM(tasks) >= ? ORDER BY SUM(took) / SUM(tasks) DESC, host LIMIT ?", append(args, fewTasks, mostHosts)...)
		slowest, err = collect(rows, err, func(r *sql.Rows) (x HostTally, err error) {
			var took int64
			err = r.Scan(&x.Host, &x.Tasks, &x.Failed, &took)
			if x.Tasks > 0 {
				x.Mean = time.Duration(took/x.Tasks) * time.Microsecond
			}
			return x, err
		})
		return err
	})
	return slowest, dayTime(week), err
}

// Join adds another tally up into this one, but for the times, which can't be.
func (n *Tally) Join(x Tally) {
	n.Runs, n.Completed, n.Failed, n.Aborted, n.Hosts = n.Runs+x.Runs, n.Completed+x.Completed, n.Failed+x.Failed, n.Aborted+x.Aborted, n.Hosts+x.Hosts
	n.Restarts, n.Dumps, n.Restarted, n.Again = n.Restarts+x.Restarts, n.Dumps+x.Dumps, n.Restarted+x.Restarted, n.Again+x.Again
}
