package silence_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/silence"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
	"github.com/restartilka/restartilka/test/foreign/trouble"
)

func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// watcher is a real system of some kind, or what stands in for it.
type watcher interface {
	settings() silence.System              // of it, named main
	gate() *trouble.Gate                   // before it
	quiet(host, alert string) bool         // tells whether such an alert would wake nobody now
	placed(task string) (ends []time.Time) // of a task, those that are not over
	byHand(host, alert string) (there func() bool)
	asks() string // part of the request that places a silence
}

// bench is a run over hosts, in a real store.
type bench struct {
	t     *testing.T
	store *store.Store
	run   restart.Run
	now   atomic.Int64 // how much later than the clock it is

	mu    sync.Mutex
	calls map[string]int // of its keepers: what was asked, and how that ended
}

var numbered atomic.Int64

// newBench makes a run over hosts of its own, that silences InstanceDown and one
// alert named after the host.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, store: storetest.Open(t, storetest.SQLite(t)), calls: map[string]int{}}
	at := time.Now().UTC().Truncate(time.Microsecond)
	n := numbered.Add(1)
	b.run = restart.Run{
		ID: restart.NewID(at), Scenario: "shop-restart", Digest: strings.Repeat("ab", 32), Kind: restart.KindRestart, Service: "shop", Environment: "production", Actor: "anna", Via: "cli",
		Reason: `502s since 14:00 "quoted" {instance=~".*"}`, State: restart.RunQueued, CreatedAt: at,
		Plan: &restart.Plan{Silence: []string{"InstanceDown", "Slow:#host#"}},
	}
	for i := range 2 {
		host := host(n, i)
		b.run.Plan.Hosts = append(b.run.Plan.Hosts, restart.PlannedHost{Host: restart.Host{Name: host, Address: "127.0.0.1"}})
		b.run.Tasks = append(b.run.Tasks, restart.Task{ID: restart.NewID(at), RunID: b.run.ID, Host: host, Position: i, Batch: i, Attempt: 1, State: restart.TaskPlanned})
	}
	if _, err := b.store.CreateRun(t.Context(), b.run, "", nil, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

// hosts are those of every bench, as host names them.
func host(bench int64, i int) string { return fmt.Sprintf("web%d.b%d.example.com", i, bench) }

func (b *bench) keeper(systems ...silence.System) *silence.Keeper {
	b.t.Helper()
	opened, err := silence.Settings{Systems: systems}.Open()
	if err != nil {
		b.t.Fatal(err)
	}
	opened.Observe(func(c silence.Call) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.calls[fmt.Sprintf("%s %s %s", c.System, c.Verb, c.Result)]++
	})
	return silence.New(silence.Config{
		Store: b.store, Systems: opened, Server: "main", URL: "https://restartilka.example.com",
		Now: func() time.Time { return time.Now().Add(time.Duration(b.now.Load())) },
	})
}

const limit = 4 * time.Minute

func (b *bench) begin(k *silence.Keeper, i int) error {
	return k.Begin(b.t.Context(), b.run, b.run.Tasks[i], b.run.Plan.Hosts[i].Host, limit)
}

