package lock

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/restartilka/restartilka/internal/audit"
	"github.com/restartilka/restartilka/internal/restart"
	"github.com/restartilka/restartilka/internal/store"
	"github.com/restartilka/restartilka/internal/store/storetest"
	slotserver "github.com/restartilka/restartilka/test/foreign/fleetlock"
)

// company is a store with runs, and servers of ours that share locks with others.
type company struct {
	t     *testing.T
	store *store.Store
	slots *slotserver.Server

	mu      sync.Mutex
	answers map[string]int // as servers have told
}

func newCompany(t *testing.T) *company {
	c := &company{t: t, store: storetest.Open(t, storetest.SQLite(t)), slots: slotserver.New(1), answers: map[string]int{}}
	t.Cleanup(c.slots.Close)
	return c
}

func (c *company) server(name string, settings ...Setting) *Locks {
	c.t.Helper()
	if len(settings) == 0 {
		settings = []Setting{{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, Services: []string{"shop"}}}
	}
	l, err := New(Config{Settings: settings, Ledger: c.store, Server: name, Observe: func(lock string, a Answer) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answers[lock+" "+string(a)]++
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, o := range l.all {
		if f, ok := o.Lock.(*fleetLock); ok {
			f.trust = 0
		}
	}
	c.t.Cleanup(l.Close)
	return l
}

// run is one that holds its service.
func (c *company) run(service string, change func(*restart.Run)) restart.Run {
	c.t.Helper()
	now := time.Now().UTC()
	run := restart.Run{ID: restart.NewID(now), Service: service, Environment: "production", Kind: restart.KindRestart, Actor: "anna", Via: "cli", Reason: "workers hang", State: restart.RunQueued, CreatedAt: now}
	if _, err := c.store.CreateRun(c.t.Context(), run, "", nil, nil); err != nil {
		c.t.Fatal(err)
	}
	c.apply(store.Change{RunID: run.ID, Hold: true, Run: &store.RunChange{To: restart.RunRunning}})
	run, err := c.store.Run(c.t.Context(), run.ID)
	if err != nil {
		c.t.Fatal(err)
	}
	if change != nil {
		change(&run)
	}
	return run
}

func (c *company) apply(change store.Change) {
	c.t.Helper()
	if _, err := c.store.Apply(c.t.Context(), change); err != nil {
		c.t.Fatal(err)
	}
}

// rows are what the ledger has, in words.
func (c *company) rows(want ...string) {
	c.t.Helper()
	rows, err := c.store.OutsideLocks(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, strings.TrimSpace(r.Name+" "+string(r.State)+" "+r.Server+" "+r.Note))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		c.t.Errorf("the ledger has %q, want %q", got, want)
	}
}

func (c *company) has(id string) bool {
	return slices.Contains(c.slots.Held("default"), id)
}

// What a run has is stored before it is asked for and dropped when it is given
// back; whoever waits, or has lost it, says so.
func TestTheLedger(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	one := c.server("one")
	run, other := c.run("shop", nil), c.run("cart", nil)
	if !one.Concern(run) || one.Concern(other) {
		t.Error("which runs take it?")
	}
	wantCode(t, "a run that it is not for", one.Take(soon(t), other), "")
	c.rows()

	c.slots.Take("default", "host7")
	err := one.Take(soon(t), run)
	if wantCode(t, "taken by others", err, restart.CodeLocked); !strings.HasPrefix(sentence(err), "the lock reboots, which is shared with others, is taken: no slot of group default is free") {
		t.Error(err)
	}
	note := `no slot of group default is free ("failed_lock": "all 1 semaphore slots currently locked")`
	c.rows("reboots waiting one " + note)
	c.slots.Free("default", "host7")
	wantCode(t, "take", one.Take(soon(t), run), "")
	c.rows("reboots held one")
	if cause, why := one.Held(t.Context(), run); cause != "" || !c.has("restartilka-"+run.ID) {
		t.Error(cause, why)
	}

	c.slots.Free("default", "restartilka-"+run.ID)
	c.slots.Take("default", "host7")
	cause, why := one.Held(t.Context(), run)
	if cause != restart.CauseLockLost || !strings.HasPrefix(why, "the lock reboots, which is shared with others, is lost: no slot") {
		t.Error(cause, why)
	}
	c.rows("reboots lost one " + note)
	c.slots.Free("default", "host7")
	wantCode(t, "taken anew", one.Take(soon(t), run), "")
	c.rows("reboots held one")
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	one.Release(t.Context(), run)
	if c.rows(); c.has("restartilka-" + run.ID) {
		t.Error("the slot is still taken")
	}
}

// A lock of which nobody can say who has it stops a run, unless the settings or
// broken glass let it go on: with a record. What another has is never waived.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	back := (&slots{t: t, server: c.slots}).away()
	strictly := c.server("one")
	mildly := c.server("two", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, WhenDown: lenient})
	run := c.run("shop", nil)
	err := strictly.Take(soon(t), run)
	if wantCode(t, "nobody answers", err, restart.CodeUnavailable); !strings.Contains(sentence(err), "can't be taken: the FleetLock server does not answer") {
		t.Error(err)
	}
	bypassed := func(l *Locks, run restart.Run) {
		t.Helper()
		wantCode(t, "gone without", l.Take(soon(t), run), "")
		if cause, why := l.Held(t.Context(), run); cause != "" {
			t.Error(cause, why)
		}
		found, _, err := c.store.AuditSearch(t.Context(), store.AuditFilter{Action: audit.LockBypassed, Run: run.ID})
		if err != nil || len(found) != 1 || found[0].Actor != "anna" || !strings.HasPrefix(found[0].Detail, "reboots, 127.0.0.1:") {
			t.Errorf("%d records: %+v, %v", len(found), found, err)
		}
	}
	bypassed(mildly, run)
	glass := c.run("shop", broken(c))
	bypassed(strictly, glass)

	back()
	c.slots.Take("default", "host7")
	loud := c.run("shop", broken(c))
	wantCode(t, "broken glass, and another has it", strictly.Take(soon(t), loud), restart.CodeLocked)
	wantCode(t, "lenient, and another has it", mildly.Take(soon(t), loud), restart.CodeLocked)
	c.slots.Free("default", "host7")
	wantCode(t, "take", strictly.Take(soon(t), loud), "")

	// A run that has its lock stops before the next host when nobody can say any more.
	quiet := loud
	quiet.BreakGlass = false
	(&slots{t: t, server: c.slots}).away()
	if cause, why := strictly.Held(t.Context(), quiet); cause != restart.CauseLockLost || !strings.Contains(why, "nobody can say: the FleetLock server") {
		t.Error(cause, why)
	}
	if cause, why := strictly.Held(t.Context(), loud); cause != "" {
		t.Error("broken glass:", cause, why)
	}
}

