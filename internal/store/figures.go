package store

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"math"
	"slices"
	"strconv"
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

// step is what one point of the window's series covers, of which the window may
// have but a part.
func (w Window) step() string {
	switch w {
	case WindowYear:
		return grainMonth
	case WindowQuarter:
		return grainWeek
	}
	return grainDay
}

// stretch is a part of a window that is read from counts of one grain: from the
// first period to the last.
type stretch struct {
	grain       string
	first, last int64
}

// stretches gives what the window's series is added up from: of three months,
// whole weeks, and the days before the first of these.
func (w Window) stretches(now time.Time) []stretch {
	step := w.step()
	_, first := w.since(now)
	last := periodOf(step, now.UnixMicro())
	whole := periodOf(step, dayTime(first).UnixMicro())
	if whole == first {
		return []stretch{{step, first, last}}
	}
	next := periodOf(step, dayTime(whole+7).UnixMicro()) // only weeks begin elsewhere than windows do
	return []stretch{{grainDay, first, next - 1}, {step, next, last}}
}

// points gives the first day of each point up to now.
func (w Window) points(now time.Time) (out []int64) {
	_, first := w.since(now)
	for at := first; at <= now.UnixMicro()/microsADay; {
		out = append(out, at)
		switch start := periodOf(w.step(), at*microsADay); w.step() {
		case grainMonth:
			at = dayTime(start).AddDate(0, 1, 0).UnixMicro() / microsADay
		case grainWeek:
			at = start + 7
		default:
			at++
		}
	}
	return out
}

func dayTime(day int64) time.Time { return time.UnixMicro(day * microsADay).UTC() }

// lasting is by what times are told over a window, and from which day on: by
// whole weeks, the first of which may begin before the window, or by months.
func (w Window) lasting(now time.Time) (grain string, first int64) {
	grain, first = w.since(now)
	if w == WindowQuarter {
		return grainWeek, periodOf(grainWeek, dayTime(first).UnixMicro())
	}
	return grain, first
}

// FiguresFilter says what statistics are of; empty fields do not narrow.
type FiguresFilter struct {
	Window      Window
	Now         time.Time
	Services    []string
	Environment string
	Kind        restart.Kind
}

// Figures are the statistics of a window: runs by when they ended.
type Figures struct {
	Since        time.Time
	Total        Tally
	Points       []Point
	Times        []Lasted // by weeks or months in which any was completed
	Environments []Tally
	Services     []Tally // those with most runs first, all of them
}

// Lasted is how long the runs took that were completed in the time from From on.
type Lasted struct {
	From     time.Time
	Runs     int64
	P50, P95 time.Duration
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
	Service, Key, Reason, Run string // the newest run with it
	Runs                      int64  // with it, not the first
}

// Given is a run with one reason.
type Given struct {
	Run, Reason, Actor, Environment string
	Kind                            restart.Kind
	State                           restart.RunState
	Again                           bool // a restart after which the same was restarted again within Soon
	CreatedAt, FinishedAt           time.Time
}

// HostTally is how restarts went on one host.
type HostTally struct {
	Host          string
	Tasks, Failed int64
	Mean          time.Duration
}

// MostGiven bounds the runs of Given.
const MostGiven = 1000

// Bounds of what is listed.
const (
	mostReasons = 20
	mostHosts   = 20
	timedTop    = 10 // services whose times are told
	fewTasks    = 3  // a host with fewer restarts is not compared
)

// Figures reads statistics from what was counted as runs ended. What is counted
// over time is read beside the services: a run that ends between the two may be
// in one and not yet in the other.
func (s *Store) Figures(ctx context.Context, f FiguresFilter) (Figures, error) {
	_, first := f.Window.since(f.Now)
	out := Figures{Since: dayTime(first)}
	parts, ctx := errgroup.WithContext(ctx)
	var all map[int64]int64
	parts.Go(func() error {
		return s.read(ctx, "read statistics", func(ctx context.Context, t tx) (err error) {
			if err = f.series(ctx, t, &out); err != nil {
				return err
			}
			all, err = f.times(ctx, t, &out)
			return err
		})
	})
	parts.Go(func() error {
		return s.read(ctx, "read statistics of services", func(ctx context.Context, t tx) error {
			if err := f.services(ctx, t, &out); err != nil {
				return err
			}
			return f.topTimes(ctx, t, &out)
		})
	})
	err := parts.Wait()
	out.Total.P50, out.Total.P95 = quantile(all, 0.50), quantile(all, 0.95)
	return out, err
}