// becomes takes a task on its way.
func (b *bench) becomes(i int, path ...restart.TaskState) {
	b.t.Helper()
	_, err := b.store.Apply(b.t.Context(), store.Change{RunID: b.run.ID, At: time.Now(), Tasks: []store.TaskChange{{ID: b.run.Tasks[i].ID, Path: path}}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// asked compares what was asked since the last time, and how that ended.
func (b *bench) asked(want map[string]int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.calls); diff != "" {
		b.t.Errorf("asked (-want +got):\n%s", diff)
	}
	clear(b.calls)
}

// stands compares what a keeper counts in the system main.
func (b *bench) stands(k *silence.Keeper, want store.SilenceCounts) {
	b.t.Helper()
	got, err := k.Count(b.t.Context())
	b.must(err)
	if diff := cmp.Diff(map[string]store.SilenceCounts{"main": want}, got); diff != "" {
		b.t.Errorf("counted (-want +got):\n%s", diff)
	}
}

// sweep has a server look once for what is left.
func (b *bench) sweep(k *silence.Keeper) { k.SweepOnce(b.t.Context()) }

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// states gives what is kept of a task's silences: by system, the state, and why.
func (b *bench) states(i int) string {
	b.t.Helper()
	run, err := b.store.Run(b.t.Context(), b.run.ID)
	b.must(err)
	var out []string
	for _, s := range run.Silenced {
		if s.Task == b.run.Tasks[i].ID {
			out = append(out, fmt.Sprintf("%s %s: %s", s.System, s.State, s.Failure))
		}
	}
	return strings.Join(out, "; ")
}

// records gives the outcomes of the records of an action.
func (b *bench) records(action audit.Action) (out []string) {
	b.t.Helper()
	list, _, err := b.store.AuditSearch(b.t.Context(), store.AuditFilter{Action: action})
	b.must(err)
	for _, r := range list {
		if r.Run != b.run.ID || r.Task == "" || r.Service != "shop" || r.Environment != "production" || r.Host == "" || r.Attempt != 1 {
			b.t.Errorf("a record that does not say of what: %+v", r)
		}
		out = append(out, r.Actor+" "+r.Outcome)
	}
	return out
}

// onAsking lets something happen to the requests that place a silence, and to no
// others.
func onAsking(w watcher, times int, way trouble.Way) {
	w.gate().Next(trouble.Forever, func(rw http.ResponseWriter, r *http.Request, well http.Handler) {
		body, _ := io.ReadAll(r.Body)
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(strings.NewReader(string(body)))
		if times > 0 && strings.Contains(r.Method+" "+r.URL.Path+" "+string(body), w.asks()) {
			times--
			way(rw, again, well)
			return
		}
		well.ServeHTTP(rw, again)
	})
}

// lostBehindProxy does what is asked, and a proxy answers that it does not know.
func lostBehindProxy(rw http.ResponseWriter, r *http.Request, well http.Handler) {
	well.ServeHTTP(httptest.NewRecorder(), r)
	trouble.Status(http.StatusBadGateway)(rw, r, well)
}

// Exercise is what every kind of system has to do.
func Exercise(t *testing.T, fresh func(t *testing.T) watcher) {
	t.Run("exactly these alerts of this host, until the task is over", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		hand := w.byHand("db1.example.com", "DiskFull")
		k := b.keeper(w.settings())
		web, other := b.run.Tasks[0].Host, b.run.Tasks[1].Host
		began := time.Now()
		b.must(b.begin(k, 0))
		for alert, want := range map[[2]string]bool{
			{web, "InstanceDown"}: true, {web, "Slow:" + web}: true, {web, "DiskFull"}: false, {web, "InstanceDownAgain"}: false, {web, "Slow:" + other}: false,
			{other, "InstanceDown"}: false, {"x" + web, "InstanceDown"}: false, {web + ".example.org", "InstanceDown"}: false,
		} {
			if got := w.quiet(alert[0], alert[1]); got != want {
				t.Errorf("%v: silent %v", alert, got)
			}
		}
		ends := w.placed(b.run.Tasks[0].ID)
		if most := began.Add(limit + 2*time.Minute); len(ends) != 1 || ends[0].Before(began.Add(limit)) || ends[0].After(most) {
			t.Errorf("it ends at %v, which is not about %s", ends, most)
		}
		if got := b.states(0); got != "main placed: " {
			t.Errorf("kept: %s", got)
		}
		k.End(t.Context(), b.run, b.run.Tasks[0].ID)
		if w.quiet(web, "InstanceDown") || len(w.placed(b.run.Tasks[0].ID)) > 0 {
			t.Error("it is silent still")
		}
		if !hand() {
			t.Error("what somebody silenced by hand is gone")
		}
		if got, want := b.states(0), "main lifted: "; got != want {
			t.Errorf("kept: %s", got)
		}
		if a, z := b.records(audit.TaskSilenced), b.records(audit.TaskUnsilenced); len(a) != 1 || len(z) != 1 || a[0] != "anna " || z[0] != "server:main " {
			t.Errorf("on record: %q, %q", a, z)
		}
		k.End(t.Context(), b.run, b.run.Tasks[0].ID) // once more
		if z := b.records(audit.TaskUnsilenced); len(z) != 1 {
			t.Errorf("on record: %q", z)
		}
	})
	t.Run("the answer is lost", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		k := b.keeper(w.settings())
		onAsking(w, 1, trouble.Lost)
		b.must(b.begin(k, 0))
		if n := len(w.placed(b.run.Tasks[0].ID)); n != 1 {
			t.Fatalf("%d are there", n)
		}
		if got := b.states(0); !strings.HasPrefix(got, "main asked: monitoring system main does not answer") {
			t.Errorf("kept: %s", got)
		}
		k.End(t.Context(), b.run, b.run.Tasks[0].ID)
		if n := len(w.placed(b.run.Tasks[0].ID)); n != 0 {
			t.Errorf("%d are left", n)
		}
		// It may have come to be after that. A later look finds that, too.
		b.becomes(0, restart.TaskNotStarted)
		onAsking(w, 0, nil)
		b.now.Store(int64(2 * time.Minute))
		b.sweep(k)
		if got := b.states(0); !strings.HasPrefix(got, "main lifted: ") {
			t.Errorf("kept: %s", got)
		}
	})
	t.Run("the first of two addresses does it, and its answer is lost", func(t *testing.T) {
		for name, way := range map[string]trouble.Way{"cut off": trouble.Lost, "502": lostBehindProxy} {
			b, w := newBench(t), fresh(t)
			s := w.settings()
			s.URLs, s.Silence = append(s.URLs, s.URLs...), "require"
			k := b.keeper(s)
			onAsking(w, 1, way)
			b.must(b.begin(k, 0))
			if n := len(w.placed(b.run.Tasks[0].ID)); n == 0 || !w.quiet(b.run.Tasks[0].Host, "InstanceDown") {
				t.Errorf("%s: %d are there", name, n)
			}
			if a := b.records(audit.TaskSilenced); len(a) != 1 || a[0] != "anna " {
				t.Errorf("%s: on record: %q", name, a)
			}
			k.End(t.Context(), b.run, b.run.Tasks[0].ID)
			if n := len(w.placed(b.run.Tasks[0].ID)); n != 0 {
				t.Errorf("%s: %d are left: %s", name, n, b.states(0))
			}
			b.becomes(0, restart.TaskNotStarted)
			onAsking(w, 0, nil)
			b.now.Store(int64(2 * time.Minute))
			b.sweep(k)
			if got := b.states(0); got != "main lifted: " {
				t.Errorf("%s: kept: %s", name, got)
			}
		}
	})
	t.Run("the first of two addresses may have done it, and the second says no", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		s := w.settings()
		s.URLs = append(s.URLs, s.URLs...)
		k := b.keeper(s)
		asked := 0
		onAsking(w, 2, func(rw http.ResponseWriter, r *http.Request, well http.Handler) {
			if asked++; asked == 1 {
				trouble.Down(rw, r, well)
				return
			}
			trouble.Status(http.StatusForbidden)(rw, r, well)
		})
		b.must(b.begin(k, 0))
		if got := b.states(0); got != "main asked: monitoring system main answers with 403" {
			t.Errorf("kept: %s", got)
		}
	})
	t.Run("a system that is down delays nothing and stops nothing", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		k := b.keeper(w.settings())
		w.gate().Next(trouble.Forever, trouble.Status(503))
		b.must(b.begin(k, 0))
		before := w.gate().Seen()
		b.must(b.begin(k, 1))
		if w.gate().Seen() != before {
			t.Error("it was asked again at once")
		}
		if got := b.states(0); !strings.Contains(got, "monitoring system main answers with 503") {
			t.Errorf("kept: %s", got)
		}
		if got := b.states(1); !strings.HasPrefix(got, "main refused: monitoring system main answers with 503") {
			t.Errorf("kept: %s", got)
		}
		if a := b.records(audit.TaskSilenced); len(a) != 2 || a[0] != "anna unavailable" {
			t.Errorf("on record: %q", a)
		}
	})
	t.Run("a system that is required keeps the host from being touched", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		s := w.settings()
		s.Silence = "require"
		k := b.keeper(s)
		w.gate().Next(trouble.Forever, trouble.Down)
		if err := b.begin(k, 0); restart.CodeOf(err) != restart.CodeUnavailable || !strings.Contains(err.Error(), "no host is touched without that") {
			t.Errorf("begin: %v", err)
		}
		b.run.BreakGlass = true
		b.must(b.begin(k, 0))
		b.run.BreakGlass = false
		w.gate().Next(0, nil)
		b.must(b.begin(k, 0)) // it is asked at once, however lately it was down
		if n := len(w.placed(b.run.Tasks[0].ID)); n != 1 {
			t.Errorf("%d are there", n)
		}
		k.End(t.Context(), b.run, b.run.Tasks[0].ID)
		if n := len(w.placed(b.run.Tasks[0].ID)); n != 0 {
			t.Errorf("%d are left", n)
		}
	})
	t.Run("answers that are none", func(t *testing.T) {
		elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
		t.Cleanup(elsewhere.Close)
		for name, way := range map[string]trouble.Way{
			"a page": trouble.Page, "elsewhere": trouble.Redirect(elsewhere.URL), "401": trouble.Status(401), "429": trouble.Status(429),
			"endless": func(rw http.ResponseWriter, _ *http.Request, _ http.Handler) {
				rw.Write([]byte("[" + strings.Repeat(" ", 2<<20))) // the reader leaves
			},
		} {
			b, w := newBench(t), fresh(t)
			w.gate().Next(trouble.Forever, way)
			b.must(b.begin(b.keeper(w.settings()), 0))
			if got := b.states(0); !strings.Contains(got, "monitoring system main answers with ") || strings.Contains(got, "\x1b") {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
	t.Run("the server dies, and the next one lifts", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		dead := b.keeper(w.settings())
		b.must(b.begin(dead, 0))
		b.must(b.begin(dead, 1))
		next := b.keeper(w.settings())
		b.becomes(0, restart.TaskIntentLogged, restart.TaskDispatching)
		b.sweep(next)
		if !w.quiet(b.run.Tasks[0].Host, "InstanceDown") || !w.quiet(b.run.Tasks[1].Host, "InstanceDown") {
			t.Fatal("hosts in hand are not silent any more")
		}
		b.becomes(0, restart.TaskUnknown)
		b.sweep(next)
		if w.quiet(b.run.Tasks[0].Host, "InstanceDown") || b.states(0) != "main lifted: " {
			t.Errorf("it is silent still: %s", b.states(0))
		}
		if !w.quiet(b.run.Tasks[1].Host, "InstanceDown") {
			t.Error("the other host is not silent any more")
		}
		next.End(t.Context(), b.run, b.run.Tasks[1].ID)
	})
	t.Run("a system that is down at the end is told later", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		k := b.keeper(w.settings())
		b.must(b.begin(k, 0))
		b.becomes(0, restart.TaskNotStarted)
		w.gate().Next(trouble.Forever, trouble.Down)
		k.End(t.Context(), b.run, b.run.Tasks[0].ID)
		b.sweep(k)
		if got := b.states(0); !strings.HasPrefix(got, "main placed: monitoring system main does not answer") {
			t.Errorf("kept: %s", got)
		}
		w.gate().Next(0, nil)
		b.sweep(k)
		if n := len(w.placed(b.run.Tasks[0].ID)); n != 0 {
			t.Errorf("%d are left", n)
		}
		if z := b.records(audit.TaskUnsilenced); len(z) != 2 { // that it could not be, once, and that it was
			t.Errorf("on record: %q", z)
		}
	})
	t.Run("what is asked is told, and what stands is counted", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		k := b.keeper(w.settings())
		b.stands(k, store.SilenceCounts{})
		b.must(b.begin(k, 0))
		b.stands(k, store.SilenceCounts{Held: 1})
		b.asked(map[string]int{"main place ok": 1})
		b.becomes(0, restart.TaskNotStarted)
		b.stands(k, store.SilenceCounts{Due: 1})
		w.gate().Next(trouble.Forever, trouble.Down)
		k.End(t.Context(), b.run, b.run.Tasks[0].ID)
		b.must(b.begin(k, 1)) // it does not answer, and rests
		b.stands(k, store.SilenceCounts{Due: 1})
		b.asked(map[string]int{"main lift unanswered": 1, "main place skipped": 1})
		w.gate().Next(trouble.Forever, trouble.Status(401))
		b.sweep(k)
		b.stands(k, store.SilenceCounts{Due: 1})
		w.gate().Next(0, nil)
		b.sweep(k)
		b.stands(k, store.SilenceCounts{})
		b.asked(map[string]int{"main lift refused": 1, "main lift ok": 1})
	})
	t.Run("the same task begins anew", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		k := b.keeper(w.settings())
		for range 3 {
			b.must(b.begin(k, 0))
			if n := len(w.placed(b.run.Tasks[0].ID)); n != 1 {
				t.Errorf("%d are there", n)
			}
		}
		k.End(t.Context(), b.run, b.run.Tasks[0].ID)
		if n := len(w.placed(b.run.Tasks[0].ID)); n != 0 || b.states(0) != "main lifted: " {
			t.Errorf("%d are left; %s", n, b.states(0))
		}
	})
	t.Run("only for whom it is meant", func(t *testing.T) {
		b, w := newBench(t), fresh(t)
		for name, change := range map[string]func(*silence.System){
			"other environments": func(s *silence.System) { s.Environments = []string{"test*"} },
			"other services":     func(s *silence.System) { s.Services = []string{"nginx"} },
			"none":               func(s *silence.System) { s.Silence = "none" },
		} {
			s := w.settings()
			change(&s)
			b.must(b.begin(b.keeper(s), 0))
			if n := len(w.placed(b.run.Tasks[0].ID)); n != 0 || b.states(0) != "" {
				t.Errorf("%s: %d are there; %s", name, n, b.states(0))
			}
		}
		for name, change := range map[string]func(*restart.Run){
			"a rehearsal": func(r *restart.Run) { r.Work = restart.WorkRehearse }, "an undrain": func(r *restart.Run) { r.Work = restart.WorkUndrain },
			"a scenario that names none": func(r *restart.Run) { r.Plan = &restart.Plan{Hosts: r.Plan.Hosts} },
		} {
			run := b.run
			change(&run)
			b.must(b.keeper(w.settings()).Begin(t.Context(), run, run.Tasks[0], run.Plan.Hosts[0].Host, limit))
			if n := len(w.placed(b.run.Tasks[0].ID)); n != 0 {
				t.Errorf("%s: %d are there", name, n)
			}
		}
	})
}

// credentials writes the value of a header into a file.
func credentials(t *testing.T, value string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
