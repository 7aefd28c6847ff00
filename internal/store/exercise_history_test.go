package store_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
)

// past is a random history that is written by the store's own verbs, in the
// order in which it happened.
type past struct {
	runs []restart.Run // the oldest first, as they are in the end
	now  time.Time
}

func newPast(t *testing.T, s *store.Store, runs int) past {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	p := past{now: time.Now().Add(-time.Duration(r.Int64N(int64(100 * 24 * time.Hour)))).UTC().Truncate(time.Microsecond)} // any day of any month
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	type moment struct {
		at time.Time
		do func()
	}
	var story []moment
	p.runs = make([]restart.Run, runs)
	// Most of it lately, so that restarts follow each other closely.
	spans := []time.Duration{5 * 24 * time.Hour, 40 * 24 * time.Hour, 400 * 24 * time.Hour}
	for i := range p.runs {
		created := p.now.Add(-time.Duration(r.Int64N(int64(spans[r.IntN(len(spans))])))).Truncate(time.Millisecond)
		run := newRun(1 + r.IntN(3))
		run.Service, run.Environment, run.Group = pick("nginx", "shop"), pick("production", "testing"), pick("g1", "g2")
		if r.IntN(4) == 0 { // a day before or after a window begins, or the first week in it
			edge := p.first(pick0(r, store.Windows()...))
			if r.IntN(2) == 0 {
				edge = edge.AddDate(0, 0, (8-int(edge.Weekday()))%7)
			}
			if at := edge.Add(time.Duration(r.Int64N(int64(48*time.Hour))) - 24*time.Hour).Truncate(time.Millisecond); at.Before(p.now) {
				created = at
			}
		}
		if i%2 == 1 { // soon after another of the same
			before := p.runs[i-1]
			run.Service, run.Environment, run.Group = before.Service, before.Environment, before.Group
			if at := before.CreatedAt.Add(time.Duration(r.Int64N(int64(30 * time.Hour)))).Truncate(time.Millisecond); at.Before(p.now) {
				created = at
			}
		}
		run.ID, run.CreatedAt = restart.NewID(created), created
		run.Actor, run.Ticket = pick("anna", "boris"), pick("", fmt.Sprintf("WEB-%d", r.IntN(3)))
		run.Reason = pick(fmt.Sprintf("502s since the %d:00 deploy", r.IntN(24)), "Утечка памяти, рестарт", fmt.Sprintf("workers hang, build 1.%d", r.IntN(9)), "100% disk_full \\ again")
		run.Kind = restart.Kind(pick("restart", "restart", "restart", "thread-dump"))
		run.Work = restart.Work(pick("", "", "", "", string(restart.WorkRehearse), string(restart.WorkUndrain)))
		for j := range run.Tasks {
			run.Tasks[j].RunID, run.Tasks[j].Host = run.ID, fmt.Sprintf("h%d-%d.example.com", j, r.IntN(4))
		}
		p.runs[i] = run
		x := &p.runs[i]
		story = append(story, moment{created, func() { mustCreate(t, s, *x) }})
		end := restart.RunState(pick("completed", "completed", "completed", "failed", "aborted", "queued"))
		if end == restart.RunQueued {
			continue
		}
		started := created.Add(time.Duration(r.Int64N(int64(time.Minute))))
		finished := started.Add(time.Duration(r.Int64N(int64(pick0(r, 10*time.Second, time.Hour, 20*time.Hour))))).Truncate(time.Microsecond)
		if finished.After(p.now) {
			continue
		}
		story = append(story, moment{started, func() {
			mustApply(t, s, store.Change{RunID: x.ID, At: started, Run: &store.RunChange{To: restart.RunRunning, SetStarted: true}})
		}}, moment{finished, func() {
			change := store.Change{RunID: x.ID, At: finished, Run: &store.RunChange{To: end, SetFinished: true}}
			for j := range x.Tasks {
				to := restart.TaskState(pick("succeeded", "succeeded", "failed", "not_started", "timed_out"))
				task := store.TaskChange{ID: x.Tasks[j].ID, Path: toTask(to)}
				if to != restart.TaskNotStarted {
					task.StartedAt, task.FinishedAt = &started, &finished
				}
				change.Tasks = append(change.Tasks, task)
			}
			mustApply(t, s, change)
		}})
	}
	slices.SortStableFunc(story, func(a, b moment) int { return a.at.Compare(b.at) })
	for _, m := range story {
		m.do()
	}
	for i := range p.runs {
		p.runs[i] = mustRun(t, s, p.runs[i].ID)
	}
	slices.SortFunc(p.runs, func(a, b restart.Run) int { return strings.Compare(a.ID, b.ID) })
	return p
}