// What came of asking is told, and how each lock stands: also one that a run
// that is over has not given back.
func TestStanding(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	one := c.server("one", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, Services: []string{"shop"}}, Setting{Name: "carts", Kind: "fleetlock", URL: c.slots.URL, Services: []string{"cart"}})
	mildly := c.server("two", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, WhenDown: lenient})
	stands := func(want store.OutsideLockState, left int64) {
		t.Helper()
		runs := map[store.OutsideLockState]int64{store.OutsideWaiting: 0, store.OutsideHeld: 0, store.OutsideLost: 0, store.OutsideBypassed: 0}
		idle := maps.Clone(runs)
		if want != "" {
			runs[want]++
		}
		got, err := one.Standing(t.Context())
		if diff := cmp.Diff(map[string]Standing{"reboots": {Runs: runs, Left: left}, "carts": {Runs: idle}}, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if names := one.Names(); !slices.Equal(names, []string{"reboots", "carts"}) {
		t.Errorf("names: %q", names)
	}
	stands("", 0)
	run := c.run("shop", nil)
	c.slots.Take("default", "host7")
	wantCode(t, "taken by others", one.Take(soon(t), run), restart.CodeLocked)
	stands(store.OutsideWaiting, 0)
	c.slots.Free("default", "host7")
	for range 2 { // what is kept is told once
		wantCode(t, "take", one.Take(soon(t), run), "")
	}
	stands(store.OutsideHeld, 0)
	c.slots.Free("default", "restartilka-"+run.ID)
	c.slots.Take("default", "host7")
	one.Held(t.Context(), run)
	stands(store.OutsideLost, 0)
	c.slots.Free("default", "host7")
	wantCode(t, "taken anew", one.Take(soon(t), run), "")

	back := (&slots{t: t, server: c.slots}).away()
	one.Held(t.Context(), run)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	one.Held(stopped, run) // the server does not wait for the answer: that says nothing of the lock
	if err := one.Take(stopped, run); err == nil {
		t.Error("taken from nobody")
	}
	wantCode(t, "nobody answers", one.Take(soon(t), run), restart.CodeUnavailable)
	c.apply(store.Change{RunID: run.ID, Run: &store.RunChange{To: restart.RunAborted}})
	one.Release(t.Context(), run)
	stands("", 1)
	without := c.run("shop", nil)
	wantCode(t, "gone without", mildly.Take(soon(t), without), "")
	stands(store.OutsideBypassed, 1)
	c.apply(store.Change{RunID: without.ID, Run: &store.RunChange{To: restart.RunAborted}})
	back()
	one.cfg.Now = func() time.Time { return time.Now().Add(settled) } // until when what had no answer may come to be
	for range 2 {
		if err := one.Tend(t.Context()); err != nil {
			t.Error(err)
		}
		one.cfg.Now = func() time.Time { return time.Now().Add(3 * settled) }
	}
	stands("", 0)
	want := map[string]int{"reboots locked": 1, "reboots taken": 2, "reboots lost": 1, "reboots unanswered": 2, "reboots bypassed": 1}
	if diff := cmp.Diff(want, c.answers); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// A session without a connection is seen before anybody asks for a lock.
func TestAnInterruptedSession(t *testing.T) {
	t.Parallel()
	z, c := newZoo(t), newCompany(t)
	l := c.server("one", Setting{Name: "cluster", Kind: "zookeeper", Servers: []string{z.way.Address}, Path: z.root + "/#service#"})
	interrupted := func(want bool) func(context.Context) error {
		return func(ctx context.Context) error {
			got, err := l.Standing(ctx)
			if err == nil && got["cluster"].Interrupted != want {
				err = restart.Errorf(restart.CodeConflict, "interrupted: %v", !want)
			}
			return err
		}
	}
	wantCode(t, "one that nobody has wanted yet", interrupted(false)(t.Context()), "")
	run := c.run("shop", nil)
	wantCode(t, "take", l.Take(soon(t), run), "")
	wantCode(t, "a session", interrupted(false)(t.Context()), "")
	z.way.Cut()
	eventually(t, "to be interrupted", "", interrupted(true))
	z.way.Mend()
	eventually(t, "to be there again", "", interrupted(false))
	l.Close()
	wantCode(t, "one that has ended", interrupted(false)(t.Context()), "")
}

// broken ends the runs before, and breaks the glass of the next.
func broken(c *company) func(*restart.Run) {
	held, err := c.store.Locks(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, l := range held {
		c.apply(store.Change{RunID: l.RunID, Run: &store.RunChange{To: restart.RunAborted}})
	}
	return func(r *restart.Run) { r.BreakGlass = true }
}

// A lock that a run goes on without is asked for before each host: another may
// have taken it since its keeper is back.
func TestTheKeeperComesBack(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	mildly := c.server("one", Setting{Name: "reboots", Kind: "fleetlock", URL: c.slots.URL, WhenDown: lenient})
	var late atomic.Int64
	mildly.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	later := func() { late.Add(int64(restTime)) }
	goesOn := func(run restart.Run) {
		t.Helper()
		if cause, why := mildly.Held(t.Context(), run); cause != "" {
			t.Error(cause, why)
		}
	}
	run := c.run("shop", nil)
	back := (&slots{t: t, server: c.slots}).away()
	wantCode(t, "gone without", mildly.Take(soon(t), run), "")
	goesOn(run)
	asked := c.slots.Asked()
	goesOn(run)
	if c.slots.Asked() != asked {
		t.Error("a keeper that has not answered is asked again at once")
	}
	later()
	goesOn(run)
	if c.slots.Asked() == asked {
		t.Error("it is not asked again")
	}
	c.bypassed(run, 1)

	back()
	c.slots.Take("default", "deploy")
	later()
	cause, why := mildly.Held(t.Context(), run)
	if cause != restart.CauseLockLost || !strings.HasPrefix(why, "the lock reboots, which is shared with others and which the run went on without, is taken: no slot of group default is free") {
		t.Errorf("another has it: %s %s", cause, why)
	}
	c.rows(`reboots waiting one no slot of group default is free ("failed_lock": "all 1 semaphore slots currently locked")`)
	wantCode(t, "resumed, and another has it", mildly.Take(soon(t), run), restart.CodeLocked)
	c.slots.Free("default", "deploy")
	wantCode(t, "resumed", mildly.Take(soon(t), run), "")
	goesOn(run)

	// What is free is taken.
	back = (&slots{t: t, server: c.slots}).away()
	goesOn(run)
	c.bypassed(run, 2)
	back()
	later()
	goesOn(run)
	c.rows("reboots held one")
	if !c.has("restartilka-" + run.ID) {
		t.Error("the run goes on without a lock that it could have")
	}
	c.slots.Free("default", "restartilka-"+run.ID)
	c.slots.Take("default", "deploy")
	if cause, why := mildly.Held(t.Context(), run); cause != restart.CauseLockLost || !strings.Contains(why, "is lost") {
		t.Error(cause, why)
	}
}

// bypassed wants so many records of a run that has gone on without a lock.
func (c *company) bypassed(run restart.Run, want int) {
	c.t.Helper()
	found, _, err := c.store.AuditSearch(c.t.Context(), store.AuditFilter{Action: audit.LockBypassed, Run: run.ID})
	if err != nil || len(found) != want {
		c.t.Errorf("%d records, want %d: %+v, %v", len(found), want, found, err)
	}
}

// A session that comes back is asked for the lock that a run went on without.
func TestTheSessionComesBack(t *testing.T) {
	t.Parallel()
	z, c := newZoo(t), newCompany(t)
	mildly := c.server("one", Setting{Name: "cluster", Kind: "zookeeper", Servers: []string{z.way.Address}, Path: z.root + "/#service#/#environment#", WhenDown: lenient})
	run := c.run("shop", nil)
	z.way.Cut()
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	wantCode(t, "gone without", mildly.Take(short, run), "")
	cancel()
	z.hold(claimOf(run, "one", time.Now()))
	if cause, why := mildly.Held(t.Context(), run); cause != "" {
		t.Error(cause, why)
	}
	z.way.Mend()
	eventually(t, "another to be seen", restart.CodeLocked, func(ctx context.Context) error {
		if cause, why := mildly.Held(ctx, run); cause != "" {
			return restart.Errorf(restart.CodeLocked, "%s", why)
		}
		return nil
	})
}

// broke is a ledger that keeps nothing.
type broke struct{ Ledger }

func (broke) KeepOutsideLock(context.Context, store.OutsideLock, ...audit.Record) error {
	return restart.Errorf(restart.CodeUnavailable, "the database does not answer")
}

// A database that does not answer says nothing of a lock: whoever walks the run
// waits that out.
func TestTheLedgerDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	one := c.server("one")
	run := c.run("shop", nil)
	one.cfg.Ledger = broke{c.store}
	wantCode(t, "take", one.Take(soon(t), run), restart.CodeInternal)
	one.cfg.Ledger = c.store
	wantCode(t, "take", one.Take(soon(t), run), "")
	c.rows("reboots held one")
	again := c.server("two")
	again.cfg.Ledger = broke{c.store}
	run.Epoch++
	wantCode(t, "taken over", again.Take(soon(t), run), restart.CodeInternal)
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.server("one").Run(ctx)
	}()
	stop()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}