// among is the condition that a service is one of those asked for; none is that
// where all are.
func (f FiguresFilter) among(none condition) condition {
	if len(f.Services) == 0 {
		return none
	}
	return oneOf(f.Services)
}

func oneOf(services []string) condition {
	args := make([]any, len(services))
	for i, name := range services {
		args[i] = name
	}
	return condition{"service IN (" + marks(len(args)) + ")", args}
}

// In tables of counts a service without a name stands for all together.
var (
	allServices  = condition{"service = ''", nil}
	eachService  = condition{"service <> ''", nil}
	anyCondition = condition{"1 = 1", nil}
)

// narrowed gives the conditions on a table of counts; of its environment, the
// one that is given, and else what without says.
func (f FiguresFilter) narrowed(grain string, without ...condition) []condition {
	_, first := f.Window.since(f.Now)
	return f.from(grain, first, without...)
}

// from is narrowed from another day on.
func (f FiguresFilter) from(grain string, first int64, without ...condition) []condition {
	return f.within(stretch{grain, first, periodOf(grain, f.Now.UnixMicro())}, without...)
}

// within is narrowed to a stretch.
func (f FiguresFilter) within(part stretch, without ...condition) (conditions []condition) {
	conditions = []condition{{"grain = ?", []any{part.grain}}, {"period >= ?", []any{part.first}}, {"period <= ?", []any{part.last}}}
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

var tallySums = sums("runs", "completed", "failed", "aborted", "hosts", "again")

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
	var all []tallied
	for _, part := range f.Window.stretches(f.Now) {
		some, err := f.tallies(ctx, t, part)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	at := map[int64]int{}
	for i, first := range f.Window.points(f.Now) {
		at[periodOf(f.Window.step(), first*microsADay)] = i
		out.Points = append(out.Points, Point{From: dayTime(first)})
	}
	environments := map[string]*Tally{}
	for _, x := range all {
		if i, ok := at[periodOf(f.Window.step(), x.period*microsADay)]; ok {
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

// tallies reads a part of the window.
func (f FiguresFilter) tallies(ctx context.Context, t tx, part stretch) ([]tallied, error) {
	where, args := allOf(append([]condition{f.among(allServices)}, f.within(part, eachOne)...))
	text := "SELECT period, environment, kind, " + tallyColumns + " FROM run_counts WHERE " + where
	if len(f.Services) > 1 {
		text = "SELECT period, environment, kind, " + tallySums + " FROM run_counts WHERE " + where + " GROUP BY period, environment, kind"
	}
	rows, err := t.rows(ctx, text, args...)
	return collect(rows, err, func(r *sql.Rows) (x tallied, err error) {
		err = r.Scan(&x.period, &x.environment, &x.kind, &x.runs, &x.completed, &x.failed, &x.aborted, &x.hosts, &x.repeated)
		return x, err
	})
}

// services adds up by service.
func (f FiguresFilter) services(ctx context.Context, t tx, out *Figures) error {
	grain, _ := f.Window.since(f.Now)
	where, args := allOf(append([]condition{f.among(eachService)}, f.narrowed(grain, together)...))
	rows, err := t.rows(ctx, "SELECT service, kind, "+tallySums+" FROM run_counts WHERE "+where+" GROUP BY service, kind", args...)
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

// times tells how long runs took that were completed, over time, and gives all
// together by bucket.
func (f FiguresFilter) times(ctx context.Context, t tx, out *Figures) (all map[int64]int64, err error) {
	grain, first := f.Window.lasting(f.Now)
	var without []condition
	if len(f.Services) > 0 {
		without = append(without, together) // as of all services there is none
	}
	spans, err := f.buckets(ctx, t, "CAST(period AS TEXT)", f.among(allServices), f.from(grain, first, without...)...)
	if err != nil {
		return nil, err
	}
	all = map[int64]int64{}
	for at, buckets := range spans {
		day, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return nil, err
		}
		x := Lasted{From: dayTime(day), P50: quantile(buckets, 0.50), P95: quantile(buckets, 0.95)}
		for bucket, n := range buckets {
			x.Runs += n
			all[bucket] += n
		}
		out.Times = append(out.Times, x)
	}
	slices.SortFunc(out.Times, func(a, b Lasted) int { return a.From.Compare(b.From) })
	exact, _ := f.Window.since(f.Now)
	if exact == grain {
		return all, nil
	}
	whole, err := f.buckets(ctx, t, "''", f.among(allServices), f.narrowed(exact, without...)...)
	return whole[""], err
}

// topTimes tells how long those of the services with most took.
func (f FiguresFilter) topTimes(ctx context.Context, t tx, out *Figures) error {
	top := out.Services[:min(len(out.Services), timedTop)]
	names := make([]string, len(top))
	for i, s := range top {
		names[i] = s.Name
	}
	if len(top) == 0 {
		return nil
	}
	grain, _ := f.Window.since(f.Now)
	each, err := f.buckets(ctx, t, "service", oneOf(names), f.narrowed(grain, together)...)
	for i, name := range names {
		top[i].P50, top[i].P95 = quantile(each[name], 0.50), quantile(each[name], 0.95)
	}
	return err
}

// buckets adds up how many runs took how long, by a column.
func (f FiguresFilter) buckets(ctx context.Context, t tx, column string, which condition, narrowed ...condition) (map[string]map[int64]int64, error) {
	where, args := allOf(append([]condition{which}, narrowed...))
	rows, err := t.rows(ctx, "SELECT "+column+", bucket, "+sums("runs")+" FROM run_times WHERE "+where+" GROUP BY 1, 2", args...)
	type step struct {
		name         string
		bucket, runs int64
	}
	all, err := collect(rows, err, func(r *sql.Rows) (x step, err error) {
		err = r.Scan(&x.name, &x.bucket, &x.runs)
		return x, err
	})
	out := map[string]map[int64]int64{}
	for _, x := range all {
		if out[x.name] == nil {
			out[x.name] = map[int64]int64{}
		}
		out[x.name][x.bucket] = x.runs
	}
	return out, err
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

// Reasons tells which reasons were given again most often, and since when.
func (s *Store) Reasons(ctx context.Context, f FiguresFilter) (out []Recurrence, since time.Time, err error) {
	grain, first := f.Window.since(f.Now)
	where, args := allOf(append(f.narrowed(grain, together), f.among(anyCondition)))
	err = s.ask(ctx, "read statistics of reasons", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, `SELECT given.service, given.reason_key, given.runs, given.latest, runs.reason FROM
			(SELECT service, reason_key, `+sums("runs")+` AS runs, MAX(latest) AS latest FROM reason_counts WHERE `+where+`
			GROUP BY service, reason_key ORDER BY 3 DESC, 4 DESC LIMIT ?) AS given JOIN runs ON runs.id = given.latest ORDER BY given.runs DESC, given.latest DESC`, append(args, mostReasons)...)
		out, err = collect(rows, err, func(r *sql.Rows) (x Recurrence, err error) {
			err = r.Scan(&x.Service, &x.Key, &x.Runs, &x.Run, &x.Reason)
			return x, err
		})
		return err
	})
	return out, dayTime(first), err
}

// longRun is how long a run is looked back for that ended in a window.
const longRun = 30 * 24 * time.Hour

// Given lists the runs with one reason of a service that ended in the window, the
// newest first, at most MostGiven, and tells the days that the window has points for.
// The services of the filter are not looked at.
func (s *Store) Given(ctx context.Context, f FiguresFilter, service, key string) (out []Given, points []time.Time, err error) {
	_, first := f.Window.since(f.Now)
	for _, at := range f.Window.points(f.Now) {
		points = append(points, dayTime(at))
	}
	conditions := []condition{{"service = ?", []any{service}}, {"reason_key = ?", []any{key}}, {"id >= ?", []any{restart.FirstID(dayTime(first).Add(-longRun))}}, {"finished_at >= ?", []any{first * microsADay}}}
	if f.Environment != "" {
		conditions = append(conditions, condition{"environment = ?", []any{f.Environment}})
	}
	if f.Kind != "" {
		conditions = append(conditions, condition{"kind = ?", []any{string(f.Kind)}})
	}
	where, args := allOf(conditions)
	err = s.ask(ctx, "read the runs with a reason", func(ctx context.Context, t tx) error {
		rows, err := t.rows(ctx, "SELECT id, reason, actor, environment, kind, state, again, created_at, finished_at FROM runs WHERE "+where+" AND "+counted+" ORDER BY id DESC LIMIT ?", append(args, MostGiven)...)
		out, err = collect(rows, err, func(r *sql.Rows) (x Given, err error) {
			var created, finished int64
			err = r.Scan(&x.Run, &x.Reason, &x.Actor, &x.Environment, &x.Kind, &x.State, &x.Again, &created, &finished)
			x.CreatedAt, x.FinishedAt = fromMicros(created), fromMicros(finished)
			return x, err
		})
		return err
	})
	return out, points, err
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