func pick0[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// exerciseFilters compares lists with what a loop over all runs finds.
func exerciseFilters(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	store.LookThrough(s, 7) // so that pages end early
	p := newPast(t, s, 60)
	r := rand.New(rand.NewPCG(1, uint64(p.now.UnixNano())))
	found, early := 0, 0
	for range 150 {
		f := store.RunFilter{Limit: 1 + r.IntN(9)}
		for _, set := range []func(){
			func() { f.Service = pick0(r, "nginx", "shop", "none") }, func() { f.Environment = pick0(r, "production", "testing") }, func() { f.Group = pick0(r, "g1", "g2") },
			func() { f.Actor = pick0(r, "anna", "boris") }, func() { f.Kind = pick0(r, restart.KindRestart, restart.KindThreadDump) }, func() { f.Host = fmt.Sprintf("h0-%d.example.com", r.IntN(4)) },
			func() { f.States = pick0(r, []restart.RunState{"completed"}, []restart.RunState{"failed", "queued"}) },
			func() { f.Since = p.now.Add(-time.Duration(r.Int64N(int64(50 * 24 * time.Hour)))) }, func() { f.Until = p.now.Add(-time.Duration(r.Int64N(int64(3 * 24 * time.Hour)))) },
			func() {
				f.Text = pick0(r, "УТЕЧКА", "502S deploy", "web-1", "%", "_", `\`, "100% disk", "k_f", "nothing of the kind", "' OR 1=1 --")
			},
		} {
			if r.IntN(4) == 0 {
				set()
			}
		}
		var want, got []string
		for _, run := range slices.Backward(p.runs) {
			if fits(f, run) {
				want = append(want, run.ID)
			}
		}
		asked := f
		for pages := 0; ; pages++ {
			runs, next, err := s.Runs(t.Context(), asked)
			if err != nil || pages > 200 || len(runs) > f.Limit {
				t.Fatalf("%+v: page %d of %d runs, %v", f, pages, len(runs), err)
			}
			for _, run := range runs {
				got = append(got, run.ID)
			}
			if asked.Before = next; next == "" {
				break
			}
			if len(runs) < f.Limit && f.Host == "" {
				early++
			}
		}
		if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(allFigures{})); diff != "" {
			t.Fatalf("%+v (-want +got):\n%s", f, diff)
		}
		found += len(got)
	}
	if found == 0 || early == 0 {
		t.Errorf("%d runs were found, and %d pages ended before they were full", found, early)
	}
	_, _, err := s.Runs(t.Context(), store.RunFilter{Text: "a b c d e f g"})
	wantCode(t, err, restart.CodeInvalid)
}

func fits(f store.RunFilter, run restart.Run) bool {
	has := func(want, have string) bool { return want == "" || want == have }
	text := strings.ToLower(run.Reason + " " + run.Ticket)
	for word := range strings.FieldsSeq(strings.ToLower(f.Text)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	at := restart.TimeOfID(run.ID)
	return has(f.Service, run.Service) && has(f.Environment, run.Environment) && has(f.Group, run.Group) && has(f.Actor, run.Actor) && has(string(f.Kind), string(run.Kind)) &&
		(len(f.States) == 0 || slices.Contains(f.States, run.State)) &&
		(f.Host == "" || slices.ContainsFunc(run.Tasks, func(t restart.Task) bool { return t.Host == f.Host })) &&
		(f.Since.IsZero() || !at.Before(f.Since.Truncate(time.Millisecond))) && (f.Until.IsZero() || at.Before(f.Until.Truncate(time.Millisecond)))
}

// exerciseFigures compares statistics, which are kept as runs end, with what a
// loop over all runs gives; and with what counting anew gives.
func exerciseFigures(t *testing.T, newDSN storetest.NewDSN) {
	s := storetest.Open(t, newDSN(t))
	p := newPast(t, s, 150)
	kept := figures(t, s, p)
	if err := s.Recount(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(kept, figures(t, s, p), gocmp.AllowUnexported(allFigures{})); diff != "" {
		t.Errorf("counted anew it is otherwise (-kept +anew):\n%s", diff)
	}
	for _, got := range kept {
		f := got.of
		want := p.figures(t, f)
		for _, x := range []*store.Tally{&want.Total, &got.Total} { // within a tenth
			x.P50, x.P95 = 0, 0
		}
		for i := range got.Services {
			got.Services[i].P50, got.Services[i].P95 = 0, 0
		}
		for _, times := range [][]store.Lasted{want.Times, got.Times} {
			for i := range times {
				if x := &times[i]; x.P50 > x.P95 || x.P50 <= 0 {
					t.Errorf("%+v: %+v", f, x)
				}
				times[i].P50, times[i].P95 = 0, 0
			}
		}
		if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(allFigures{})); diff != "" {
			t.Fatalf("%+v (-by a loop +as it is kept):\n%s", f, diff)
		}
	}
	all := kept[slices.IndexFunc(kept, func(x allFigures) bool {
		return x.of.Window == store.WindowYear && len(x.of.Services) == 0 && x.of.Environment == "" && x.of.Kind == ""
	})]
	if all.Total.Runs == 0 || all.Total.Again == 0 || len(all.Reasons) == 0 || len(all.Given) < 2 || len(all.Times) < 2 || len(all.Hosts) == 0 {
		t.Errorf("so random a history should have everything: %+v", all)
	}
	p50, p95 := p.times(store.WindowYear)
	for _, q := range [][2]time.Duration{{all.Total.P50, p50}, {all.Total.P95, p95}} {
		if off := math.Abs(q[0].Seconds()/q[1].Seconds() - 1); off > 0.1 {
			t.Errorf("a quantile is %s, and %s in truth", q[0], q[1])
		}
	}
}

// allFigures are the statistics of one filter, the slowest hosts among them.
type allFigures struct {
	store.Figures

	of         store.FiguresFilter
	Reasons    []store.Recurrence
	Given      []string // runs with the reason that was given again most often
	Hosts      []store.HostTally
	HostsSince time.Time
}

func figures(t *testing.T, s *store.Store, p past) (out []allFigures) {
	t.Helper()
	for _, w := range store.Windows() {
		for _, services := range [][]string{nil, {"nginx"}, {"none"}, {"shop", "none", "nginx"}} {
			for _, environment := range []string{"", "production"} {
				for _, kind := range []restart.Kind{"", restart.KindRestart} {
					f := store.FiguresFilter{Window: w, Now: p.now, Services: services, Environment: environment, Kind: kind}
					x := allFigures{of: f}
					var err error
					if x.Figures, err = s.Figures(t.Context(), f); err != nil {
						t.Fatal(err)
					}
					if x.Hosts, x.HostsSince, err = s.SlowestHosts(t.Context(), f); err != nil {
						t.Fatal(err)
					}
					reasons, since, err := s.Reasons(t.Context(), f)
					if err != nil || !since.Equal(x.Since) {
						t.Fatalf("since %s: %v", since, err)
					}
					for i, r := range reasons {
						if i == 0 {
							given, points, err := s.Given(t.Context(), f, r.Service, r.Key)
							if err != nil || len(points) != len(x.Points) || !points[0].Equal(x.Points[0].From) {
								t.Fatalf("%v: %v", points, err)
							}
							for _, g := range given {
								x.Given = append(x.Given, fmt.Sprintf("%s %s %s %s %s %s %v %s %s", g.Run, g.Reason, g.Actor, g.Environment, g.Kind, g.State, g.Again, g.CreatedAt, g.FinishedAt))
							}
						}
						r.Key = "" // which the loops have another for
						x.Reasons = append(x.Reasons, r)
					}
					out = append(out, x)
				}
			}
		}
	}
	return out
}

// first gives when a window begins, by the calendar.
func (p past) first(w store.Window) time.Time {
	day := time.Date(p.now.Year(), p.now.Month(), p.now.Day(), 0, 0, 0, 0, time.UTC)
	monday := day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
	switch w {
	case store.WindowWeek:
		return monday
	case store.WindowMonth:
		return monday.AddDate(0, 0, -21)
	case store.WindowQuarter:
		return day.AddDate(0, -2, 1-day.Day())
	}
	return day.AddDate(0, -11, 1-day.Day())
}

// counted gives the runs that count, by when they ended.
func (p past) counted() (out []restart.Run) {
	for _, run := range p.runs {
		if run.StartedAt != nil && run.State.Final() && run.Work == restart.WorkWhole {
			out = append(out, run)
		}
	}
	slices.SortFunc(out, func(a, b restart.Run) int { return a.FinishedAt.Compare(*b.FinishedAt) })
	return out
}

func (p past) times(w store.Window) (p50, p95 time.Duration) {
	var took []time.Duration
	for _, run := range p.counted() {
		if run.State == restart.RunCompleted && !run.FinishedAt.Before(p.first(w)) {
			took = append(took, run.FinishedAt.Sub(*run.StartedAt))
		}
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(math.Ceil(q*float64(len(took))))-1] }
	return at(0.5), at(0.95)
}

// figures is what Figures should give, by loops.
func (p past) figures(t *testing.T, f store.FiguresFilter) allFigures {
	t.Helper()
	first := p.first(f.Window)
	out := allFigures{of: f, Figures: store.Figures{Since: first, Environments: []store.Tally{}, Services: []store.Tally{}}}
	for at := first; !at.After(p.now); {
		out.Points = append(out.Points, store.Point{From: at})
		at = at.AddDate(0, 0, 1)
		switch f.Window {
		case store.WindowYear:
			at = at.AddDate(0, 1, -1)
		case store.WindowQuarter:
			for at.Weekday() != time.Monday {
				at = at.AddDate(0, 0, 1)
			}
		}
	}
	type given struct{ service, key string }
	reasons := map[given]*store.Recurrence{}
	environments, services := map[string]*store.Tally{}, map[string]*store.Tally{}
	all := p.counted()
	for _, run := range all {
		if run.FinishedAt.Before(first) || !counts(f, run) {
			continue
		}
		i := 0
		for i < len(out.Points)-1 && !run.FinishedAt.Before(out.Points[i+1].From) {
			i++
		}
		for name, in := range map[string]map[string]*store.Tally{run.Environment: environments, run.Service: services} {
			if in[name] == nil {
				in[name] = &store.Tally{Name: name}
			}
		}
		for _, n := range []*store.Tally{&out.Total, &out.Points[i].Tally, environments[run.Environment], services[run.Service]} {
			p.tally(n, run)
		}
		key := given{run.Service, restart.SameReason(run.Reason)}
		if slices.ContainsFunc(all, func(x restart.Run) bool {
			return x.Service == run.Service && restart.SameReason(x.Reason) == key.key && x.FinishedAt.Before(*run.FinishedAt) && x.ID < run.ID &&
				!restart.TimeOfID(x.ID).Before(restart.TimeOfID(run.ID).Add(-store.Lately))
		}) {
			if reasons[key] == nil {
				reasons[key] = &store.Recurrence{Service: run.Service}
			}
			x := reasons[key]
			if x.Runs++; run.ID > x.Run {
				x.Run, x.Reason = run.ID, run.Reason
			}
		}
	}
	out.Environments, out.Services = inOrder(environments), inOrder(services)
	for _, x := range reasons {
		out.Reasons = append(out.Reasons, *x)
	}
	slices.SortFunc(out.Reasons, func(a, b store.Recurrence) int {
		return cmp.Or(cmp.Compare(b.Runs, a.Runs), strings.Compare(b.Run, a.Run))
	})
	if len(out.Reasons) > 0 {
		out.Given = p.given(f, out.Reasons[0])
	}
	p.lasted(f, &out)
	p.hosts(f, &out)
	return out
}

// given gives the runs with a reason, the newest first.
func (p past) given(f store.FiguresFilter, r store.Recurrence) (out []string) {
	all := p.counted()
	slices.SortFunc(all, func(a, b restart.Run) int { return strings.Compare(b.ID, a.ID) })
	for _, run := range all {
		if run.Service == r.Service && restart.SameReason(run.Reason) == restart.SameReason(r.Reason) && !run.FinishedAt.Before(p.first(f.Window)) && counts(f, run) {
			var n store.Tally
			p.tally(&n, run)
			out = append(out, fmt.Sprintf("%s %s %s %s %s %s %v %s %s", run.ID, run.Reason, run.Actor, run.Environment, run.Kind, run.State, n.Again > 0, run.CreatedAt, run.FinishedAt))
		}
	}
	return out
}

// lasted tells over time how many runs were completed, and of their times but
// that they were some.
func (p past) lasted(f store.FiguresFilter, out *allFigures) {
	runs := map[time.Time]int64{}
	monday := func(t time.Time) time.Time { return t.AddDate(0, 0, -(int(t.Weekday())+6)%7) }
	first := p.first(f.Window)
	if f.Window == store.WindowQuarter {
		first = monday(first)
	}
	for _, run := range p.counted() {
		if run.State != restart.RunCompleted || run.FinishedAt.Before(first) || !counts(f, run) {
			continue
		}
		day := time.Date(run.FinishedAt.Year(), run.FinishedAt.Month(), run.FinishedAt.Day(), 0, 0, 0, 0, time.UTC)
		if from := monday(day); f.Window != store.WindowYear {
			runs[from]++
		} else {
			runs[day.AddDate(0, 0, 1-day.Day())]++
		}
	}
	for from, n := range runs {
		out.Times = append(out.Times, store.Lasted{From: from, Runs: n, P50: 1, P95: 1})
	}
	slices.SortFunc(out.Times, func(a, b store.Lasted) int { return a.From.Compare(b.From) })
}

func (p past) tally(n *store.Tally, run restart.Run) {
	n.Runs++
	switch run.State {
	case restart.RunCompleted:
		n.Completed++
	case restart.RunFailed:
		n.Failed++
	default:
		n.Aborted++
	}
	hosts := map[string]bool{}
	for _, task := range run.Tasks {
		if task.StartedAt != nil {
			hosts[task.Host] = true
		}
	}
	n.Hosts += int64(len(hosts))
	if run.Kind == restart.KindThreadDump {
		n.Dumps++
		return
	}
	n.Restarts++
	if run.State != restart.RunCompleted {
		return
	}
	n.Restarted++
	if slices.ContainsFunc(p.counted(), func(x restart.Run) bool {
		return x.ID != run.ID && x.Kind == restart.KindRestart && x.State != restart.RunAborted && x.Service == run.Service && x.Environment == run.Environment && x.Group == run.Group &&
			!x.CreatedAt.Before(*run.FinishedAt) && x.CreatedAt.Sub(*run.FinishedAt) < store.Soon
	}) {
		n.Again++
	}
}

func (p past) hosts(f store.FiguresFilter, out *allFigures) {
	since := p.first(store.WindowMonth)
	if f.Window == store.WindowWeek {
		since = p.first(store.WindowWeek)
	}
	out.HostsSince = since
	hosts := map[string]*store.HostTally{}
	took := map[string]int64{}
	for _, run := range p.runs {
		for _, task := range run.Tasks {
			if run.Kind != restart.KindRestart || run.Work != restart.WorkWhole || f.Environment != "" && run.Environment != f.Environment || task.StartedAt == nil || task.FinishedAt.Before(since) {
				continue
			}
			if hosts[task.Host] == nil {
				hosts[task.Host] = &store.HostTally{Host: task.Host}
			}
			n := hosts[task.Host]
			n.Tasks++
			if task.State != restart.TaskSucceeded {
				n.Failed++
			}
			took[task.Host] += task.FinishedAt.Sub(*task.StartedAt).Microseconds()
		}
	}
	for name, n := range hosts {
		if n.Mean = time.Duration(took[name]/n.Tasks) * time.Microsecond; n.Tasks >= 3 {
			out.Hosts = append(out.Hosts, *n)
		}
	}
	slices.SortFunc(out.Hosts, func(a, b store.HostTally) int {
		return cmp.Or(cmp.Compare(b.Mean, a.Mean), strings.Compare(a.Host, b.Host))
	})
}

func inOrder(m map[string]*store.Tally) []store.Tally {
	out := []store.Tally{}
	for _, n := range m {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b store.Tally) int {
		return cmp.Or(cmp.Compare(b.Runs, a.Runs), strings.Compare(a.Name, b.Name))
	})
	return out
}

// before0014 takes back what migrations from 0014 on have made.
var before0014 = append(slices.Clone(before0023),
	"DROP TABLE outside_locks", "DROP TABLE silences", "DROP TABLE digests", "DROP TABLE message_posts", "DROP INDEX messages_subject", "ALTER TABLE messages DROP COLUMN ordinal", "ALTER TABLE messages DROP COLUMN subject",
	"DROP TABLE recurrences", "DROP TABLE schedules", "DROP TABLE calendar_tokens", "DROP TABLE ssh_keys",
	"DROP TABLE chat_links", "DROP TABLE chat_codes", "DROP TABLE chat_buttons", "DROP TABLE chat_messages", "DROP TABLE chat_updates", "DROP TABLE chat_turns",
	"ALTER TABLE audit_heads DROP COLUMN expired",
	"DROP INDEX audit_run", "DROP INDEX audit_actor", "DROP INDEX audit_action", "DROP INDEX audit_service", "DROP INDEX audit_area", "DROP INDEX audit_host", "DROP INDEX audit_environment",
	"DROP INDEX audit_all", "DROP INDEX audit_happened",
	"CREATE INDEX audit_run ON audit_records (run_id, id)", "CREATE INDEX audit_actor ON audit_records (actor, id)", "CREATE INDEX audit_action ON audit_records (action, id)", "CREATE INDEX audit_service ON audit_records (service, id)",
	"ALTER TABLE audit_records DROP COLUMN host", "ALTER TABLE audit_records DROP COLUMN environment", "ALTER TABLE audit_records DROP COLUMN area", "ALTER TABLE audit_records DROP COLUMN happened_at", "ALTER TABLE audit_records DROP COLUMN search",
)

var before0023 = []string{"DROP INDEX run_times_period", "DELETE FROM run_times WHERE environment = '*'"}

// exerciseHistoryMigration brings databases of before the counts, and of before
// those of all environments together, up to date.
func exerciseHistoryMigration(t *testing.T, newDSN storetest.NewDSN) {
	for name, back := range map[string][]string{
		"before the counts": append(slices.Clone(before0014),
			"DROP TABLE dump_chunks", "DROP TABLE dumps", "DROP TABLE run_counts", "DROP TABLE run_times", "DROP TABLE reason_counts", "DROP TABLE host_counts",
			"DROP INDEX runs_group", "DROP INDEX runs_kind", "DROP INDEX runs_reason", "DROP INDEX runs_ended",
			"ALTER TABLE runs DROP COLUMN search", "ALTER TABLE runs DROP COLUMN reason_key", "ALTER TABLE runs DROP COLUMN again",
			"DELETE FROM schema_version WHERE version > 9",
		),
		"before all environments together": append(slices.Clone(before0014),
			"DROP INDEX dumps_created", "ALTER TABLE dumps DROP COLUMN weight", "CREATE INDEX dumps_created ON dumps (created_at, id, stored)",
			"DELETE FROM run_counts WHERE environment = '*'", "DELETE FROM reason_counts WHERE environment = '*'", "DELETE FROM schema_version WHERE version > 11",
		),
		"before times of all environments together": append(slices.Clone(before0023), "DELETE FROM schema_version WHERE version > 22"),
	} {
		t.Run(name, func(t *testing.T) {
			dsn := newDSN(t)
			s := storetest.Open(t, dsn)
			p := newPast(t, s, 40)
			before := figures(t, s, p)
			for _, text := range back {
				if err := store.Do(s, text); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = storetest.Open(t, dsn)
			if diff := gocmp.Diff(before, figures(t, s, p), gocmp.AllowUnexported(allFigures{})); diff != "" {
				t.Errorf("(-as it was kept +as it was filled in):\n%s", diff)
			}
			runs, _, err := s.Runs(t.Context(), store.RunFilter{Text: "утечка"})
			if want := slices.ContainsFunc(p.runs, func(r restart.Run) bool { return strings.HasPrefix(r.Reason, "Утечка") }); err != nil || want != (len(runs) > 0) {
				t.Errorf("%d runs are found, %v", len(runs), err)
			}
		})
	}
}

// counts tells whether a run is of what is asked for.
func counts(f store.FiguresFilter, run restart.Run) bool {
	return (len(f.Services) == 0 || slices.Contains(f.Services, run.Service)) && (f.Environment == "" || f.Environment == run.Environment) && (f.Kind == "" || f.Kind == run.Kind)
}
